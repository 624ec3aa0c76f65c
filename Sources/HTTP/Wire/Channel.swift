import CTLS
import Linux

/// A connection, plain or with TLS, that blocks the calling thread up to a deadline. One thread at a time uses it; `abort` may be
/// called by any. Closed when it goes.
///
/// `@unchecked Sendable`: the socket's number never changes, and everything else is only touched by the thread that uses it.
public final class Channel: @unchecked Sendable {
    private let socket: Descriptor
    private var tls: OpaquePointer?
    /// Keeps OpenSSL's context for as long as the session.
    private var context: TLSContext?
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 10, alignment: 16)
    private var start = 0
    private var end = 0

    /// Milliseconds for which nothing may move before `timedOut` is thrown; each byte begins them anew.
    public var idleTimeout: Int
    /// An instant of the monotonic clock, in nanoseconds, after which every wait is over, whatever moved.
    public var deadline: Int64?
    /// Ends every wait.
    public var cancellation: WireCancellation?
    /// TLS: the connection ended without the word that it ends: an attacker may have cut it.
    public private(set) var wasCut = false

    /// Takes over a connected socket; it is set not to block.
    public init(_ socket: consuming Descriptor, idleTimeout: Int = 30_000, cancellation: WireCancellation? = nil) throws {
        self.idleTimeout = idleTimeout
        self.cancellation = cancellation
        let raw = socket.raw
        self.socket = socket
        do { try PollIO.setNonblocking(raw) } catch { throw WireFault(.unreachable, "\(error)") }
    }

    deinit {
        if let tls { ctls_session_free(tls) }
        buffer.deallocate()
    }

    /// The socket's number, for sendfile(2) and addresses; nil with TLS. It stays the channel's; it does not block.
    public var plainSocket: CInt? { tls == nil ? socket.raw : nil }
    /// The socket's number for getpeername(2) and the like.
    public var socketNumber: CInt { socket.raw }
    public var isSecure: Bool { tls != nil }

    // MARK: TLS

    /// The client's side: the certificate must be for `host`, a name or an address.
    public func startTLS(_ context: TLSContext, host: String) throws {
        let isAddress = HTTPURL.isAddress(host)
        try startTLS(context, ctls_session_new(context.raw, socket.raw, host, isAddress ? 1 : 0), host)
    }

    /// The server's side.
    public func startTLS(server context: TLSContext) throws {
        try startTLS(context, ctls_session_new(context.raw, socket.raw, nil, 0), "the client")
    }

    private func startTLS(_ context: TLSContext, _ session: OpaquePointer?, _ name: String) throws {
        guard let session else { throw WireFault(.tls, "tls: no memory for a session with \(name)") }
        tls = session
        self.context = context
        while true {
            let code = Int(ctls_handshake(session))
            switch code {
            case 1: return
            case Int(CTLS_WANTS_READ), Int(CTLS_WANTS_WRITE): try wait(output: code == Int(CTLS_WANTS_WRITE))
            case Int(CTLS_FAULT): throw WireFault(.tls, "tls: \(name): \(sessionError(session))")
            default: throw WireFault(.cut, "tls: \(name) ended the connection during the handshake")
            }
        }
    }

    private func sessionError(_ session: OpaquePointer) -> String {
        var error = [CChar](repeating: 0, count: 256)
        ctls_session_error(session, &error, error.count)
        return TLSContext.text(error)
    }

    // MARK: Bytes

    /// Reads at least one byte; 0 when the other side has ended.
    public func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        if start == end {
            if target.count >= 4096 { return try receive(into: target) }
            guard try fill() else { return 0 }
        }
        let count = min(target.count, end - start)
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<(start + count)]))
        start += count
        return count
    }

    /// The next byte, nil at the end.
    func readByte() throws -> UInt8? {
        if start == end {
            guard try fill() else { return nil }
        }
        defer { start += 1 }
        return buffer[start]
    }

    /// Bytes that were received and not read: after a head that asks for another protocol, they are its first.
    public func takeBuffered() -> [UInt8] {
        defer { start = end }
        return Array(buffer[start..<end])
    }

    private func fill() throws -> Bool {
        start = 0
        end = 0
        end = try receive(into: buffer)
        return end > 0
    }

    private func receive(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            guard let tls else {
                switch try plain({ try StreamSocket.read(socket.raw, into: target) }) {
                case .moved(let count): return count
                case .end: return 0
                case .wouldBlock: try wait(output: false)
                }
                continue
            }
            let count = ctls_read(tls, target.baseAddress, target.count)
            if count > 0 { return count }
            switch count {
            case Int(CTLS_END): return 0
            case Int(CTLS_WANTS_READ), Int(CTLS_WANTS_WRITE): try wait(output: count == Int(CTLS_WANTS_WRITE))
            case Int(CTLS_CUT):
                wasCut = true
                return 0
            default: throw WireFault(.tls, "tls: \(sessionError(tls))")
            }
        }
    }

    /// Writes all of it.
    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let count = try send(rest)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    public func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }

    private func send(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        while true {
            guard let tls else {
                switch try plain({ try StreamSocket.write(socket.raw, bytes) }) {
                case .moved(let count): return count
                case .end, .wouldBlock: try wait(output: true)
                }
                continue
            }
            let count = ctls_write(tls, bytes.baseAddress, bytes.count)
            if count > 0 { return count }
            switch count {
            case Int(CTLS_WANTS_READ), Int(CTLS_WANTS_WRITE): try wait(output: count == Int(CTLS_WANTS_WRITE))
            case Int(CTLS_CUT): throw WireFault(.cut, "the connection was closed by the other side")
            default: throw WireFault(.tls, "tls: \(sessionError(tls))")
            }
        }
    }

    private func plain(_ body: () throws -> IOResult) throws -> IOResult {
        do { return try body() } catch let fault as KernelFault {
            throw WireFault(.cut, "the connection broke: \(fault.reason)")
        }
    }

    /// Nothing more will be written; the other side reads an end.
    public func endWriting() {
        if let tls { _ = ctls_end(tls) }
        PollIO.shutdownWrite(socket.raw)
    }

    /// Ends everything at once; a thread that waits in `read` or `write` throws or reads an end. From any thread.
    public func abort() { StreamSocket.end(socket.raw) }

    // MARK: Waiting

    /// Waits for something to read, at most so long: false when the time is over. For servers between requests.
    public func waitForInput(milliseconds: Int) throws -> Bool {
        if start < end { return true }
        if let tls, ctls_pending(tls) > 0 { return true }
        return try wait(output: false, limit: milliseconds)
    }

    /// Whether the other side has ended or sent something unasked: a kept connection that must not be used again.
    public var isStale: Bool {
        if start < end { return true }
        var entries = [PollEntry(socket.raw)]
        return (try? Polling.wait(&entries, milliseconds: 0)) != 0
    }

    private func wait(output: Bool) throws {
        if try !wait(output: output, limit: idleTimeout) {
            throw WireFault(.timedOut, "nothing moved on the connection for \(Self.seconds(idleTimeout))")
        }
    }

    private static func seconds(_ milliseconds: Int) -> String {
        milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
    }

    private func wait(output: Bool, limit: Int) throws -> Bool {
        var limit = limit
        if let deadline { limit = min(limit, Int((deadline - Clock.monotonic) / 1_000_000)) }
        return try Self.wait(socket.raw, output: output, limit: limit, cancellation: cancellation)
    }

    /// In slices, so that a cancellation is seen without a second descriptor to wait for.
    static func wait(_ raw: CInt, output: Bool, limit: Int, cancellation: WireCancellation?) throws -> Bool {
        let deadline = Clock.monotonic + Int64(limit) * 1_000_000
        while true {
            try cancellation?.check()
            let rest = (deadline - Clock.monotonic) / 1_000_000
            if rest <= 0 { return false }
            var entries = [PollEntry(raw, input: !output, output: output)]
            do {
                let slice = cancellation == nil ? min(rest, 3_600_000) : min(rest, 200)
                if try Polling.wait(&entries, milliseconds: CInt(slice)) > 0 { return true }
            } catch let fault as KernelFault { throw WireFault(.cut, "\(fault)") }
        }
    }
}

