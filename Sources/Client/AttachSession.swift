import Linux
import Model

/// A client's terminal or pipes joined to a container's streams, until they end, the user detaches or a signal ends the client.
public final class AttachSession {
    public enum Ending: Sendable, Equatable {
        /// The container's side closed the streams.
        case closed
        case detached
    }

    /// What to do with signals: forward, resize, or die of them.
    public struct Reactions {
        /// Called with a signal that is to be forwarded; nil: it ends this process, the terminal restored.
        public var forward: ((CInt) -> Void)?
        /// The terminal's size changed.
        public var resize: (() -> Void)?
        public init(forward: ((CInt) -> Void)? = nil, resize: (() -> Void)? = nil) {
            self.forward = forward
            self.resize = resize
        }
    }

    private let stdin: CInt?
    private let isMultiplexed: Bool
    private let output: OutputStreams
    private var detach: DetachKeys?
    private let signals: Descriptor
    private let watched: [CInt]
    private var terminal: TerminalCalls.Saved?
    private var frames = StreamFrames()
    private var forced = 0

    /// - Parameters:
    ///   - stdin: what the container's stdin is fed from; nil: nothing.
    ///   - terminal: the container has a terminal: stdin, where it is one too, becomes raw, and detach keys are looked for.
    public init(
        stdin: CInt?, output: OutputStreams = OutputStreams(), multiplexed: Bool, terminal: Bool,
        detachKeys: [UInt8] = DetachKeys.standard
    ) throws {
        self.stdin = stdin
        self.output = output
        isMultiplexed = multiplexed
        watched = SignalCalls.forwardable + [SignalCalls.windowChange]
        signals = try SignalCalls.descriptor(for: watched)
        StreamCalls.ignoreBrokenPipes()
        guard terminal, let stdin else { return }
        detach = DetachKeys(detachKeys)
        if StreamCalls.isTerminal(stdin) { self.terminal = try TerminalCalls.makeRaw(stdin) }
    }

    /// The terminal as it was; may be called twice.
    public func restore() {
        if let terminal { TerminalCalls.restore(terminal) }
        terminal = nil
    }

    deinit {
        restore()
        SignalCalls.unblock(watched)
    }

