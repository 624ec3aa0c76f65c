import JSON
import Linux
import Model

/// A container's log as a stream of whole records. When the engine dies under it, it goes on with the next engine behind the last record:
/// the times of a log only increase, so a time is a position.
public struct LogFollower {
    public struct Options: Sendable {
        public var follow = false
        public var timestamps = false
        public var details = false
        public var since = ""
        public var until = ""
        public var tail = "all"
        public init() {}
    }

    private let client: EngineClient
    private let container: String
    private let options: Options
    private let output: OutputStreams
    private var last: Timestamp?
    private var record: [UInt8] = []
    private var recordIsError = false
    private var frames = StreamFrames()

    /// A record longer than this is passed on in pieces.
    private static let longest = 4 << 20

    public init(_ client: EngineClient, container: String, options: Options, output: OutputStreams) {
        self.client = client
        self.container = container
        self.options = options
        self.output = output
    }

    /// Returns when the log is over.
    public mutating func run() throws {
        var retries = 0
        while true {
            do {
                try once(&retries)
                return
            } catch let fault as Fault
                where fault.kind == .unavailable && options.follow && (last != nil || retries > 0 || hasBegun)
            {
                guard retries < 500 else { throw fault }
            } catch let fault as KernelFault where options.follow && hasBegun && SocketCalls.isBrokenPipe(fault) {}
            retries += 1
            record.removeAll()
            frames.reset()
            try output.flush()
            FileCalls.sleep(milliseconds: 20)
        }
    }

    private var hasBegun = false

    private func query() -> Query {
        var query = Query()
        query.flag("stdout", true)
        query.flag("stderr", true)
        query.flag("follow", options.follow)
        query.flag("timestamps", true)
        query.flag("details", options.details)
        query.add(ifSet: "until", options.until)
        if let last {
            let next = last.nanoseconds + 1
            query.add("since", "\(next / 1_000_000_000).\(String(1_000_000_000 + next % 1_000_000_000).dropFirst())")
            query.add("tail", "all")
        } else {
            query.add(ifSet: "since", options.since)
            query.add("tail", options.tail)
        }
        return query
    }

    private mutating func once(_ retries: inout Int) throws {
        let connection = try client.stream("GET", "/containers/\(Query.path(container))/logs", query())
        hasBegun = true
        retries = 0
        connection.useLargeBuffer()
        let isMultiplexed = try multiplexed()
        while true {
            let more: Void? = try connection.readBody { bytes in
                if isMultiplexed { try feedFrames(bytes) } else { try feedLines(bytes) }
            }
            if more == nil { break }
            if !connection.hasBuffered { try output.flush() }
        }
        if !record.isEmpty { try emit() }
        try output.flush()
    }

    private func multiplexed() throws -> Bool {
        if let type = client.lastContentType {
            if type.contains(text: "multiplexed-stream") { return true }
            if type.contains(text: "raw-stream"), !type.contains(text: "octet") { return false }
        }
        return try client.get("/containers/\(Query.path(container))/json", as: JSONValue.self)["Config"]?["Tty"]?.bool != true
    }

    private mutating func feedFrames(_ bytes: UnsafeRawBufferPointer) throws {
        var frames = frames
        defer { self.frames = frames }
        try frames.feed(bytes) { piece in
            if piece.kind == .fault {
                throw Fault(.system, "error from daemon in stream: \(String(decoding: piece.bytes, as: UTF8.self))")
            }
            recordIsError = piece.kind == .stderr
            record.append(contentsOf: piece.bytes)
            if piece.isLast || record.count > Self.longest { try emit() }
        }
    }

    private mutating func feedLines(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while let end = rest.firstIndex(of: 0x0A) {
            record.append(contentsOf: rest[...end])
            try emit()
            rest = UnsafeRawBufferPointer(rebasing: rest[(end + 1)...])
        }
        record.append(contentsOf: rest)
        if record.count > Self.longest { try emit() }
    }

    /// One record: notes its time, writes it with or without.
    private mutating func emit() throws {
        defer { record.removeAll(keepingCapacity: true) }
        var start = 0
        if let space = record.prefix(40).firstIndex(of: 0x20), space >= 20,
            let time = Timestamp(String(decoding: record[..<space], as: UTF8.self))
        {
            last = time
            if !options.timestamps { start = space + 1 }
        }
        try record.withUnsafeBytes { try output.write(UnsafeRawBufferPointer(rebasing: $0[start...]), toError: recordIsError) }
    }
}
