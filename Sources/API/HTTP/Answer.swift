import Engine
import JSON
import Model

/// What a handler answers. The connection adds the framing and the fields that every answer has.
public struct Answer: Sendable {
    public enum Body: Sendable {
        case empty
        case bytes([UInt8])
        /// The head is sent at once, then what the closure writes, each piece as it comes. A fault after the head ends the
        /// connection, so that the client sees the answer broken off; streams of JSON messages carry their faults inside.
        case stream(@Sendable (AnswerStream) async throws -> Void)
        /// The connection leaves HTTP: the head is sent and the socket handed over.
        case hijack(@Sendable (HijackedConnection) async -> Void)
    }

    public var status: Int
    public var contentType: String?
    public var fields: [(name: String, value: String)]
    public var body: Body

    public init(status: Int, contentType: String? = nil, fields: [(name: String, value: String)] = [], body: Body = .empty) {
        self.status = status
        self.contentType = contentType
        self.fields = fields
        self.body = body
    }

    public static func json(_ value: some JSONWritable, status: Int = 200) -> Answer {
        Answer(status: status, contentType: "application/json", body: .bytes(value.json))
    }

    public static func json(bytes: [UInt8], status: Int = 200) -> Answer {
        Answer(status: status, contentType: "application/json", body: .bytes(bytes))
    }

    public static func text(_ text: String, status: Int = 200) -> Answer {
        Answer(status: status, contentType: "text/plain; charset=utf-8", body: .bytes(Array(text.utf8)))
    }

    /// 204, or another status that has no body.
    public static func empty(_ status: Int = 204) -> Answer { Answer(status: status) }

    public static func stream(
        _ contentType: String, status: Int = 200, _ body: @escaping @Sendable (AnswerStream) async throws -> Void
    ) -> Answer {
        Answer(status: status, contentType: contentType, body: .stream(body))
    }

    public static func hijack(
        _ contentType: String, _ body: @escaping @Sendable (HijackedConnection) async -> Void
    ) -> Answer {
        Answer(status: 200, contentType: contentType, body: .hijack(body))
    }

    /// Docker's form of a refusal.
    public init(_ error: any Error) {
        let fault = error is CancellationError ? Fault(.cancelled, "the request was cancelled") : Fault(error)
        if fault.kind == .notModified {
            self = .empty(304)
        } else {
            self.init(message: fault.description, status: fault.status)
        }
    }

    init(message: String, status: Int) {
        var writer = JSONWriter()
        writer.object { $0.member("message", message) }
        writer.newline()
        self.init(status: status, contentType: "application/json", body: .bytes(writer.bytes))
    }

    static let notFound = Answer(message: "page not found", status: 404)
}

extension Fault {
    /// The HTTP status of each kind: the only place where the two meet.
    public var status: Int {
        switch kind {
        case .invalid, .commandNotFound, .commandNotExecutable: 400
        case .forbidden: 403
        case .notFound: 404
        case .conflict: 409
        case .notModified: 304
        case .unsupported: 501
        case .unavailable: 503
        case .cancelled: 499
        case .system: 500
        }
    }
}
