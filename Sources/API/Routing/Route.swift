import JSON
import Model

/// One request, with all that its handler may look at.
public struct Request: Sendable {
    public let method: String
    public let version: APIVersion
    public let parameters: [String: String]
    public let query: Query
    public let fields: RequestFields
    public let caller: Caller
    /// The whole body, of a route that collects it.
    public let body: [UInt8]
    /// The body as it comes, of a route that streams it.
    public let stream: BodyPipe?

    init(
        head: RequestHead, version: APIVersion, parameters: [String: String], query: Query, caller: Caller, body: [UInt8],
        stream: BodyPipe?
    ) {
        method = head.method
        fields = RequestFields(head: head)
        self.version = version
        self.parameters = parameters
        self.query = query
        self.caller = caller
        self.body = body
        self.stream = stream
    }

    /// A parameter that the route's pattern has.
    public subscript(_ name: String) -> String { parameters[name] ?? "" }

    /// The body as a JSON document of that type, refused in docker's words.
    public func json<T: JSONReadable>(_ type: T.Type = T.self) throws -> T {
        guard !body.isEmpty else { throw Fault(.invalid, "invalid JSON: got EOF while reading request body") }
        try fields.requireJSON()
        var reader: JSONReader
        let value: T
        do {
            reader = try JSONReader(body)
            value = try T(from: &reader)
        } catch {
            throw Fault(.invalid, "invalid JSON: \(error)")
        }
        guard reader.isAtEnd else { throw Fault(.invalid, "unexpected content after JSON") }
        return value
    }

    /// The same, or nil where there is no body at all.
    public func jsonIfAny<T: JSONReadable>(_ type: T.Type = T.self) throws -> T? {
        let blank = body.allSatisfy { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }
        return blank ? nil : try json(type)
    }
}

/// The fields of a request's head, without the rest of it.
public struct RequestFields: Sendable {
    let head: RequestHead

    public subscript(_ name: String) -> String? { head[name] }

    /// What the client wants to change to when it asked for an upgrade: `tcp`, `h2c`, …
    public var upgrade: String? { head.upgrade }

    func requireJSON() throws {
        guard let type = head["content-type"] else {
            throw Fault(.invalid, "malformed Content-Type header (): mime: no media type")
        }
        let media = Lexis.trimmed(type.prefix { $0 != ";" }).lowercased()
        guard media == "application/json" else {
            throw Fault(.invalid, "unsupported Content-Type header (\(type)): must be 'application/json'")
        }
    }
}

/// What answers a method and a path, and how the connection treats it.
public struct Route: Sendable {
    public enum BodyRule: Sendable {
        /// Read whole before the handler runs; larger is refused with 413.
        case collect(limit: Int)
        /// Handed to the handler as it comes; the client is slowed down to the handler's pace.
        case stream
    }

    public enum Handler: Sendable {
        /// Answered on the event loop: must neither block nor wait.
        case inline(@Sendable (Request) throws -> Answer)
        case task(@Sendable (Request) async throws -> Answer)
    }

    /// What a client's going away means for work that has begun.
    public enum Disconnect: Sendable {
        /// Nobody wants the answer any more: the task is cancelled.
        case cancels
        /// What was begun is brought to its end (start, stop, remove).
        case continues
    }

    public var body: BodyRule
    public var disconnect: Disconnect
    /// Whether the answer may take the connection over: what follows the request is then never read as a request.
    public var mayHijack: Bool
    public var handler: Handler

    /// JSON bodies of the Docker API: a create request with thousands of members is far below this.
    public static let jsonLimit = 4 << 20
}

extension Router<Route> {
    /// Answers once, from the event loop.
    public mutating func inline(_ method: String, _ pattern: String, _ handler: @escaping @Sendable (Request) throws -> Answer)
    {
        add(
            method, pattern,
            Route(
                body: .collect(limit: Route.jsonLimit), disconnect: .continues, mayHijack: false, handler: .inline(handler)))
    }

    /// Reads only: cancelled when the client goes.
    public mutating func get(_ pattern: String, _ handler: @escaping @Sendable (Request) async throws -> Answer) {
        on("GET", pattern, disconnect: .cancels, handler)
    }

    /// Changes something: brought to its end even when the client goes.
    public mutating func post(_ pattern: String, _ handler: @escaping @Sendable (Request) async throws -> Answer) {
        on("POST", pattern, handler)
    }

    public mutating func delete(_ pattern: String, _ handler: @escaping @Sendable (Request) async throws -> Answer) {
        on("DELETE", pattern, handler)
    }

    public mutating func on(
        _ method: String, _ pattern: String, body: Route.BodyRule = .collect(limit: Route.jsonLimit),
        disconnect: Route.Disconnect = .continues, mayHijack: Bool = false,
        _ handler: @escaping @Sendable (Request) async throws -> Answer
    ) {
        add(method, pattern, Route(body: body, disconnect: disconnect, mayHijack: mayHijack, handler: .task(handler)))
    }
}
