import JSON
import Model
import NIOCore

/// The body of an answer that is written piece by piece. Each `write` returns when the kernel has taken the piece, so that a
/// slow client slows its producer down.
public struct AnswerStream: Sendable {
    let connection: NIOLoopBound<APIConnection>
    let loop: any EventLoop

    /// - Throws: when the client is gone.
    public func write(_ bytes: [UInt8]) async throws {
        guard !bytes.isEmpty else { return }
        try Task.checkCancellation()
        let promise = loop.makePromise(of: Void.self)
        loop.execute { connection.value.writePiece(bytes, promise) }
        try await promise.futureResult.get()
    }

    /// One JSON document and a line break.
    public func write(line value: some JSONWritable) async throws {
        var writer = JSONWriter()
        writer.value(value)
        writer.newline()
        try await write(writer.bytes)
    }

    /// A stream of docker's messages; a fault becomes the last message (`errorDetail` and `error`).
    public func writeMessages<Messages: AsyncSequence>(_ messages: Messages) async throws
    where Messages.Element: JSONWritable {
        do {
            for try await message in messages { try await write(line: message) }
        } catch {
            if error is CancellationError { throw error }
            try await write(line: MessageFault(fault: Fault(error)))
        }
    }
}

/// `{"errorDetail":{"message":…},"error":…}`
struct MessageFault: JSONWritable {
    let fault: Fault

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.key("errorDetail")
            writer.object { $0.member("message", fault.description) }
            writer.member("error", fault.description)
        }
    }
}
