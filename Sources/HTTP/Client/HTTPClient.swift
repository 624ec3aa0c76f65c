import Linux
import Model

/// A request. Redirects and authorization are the caller's matter.
public struct HTTPRequest {
    public enum Body {
        case none
        case bytes([UInt8])
        /// Written by the closure, exactly as long as said; nil goes in chunks. Called at most once.
        case stream(length: Int64?, (any HTTPBodySink) throws -> Void)
    }

    public var method: String
    public var url: HTTPURL
    public var fields = HTTPFields()
    public var body = Body.none

    public init(_ method: String, _ url: HTTPURL, fields: HTTPFields = HTTPFields(), body: Body = .none) {
        self.method = method
        self.url = url
        self.fields = fields
        self.body = body
    }
}

/// Where a request's body goes.
public protocol HTTPBodySink: AnyObject {
    func write(_ bytes: UnsafeRawBufferPointer) throws
}

/// HTTP/1.1 with kept connections, through proxies where the settings say so. One client serves any number of threads.
///
/// Connections are kept as long as the client: it is made for one piece of work (a pull, a push), so that nothing of one person's
/// work is reused for another's.
public final class HTTPClient: Sendable {
    private struct Key: Hashable {
        var scheme: HTTPURL.Scheme
        var host: String
        var port: UInt16
        var tls: ObjectIdentifier?
    }

    private struct Kept {
        var channel: Channel
        var since: Int64
    }

    private let idle = Monitor([Key: [Kept]]())
    private let proxies: ProxySettings
    public let connectTimeout: Int
    /// For the head of an answer.
    public let answerTimeout: Int
    /// Between the bytes of a body.
    public let idleTimeout: Int
    private static let keptPerHost = 8
    private static let keptFor: Int64 = 20_000_000_000

    /// Times in milliseconds.
    public init(
        proxies: ProxySettings = ProxySettings(), connectTimeout: Int = 15_000, answerTimeout: Int = 30_000,
        idleTimeout: Int = 10_000
    ) {
        self.proxies = proxies
        self.connectTimeout = connectTimeout
        self.answerTimeout = answerTimeout
        self.idleTimeout = idleTimeout
    }

    /// Sends a request and reads the head of its answer.
    /// - Parameter tls: for https; who is trusted.
    public func send(_ request: HTTPRequest, tls: TLSContext?, cancellation: WireCancellation?) throws -> HTTPAnswer {
        let proxy = try proxies.proxy(for: request.url)
        let key = Key(
            scheme: request.url.scheme, host: request.url.host, port: request.url.port, tls: tls.map { ObjectIdentifier($0) })
        while let channel = take(key) {
            channel.cancellation = cancellation
            channel.idleTimeout = answerTimeout
            do { return try exchange(request, channel, key, proxy) } catch let fault as WireFault where fault.kind == .cut {
                // The other side may have ended a kept connection just now. What cannot be sent twice is not.
                guard case .stream = request.body else { continue }
                throw fault
            }
        }
        return try exchange(request, try connect(request.url, proxy, tls, cancellation), key, proxy)
    }

    // MARK: Connections

    private func take(_ key: Key) -> Channel? {
        let now = Clock.monotonic
        let kept = idle.update { idle -> [Kept] in
            defer { idle[key] = nil }
            return idle[key] ?? []
        }
        var usable = kept.filter { now - $0.since < Self.keptFor && !$0.channel.isStale }
        let taken = usable.popLast()
        let rest = usable
        if !rest.isEmpty { idle.update { $0[key, default: []] += rest } }
        return taken?.channel
    }

    private func keep(_ channel: Channel, _ key: Key) {
        channel.cancellation = nil
        let kept = Kept(channel: channel, since: Clock.monotonic)
        idle.update { idle in
            if idle[key, default: []].count < Self.keptPerHost { idle[key, default: []].append(kept) }
        }
    }

    private func connect(
        _ url: HTTPURL, _ proxy: ProxySettings.Proxy?, _ tls: TLSContext?, _ cancellation: WireCancellation?
    ) throws -> Channel {
        let channel = try Channel.connect(
            host: proxy?.host ?? url.host, port: proxy?.port ?? url.port, timeout: connectTimeout, idleTimeout: connectTimeout,
            cancellation: cancellation)
        channel.deadline = Clock.monotonic + 2_000_000 * Int64(connectTimeout)
        if url.scheme == .https {
            guard let tls else { throw WireFault(.tls, "tls: nobody to trust was named for \(url.host)") }
            if let proxy { try tunnel(channel, to: url, proxy) }
            try channel.startTLS(tls, host: url.host)
        }
        channel.deadline = nil
        channel.idleTimeout = answerTimeout
        return channel
    }

    /// CONNECT (RFC 9110, 9.3.6)
    private func tunnel(_ channel: Channel, to url: HTTPURL, _ proxy: ProxySettings.Proxy) throws {
        let name = (url.host.contains(":") ? "[\(url.host)]" : url.host) + ":\(url.port)"
        var head = RequestHead(method: "CONNECT", target: name, fields: ["Host": name])
        head.fields["Proxy-Authorization"] = proxy.authorization
        try channel.write(try head.bytes())
        let answer = try channel.readResponse()
        guard (200...299).contains(answer.status) else {
            throw WireFault(
                .unreachable,
                "the proxy \(proxy.host):\(proxy.port) does not lead to \(name): \(answer.status) \(answer.reason)")
        }
    }

