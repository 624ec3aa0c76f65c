import Linux
import Model

/// A name server in a sandbox itself (`--dns 127.0.0.1`). This process is in the host's network, whose loopback is another one, so
/// the engine has made the sockets inside. All queries go over one socket: whoever could guess an answer's id there is in the
/// sandbox as well.
final class InnerServer {
    struct Attempt {
        let query: PendingQuery
        let number: Int
    }

    let server: NameServer
    let datagrams: Descriptor
    /// For one query at a time.
    let stream: Descriptor
    let token: UInt64
    /// What is under way over `datagrams`, by the id that an answer bears.
    var waiting: [UInt16: Attempt] = [:]
    private var isConnected = false
    private var isStreamLent = false

    init(_ server: NameServer, datagrams: consuming Descriptor, stream: consuming Descriptor, token: UInt64) {
        self.server = server
        self.datagrams = datagrams
        self.stream = stream
        self.token = token
        // A process that died may have left it half way
        DatagramSocket.disconnect(self.stream.raw)
    }

    /// False where nothing leads to the server, or two queries have the same id.
    func send(_ bytes: [UInt8], id: UInt16, for attempt: Attempt) -> Bool {
        guard waiting[id] == nil else { return false }
        if !isConnected {
            guard (try? DatagramSocket.connect(datagrams.raw, to: server.address, port: server.port)) != nil else {
                return false
            }
            isConnected = true
        }
        // The first may be told that an earlier datagram was refused
        guard DatagramSocket.send(datagrams.raw, bytes) || DatagramSocket.send(datagrams.raw, bytes) else { return false }
        waiting[id] = attempt
        return true
    }

    /// The stream, about to be connected; nil while another query has it. `takeBackStream` ends that.
    func lendStream() -> Descriptor? {
        guard !isStreamLent, let copy = try? stream.duplicate(),
            (try? DatagramSocket.connect(copy.raw, to: server.address, port: server.port)) != nil
        else { return nil }
        isStreamLent = true
        return copy
    }

    func takeBackStream() {
        DatagramSocket.disconnect(stream.raw)
        isStreamLent = false
    }
}

extension NamesLoop {
    /// An attempt over sockets inside the sandbox; false where there are none, or the server cannot be reached.
    func openInside(_ attempt: Exchange.Attempt, _ number: Int, _ query: PendingQuery) -> Bool {
        guard let inner = query.path.port.inner[attempt.server] else { return false }
        let bytes = query.exchange.bytes(of: number)
        guard attempt.isStream else {
            let isSent = inner.send(bytes, id: attempt.id, for: InnerServer.Attempt(query: query, number: number))
            if isSent { query.innerAttempts.append((inner, attempt.id)) }
            return isSent
        }
        guard sources.count < capacity, let stream = inner.lendStream() else { return false }
        let token = newToken()
        let socket = UpstreamSocket(stream, token: token, attempt: number, query: query, isStream: true)
        socket.frames.put(bytes)
        do { try epoll.add(socket.socket.raw, .output, token: token) } catch {
            inner.takeBackStream()
            return false
        }
        socket.lender = inner
        keep(socket)
        return true
    }

    /// Answers of a server inside a sandbox, a few at a time.
    func serve(_ inner: InnerServer) {
        for _ in 0..<8 {
            switch DatagramSocket.receive(inner.datagrams.raw, into: buffer) {
            case .nothing: return
            case .refused:
                // The kernel does not say which one: nobody listens there, so it is all of them
                let waiting = inner.waiting
                inner.waiting = [:]
                for attempt in waiting.values where pending[attempt.query.key] != nil {
                    let query = attempt.query
                    perform(query.exchange.failed(attempt.number, id: random.word(), book: &book, now: now), query)
                }
                return
            case .bytes(let count):
                guard count >= 12, let attempt = inner.waiting[UInt16(buffer[0]) << 8 | UInt16(buffer[1])] else { continue }
                let query = attempt.query
                let step = query.exchange.received(
                    [UInt8](buffer[..<count]), for: attempt.number, id: random.word(), book: &book, now: now)
                guard step != .wait || !query.exchange.attempts[attempt.number].isOpen else { continue }
                inner.waiting[query.exchange.attempts[attempt.number].id] = nil
                perform(step, query)
            }
        }
    }
}
