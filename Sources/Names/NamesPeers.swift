import Linux
import Model

/// One sandbox's sockets and what it uses of the process.
final class SandboxPort {
    let id: ObjectID
    let datagrams: Descriptor
    let listener: Descriptor
    let datagramToken: UInt64
    let listenerToken: UInt64
    var budget: QueryBudget
    var pending = 0
    var streams = 0
    /// Nobody looks at its datagrams until then: it has used up its budget.
    var pausedUntil: Int64?
    var isClosed = false
    /// Name servers in the sandbox itself.
    var inner: [NameServer: InnerServer] = [:]

    init(
        _ id: ObjectID, datagrams: consuming Descriptor, listener: consuming Descriptor, tokens: (UInt64, UInt64),
        limits: NamesLimits
    ) {
        self.id = id
        self.datagrams = datagrams
        self.listener = listener
        (datagramToken, listenerToken) = tokens
        budget = QueryBudget(limits)
    }
}

/// Bytes over TCP with their length before each message (RFC 1035 4.2.2): what has come and what is still to go.
struct StreamFrames {
    private var input: [UInt8] = []
    private(set) var output: [UInt8] = []

    enum Next: Equatable {
        case message([UInt8])
        case incomplete
        case tooLong
    }

    mutating func take(_ bytes: UnsafeRawBufferPointer) { input.append(contentsOf: bytes) }

    var hasInput: Bool { !input.isEmpty }

    mutating func next(limit: Int) -> Next {
        guard input.count >= 2 else { return .incomplete }
        let length = Int(input[0]) << 8 | Int(input[1])
        guard length <= limit else { return .tooLong }
        guard input.count >= 2 + length else { return .incomplete }
        let message = Array(input[2..<(2 + length)])
        input.removeFirst(2 + length)
        return .message(message)
    }

    mutating func put(_ message: [UInt8]) {
        output.append(UInt8(message.count >> 8 & 0xFF))
        output.append(UInt8(message.count & 0xFF))
        output.append(contentsOf: message)
    }

    mutating func sent(_ count: Int) { output.removeFirst(count) }
}

/// A client's TCP connection: one query at a time.
final class StreamClient {
    let socket: Descriptor
    let token: UInt64
    let port: SandboxPort
    var frames = StreamFrames()
    /// A query of it is under way.
    var isBusy = false
    /// Its queries are being taken up, one after the other.
    var isProceeding = false
    var deadline: Int64
    var isClosed = false
    var interest: Epoll.Events = .input

    init(_ socket: consuming Descriptor, token: UInt64, port: SandboxPort, deadline: Int64) {
        self.socket = socket
        self.token = token
        self.port = port
        self.deadline = deadline
    }
}

/// Where an answer goes.
enum ReplyPath {
    case datagram(SandboxPort, DatagramPeer)
    case stream(StreamClient)

    var port: SandboxPort {
        switch self {
        case .datagram(let port, _): port
        case .stream(let client): client.port
        }
    }

    var isStream: Bool { if case .stream = self { true } else { false } }
}

/// A query under way to other servers.
final class PendingQuery {
    let key: UInt64
    let path: ReplyPath
    var exchange: Exchange
    var sockets: [UpstreamSocket] = []
    /// Attempts that go over a socket which others use too.
    var innerAttempts: [(server: InnerServer, id: UInt16)] = []

    init(key: UInt64, path: ReplyPath, exchange: Exchange) {
        self.key = key
        self.path = path
        self.exchange = exchange
    }
}

/// One attempt's socket.
final class UpstreamSocket {
    let socket: Descriptor
    let token: UInt64
    let attempt: Int
    unowned let query: PendingQuery
    var frames = StreamFrames()
    let isStream: Bool
    var isConnected = false
    /// Whose socket it is; it is given back.
    var lender: InnerServer?

    init(_ socket: consuming Descriptor, token: UInt64, attempt: Int, query: PendingQuery, isStream: Bool) {
        self.socket = socket
        self.token = token
        self.attempt = attempt
        self.query = query
        self.isStream = isStream
    }
}
