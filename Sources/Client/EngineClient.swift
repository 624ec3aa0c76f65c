import JSON
import Linux
import Model

/// The engine refused: its status and its words.
public struct EngineRefusal: Error, CustomStringConvertible {
    public let status: Int
    public let message: String

    public init(status: Int, message: String) {
        self.status = status
        self.message = message
    }

    public var description: String { "Error response from daemon: " + message }
    public var isNotFound: Bool { status == 404 }
}

/// An engine, as its clients see it. Requests reuse connections; each stream has a connection of its own.
public final class EngineClient {
    public let endpoint: Endpoint
    private let startsEngine: Bool
    private var idle: [HTTPConnection] = []
    private let prefix: String

    /// - Parameter startsEngine: at the default place, start an engine where none answers.
    public init(_ endpoint: Endpoint, startsEngine: Bool = true) {
        self.endpoint = endpoint
        self.startsEngine = startsEngine && endpoint.isDefault
        prefix = FileCalls.variable("SKIFF_API_VERSION").map { "/v" + $0 } ?? ""
    }

    // MARK: Connections

    public func connect() throws -> HTTPConnection {
        if let connection = idle.popLast() { return connection }
        return try freshConnection()
    }

    private func freshConnection() throws -> HTTPConnection {
        do { return HTTPConnection(try SocketCalls.connect(path: endpoint.path)) } catch let fault as KernelFault {
            if SocketCalls.notAllowed(fault) { throw notAllowed() }
            guard SocketCalls.nobodyThere(fault) else { throw unreachable(fault) }
            guard startsEngine else { throw unreachable(nil) }
            return HTTPConnection(try EngineStart(endpoint).connectOrStart())
        }
    }

    /// Opens connections before they are needed, so that the engine's side is ready.
    public func warmUp(_ count: Int) throws {
        while idle.count < count { idle.append(try freshConnection()) }
    }

    private func giveBack(_ connection: HTTPConnection) {
        if connection.isReusable, idle.count < 8 { idle.append(connection) }
    }

    private func notAllowed() -> Fault {
        Fault(
            .forbidden,
            "permission denied while trying to connect to the Skiff engine at \(endpoint.text): run it as root (sudo skiff …)")
    }

    private func unreachable(_ cause: KernelFault?) -> Fault {
        let text = "Cannot connect to the Skiff engine at \(endpoint.text). Is skiffd running?"
        return Fault(.unavailable, cause.map { "\(text) (\($0.reason))" } ?? text)
    }

    // MARK: Requests

    public func target(_ path: String, _ query: Query = Query()) -> String { prefix + path + query.text }

    /// Sends a request and reads the whole answer. An engine's refusal is thrown as `EngineRefusal`.
    @discardableResult
    public func call(
        _ method: String, _ path: String, _ query: Query = Query(), body: RequestBody = .none, headers: [(String, String)] = []
    ) throws -> [UInt8] {
        let connection = try open(method, target(path, query), body, headers)
        let head = try receive(connection)
        let content = try connection.readAll()
        giveBack(connection)
        try Self.check(head, content)
        return content
    }

    /// Sends on a connection that may have been closed by the engine since its last use: then once more, on a new one.
    private func open(_ method: String, _ target: String, _ body: RequestBody, _ headers: [(String, String)]) throws
        -> HTTPConnection
    {
        while let connection = idle.popLast() {
            if try StreamCalls.wait([(connection.descriptor, .read)], milliseconds: 0)?.first?.readable == true { continue }
            try connection.send(method, target, body, headers: headers)
            return connection
        }
        let connection = try freshConnection()
        try connection.send(method, target, body, headers: headers)
        return connection
    }

    private func receive(_ connection: HTTPConnection) throws -> ResponseHead {
        do { return try connection.receiveHead() } catch let fault as KernelFault {
            throw Fault(.unavailable, "the engine closed the connection", cause: fault)
        }
    }

    /// Sends a request whose answer is a stream: the caller reads the body and drops the connection.
    public func stream(
        _ method: String, _ path: String, _ query: Query = Query(), body: RequestBody = .none, headers: [(String, String)] = []
    ) throws -> HTTPConnection {
        let connection = try open(method, target(path, query), body, headers)
        let head = try receive(connection)
        if !head.isSuccess { try Self.check(head, try connection.readAll()) }
        lastHead = head
        return connection
    }

    /// The head that a GET would be answered with.
    public func head(_ path: String, _ query: Query = Query()) throws -> ResponseHead {
        let connection = try open("HEAD", target(path, query), .none, [])
        let head: ResponseHead
        do { head = try connection.receiveHead(bodyless: true) } catch let fault as KernelFault {
            throw Fault(.unavailable, "the engine closed the connection", cause: fault)
        }
        giveBack(connection)
        try Self.check(head, [])
        return head
    }

