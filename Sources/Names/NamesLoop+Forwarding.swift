import Linux
import Model

extension NamesLoop {
    /// Passes a query on to the sandbox's servers.
    func forward(_ bytes: [UInt8], _ message: DNSMessage, _ path: ReplyPath) {
        _ = host.refresh(now: now)
        let configured = servers(of: path.port.id)
        let exchange = Exchange(
            bytes, message, servers: book.order(configured, now: now), isStream: path.isStream, now: now)
        let query = PendingQuery(key: newToken(), path: path, exchange: exchange)
        pending[query.key] = query
        path.port.pending += 1
        counters.forwarded += 1
        perform(query.exchange.begin(id: random.word(), now: now), query)
    }

    /// Whom a sandbox asks what its networks do not know. Where it has no way out, nobody outside: servers in itself alone.
    func servers(of id: ObjectID) -> [NameServer] {
        let hasWayOut = table.record(of: id)?.forwards == true
        guard let custom = customServers[id] else { return hasWayOut ? host.servers : [] }
        return hasWayOut ? custom : custom.filter { $0.sandbox != nil }
    }

    /// Does what the exchange says, and again, as long as attempts fail at once.
    func perform(_ first: Exchange.Step, _ query: PendingQuery) {
        var step = first
        while true {
            switch step {
            case .wait:
                return wake(at: min(query.exchange.wakeTime, query.exchange.deadline))
            case .reply(let bytes):
                drop(query)
                return reply(bytes, query.path)
            case .ask(let attempt):
                if open(attempt, query) {
                    step = .wait
                } else {
                    step = query.exchange.failed(attempt, id: random.word(), book: &book, now: now)
                }
            }
        }
    }

    /// A socket of its own for each attempt: the kernel picks its port by chance.
    private func open(_ number: Int, _ query: PendingQuery) -> Bool {
        let attempt = query.exchange.attempts[number]
        let server = attempt.server
        // What a container calls loopback is never the host's
        if server.sandbox != nil { return openInside(attempt, number, query) }
        let token = newToken()
        guard sources.count < capacity else { return false }
        do {
            let bytes = query.exchange.bytes(of: number)
            if attempt.isStream {
                let socket = UpstreamSocket(
                    try DatagramSocket.connectStream(server.address, port: server.port, scope: server.scope), token: token,
                    attempt: number, query: query, isStream: true)
                socket.frames.put(bytes)
                try epoll.add(socket.socket.raw, .output, token: token)
                keep(socket)
            } else {
                let socket = UpstreamSocket(
                    try DatagramSocket.connect(server.address, port: server.port, scope: server.scope), token: token,
                    attempt: number, query: query, isStream: false)
                guard DatagramSocket.send(socket.socket.raw, bytes) else { return false }
                try epoll.add(socket.socket.raw, .input, token: token)
                keep(socket)
            }
            return true
        } catch {
            return false
        }
    }

    func keep(_ socket: UpstreamSocket) {
        socket.query.sockets.append(socket)
        sources[socket.token] = .upstream(socket)
    }

    /// Forgets a query and closes what was opened for it.
    func drop(_ query: PendingQuery) {
        guard pending.removeValue(forKey: query.key) != nil else { return }
        query.path.port.pending -= 1
        for socket in query.sockets { close(socket) }
        query.sockets = []
        for (server, id) in query.innerAttempts { server.waiting[id] = nil }
        query.innerAttempts = []
    }

    private func close(_ socket: UpstreamSocket) {
        guard sources.removeValue(forKey: socket.token) != nil else { return }
        epoll.remove(socket.socket.raw)
        socket.lender?.takeBackStream()
    }

    func serve(_ socket: UpstreamSocket, _ events: Epoll.Events) {
        if socket.isStream { return serveStream(socket, events) }
        let query = socket.query
        // Guessed answers come in numbers: a few a turn, then the others have theirs
        for _ in 0..<4 {
            switch DatagramSocket.receive(socket.socket.raw, into: buffer) {
            case .nothing: return
            case .refused: return failed(socket)
            case .bytes(let count):
                let step = query.exchange.received(
                    [UInt8](buffer[..<count]), for: socket.attempt, id: random.word(), book: &book, now: now)
                if step != .wait || !query.exchange.attempts[socket.attempt].isOpen {
                    close(socket)
                    return perform(step, query)
                }
            }
        }
    }

    private func failed(_ socket: UpstreamSocket) {
        close(socket)
        let query = socket.query
        perform(query.exchange.failed(socket.attempt, id: random.word(), book: &book, now: now), query)
    }

    private func serveStream(_ socket: UpstreamSocket, _ events: Epoll.Events) {
        do {
            if !socket.isConnected {
                try StreamSocket.checkConnected(socket.socket.raw)
                socket.isConnected = true
            }
            while !socket.frames.output.isEmpty {
                let result = try socket.frames.output.withUnsafeBytes { try StreamSocket.write(socket.socket.raw, $0) }
                guard case .moved(let count) = result else { return }
                socket.frames.sent(count)
            }
            if events.contains(.output) { try epoll.modify(socket.socket.raw, .input, token: socket.token) }
            switch try StreamSocket.read(socket.socket.raw, into: buffer) {
            case .wouldBlock: return
            case .end: return failed(socket)
            case .moved(let count): socket.frames.take(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            guard case .message(let bytes) = socket.frames.next(limit: 65_535) else { return }
            let query = socket.query
            let step = query.exchange.received(bytes, for: socket.attempt, id: random.word(), book: &book, now: now)
            // Over a stream nobody can guess: what is no answer to the query is a server's fault
            if step == .wait, query.exchange.attempts[socket.attempt].isOpen { return failed(socket) }
            close(socket)
            perform(step, query)
        } catch {
            failed(socket)
        }
    }
}
