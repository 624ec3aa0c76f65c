import Client
import Linux
import Tar

/// The body of an answer as a tar reader's source.
final class AnswerBody: ByteSource {
    private let connection: HTTPConnection
    private let passed: (Int) -> Void

    /// - Parameter passed: is told how many bytes each read has brought.
    init(_ connection: HTTPConnection, passed: @escaping (Int) -> Void = { _ in }) {
        self.connection = connection
        self.passed = passed
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = try connection.readBody(maximum: buffer.count) { bytes in
            buffer.copyMemory(from: bytes)
            return bytes.count
        }
        passed(count ?? 0)
        return count ?? 0
    }
}

/// A request's body in chunks: the headers of a tar are small, chunks should not be.
final class RequestBodySink: ByteSink {
    private let connection: HTTPConnection
    private var waiting: [UInt8] = []
    private static let piece = 128 << 10

    init(_ connection: HTTPConnection) { self.connection = connection }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        if waiting.count + bytes.count < Self.piece { return waiting.append(contentsOf: bytes) }
        try flush()
        try connection.sendChunk(bytes)
    }

    func flush() throws {
        try waiting.withUnsafeBytes { try connection.sendChunk($0) }
        waiting.removeAll(keepingCapacity: true)
    }
}
