import JSON
import Linux
import Model

/// One run of a CNI plugin: a program that reads its configuration and answers on its output. Blocking; it runs in the network
/// namespace of the calling thread. Whatever it does, the call comes back, and no process of it is left.
struct CNIPlugin {
    var type: String
    var network: String
    /// Where the program is looked for, in this order.
    var folders: [String]
    /// So long it may take (ns); then it is killed, with what it has started.
    var patience: Int64

    private static let outputLimit = 1 << 20
    private static let errorsLimit = 4 << 10

    /// What a program said before it ended.
    private struct Talk {
        var code: CInt = 0
        var output: [UInt8] = []
        var errors: [UInt8] = []
        /// Why it was killed.
        var offence: String?
    }

    /// Its answer; nil where it says nothing.
    func run(_ command: String, _ configuration: JSONValue, _ place: CNIChain.Place) throws -> JSONValue? {
        let text = configuration.json
        // It goes into the pipe before anybody reads it
        guard text.count < 60_000 else {
            throw Fault(.invalid, "the configuration of CNI plugin \(type) is too large", subject: network)
        }
        let environment = [
            "CNI_COMMAND=\(command)", "CNI_CONTAINERID=\(place.container)", "CNI_NETNS=\(place.namespace)",
            "CNI_IFNAME=\(place.interface)", "CNI_PATH=\(folders.joined(separator: ":"))",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        let talk = try talk(environment, text)
        let value = try? JSONValue(json: talk.output)
        if talk.offence == nil, talk.code == 0 {
            if value == nil, talk.output.contains(where: { $0 > 0x20 }) {
                throw fault(
                    command,
                    "its answer is no JSON: \(VisibleText.of(String(decoding: talk.output.prefix(200), as: UTF8.self)))")
            }
            return value
        }
        if let offence = talk.offence { throw fault(command, offence) }
        var words = [value?["msg"]?.string, value?["details"]?.string].compactMap { $0 }.filter { !$0.isEmpty }
        if words.isEmpty {
            words = ["it ended with status \(talk.code)"]
            let last = String(decoding: talk.errors, as: UTF8.self).split(whereSeparator: \.isNewline).last
            if let last { words.append(String(last)) }
        }
        throw fault(command, words.joined(separator: ": "))
    }

    private func fault(_ command: String, _ reason: String) -> Fault {
        Fault(
            .system, "CNI plugin \(type) of network \(network) failed (\(command)): \(VisibleText.of(reason, limit: 500))",
            subject: network)
    }

    private func talk(_ environment: [String], _ input: [UInt8]) throws -> Talk {
        let pipes = try (StreamCalls.pipe().split(), StreamCalls.pipe().split(), StreamCalls.pipe().split())
        let source = SharedDescriptor(Descriptor(owning: pipes.0.read))
        let output = SharedDescriptor(Descriptor(owning: pipes.1.read))
        let errors = SharedDescriptor(Descriptor(owning: pipes.2.read))
        let pid: CInt
        do {
            let inputEnd = SharedDescriptor(Descriptor(owning: pipes.0.write))
            let outputEnd = SharedDescriptor(Descriptor(owning: pipes.1.write))
            let errorsEnd = SharedDescriptor(Descriptor(owning: pipes.2.write))
            try StreamCalls.writeAll(inputEnd.raw, input)
            pid = try start(environment, [source.raw, outputEnd.raw, errorsEnd.raw])
        }
        var talk: Talk
        do { talk = try listen(pid, output.raw, errors.raw) } catch {
            end(pid)
            throw error
        }
        if talk.offence != nil { end(pid) } else { talk.code = waitForChild(pid) }
        return talk
    }

    private static func seconds(_ time: Int64) -> String {
        let tenths = time / 100_000_000
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }

    /// With all that is in its session: `spawn` has given it one of its own.
    private func end(_ pid: CInt) {
        LaunchCalls.kill(-pid, Signals.kill)
        LaunchCalls.kill(pid, Signals.kill)
        _ = waitForChild(pid)
    }

    /// Until the program ends or offends. Children that it leaves behind with its output are not waited for.
    private func listen(_ pid: CInt, _ output: CInt, _ errors: CInt) throws -> Talk {
        let process = SharedDescriptor(try Processes.open(pid))
        try PollIO.setNonblocking(output)
        try PollIO.setNonblocking(errors)
        let deadline = Clock.monotonic + patience
        var talk = Talk()
        var isEnded = false
        while !isEnded {
            let left = deadline - Clock.monotonic
            if left <= 0 {
                talk.offence = "it was killed after \(Self.seconds(patience)) s without an answer"
                return talk
            }
            var entries = [PollEntry(process.raw), PollEntry(output), PollEntry(errors)]
            try Polling.wait(&entries, milliseconds: CInt(clamping: left / 1_000_000 + 1))
            isEnded = entries[0].hasInput
            talk.output += try Self.take(output, limit: Self.outputLimit + 1 - talk.output.count)
            talk.errors += try Self.take(errors, limit: 64 << 10)
            talk.errors.removeFirst(max(0, talk.errors.count - Self.errorsLimit))
            if talk.output.count > Self.outputLimit {
                talk.offence = "it was killed because it said more than \(Self.outputLimit >> 20) MiB"
                return talk
            }
            // An end that is closed is ready all the time; what is left to wait for is the program
            if !isEnded, entries[1].isHungUp || entries[2].isHungUp { NetClock.sleep(microseconds: 500) }
        }
        return talk
    }

    private static func take(_ raw: CInt, limit: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < limit {
            var part = [UInt8](repeating: 0, count: min(64 << 10, limit - bytes.count))
            guard case .moved(let count) = try part.withUnsafeMutableBytes({ try PollIO.read(raw, into: $0) }) else { break }
            bytes += part[..<count]
        }
        return bytes
    }

    private func start(_ environment: [String], _ descriptors: [CInt]) throws -> CInt {
        for folder in folders {
            do {
                return try spawn(
                    SpawnRequest(
                        path: folder + "/" + type, arguments: [type], environment: environment, descriptors: descriptors))
            } catch let fault as KernelFault where fault.isAbsent { continue }
        }
        throw Fault(
            .system, "CNI plugin \(type) of network \(network) is not in \(folders.joined(separator: ", "))", subject: type)
    }
}