    // MARK: One exchange

    private func exchange(_ request: HTTPRequest, _ channel: Channel, _ key: Key, _ proxy: ProxySettings.Proxy?) throws
        -> HTTPAnswer
    {
        var head = RequestHead(method: request.method, target: request.url.target)
        head.fields["Host"] = request.url.authority
        head.fields["User-Agent"] = "skiff/\(Skiff.version)"
        for field in request.fields.list { head.fields.add(field.name, field.value) }
        if let proxy, request.url.scheme == .http {
            head.target = request.url.description
            head.fields["Proxy-Authorization"] = proxy.authorization
        }
        switch request.body {
        case .none:
            if ["POST", "PUT", "PATCH"].contains(request.method) { head.fields["Content-Length"] = "0" }
            try channel.write(try head.bytes())
        case .bytes(let bytes):
            head.fields["Content-Length"] = String(bytes.count)
            try answering(channel) { try channel.write(try head.bytes() + bytes) }
        case .stream(let length?, let body):
            head.fields["Content-Length"] = String(length)
            try channel.write(try head.bytes())
            let sink = LengthSink(channel, length)
            try answering(channel) {
                try body(sink)
                guard sink.rest == 0 else {
                    throw Fault(.system, "a body of \(length) bytes ended \(sink.rest) bytes too early")
                }
            }
        case .stream(nil, let body):
            head.fields["Transfer-Encoding"] = "chunked"
            try channel.write(try head.bytes())
            let sink = ChunkSink(channel)
            try answering(channel) {
                try body(sink)
                try sink.writer.finish()
            }
        }
        let answer: ResponseHead
        channel.deadline = Clock.monotonic + 2_000_000 * Int64(answerTimeout)
        defer { channel.deadline = nil }
        do { answer = try channel.readResponse() } catch let fault as WireFault where fault.kind == .timedOut {
            throw WireFault(.unanswered, "no answer: \(fault.message)")
        }
        channel.idleTimeout = idleTimeout
        let body = BodyReader(channel, try answer.bodyFraming(to: request.method))
        let keep = answer.keepsAlive ? { [self] in self.keep(channel, key) } : nil
        return HTTPAnswer(head: answer, url: request.url, body: body, channel: channel, keep: keep)
    }

    /// A server that refuses answers before it has read everything, and then closes: its answer counts, not the broken pipe.
    private func answering(_ channel: Channel, _ write: () throws -> Void) throws {
        do { try write() } catch let fault as WireFault where fault.kind == .cut {
            guard (try? channel.waitForInput(milliseconds: 1000)) == true else { throw fault }
        }
    }
}

private final class LengthSink: HTTPBodySink {
    private let channel: Channel
    private(set) var rest: Int64

    init(_ channel: Channel, _ length: Int64) {
        self.channel = channel
        rest = length
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard Int64(bytes.count) <= rest else { throw Fault(.system, "a body is longer than was said") }
        try channel.write(bytes)
        rest -= Int64(bytes.count)
    }
}

private final class ChunkSink: HTTPBodySink {
    let writer: ChunkedWriter
    init(_ channel: Channel) { writer = ChunkedWriter(channel) }
    func write(_ bytes: UnsafeRawBufferPointer) throws { try writer.write(bytes) }
}

/// The answer to a request: its head, and its body to be read by one thread. The connection is kept for the next request when the
/// body has been read to its end, and closed otherwise.
public final class HTTPAnswer {
    public let head: ResponseHead
    /// What was asked.
    public let url: HTTPURL
    private let body: BodyReader
    private let channel: Channel
    private var keep: (() -> Void)?

    init(head: ResponseHead, url: HTTPURL, body: BodyReader, channel: Channel, keep: (() -> Void)?) {
        self.head = head
        self.url = url
        self.body = body
        self.channel = channel
        self.keep = keep
        release()
    }

    public var status: Int { head.status }
    public subscript(_ name: String) -> String? { head.fields[name] }

    /// How long the body is, where the head says it.
    public var length: Int64? {
        switch body.framing {
        case .length(let length): length
        case .empty: 0
        default: nil
        }
    }

    private func release() {
        guard body.leavesChannelUsable, let keep else { return }
        self.keep = nil
        keep()
    }

    /// Reads at least one byte; 0 is the end. Throws `cut` when the connection ended before the body.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = try body.read(into: buffer)
        release()
        return count
    }

    /// The whole body. Throws `tooLarge` beyond the limit, `tooSlow` when it takes longer than `within` milliseconds.
    public func readAll(limit: Int, within: Int = 20_000) throws -> [UInt8] {
        let bytes = try body.readAll(limit: limit, within: within)
        release()
        return bytes
    }

    /// Nobody wants the rest. A short one is read, so that the connection can be kept.
    public func discard() {
        if let length, length > 64 << 10 { return }
        if body.drain(limit: 64 << 10, within: 2000) { release() }
    }

    /// Makes a `read` that waits on another thread end. From any thread.
    public func abort() { channel.abort() }
}
