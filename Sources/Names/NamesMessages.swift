import JSON
import Model

/// What an engine asks of the process that holds the names. One packet each way; sockets ride along.
public struct NamesRequest: Sendable, Equatable {
    public enum Action: Sendable, Equatable {
        /// Enters or replaces a sandbox. With descriptors (a UDP socket, then a listening TCP socket, then for each of its
        /// `innerServers` one for UDP and one for TCP that lead nowhere yet) these are used from now on; without, those that it
        /// has.
        case put(NamesSandbox)
        /// Forgets a sandbox and closes its sockets. Unknown ones are fine.
        case remove(ObjectID)
        /// Who is there.
        case list
        /// The process ends.
        case end
    }

    /// The answer bears it again.
    public var serial: UInt64
    public var action: Action

    public init(serial: UInt64, action: Action) {
        self.serial = serial
        self.action = action
    }
}

public struct NamesAnswer: Sendable, Equatable {
    public static let currentVersion = 2

    /// Of this protocol.
    public var version = NamesAnswer.currentVersion
    public var serial: UInt64
    public var fault: String?
    /// For `list`: sandboxes with sockets, and those that are only known.
    public var serving: [ObjectID] = []
    public var known: [ObjectID] = []
    public var counters = NamesCounters()

    public init(serial: UInt64) { self.serial = serial }
}

/// Since the process began.
public struct NamesCounters: Sendable, Equatable {
    public var queries: UInt64 = 0
    /// Passed on to other servers.
    public var forwarded: UInt64 = 0
    /// Not answered: no message at all, or more than the sandbox may have under way.
    public var dropped: UInt64 = 0
    /// Under way to other servers now.
    public var pending: UInt64 = 0

    public init() {}
}

extension NamesCounters: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init()
        try reader.object { key, reader in
            switch key {
            case "queries": try reader.assign(&queries)
            case "forwarded": try reader.assign(&forwarded)
            case "dropped": try reader.assign(&dropped)
            case "pending": try reader.assign(&pending)
            default: try reader.skip()
            }
        }
    }
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("queries", queries)
            writer.member("forwarded", forwarded)
            writer.member("dropped", dropped)
            writer.member("pending", pending)
        }
    }
}

extension NamesRequest: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var serial: UInt64 = 0
        var action: Action?
        try reader.object { key, reader in
            switch key {
            case "serial": serial = try reader.value()
            case "put": action = .put(try reader.value())
            case "remove": action = .remove(try reader.value())
            case "list":
                try reader.skip()
                action = .list
            case "end":
                try reader.skip()
                action = .end
            default: try reader.skip()
            }
        }
        guard let action else { throw reader.fault("nothing is asked for that this version knows") }
        self.init(serial: serial, action: action)
    }
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("serial", serial)
            switch action {
            case .put(let sandbox): writer.member("put", sandbox)
            case .remove(let id): writer.member("remove", id)
            case .list: writer.member("list", true)
            case .end: writer.member("end", true)
            }
        }
    }
}

extension NamesAnswer: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(serial: 0)
        try reader.object { key, reader in
            switch key {
            case "version": try reader.assign(&version)
            case "serial": try reader.assign(&serial)
            case "fault": try reader.assign(&fault)
            case "serving": try reader.assign(&serving)
            case "known": try reader.assign(&known)
            case "counters": try reader.assign(&counters)
            default: try reader.skip()
            }
        }
    }
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("version", version)
            writer.member("serial", serial)
            writer.member("fault", ifPresent: fault)
            writer.member("serving", unlessEmpty: serving)
            writer.member("known", unlessEmpty: known)
            writer.member("counters", counters)
        }
    }
}
