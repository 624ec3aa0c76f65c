import Linux

/// Where the bytes of a request's body come from; read by one thread at a time, which may block.
public protocol RequestBody: AnyObject {
    /// What the head says about the body's length; nil where it comes in chunks.
    var length: Int64? { get }
    /// Reads at least one byte into the buffer, which is not empty; 0 is the end.
    /// - Throws: when the connection is cut, the framing is broken, or nothing came in time.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
}

/// No body.
public final class EmptyBody: RequestBody {
    public let length: Int64? = 0
    public init() {}
    public func read(into buffer: UnsafeMutableRawBufferPointer) -> Int { 0 }
}

/// A body in memory, for tests.
public final class BytesBody: RequestBody {
    public let length: Int64?
    private var rest: ArraySlice<UInt8>

    public init(_ bytes: [UInt8], chunked: Bool = false) {
        rest = bytes[...]
        length = chunked ? nil : Int64(bytes.count)
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, rest.count)
        buffer.copyBytes(from: rest.prefix(count))
        rest = rest.dropFirst(count)
        return count
    }
}

/// A field of an answer.
public struct ServerField: Sendable, Equatable {
    public let name: String
    public let value: String
    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// One request as a handler sees it; target and fields are as they came.
public struct ServerRequest {
    public let method: String
    /// Path and query as sent.
    public let target: String
    public let fields: HTTPFields
    public let body: any RequestBody
    /// Who asks, as `address:port`.
    public let peer: String
    public let isSecure: Bool

    public init(
        method: String, target: String, fields: HTTPFields = [:], body: any RequestBody = EmptyBody(), peer: String = "",
        isSecure: Bool = false
    ) {
        self.method = method
        self.target = target
        self.fields = fields
        self.body = body
        self.peer = peer
        self.isSecure = isSecure
    }

    /// The value of the first field of that name, in any case.
    public subscript(_ name: String) -> String? { fields[name] }
}

/// Where a handler writes a body whose bytes it makes while they are sent.
public protocol ResponseSink: AnyObject {
    func write(_ bytes: UnsafeRawBufferPointer) throws
    /// Sends a part of a file, by sendfile(2) where the connection is plain.
    func write(file: CInt, offset: Int64, count: Int64) throws
}

/// The answer to a request.
public struct ServerResponse {
    public enum Body {
        case none
        case bytes([UInt8])
        /// A part of a file that nobody truncates.
        case file(SharedDescriptor, offset: Int64, count: Int64)
        /// `count` bytes that `write` makes; an error of `write`, or fewer bytes, cuts the connection.
        case stream(count: Int64, write: (any ResponseSink) throws -> Void)
        /// An answer to HEAD: the length that GET's body would have.
        case length(Int64)
    }

    public var status: Int
    public var fields: [ServerField]
    public var body: Body
    /// The connection ends with this answer.
    public var closes = false
    /// Words for the access log beside the status.
    public var note: String?

    public init(_ status: Int, _ fields: [ServerField] = [], body: Body = .none) {
        self.status = status
        self.fields = fields
        self.body = body
    }

    public var count: Int64 {
        switch body {
        case .none: 0
        case .bytes(let bytes): Int64(bytes.count)
        case .file(_, _, let count), .stream(let count, _), .length(let count): count
        }
    }

    public subscript(_ name: String) -> String? { fields.first { HTTPFields.same($0.name, name) }?.value }

    public mutating func add(_ name: String, _ value: String) { fields.append(.init(name, value)) }
}
