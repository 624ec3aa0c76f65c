import Linux
import Model

extension NamesLoop {
    /// A few datagrams of one sandbox; epoll hands out the others before it comes to this one again.
    func readDatagrams(_ port: SandboxPort) {
        guard !port.isClosed, port.pausedUntil == nil else { return }
        var peer = DatagramPeer()
        for _ in 0..<limits.datagramsPerTurn {
            guard port.budget.take(now: now) else { return pause(port) }
            guard case .bytes(let count) = DatagramSocket.receive(port.datagrams.raw, into: buffer, from: &peer) else { return }
            query([UInt8](buffer[..<count]), .datagram(port, peer))
        }
    }

    private func pause(_ port: SandboxPort) {
        let time = max(port.budget.refillTime, now + 1_000_000)
        port.pausedUntil = time
        try? epoll.modify(port.datagrams.raw, [], token: port.datagramToken)
        paused.append(port)
        wake(at: time)
    }

    /// One query of a sandbox, whatever its bytes.
    func query(_ bytes: [UInt8], _ path: ReplyPath) {
        counters.queries += 1
        guard bytes.count >= 12, bytes[2] & 0x80 == 0, bytes.count <= limits.queryBytes else {
            counters.dropped += 1
            return finish(path)
        }
        guard let message = try? DNSMessage(bytes) else {
            // The header alone: nothing else of it is to be trusted
            return reply([bytes[0], bytes[1], 0x80 | bytes[2] & 0x79, 0x81, 0, 0, 0, 0, 0, 0, 0, 0], path)
        }
        func say(_ code: DNSCode, _ records: [DNSRecord] = []) {
            let limit = DNSAnswer.limit(message, isStream: path.isStream)
            reply(DNSAnswer.make(message, bytes, code: code, records: records, limit: limit), path)
        }
        guard message.opcode == 0 else { return say(.notImplemented) }
        guard let question = message.question else { return say(.formatError) }
        if let edns = message.edns, edns.version > 0 { return say(.badVersion) }
        // Zone transfers (AXFR, IXFR) are streams of messages; other classes are nobody's business
        guard question.class == DNSQuestion.internet, ![251, 252].contains(question.type) else { return say(.refused) }
        switch table.verdict(question, for: path.port.id, turn: UInt64(random.word())) {
        case .known(let records): say(.noError, records)
        case .noSuchName: say(.noSuchName)
        case .foreign:
            guard !servers(of: path.port.id).isEmpty else {
                return say(question.name.isSingleLabel ? .noSuchName : .serverFailure)
            }
            guard path.port.pending < limits.pendingPerSandbox, pending.count < limits.pending else {
                counters.dropped += 1
                return say(.serverFailure)
            }
            forward(bytes, message, path)
        }
    }

    func reply(_ bytes: [UInt8], _ path: ReplyPath) {
        switch path {
        case .datagram(let port, let peer):
            if !port.isClosed { DatagramSocket.send(port.datagrams.raw, bytes, to: peer) }
        case .stream(let client):
            if !client.isClosed { client.frames.put(bytes) }
            finish(path)
        }
    }

    /// The client's connection may go on with its next query.
    private func finish(_ path: ReplyPath) {
        guard case .stream(let client) = path, !client.isClosed else { return }
        client.isBusy = false
        client.deadline = now + limits.streamIdle
        // Where the answer was at hand, the loop that asked for it goes on by itself
        if !client.isProceeding { proceed(client) }
    }

    // MARK: TCP

    func acceptClient(_ port: SandboxPort) {
        for _ in 0..<4 {
            guard !port.isClosed, let socket = try? SeqPacket.accept(port.listener.raw) else { return }
            guard port.streams < limits.streamsPerSandbox, clients.count < limits.streams, sources.count < capacity else {
                continue
            }
            let client = StreamClient(socket, token: newToken(), port: port, deadline: now + limits.streamIdle)
            guard (try? epoll.add(client.socket.raw, .input, token: client.token)) != nil else { continue }
            port.streams += 1
            clients[client.token] = client
            sources[client.token] = .client(client)
            wake(at: client.deadline)
        }
    }

    func close(_ client: StreamClient) {
        guard !client.isClosed else { return }
        client.isClosed = true
        client.port.streams -= 1
        epoll.remove(client.socket.raw)
        sources[client.token] = nil
        clients[client.token] = nil
    }

    func serve(_ client: StreamClient, _ events: Epoll.Events) {
        guard !client.isClosed else { return }
        if events.contains(.hangUp) || events.contains(.error) { return close(client) }
        if events.contains(.output) { return proceed(client) }
        guard !client.isBusy else { return }
        // No more than a long query at a time: short ones in great numbers take their turns
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(limits.queryBytes + 2)])
        switch try? StreamSocket.read(client.socket.raw, into: part) {
        case .moved(let count):
            client.frames.take(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            proceed(client)
        case .wouldBlock: return
        case .end, nil: close(client)
        }
    }

    /// Writes what is to be written, then takes up the next query; waits for what is missing.
    private func proceed(_ client: StreamClient) {
        client.isProceeding = true
        defer { client.isProceeding = false }
        while !client.isClosed {
            switch write(client) {
            case .moved: break
            case .wouldBlock: return listen(client, .output)
            case .end: return close(client)
            }
            if client.isBusy { return listen(client, []) }
            switch client.frames.next(limit: limits.queryBytes) {
            case .message(let bytes):
                guard client.port.budget.take(now: now) else { return close(client) }
                client.isBusy = true
                query(bytes, .stream(client))
            case .incomplete: return listen(client, .input)
            case .tooLong: return close(client)
            }
        }
    }

    /// `moved` when everything is written.
    private func write(_ client: StreamClient) -> IOResult {
        while !client.frames.output.isEmpty {
            let result = client.frames.output.withUnsafeBytes { try? StreamSocket.write(client.socket.raw, $0) }
            guard case .moved(let count) = result else { return result ?? .end }
            client.frames.sent(count)
        }
        return .moved(0)
    }

    private func listen(_ client: StreamClient, _ events: Epoll.Events) {
        guard !client.isClosed, client.interest != events else { return }
        client.interest = events
        try? epoll.modify(client.socket.raw, events, token: client.token)
    }
}