    /// Copies until the stream ends or the user detaches.
    /// - Parameter watch: is attended to meanwhile.
    public func run(_ connection: HTTPConnection, _ reactions: Reactions, watch: ExitWatch? = nil) throws -> Ending {
        defer { restore() }
        // Most containers say little: memory for streams comes when one fills the first buffer.
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        var pending: [UInt8] = []
        var input = stdin
        let early = connection.takeBuffered()
        try early.withUnsafeBytes { try deliver($0) }
        while true {
            var wanted: [(fd: CInt, interest: StreamCalls.Interest)] = [
                (signals.raw, .read), (connection.descriptor, pending.isEmpty ? .read : .readWrite),
            ]
            let inputAt = input != nil && pending.isEmpty ? wanted.count : nil
            if let input, inputAt != nil { wanted.append((input, .read)) }
            let watchAt = watch.flatMap { $0.isOver ? nil : $0.descriptor }.map { _ in wanted.count }
            if let descriptor = watch?.descriptor, watchAt != nil { wanted.append((descriptor, .read)) }
            let isLost = watch.map { !$0.isOver && $0.descriptor == nil } ?? false
            guard let ready = try StreamCalls.wait(wanted, milliseconds: isLost ? 20 : -1) else { continue }
            if isLost || watchAt.map({ ready[$0].readable }) ?? false { watch?.attend() }
            if ready[0].readable { try takeSignals(reactions) }
            if ready[1].writable, !pending.isEmpty { try send(&pending, connection) }
            if ready[1].readable {
                let count = try receive(connection, &buffer)
                if count == 0 {
                    try output.flush()
                    return .closed
                }
                try buffer.withUnsafeBytes { try deliver(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
                if count == buffer.count, count < 256 << 10 { buffer = [UInt8](repeating: 0, count: 256 << 10) }
            }
            if let inputAt, ready[inputAt].readable, let from = input {
                guard let typed = try readInput(from, &buffer) else {
                    input = nil
                    SocketCalls.endWriting(connection.descriptor)
                    continue
                }
                guard let passed = filtered(typed) else { return .detached }
                pending = passed
                if !pending.isEmpty { try send(&pending, connection) }
            }
        }
    }

    /// Waits for the exit while signals are attended to.
    public func wait(for watch: ExitWatch, _ reactions: Reactions) throws -> Int {
        while !watch.isOver {
            var wanted: [(fd: CInt, interest: StreamCalls.Interest)] = [(signals.raw, .read)]
            if let descriptor = watch.descriptor { wanted.append((descriptor, .read)) }
            let pause: CInt = watch.hasBuffered ? 0 : watch.descriptor == nil ? 20 : -1
            guard let ready = try StreamCalls.wait(wanted, milliseconds: pause) else { continue }
            if ready[0].readable { try takeSignals(reactions) }
            if pause >= 0 || ready[1].readable { watch.attend() }
        }
        return try watch.wait()
    }

    private func receive(_ connection: HTTPConnection, _ buffer: inout [UInt8]) throws -> Int {
        do { return try buffer.withUnsafeMutableBytes { try StreamCalls.read(connection.descriptor, into: $0) } } catch let
            fault as KernelFault
        {
            // The engine or the shim died: what it had sent is all there is.
            if SocketCalls.isBrokenPipe(fault) { return 0 }
            throw fault
        }
    }

    private func deliver(_ bytes: UnsafeRawBufferPointer) throws {
        guard !bytes.isEmpty else { return }
        if isMultiplexed {
            try frames.feed(bytes) { piece in
                if piece.kind == .fault {
                    throw Fault(.system, "error from daemon in stream: \(String(decoding: piece.bytes, as: UTF8.self))")
                }
                try output.write(piece.bytes, toError: piece.kind == .stderr)
            }
        } else {
            try output.write(bytes)
        }
        try output.flush()
    }

    /// Nil at the end of the input.
    private func readInput(_ fd: CInt, _ buffer: inout [UInt8]) throws -> [UInt8]? {
        let limit = 64 << 10
        let count: Int
        do {
            count = try buffer.withUnsafeMutableBytes {
                try StreamCalls.read(fd, into: UnsafeMutableRawBufferPointer(rebasing: $0[..<limit]))
            }
        } catch let fault as KernelFault {
            if fault.isTryAgain { return [] }
            // A terminal that went away reads as its end.
            return nil
        }
        return count == 0 ? nil : Array(buffer[..<count])
    }

    /// Nil when the user asked to detach.
    private func filtered(_ typed: [UInt8]) -> [UInt8]? {
        guard detach != nil else { return typed }
        return detach?.filter(typed)
    }

    private func send(_ pending: inout [UInt8], _ connection: HTTPConnection) throws {
        do {
            let sent = try pending.withUnsafeBytes { try StreamCalls.writeSome(connection.descriptor, $0) }
            if sent == pending.count { pending = [] } else { pending.removeFirst(sent) }
        } catch let fault as KernelFault {
            guard SocketCalls.isBrokenPipe(fault) else { throw fault }
            pending = []
        }
    }

    private func takeSignals(_ reactions: Reactions) throws {
        while let signal = try SignalCalls.next(signals.raw) {
            if signal == SignalCalls.windowChange {
                reactions.resize?()
                continue
            }
            guard let forward = reactions.forward else {
                restore()
                SignalCalls.die(by: signal)
            }
            if signal == SignalCalls.interrupt || signal == SignalCalls.terminate {
                forced += 1
                if forced >= 3 {
                    restore()
                    throw Fault(.cancelled, "got 3 SIGTERM/SIGINTs, forcefully exiting")
                }
            }
            forward(signal)
        }
    }
}