    /// The head of the last stream's answer.
    public private(set) var lastHead = ResponseHead()

    /// The Content-Type of the last stream.
    public var lastContentType: String? { lastHead.field("content-type") }

    /// Begins a request without waiting for its answer: `finish` reads it.
    public func begin(_ method: String, _ path: String, _ query: Query = Query(), body: RequestBody = .none) throws
        -> HTTPConnection
    {
        try open(method, target(path, query), body, [])
    }

    /// The answer of a request that was begun.
    public func finish(_ connection: HTTPConnection) throws -> [UInt8] {
        let head = try receive(connection)
        let content = try connection.readAll()
        giveBack(connection)
        try Self.check(head, content)
        return content
    }

    /// Turns a connection into a raw stream; bytes that followed the head at once are in its buffer (`takeBuffered`).
    public func hijack(_ path: String, _ query: Query = Query(), json: [UInt8]? = nil) throws -> HTTPConnection {
        let connection = try open("POST", target(path, query), .upgrade(json: json), [])
        return try finishHijack(connection)
    }

    public func beginHijack(_ path: String, _ query: Query = Query(), json: [UInt8]? = nil) throws -> HTTPConnection {
        try open("POST", target(path, query), .upgrade(json: json), [])
    }

    public func finishHijack(_ connection: HTTPConnection) throws -> HTTPConnection {
        let head: ResponseHead
        do { head = try connection.receiveHead(upgraded: true) } catch let fault as KernelFault {
            throw Fault(.unavailable, "the engine closed the connection", cause: fault)
        }
        guard head.status == 101 || head.status == 200 else {
            try Self.check(head, try connection.readAll())
            throw Fault(.system, "unable to upgrade to tcp, received \(head.status)")
        }
        lastHead = head
        return connection
    }

    package static func check(_ head: ResponseHead, _ content: [UInt8]) throws {
        guard !head.isSuccess else { return }
        var message = ""
        if let value = try? JSONValue(json: content), let text = value["message"]?.string { message = text }
        if message.isEmpty { message = String(decoding: content.prefix(4096), as: UTF8.self).trimmingSpaces() }
        if message.isEmpty { message = head.reason.isEmpty ? "status \(head.status)" : head.reason }
        throw EngineRefusal(status: head.status, message: message)
    }

    public func get<T: JSONReadable>(_ path: String, _ query: Query = Query(), as type: T.Type = T.self) throws -> T {
        try Self.decode(try call("GET", path, query))
    }

    public func post<T: JSONReadable>(
        _ path: String, _ query: Query = Query(), json: [UInt8] = [], as type: T.Type = T.self
    ) throws -> T {
        try Self.decode(try call("POST", path, query, body: json.isEmpty ? .none : .json(json)))
    }

    public static func decode<T: JSONReadable>(_ bytes: [UInt8], as type: T.Type = T.self) throws -> T {
        do { return try T(json: bytes, limits: JSONLimits(size: HTTPLimits.answer)) } catch {
            throw Fault(.system, "the engine's answer cannot be read", cause: error)
        }
    }
}

/// The query part of a request's target.
public struct Query: Sendable {
    public private(set) var text = ""

    public init() {}

    public init(_ pairs: [(String, String)]) { for (name, value) in pairs { add(name, value) } }

    public mutating func add(_ name: String, _ value: String) {
        text += (text.isEmpty ? "?" : "&") + Query.escape(name) + "=" + Query.escape(value)
    }

    /// Left out when empty.
    public mutating func add(ifSet name: String, _ value: String) { if !value.isEmpty { add(name, value) } }

    public mutating func flag(_ name: String, _ on: Bool) { if on { add(name, "1") } }

    /// Docker's filters: `{"name":{"value":true}}`.
    public mutating func filters(_ filters: [(String, String)]) {
        guard !filters.isEmpty else { return }
        var grouped: [String: [String: Bool]] = [:]
        for (name, value) in filters { grouped[name, default: [:]][value] = true }
        add("filters", grouped.jsonText)
    }

    /// Percent-encoding of everything that RFC 3986 does not call unreserved.
    public static func escape(_ value: String) -> String { escape(value, keeping: []) }

    /// An identifier inside a target's path: references keep their slashes, colons and at signs.
    public static func path(_ value: String) -> String { escape(value, keeping: [0x2F, 0x3A, 0x40]) }

    private static func escape(_ value: String, keeping: [UInt8]) -> String {
        var bytes: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in value.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: bytes.append(byte)
            case _ where keeping.contains(byte): bytes.append(byte)
            default: bytes += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
