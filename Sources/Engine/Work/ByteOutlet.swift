import Archive
import Linux
import Model

/// From a thread that writes to a client that pulls, with a bounded buffer between. One reader.
final class ByteOutlet: ByteSink, Sendable {
    private struct Pieces: HandoverContents {
        private var pieces: [[UInt8]] = []
        private(set) var buffered = 0

        mutating func append(_ bytes: UnsafeRawBufferPointer) {
            if let last = pieces.indices.last, pieces[last].count + bytes.count <= ByteOutlet.piece {
                pieces[last].append(contentsOf: bytes)
            } else {
                pieces.append(Array(bytes))
            }
            buffered += bytes.count
        }

        mutating func take() -> [UInt8]? {
            guard !pieces.isEmpty else { return nil }
            let piece = pieces.removeFirst()
            buffered -= piece.count
            return piece
        }

        mutating func clear() {
            pieces = []
            buffered = 0
        }
    }

    private let handover = Handover(Pieces())
    private static let capacity = 1 << 20
    /// Small writes are put together up to this: each piece is a hop to the event loop and a system call.
    private static let piece = 128 << 10

    /// Blocks while the buffer is full.
    /// - Throws: `cancelled` when nobody reads any more.
    func write(_ bytes: UnsafeRawBufferPointer) throws {
        let isRead = handover.put { pieces in
            guard pieces.buffered < Self.capacity else { return nil }
            pieces.append(bytes)
            return pieces.buffered >= Self.piece / 2
        }
        guard isRead else { throw Fault(.cancelled, "nobody reads any more") }
    }

    /// Everything has been written.
    func finish() { handover.end(.success(())) }

    /// The rest will not come: the reader throws.
    func fail(_ error: any Error) { handover.end(.failure(error)) }

    /// The writer shall stop: its next write throws, and the reader does.
    func revoke(_ error: any Error) { handover.end(.failure(error), dropping: true) }

    var stream: PullStream<[UInt8]> { PullStream { [handover] in try await handover.next() } }
}
