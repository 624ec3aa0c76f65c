import Archive
import Linux
import Model

/// From a thread that writes to a client that pulls, with a bounded buffer between. One reader.
final class ByteOutlet: ByteSink, Sendable {
    private struct State {
        var pieces: [[UInt8]] = []
        var buffered = 0
        var end: Result<Void, any Error>?
        var isAbandoned = false
        var isRevoked = false
        var reader: CheckedContinuation<[UInt8]?, any Error>?

        mutating func take() -> [UInt8]? {
            guard !pieces.isEmpty else { return nil }
            let piece = pieces.removeFirst()
            buffered -= piece.count
            return piece
        }
    }

    private let state = Monitor(State())
    private static let capacity = 1 << 20
    /// Small writes are put together up to this: each piece is a hop to the event loop and a system call.
    private static let piece = 128 << 10

    /// Blocks while the buffer is full.
    /// - Throws: `cancelled` when nobody reads any more.
    func write(_ bytes: UnsafeRawBufferPointer) throws {
        let handed: Handed = try state.wait { state in
            if state.isAbandoned || state.isRevoked { throw Fault(.cancelled, "nobody reads any more") }
            guard state.buffered < Self.capacity else { return nil }
            if let last = state.pieces.indices.last, state.pieces[last].count + bytes.count <= Self.piece {
                state.pieces[last].append(contentsOf: bytes)
            } else {
                state.pieces.append(Array(bytes))
            }
            state.buffered += bytes.count
            guard let reader = state.reader, state.buffered >= Self.piece / 2 else { return .nobody }
            state.reader = nil
            return .reader(reader, state.take())
        }
        if case .reader(let reader, let piece) = handed { reader.resume(returning: piece) }
    }

    private enum Handed {
        case nobody
        case reader(CheckedContinuation<[UInt8]?, any Error>, [UInt8]?)
    }

    /// Everything has been written.
    func finish() { end(.success(())) }

    /// The rest will not come: the reader throws.
    func fail(_ error: any Error) { end(.failure(error)) }

    /// The writer shall stop: its next write throws, and the reader does.
    func revoke(_ error: any Error) {
        end(.failure(error))
        state.update { state in
            state.isRevoked = true
            state.pieces = []
        }
    }

    private func end(_ result: Result<Void, any Error>) {
        let reader: (CheckedContinuation<[UInt8]?, any Error>, [UInt8]?)? = state.update { state in
            guard state.end == nil else { return nil }
            state.end = result
            guard let reader = state.reader else { return nil }
            state.reader = nil
            return (reader, state.take())
        }
        guard let (reader, piece) = reader else { return }
        if piece == nil, case .failure(let error) = result { return reader.resume(throwing: error) }
        reader.resume(returning: piece)
    }

    private func abandon() {
        let reader = state.update { state in
            state.isAbandoned = true
            state.pieces = []
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(throwing: CancellationError())
    }

    private func next() async throws -> [UInt8]? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let ready: Result<[UInt8]?, any Error>? = state.update { state in
                    if state.isAbandoned { return .failure(CancellationError()) }
                    if let piece = state.take() { return .success(piece) }
                    if let end = state.end { return end.map { nil } }
                    state.reader = continuation
                    return nil
                }
                if let ready { continuation.resume(with: ready) }
            }
        } onCancel: {
            abandon()
        }
    }

    var stream: PullStream<[UInt8]> { PullStream { try await self.next() } }
}
