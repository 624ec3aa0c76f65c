import Linux
import Model

/// An engine's connection.
final class EngineConnection {
    let socket: Descriptor
    let token: UInt64

    init(_ socket: consuming Descriptor, token: UInt64) {
        self.socket = socket
        self.token = token
    }
}

extension NamesLoop {
    func serve(_ connection: EngineConnection) {
        while !isEnding {
            do {
                switch try SeqPacket.receive(on: connection.socket.raw) {
                case .nothing: return
                case .end: return close(connection)
                case .message(let bytes, let descriptors):
                    let answer = answer(bytes, descriptors)
                    // An engine that does not read its answers is not worth a buffer of ours
                    guard try SeqPacket.send(answer.json, on: connection.socket.raw) else { return close(connection) }
                }
            } catch {
                return close(connection)
            }
        }
    }

    private func close(_ connection: EngineConnection) {
        epoll.remove(connection.socket.raw)
        if sources.removeValue(forKey: connection.token) != nil { engines -= 1 }
    }

    private func answer(_ bytes: [UInt8], _ descriptors: PassedDescriptors) -> NamesAnswer {
        let request: NamesRequest
        do { request = try NamesRequest(json: bytes) } catch {
            var answer = NamesAnswer(serial: 0)
            answer.fault = "\(error)"
            return answer
        }
        var answer = NamesAnswer(serial: request.serial)
        switch request.action {
        case .put(let sandbox):
            do { try put(sandbox, descriptors) } catch { answer.fault = "\(error)" }
        case .remove(let id): remove(id)
        case .list:
            answer.serving = Array(ports.keys)
            answer.known = table.sandboxes.map(\.id).filter { ports[$0] == nil }
        case .end: isEnding = true
        }
        answer.counters = counters
        answer.counters.pending = UInt64(pending.count)
        return answer
    }

    private func put(_ sandbox: NamesSandbox, _ descriptors: PassedDescriptors) throws {
        if descriptors.count > 0 {
            guard let datagrams = descriptors.next(), let listener = descriptors.next(),
                DatagramSocket.isDatagram(datagrams.raw), DatagramSocket.isStream(listener.raw)
            else { throw Fault(.invalid, "a sandbox's sockets are one for datagrams and one that listens") }
            let port = SandboxPort(
                sandbox.id, datagrams: datagrams, listener: listener, tokens: (newToken(), newToken()), limits: limits)
            for server in sandbox.innerServers {
                guard let datagrams = descriptors.next(), let stream = descriptors.next() else { break }
                port.inner[server] = InnerServer(server, datagrams: datagrams, stream: stream, token: newToken())
            }
            do {
                try epoll.add(port.datagrams.raw, .input, token: port.datagramToken)
                try epoll.add(port.listener.raw, .input, token: port.listenerToken)
                for server in port.inner.values { try epoll.add(server.datagrams.raw, .input, token: server.token) }
            } catch {
                forget(port)
                throw error
            }
            if let old = ports[sandbox.id] { close(old) }
            ports[sandbox.id] = port
            sources[port.datagramToken] = .datagrams(port)
            sources[port.listenerToken] = .listener(port)
            for server in port.inner.values { sources[server.token] = .inner(server) }
        }
        table.put(sandbox)
        let servers = sandbox.nameServers
        customServers[sandbox.id] = servers.isEmpty ? nil : servers
    }

    private func remove(_ id: ObjectID) {
        table.remove(id)
        customServers[id] = nil
        if let port = ports.removeValue(forKey: id) { close(port) }
    }

    /// With everything that is under way for it.
    private func close(_ port: SandboxPort) {
        port.isClosed = true
        forget(port)
        for client in Array(clients.values) where client.port === port { close(client) }
        for query in Array(pending.values) where query.path.port === port { drop(query) }
    }

    /// The engine holds the same sockets, so that closing ours does not take them out of the set.
    private func forget(_ port: SandboxPort) {
        let inner = port.inner.values
        for raw in [port.datagrams.raw, port.listener.raw] + inner.map({ $0.datagrams.raw }) { epoll.remove(raw) }
        for token in [port.datagramToken, port.listenerToken] + inner.map({ $0.token }) { sources[token] = nil }
    }
}
