import Linux
import Model

/// One connection and its requests, one after the other.
final class ServerConnection {
    private let server: HTTPServer
    private let id: UInt64
    private let channel: Channel
    private let peer: String

    init(server: HTTPServer, id: UInt64, channel: Channel, peer: String) {
        self.server = server
        self.id = id
        self.channel = channel
        self.peer = peer
    }

    /// Until the client ends, a request was malformed, or the server stops.
    func serve() throws {
        let settings = server.settings
        while true {
            guard server.setBusy(id, false), try channel.waitForInput(milliseconds: settings.idleTimeout) else { return }
            _ = server.setBusy(id, true)
            let head: RequestHead
            let framing: BodyFraming
            do {
                channel.deadline = Clock.monotonic + Int64(settings.headTimeout) * 1_000_000
                defer { channel.deadline = nil }
                guard let next = try channel.readRequest(limits: settings.limits) else { return }
                head = next
                framing = try next.bodyFraming()
                guard next.minor == 0 || next.fields.all("Host").count == 1 else {
                    throw WireFault(.malformed, "a request has one Host")
                }
            } catch let fault as WireFault {
                return refuse(fault)
            }
            guard try exchange(head, framing) else { return linger() }
        }
    }

    /// True when the connection may carry another request.
    private func exchange(_ head: RequestHead, _ framing: BodyFraming) throws -> Bool {
        let start = Clock.monotonic
        let reader = BodyReader(channel, framing, limits: server.settings.limits)
        let body = IncomingBody(reader, channel, expectsContinue: head.fields.has("Expect", word: "100-continue"))
        let request = ServerRequest(
            method: head.method, target: head.target, fields: head.fields, body: body, peer: peer, isSecure: channel.isSecure)
        let response = server.handler(request)
        var keeps = head.keepsAlive && !response.closes && !server.isStopping
        if keeps, !reader.isComplete {
            // a client that still waits for permission to send its body may send it or not (RFC 9110, 10.1.1)
            keeps = !body.awaitsContinue && reader.drain(limit: 256 << 10)
        }
        let sink = ConnectionSink(channel, timeout: server.settings.stallTimeout)
        var failure: (any Error)?
        do {
            try send(response, to: sink, isHead: head.method == "HEAD", keeps: keeps, minor: head.minor)
        } catch { failure = error }
        server.report(
            AccessRecord(
                peer: peer, method: head.method, target: head.target, status: response.status, sent: sink.sent,
                microseconds: (Clock.monotonic - start) / 1000, agent: head.fields["User-Agent"] ?? "",
                note: failure.map { "cut: \($0)" } ?? response.note))
        if let failure { throw failure }
        return keeps
    }

    private func send(_ response: ServerResponse, to sink: ConnectionSink, isHead: Bool, keeps: Bool, minor: Int) throws {
        var bytes = ResponseBytes.head(response, keeps: keeps, minor: minor)
        if isHead || response.status == 304 || response.status == 204 { return try channel.write(bytes) }
        switch response.body {
        case .none, .length: try channel.write(bytes)
        case .bytes(let body):
            bytes += body
            try channel.write(bytes)
            sink.sent = Int64(body.count)
        case .file(let file, let offset, let count):
            try channel.write(bytes)
            try sink.send(file.raw, offset: offset, count: count)
        case .stream(let count, let write):
            try channel.write(bytes)
            try write(sink)
            guard sink.sent == count else { throw WireFault(.cut, "\(sink.sent) of \(count) bytes were there to send") }
        }
    }

    private func refuse(_ fault: WireFault) {
        let status: Int
        switch fault.kind {
        case .tooLarge: status = 431
        case .malformed: status = 400
        case .timedOut: status = 408
        default: return
        }
        let response = ServerResponse(status, [.init("Content-Type", "text/plain")], body: .bytes(Array("\(fault)\n".utf8)))
        let sink = ConnectionSink(channel, timeout: server.settings.stallTimeout)
        try? send(response, to: sink, isHead: false, keeps: false, minor: 1)
        server.report(
            AccessRecord(
                peer: peer, method: "-", target: "-", status: status, sent: sink.sent, microseconds: 0, agent: "",
                note: fault.message))
        linger()
    }

    /// The client reads the answer before the connection is reset: what it still sends is taken and forgotten, for a while.
    private func linger() {
        channel.endWriting()
        channel.idleTimeout = 1000
        channel.deadline = Clock.monotonic + 5_000_000_000
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
        defer { space.deallocate() }
        var rest = 256 << 20
        while rest > 0, let count = try? channel.read(into: space), count > 0 { rest -= count }
    }
}

/// The body of a request as it comes over the connection.
private final class IncomingBody: RequestBody {
    let length: Int64?
    private let reader: BodyReader
    private let channel: Channel
    /// The client sends the body when it is told to.
    private(set) var awaitsContinue: Bool

    init(_ reader: BodyReader, _ channel: Channel, expectsContinue: Bool) {
        self.reader = reader
        self.channel = channel
        awaitsContinue = expectsContinue && reader.framing != .empty
        switch reader.framing {
        case .empty: length = 0
        case .length(let count): length = count
        case .chunked, .untilClose: length = nil
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if awaitsContinue {
            awaitsContinue = false
            try channel.write(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8))
        }
        return try reader.read(into: buffer)
    }
}

/// Where bodies go: the connection.
private final class ConnectionSink: ResponseSink {
    private let channel: Channel
    private let timeout: Int
    var sent: Int64 = 0

    init(_ channel: Channel, timeout: Int) {
        self.channel = channel
        self.timeout = timeout
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        try channel.write(bytes)
        sent += Int64(bytes.count)
    }

    func write(file: CInt, offset: Int64, count: Int64) throws { try send(file, offset: offset, count: count) }

    func send(_ file: CInt, offset: Int64, count: Int64) throws {
        guard let socket = channel.plainSocket else { return try copy(file, offset: offset, count: count) }
        var place = offset
        let end = offset + count
        while place < end {
            switch try ListenSocket.sendFile(file, offset: place, count: Int(min(end - place, 1 << 30)), to: socket) {
            case .moved(let count):
                place += Int64(count)
                sent += Int64(count)
            case .end: throw WireFault(.cut, "the file ended \(end - place) bytes early")
            case .wouldBlock:
                var entries = [PollEntry(socket, input: false, output: true)]
                guard try Polling.wait(&entries, milliseconds: CInt(timeout)) > 0 else {
                    throw WireFault(.timedOut, "the client takes nothing any more")
                }
            }
        }
    }

    /// TLS: through a buffer of this connection, which goes when the body has been sent.
    private func copy(_ file: CInt, offset: Int64, count: Int64) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(min(count, 128 << 10)) + 1, alignment: 64)
        defer { buffer.deallocate() }
        var place = offset
        let end = offset + count
        while place < end {
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(end - place, Int64(buffer.count)))])
            let done = try Files.readAt(file, into: part, offset: place)
            guard done > 0 else { throw WireFault(.cut, "the file ended \(end - place) bytes early") }
            try write(UnsafeRawBufferPointer(rebasing: part[..<done]))
            place += Int64(done)
        }
    }
}
