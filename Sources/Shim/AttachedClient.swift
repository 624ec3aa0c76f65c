import Linux
import Logs
import Model

/// A client's connection that takes part in a process's stdio.
///
/// Its output queue is bounded: above `highWater` the process's output is not read any more, so the process waits (docker's
/// behaviour: nothing is lost for `run … | less`). A client that takes nothing for `patience` is disconnected, so that it
/// cannot hold up the process and its log for ever: ten seconds for one that came later, an hour for one that was there
/// before the start (the container was made for it). The only client of an exec may take its time.
package final class AttachedClient {
    package static let highWater = 1 << 20
    package static let hour: Int64 = 3_600_000_000_000
    package static let short: Int64 = 10_000_000_000

    private var socket: Handle?
    private let stream: ShimStream
    private var queue = ByteQueue()
    private var keys: DetachKeys
    private let patience: Int64?
    private var stuckSince: Int64?
    /// Closed as soon as the queue is empty.
    private var isEnding = false
    /// Bytes may still come from the client.
    package private(set) var reads: Bool
    package private(set) var hasLeft = false

    package enum Input {
        case nothing
        case bytes([UInt8])
        /// These came before the detach keys.
        case detached([UInt8])
        /// The client has half closed, or is gone.
        case end([UInt8])
    }

    /// Takes the connection over.
    package init(_ descriptor: consuming Descriptor, _ stream: ShimStream, patience: Int64?) throws {
        try PollIO.setNonblocking(descriptor.raw)
        socket = Handle(descriptor)
        self.stream = stream
        self.patience = patience
        keys = DetachKeys(stream.detachKeys)
        reads = stream.stdin
    }

    package var isClosed: Bool { socket == nil }
    package var raw: CInt? { socket?.raw }
    package var isFull: Bool { queue.count >= Self.highWater }
    package var wantsToWrite: Bool { !queue.isEmpty }
    package var takesPart: Bool { stream.stdin }

    package func wants(_ output: LogStream) -> Bool { !isEnding && (output == .stdout ? stream.stdout : stream.stderr) }

    /// Queues a piece of output and writes what fits.
    package func put(_ bytes: UnsafeRawBufferPointer, _ output: LogStream) {
        guard socket != nil, wants(output) else { return }
        if stream.framing == .multiplexed { queue.append(Self.header(output, bytes.count)) }
        queue.append(bytes)
        flush()
    }

    /// Docker's frame: stream number, three zeros, length in network order.
    package static func header(_ output: LogStream, _ count: Int) -> [UInt8] {
        let length = UInt32(clamping: count)
        return [
            output == .stdout ? 1 : 2, 0, 0, 0, UInt8(truncatingIfNeeded: length >> 24),
            UInt8(truncatingIfNeeded: length >> 16),
            UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length),
        ]
    }

    /// Writes what the socket takes.
    package func flush() {
        guard let socket else { return }
        while !queue.isEmpty {
            guard let result = try? queue.withBytes({ try PollIO.write(socket.raw, $0) }) else { return close() }
            switch result {
            case .moved(let count):
                queue.drop(count)
                stuckSince = nil
            case .wouldBlock:
                if stuckSince == nil { stuckSince = Clock.monotonic }
                return
            case .end: return close()
            }
        }
        if isEnding { close() }
    }

    /// The client is let go, the process's stdin stays as it is: detach keys, or the end of its input where stdin goes on.
    package func leave() {
        hasLeft = true
        reads = false
        finish()
    }

    /// No more output will come: closes when everything is written.
    package func finish() {
        isEnding = true
        if queue.isEmpty { close() }
    }

    package func close() {
        socket = nil
        queue.removeAll()
        reads = false
    }

    /// When a client that takes nothing is given up; nil while it takes.
    package var deadline: Int64? {
        guard let stuckSince, isFull || isEnding, let patience = patience ?? (isEnding ? Self.hour : nil) else { return nil }
        return stuckSince + patience
    }

    package func giveUpIfStuck(_ now: Int64) { if let deadline, now >= deadline { close() } }

    /// What the client has sent.
    package func read(_ buffer: UnsafeMutableRawBufferPointer) -> Input {
        guard let socket, reads else { return .nothing }
        switch try? PollIO.read(socket.raw, into: buffer) {
        case .moved(let count): return pass(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        case .wouldBlock: return .nothing
        case .end, nil:
            reads = false
            return .end(keys.finish())
        }
    }

    /// Bytes as if the client had sent them.
    package func pass(_ bytes: UnsafeRawBufferPointer) -> Input {
        let (passed, detached) = keys.pass(bytes)
        if detached { return .detached(passed) }
        return passed.isEmpty ? .nothing : .bytes(passed)
    }

    /// Nobody takes its bytes any more.
    package func stopReading() { reads = false }
}