extension Channel {
    /// Bytes of the next message's head with its empty line; nil when the other side ended before its first byte. Empty lines
    /// before it are passed over (RFC 9112, 2.2).
    public func readHead(limits: WireLimits = WireLimits()) throws -> [UInt8]? {
        var head: [UInt8] = []
        head.reserveCapacity(512)
        while true {
            guard let byte = try readByte() else {
                if head.isEmpty { return nil }
                throw WireFault(.cut, "the connection ended in the midst of a head")
            }
            if head.isEmpty, byte == 0x0D || byte == 0x0A { continue }
            // a TLS handshake on a plain port must not wait for an end that never comes
            if head.isEmpty, !HeadParser.isToken(byte) { throw HeadParser.malformed("the beginning of a message") }
            head.append(byte)
            if byte == 0x0A, head.count >= 4, head.suffix(4).elementsEqual([0x0D, 0x0A, 0x0D, 0x0A]) { return head }
            guard head.count < limits.head else { throw WireFault(.tooLarge, "a head of more than \(limits.head) bytes") }
        }
    }

    /// The next request; nil when the client has ended.
    public func readRequest(limits: WireLimits = WireLimits()) throws -> RequestHead? {
        try readHead(limits: limits).map { try HeadParser.request($0, limits: limits) }
    }

    /// The answer to a request; interim answers (1xx but 101) are passed over. Throws `cut` when there is none.
    public func readResponse(limits: WireLimits = WireLimits()) throws -> ResponseHead {
        for _ in 0..<8 {
            guard let bytes = try readHead(limits: limits) else {
                throw WireFault(.cut, "the connection was closed without an answer")
            }
            let head = try HeadParser.response(bytes, limits: limits)
            if head.status >= 200 || head.status == 101 { return head }
        }
        throw WireFault(.malformed, "interim answers without end")
    }
}
