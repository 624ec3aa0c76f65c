import Engine
import Model
import Synchronization

/// A request's body on its way from the event loop to the task that reads it. One reader.
///
/// At most `capacity` bytes wait here; beyond that the connection is not read, so that the client is slowed down.
public final class BodyPipe: Sendable {
    private enum End {
        case open
        case finished
        case failed(Fault)
    }

    private struct State {
        var pieces: [[UInt8]] = []
        var waiting = 0
        var end = End.open
        var reader: CheckedContinuation<[UInt8]?, any Error>?
    }

    static let capacity = 1 << 20
    private let state = Mutex(State())
    /// Called, on any thread, when there is room again.
    private let drained: @Sendable () -> Void

    init(drained: @escaping @Sendable () -> Void) { self.drained = drained }

    var hasRoom: Bool { state.withLock { $0.waiting < Self.capacity } }

    func push(_ piece: [UInt8]) {
        let reader: CheckedContinuation<[UInt8]?, any Error>? = state.withLock { state in
            guard case .open = state.end else { return nil }
            if let reader = state.reader {
                state.reader = nil
                return reader
            }
            state.pieces.append(piece)
            state.waiting += piece.count
            return nil
        }
        reader?.resume(returning: piece)
    }

    /// The body is complete.
    func finish() { end(.finished) }

    /// The client went away before the body was complete, or nobody reads it any more.
    func fail(_ fault: Fault) { end(.failed(fault)) }

    private func end(_ end: End) {
        let reader: CheckedContinuation<[UInt8]?, any Error>? = state.withLock { state in
            guard case .open = state.end else { return nil }
            state.end = end
            defer { state.reader = nil }
            return state.reader
        }
        switch end {
        case .failed(let fault): reader?.resume(throwing: fault)
        case .open, .finished: reader?.resume(returning: nil)
        }
    }

    /// The next piece, nil at the end of the body.
    ///
    /// - Throws: `cancelled` when the client went away.
    public func next() async throws -> [UInt8]? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (result, hasDrained) = take(continuation)
                if let result { continuation.resume(with: result) }
                if hasDrained { drained() }
            }
        } onCancel: {
            fail(Fault(.cancelled, "the request was cancelled"))
        }
    }

    private func take(_ continuation: CheckedContinuation<[UInt8]?, any Error>) -> (Result<[UInt8]?, any Error>?, Bool) {
        state.withLock { state in
            if !state.pieces.isEmpty {
                let wasFull = state.waiting >= Self.capacity
                let piece = state.pieces.removeFirst()
                state.waiting -= piece.count
                return (.success(piece), wasFull && state.waiting < Self.capacity)
            }
            switch state.end {
            case .finished: return (.success(nil), false)
            case .failed(let fault): return (.failure(fault), false)
            case .open:
                state.reader = continuation
                return (nil, false)
            }
        }
    }

    /// The same as the engine wants it.
    public var body: RequestBody { { try await self.next() } }
}
