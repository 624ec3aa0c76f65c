import Linux
import Logs
import Model

/// Whoever runs the process that the streams belong to.
package protocol StreamsOwner: AnyObject {
    /// A client typed its detach keys.
    func detached(from streams: ProcessStreams)
}

/// The stdio of one process: its outputs go to the log and to clients, bytes of clients go to its stdin.
package final class ProcessStreams: Pollable {
    package weak var owner: (any StreamsOwner)?

    private struct Output {
        var handle: Handle?
        let stream: LogStream
    }

    package static let clientLimit = 64
    private static let inputHighWater = 64 << 10
    private static let grace: Int64 = 2_000_000_000

    package let isTerminal: Bool
    private var outputs: [Output]
    private var input: Handle?
    private var pendingInput = ByteQueue()
    private var endsInput = false
    /// The end of the first client's stdin is the end of the process's.
    private let stdinOnce: Bool
    private var clients: [AttachedClient] = []
    private let log: LogWriter?
    private let buffer: PageBuffer
    /// The process has ended; what is left in its outputs is read until their end, or this time.
    private var drainUntil: Int64?

    /// Owns the descriptors. With a terminal `output` is its master and `input` a duplicate of it.
    package init(
        output: consuming Descriptor?, error: consuming Descriptor?, input: consuming Descriptor?, isTerminal: Bool,
        stdinOnce: Bool, log: LogWriter?, buffer: PageBuffer
    ) throws {
        outputs = []
        self.isTerminal = isTerminal
        self.stdinOnce = stdinOnce
        self.log = log
        self.buffer = buffer
        if let output = output.take() {
            try PollIO.setNonblocking(output.raw)
            outputs.append(Output(handle: Handle(output), stream: .stdout))
        }
        if let error = error.take() {
            try PollIO.setNonblocking(error.raw)
            outputs.append(Output(handle: Handle(error), stream: .stderr))
        }
        if let input = input.take() {
            try PollIO.setNonblocking(input.raw)
            self.input = Handle(input)
        }
    }

    // MARK: What the owner asks

    /// No output can come any more, and all of it is in the log and in the clients' queues.
    package var isDrained: Bool { outputs.allSatisfy { $0.handle == nil } }
    package var hasClients: Bool { !clients.isEmpty }
    /// Clients stay connected when the output has ended, until they are let go: what an exec's client asks for next is the
    /// exit code, which must be known by then.
    package var keepsClients = false

    package func letClientsGo() {
        keepsClients = false
        for client in clients { client.finish() }
        dropClosedClients()
    }

    /// Makes a connection a client. `patience` is in nanoseconds; nil is without limit.
    package func attach(_ descriptor: consuming Descriptor, _ stream: ShimStream, patience: Int64?) throws {
        guard clients.count < Self.clientLimit else {
            throw Fault(.unavailable, "too many clients are attached: at most \(Self.clientLimit) at a time")
        }
        // Keys are typed at terminals: in a pipe the same two bytes are data.
        var stream = stream
        if !isTerminal { stream.detachKeys = [] }
        let client = try AttachedClient(descriptor, stream, patience: patience)
        clients.append(client)
        if !stream.early.isEmpty, stream.stdin {
            let early = stream.early
            early.withUnsafeBytes { take(client.pass($0), from: client) }
        }
        if isDrained, !keepsClients { client.finish() }
        if input == nil { client.stopReading() }
    }

    package func resize(width: UInt16, height: UInt16) throws {
        guard isTerminal, let master = outputs.first?.handle else { throw Fault(.invalid, "the process has no terminal") }
        try setWindowSize(master.raw, width: width, height: height)
    }

    /// The process reads an end once it has read what waits. A terminal has no such end.
    package func endInput() {
        guard !isTerminal else { return }
        endsInput = true
        flushInput()
    }

    /// The process has ended: reads what it left, and waits a little where somebody else still holds its outputs.
    package func processEnded() {
        input = nil
        pendingInput.removeAll()
        for client in clients { client.stopReading() }
        drainUntil = Clock.monotonic + Self.grace
        for index in outputs.indices { while readOutput(index) {} }
    }

    /// Ends everything now; clients get what they have not taken yet.
    package func closeOutputs() {
        for index in outputs.indices where outputs[index].handle != nil { end(index) }
        if keepsClients { return }
        for client in clients { client.finish() }
        clients.removeAll { $0.isClosed }
    }

    /// Once per turn: one write for all lines, no more waiting for what does not come.
    package func endTurn(_ now: Int64) {
        log?.flush()
        for client in clients { client.giveUpIfStuck(now) }
        dropClosedClients()
        if let drainUntil, now >= drainUntil { closeOutputs() }
    }

    // MARK: The loop

    private static let inputPart = 100
    private static let clientPart = 1000

    package func register(in turn: inout PollTurn) {
        let blocked = isBlocked
        for (index, output) in outputs.enumerated() {
            guard let handle = output.handle, !blocked else { continue }
            turn.add(handle.raw, .input, self, part: index)
        }
        if let input, !pendingInput.isEmpty { turn.add(input.raw, .output, self, part: Self.inputPart) }
        let takesInput = input != nil && pendingInput.count < Self.inputHighWater
        for (index, client) in clients.enumerated() {
            guard let raw = client.raw else { continue }
            var events: PollSet.Events = []
            if client.reads, takesInput { events.insert(.input) }
            if client.wantsToWrite { events.insert(.output) }
            // A hang-up that cannot be acted on yet would end every wait at once
            if client.reads, events.isEmpty { continue }
            turn.add(raw, events, self, part: Self.clientPart + index)
            turn.wake(at: client.deadline)
        }
        if !isDrained { turn.wake(at: drainUntil) }
    }

    package func ready(_ events: PollSet.Events, part: Int) {
        if part >= Self.clientPart {
            // Clients are dropped at the end of a turn only, so the index still holds
            let index = part - Self.clientPart
            if clients.indices.contains(index) { ready(events, clients[index]) }
        } else if part == Self.inputPart {
            flushInput()
        } else {
            // A few buffers at a time: others wait too
            var turns = 8
            while turns > 0, readOutput(part) { turns -= 1 }
        }
    }

    private func ready(_ events: PollSet.Events, _ client: AttachedClient) {
        if events.contains(.output) { client.flush() }
        if events.contains(.input) { take(client.read(buffer.bytes), from: client) }
        // What a client sent before it went is read to its end first
        if !events.isDisjoint(with: [.hangUp, .error, .invalid]), !client.reads { client.close() }
    }

    /// Reads one buffer of an output; false when there is no more now.
    private func readOutput(_ index: Int) -> Bool {
        guard outputs.indices.contains(index), let handle = outputs[index].handle else { return false }
        switch try? PollIO.read(handle.raw, into: buffer.bytes) {
        case .moved(let count):
            let bytes = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count])
            let stream = outputs[index].stream
            log?.write(bytes, stream: stream)
            for client in clients { client.put(bytes, stream) }
            return !isBlocked
        case .wouldBlock: return false
        case .end, nil:
            end(index)
            return false
        }
    }

    /// A client is full and the process lives: it has to wait.
    private var isBlocked: Bool { drainUntil == nil && clients.contains { $0.isFull } }

    private func end(_ index: Int) {
        outputs[index].handle = nil
        log?.finish(outputs[index].stream)
        if keepsClients { return }
        // A client ends with the last output that it wants
        for client in clients {
            let more = outputs.contains { $0.handle != nil && client.wants($0.stream) }
            if isDrained || (!more && client.wants(outputs[index].stream)) { client.finish() }
        }
    }

    private func dropClosedClients() {
        guard clients.contains(where: { $0.isClosed }) else { return }
        for client in clients where client.isClosed { inputEnded(of: client) }
        clients.removeAll { $0.isClosed }
    }

    // MARK: Input

    private func take(_ input: AttachedClient.Input, from client: AttachedClient) {
        switch input {
        case .nothing: return
        case .bytes(let bytes): put(bytes)
        case .detached(let bytes):
            put(bytes)
            owner?.detached(from: self)
            client.leave()
        case .end(let bytes):
            put(bytes)
            // As with docker: where stdin goes on, `echo command | attach` is over when its input is
            if stdinOnce, !isTerminal { inputEnded(of: client) } else { client.leave() }
        }
    }

    /// The first client's end of stdin is the process's, unless that client only left.
    private func inputEnded(of client: AttachedClient) {
        if client.takesPart, stdinOnce, !client.hasLeft { endInput() }
    }

    private func put(_ bytes: [UInt8]) {
        guard input != nil, !bytes.isEmpty else { return }
        pendingInput.append(bytes)
        flushInput()
    }

    private func flushInput() {
        guard let input else { return }
        while !pendingInput.isEmpty {
            switch try? pendingInput.withBytes({ try PollIO.write(input.raw, $0) }) {
            case .moved(let count): pendingInput.drop(count)
            case .wouldBlock: return
            case .end, nil: return closeInput()
            }
        }
        if endsInput { closeInput() }
    }

    private func closeInput() {
        input = nil
        pendingInput.removeAll()
        for client in clients { client.stopReading() }
    }
}
