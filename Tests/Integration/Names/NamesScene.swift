import Glibc
import Linux
import Model
import Names
import Networks
import Synchronization
import TestSupport

/// A host in a namespace of its own with the process that holds the names, and sandboxes that have nothing but loopback and
/// sockets of names.
final class NamesScene: Sendable {
    let host: NamespaceThread
    let folder: String
    let link: NamesLink
    let warnings = SharedList<String>()
    let children = SharedList<CInt>()
    private let scratch: Mutex<Scratch?>

    init(resolvConf: String = "nameserver 127.0.0.1\n") throws {
        let scratch = try Scratch("names")
        folder = scratch.path
        let path = try scratch.file("resolv.conf", resolvConf)
        host = try NamespaceThread()
        self.scratch = Mutex(scratch)
        let settings = Self.settings(folder, path)
        link = try host.run { [children, warnings] in try Self.link(settings, children, warnings) }
    }

    private static func settings(_ folder: String, _ resolvConf: String) -> NamesLink.Settings {
        var settings = NamesLink.Settings(
            socket: folder + "/names.sock", program: binaries + "/skiff-runtime", log: folder + "/names.log")
        settings.resolvConf = resolvConf
        return settings
    }

    private static func link(_ settings: NamesLink.Settings, _ children: SharedList<CInt>, _ warnings: SharedList<String>)
        throws
        -> NamesLink
    {
        try NamesLink(settings, reap: { pid in children.values.withLock { $0.append(pid) } }) { text in
            warnings.values.withLock { $0.append(text) }
        }
    }

    /// Another engine's end, as after a restart of skiffd.
    func secondLink() throws -> NamesLink {
        let settings = Self.settings(folder, folder + "/resolv.conf")
        return try host.run { [children] in try Self.link(settings, children, SharedList<String>()) }
    }

    /// The process that holds the names.
    var process: CInt { children.values.withLock { $0.last ?? -1 } }

    func end(_ link: NamesLink? = nil) async {
        await (link ?? self.link).close(process: true)
        for child in children.values.withLock({ $0 }) { _ = waitForChild(child) }
        scratch.withLock { $0 = nil }
    }
}

/// A list behind a lock that closures can hold.
final class SharedList<Element: Sendable>: Sendable {
    let values = Mutex<[Element]>([])
}

/// A sandbox of the test, entered in the process's tables.
final class NamedSandbox: Sendable {
    let thread: NamespaceThread
    let record: Mutex<NamesSandbox>
    let id: ObjectID

    static let network = "n1"

    init(
        _ scene: NamesScene, _ name: String, _ address: String, aliases: [String] = [], network: String = NamedSandbox.network,
        change: @Sendable (inout NamesSandbox) -> Void = { _ in }
    ) async throws {
        thread = try NamespaceThread()
        var record = NamesSandbox(id: .random())
        id = record.id
        guard let address = IPAddress(address) else { throw SetupFailure("no address") }
        record.endpoints = [
            NamesEndpoint(
                network: network, networkName: "net-" + network,
                addresses: [NamesAddress(address, prefix: 24)], names: [name] + aliases)
        ]
        change(&record)
        self.record = Mutex(record)
        try await scene.link.put(record, door: door)
    }

    var door: NamesLink.Door { { [thread] in try thread.namespace.duplicate() } }

    /// What a program in the sandbox says, here a shell's.
    func shell(_ script: String) throws -> ProcessResult {
        try thread.run { TestSupport.run(["/bin/sh", "-c", script]) }
    }

    func dig(_ words: String) throws -> [String] {
        try shell("dig @127.0.0.11 +time=2 +tries=1 +short \(words)").output.split(separator: "\n").map(String.init)
    }

    /// One query to port 53; nil where no answer comes in time.
    func ask(_ name: String, type: UInt16 = 1, milliseconds: CInt = 2000) throws -> [UInt8]? {
        try thread.run {
            var probe = try NamesProbe()
            return try probe.ask(name, type: type, milliseconds: milliseconds)
        }
    }
}

/// A client's socket, for many queries.
struct NamesProbe: ~Copyable {
    private let socket: Descriptor
    private var id: UInt16 = 0

    init() throws { socket = try DatagramSocket.connect(.v4(NamesSockets.address), port: 53) }

    static func query(_ name: String, type: UInt16, id: UInt16) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(id >> 8), UInt8(id & 0xFF), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") { bytes += [UInt8(label.utf8.count)] + Array(label.utf8) }
        return bytes + [0, UInt8(type >> 8), UInt8(type & 0xFF), 0, 1]
    }

    mutating func send(_ name: String, type: UInt16 = 1) {
        id &+= 1
        DatagramSocket.send(socket.raw, Self.query(name, type: type, id: id))
    }

    mutating func ask(_ name: String, type: UInt16 = 1, milliseconds: CInt = 2000) throws -> [UInt8]? {
        send(name, type: type)
        while true {
            var entries = [PollEntry(socket.raw)]
            guard try Polling.wait(&entries, milliseconds: milliseconds) > 0 else { return nil }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let received = buffer.withUnsafeMutableBytes { DatagramSocket.receive(socket.raw, into: $0) }
            guard case .bytes(let count) = received else { return nil }
            // A late answer to an earlier query is none to this one
            if count > 2, buffer[0] == UInt8(id >> 8), buffer[1] == UInt8(id & 0xFF) { return Array(buffer[..<count]) }
        }
    }
}

/// A name server on a thread in a namespace: it counts what it is asked, and answers as the test says.
final class FakeNameServer: Sendable {
    let seen = Mutex<[[UInt8]]>([])
    private let isEnded = Mutex(false)

    init(in host: NamespaceThread, at address: String = "127.0.0.1", answer: @escaping @Sendable ([UInt8]) -> [UInt8]?) throws {
        guard let address = IPAddress(address) else { throw SetupFailure("no address") }
        let raw = try host.run { try DatagramSocket.bind(address, port: 53).release() }
        try startThread { [self] in
            let socket = Descriptor(owning: raw)
            var buffer = [UInt8](repeating: 0, count: 4096)
            var peer = DatagramPeer()
            while !isEnded.withLock({ $0 }) {
                var entries = [PollEntry(socket.raw)]
                guard ((try? Polling.wait(&entries, milliseconds: 100)) ?? 0) > 0 else { continue }
                let received = buffer.withUnsafeMutableBytes { DatagramSocket.receive(socket.raw, into: $0, from: &peer) }
                guard case .bytes(let count) = received else { continue }
                let query = Array(buffer[..<count])
                seen.withLock { $0.append(query) }
                if let bytes = answer(query) { DatagramSocket.send(socket.raw, bytes, to: peer) }
            }
        }
    }

    func end() { isEnded.withLock { $0 = true } }

    /// 9.9.9.9 for every name, behind the query's own question; an OPT record is not repeated.
    static func address(_ query: [UInt8]) -> [UInt8] {
        var end = 12
        while end < query.count, query[end] != 0 { end += Int(query[end]) + 1 }
        var bytes = Array(query.prefix(end + 5))
        bytes[2] |= 0x80
        bytes[3] = 0x80
        bytes[7] = 1
        bytes[11] = 0
        return bytes + [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 9, 9, 9, 9]
    }
}
