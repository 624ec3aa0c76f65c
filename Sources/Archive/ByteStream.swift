import Linux
import Model
@_exported import Tar

/// A bridge from asynchronous code (an HTTP body) to a thread that reads and blocks: bounded, with back pressure.
///
/// The producer calls `send` and finally `finish`; the consumer reads it as a `ByteSource`. Either side may give up: `fail` makes
/// the reader throw, `abandon` makes `send` throw, so that neither waits for a side that is gone.
public final class ByteStream: ByteSource, Sendable {
    private struct State {
        var chunks: [ArraySlice<UInt8>] = []
        var head = 0
        var buffered = 0
        var ended = false
        var failure: (any Error)?
        var abandoned = false
        var waiting: CheckedContinuation<Void, any Error>?
    }

    private let state = Monitor(State())
    private let capacity: Int

    /// `capacity`: bytes that may wait before `send` does.
    public init(capacity: Int = 1 << 20) { self.capacity = capacity }

    /// Hands over a chunk; returns when there is room for another. Throws `cancelled` when the reader has given up.
    public func send(_ chunk: [UInt8]) async throws { try await send(chunk[...]) }

    public func send(_ chunk: ArraySlice<UInt8>) async throws {
        try await withCheckedThrowingContinuation { continuation in
            let outcome: Result<Void, any Error>? = state.update { state in
                if state.abandoned { return .failure(Fault(.cancelled, "nobody reads the upload any more")) }
                if !chunk.isEmpty {
                    state.chunks.append(chunk)
                    state.buffered += chunk.count
                }
                if state.buffered < capacity { return .success(()) }
                state.waiting = continuation
                return nil
            }
            if let outcome { continuation.resume(with: outcome) }
        }
    }

    /// No more bytes will come.
    public func finish() { state.update { $0.ended = true } }

    /// The bytes that were to come will not; the reader throws `error`.
    public func fail(_ error: any Error) {
        state.update { state in
            state.ended = true
            state.failure = error
        }
    }

    /// The reader wants no more: what waits is dropped and `send` throws.
    public func abandon() {
        let waiting = state.update { state in
            state.abandoned = true
            state.chunks = []
            state.buffered = 0
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume(throwing: Fault(.cancelled, "nobody reads the upload any more"))
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let (count, waiting) = try state.wait { state -> (Int, CheckedContinuation<Void, any Error>?)? in
            if state.abandoned { throw Fault(.cancelled, "the upload was abandoned") }
            if let failure = state.failure { throw failure }
            guard state.head < state.chunks.count else { return state.ended ? (0, nil) : nil }
            let chunk = state.chunks[state.head]
            let count = min(buffer.count, chunk.count)
            chunk.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            if count == chunk.count {
                state.chunks[state.head] = []
                state.head += 1
                if state.head == state.chunks.count {
                    state.chunks.removeAll(keepingCapacity: true)
                    state.head = 0
                }
            } else {
                state.chunks[state.head] = chunk.dropFirst(count)
            }
            state.buffered -= count
            guard state.buffered < capacity / 2, let waiting = state.waiting else { return (count, nil) }
            state.waiting = nil
            return (count, waiting)
        }
        waiting?.resume()
        return count
    }
}
