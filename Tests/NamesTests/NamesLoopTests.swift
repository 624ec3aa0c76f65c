import Linux
import Model
import Names
import Testing

/// A loop on a thread of its own with one sandbox, whose sockets are at a port of this machine's loopback.
private final class Running: Sendable {
    let address: IPAddress = .v4(.loopback)
    let port: UInt16
    let control: SharedDescriptor
    let ended = Monitor(false)
    let sandbox: ObjectID = .random()

    init(resolvConf: String = "/nonexistent", servers: [String] = [], forwards: Bool = true) throws {
        let folder = try FileCalls.makeTemporaryFolder("/tmp/names.XXXXXX")
        let path = folder + "/control"
        let listener = try SeqPacket.listen(at: path).release()
        let ended = ended
        try startThread {
            let loop = try? NamesLoop(control: Descriptor(owning: listener), owner: Processes.userID, resolvConf: resolvConf)
            try? loop?.run()
            ended.update { $0 = true }
        }
        let connection = try SeqPacket.connect(to: path)
        try PollIO.setNonblocking(connection.raw, false)
        control = SharedDescriptor(connection)
        let datagrams = try DatagramSocket.bind(address, port: 0)
        port = try NetPortSocket.port(of: datagrams.raw)
        let stream = try DatagramSocket.listen(address, port: port, backlog: 8)
        var record = NamesSandbox(id: sandbox)
        record.servers = servers
        record.forwards = forwards
        let own = NamesAddress(.v4(IPv4Address(number: 0x0A01_0002)), prefix: 24)
        record.endpoints = [NamesEndpoint(network: "n", networkName: "net", addresses: [own], names: ["web"])]
        // The servers of these tests are on loopback, and so in the sandbox itself
        let inner = try record.innerServers.flatMap { server in
            try [false, true].map { SharedDescriptor(try DatagramSocket.unconnected(server.address, isStream: $0)) }
        }
        _ = try ask(.put(record), [datagrams.raw, stream.raw] + inner.map(\.raw))
        withExtendedLifetime(inner) {}
    }

    @discardableResult
    func ask(_ action: NamesRequest.Action, _ descriptors: [CInt] = []) throws -> NamesAnswer {
        _ = try SeqPacket.send(NamesRequest(serial: 1, action: action).json, descriptors: descriptors, on: control.raw)
        guard case .message(let bytes, _) = try SeqPacket.receive(on: control.raw) else { throw Fault(.system, "no answer") }
        return try NamesAnswer(json: bytes)
    }

    func end() throws {
        try ask(.end)
        _ = ended.wait { $0 ? true : nil }
    }

    /// One query over UDP; nil where no answer comes within the time.
    func send(_ query: [UInt8], milliseconds: CInt = 2000) throws -> [UInt8]? {
        let socket = try DatagramSocket.connect(address, port: port)
        DatagramSocket.send(socket.raw, query)
        return try receive(socket.raw, milliseconds)
    }

    func stream(_ query: [UInt8], times: Int = 1) throws -> [[UInt8]] {
        let socket = try DatagramSocket.connectStream(address, port: port)
        try PollIO.setNonblocking(socket.raw, false)
        for _ in 0..<times {
            try PollIO.writeAll([UInt8(query.count >> 8), UInt8(query.count & 0xFF)] + query, to: socket.raw)
        }
        var bytes: [UInt8] = []
        var answers: [[UInt8]] = []
        while answers.count < times {
            guard let part = try receive(socket.raw, 2000), !part.isEmpty else { break }
            bytes += part
            while bytes.count >= 2, case let length = Int(bytes[0]) << 8 | Int(bytes[1]), bytes.count >= 2 + length {
                answers.append(Array(bytes[2..<(2 + length)]))
                bytes.removeFirst(2 + length)
            }
        }
        return answers
    }
}

private func receive(_ raw: CInt, _ milliseconds: CInt) throws -> [UInt8]? {
    var entries = [PollEntry(raw)]
    guard try Polling.wait(&entries, milliseconds: milliseconds) == 1 else { return nil }
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let count = try buffer.withUnsafeMutableBytes { bytes -> Int in
        switch DatagramSocket.receive(raw, into: bytes) {
        case .bytes(let count): return count
        case .nothing: return 0
        case .refused: throw KernelFault("recv", errno: 111)
        }
    }
    return Array(buffer[..<count])
}

/// A server that answers each query with one address, or by a way of the test's.
private final class FakeServer: Sendable {
    let text: String
    let seen = Monitor([[UInt8]]())

    init(_ answer: @escaping @Sendable ([UInt8]) -> [UInt8]?) throws {
        let socket = try DatagramSocket.bind(.v4(.loopback), port: 0).release()
        text = "127.0.0.1#\(try NetPortSocket.port(of: socket))"
        let seen = seen
        try startThread {
            let socket = Descriptor(owning: socket)
            var peer = DatagramPeer()
            var buffer = [UInt8](repeating: 0, count: 4096)
            // A test lasts less than this server
            while let count = try? FakeServer.next(socket.raw, &buffer, &peer) {
                let query = Array(buffer[..<count])
                seen.update { $0.append(query) }
                if let bytes = answer(query) { DatagramSocket.send(socket.raw, bytes, to: peer) }
            }
        }
    }

    private static func next(_ raw: CInt, _ buffer: inout [UInt8], _ peer: inout DatagramPeer) throws -> Int? {
        var entries = [PollEntry(raw)]
        guard try Polling.wait(&entries, milliseconds: 10_000) == 1 else { return nil }
        let received = buffer.withUnsafeMutableBytes { DatagramSocket.receive(raw, into: $0, from: &peer) }
        if case .bytes(let count) = received { return count }
        return 0
    }

    static func address(_ query: [UInt8]) -> [UInt8] {
        var bytes = query
        bytes[2] |= 0x80
        bytes[3] = 0x80
        bytes[7] = 1
        return bytes + [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 9, 9, 9, 9]
    }
}

@Suite struct NamesLoopTests {
    @Test func ownNamesAreAnsweredOverBothTransports() throws {
        let running = try Running()
        let answer = try #require(try running.send(query("web")))
        #expect(Array(answer.suffix(4)) == [10, 1, 0, 2])
        #expect(try running.stream(query("web"), times: 300).count == 300)
        #expect(try running.stream(query("WEB.net")).first?.suffix(4) == [10, 1, 0, 2])
        try running.end()
    }

    @Test func otherNamesComeFromTheServers() throws {
        let server = try FakeServer { FakeServer.address($0) }
        let running = try Running(servers: [server.text])
        let answer = try #require(try running.send(query("example.org", id: 0x7777)))
        #expect(Array(answer.suffix(4)) == [9, 9, 9, 9])
        #expect(answer[0] == 0x77 && answer[1] == 0x77)
        #expect(try running.stream(query("example.org")).first?.suffix(4) == [9, 9, 9, 9])
        try running.end()
    }

    @Test func queryIDsCannotBeForetold() throws {
        let server = try FakeServer { FakeServer.address($0) }
        let running = try Running(servers: [server.text])
        for _ in 0..<20 { _ = try running.send(query("example.org", id: 1)) }
        let ids = Set(server.seen.update { $0.map { UInt16($0[0]) << 8 | UInt16($0[1]) } })
        #expect(ids.count > 15)
        try running.end()
    }

    @Test func aSandboxWithoutAWayOutAsksNobody() throws {
        let server = try FakeServer { FakeServer.address($0) }
        // The host's; one of --dns on loopback would be in the sandbox itself
        let path = try FileCalls.makeTemporaryFolder("/tmp/names.XXXXXX") + "/resolv.conf"
        try writeFile(path, Array("nameserver \(server.text)\n".utf8))
        let running = try Running(resolvConf: path, forwards: false)
        #expect(try running.send(query("example.org"))?[3] == 0x82)
        #expect(try running.send(query("nobody"))?[3] == 0x83)
        #expect(try running.send(query("9.0.1.10.in-addr.arpa", DNSQuestion.ptr))?[3] == 0x83)
        #expect(try running.send(query("9.9.9.9.in-addr.arpa", DNSQuestion.ptr))?[3] == 0x82)
        #expect(server.seen.update { $0.isEmpty })
        try running.end()
    }

    @Test func whereNobodyListensTheAnswerComesAtOnce() throws {
        let unused = try DatagramSocket.bind(.v4(.loopback), port: 0)
        let port = try NetPortSocket.port(of: unused.raw)
        _ = consume unused
        let running = try Running(servers: ["127.0.0.1#\(port)"])
        let begun = Clock.monotonic
        #expect(try running.send(query("example.org"))?[3] == 0x82)
        #expect(Clock.monotonic - begun < 250_000_000)
        try running.end()
    }

    @Test func aDeadFirstServerCostsItsPatienceOnce() throws {
        let dead = try FakeServer { _ in nil }
        let server = try FakeServer { FakeServer.address($0) }
        let running = try Running(servers: [dead.text, server.text])
        #expect(try running.send(query("example.org"))?.suffix(4) == [9, 9, 9, 9])
        let begun = Clock.monotonic
        #expect(try running.send(query("example.org"))?.suffix(4) == [9, 9, 9, 9])
        #expect(Clock.monotonic - begun < 250_000_000)
        try running.end()
    }

    @Test func lyingAnswersArePassedOver() throws {
        let server = try FakeServer { query in
            var wrong = FakeServer.address(query)
            wrong[13] ^= 0x01  // another name
            return wrong
        }
        let running = try Running(servers: [server.text])
        #expect(try running.send(query("example.org"), milliseconds: 700) == nil)
        try running.end()
    }

    @Test func badQueriesAreAnsweredOrDropped() throws {
        let running = try Running()
        #expect(try running.send([1, 2, 3], milliseconds: 200) == nil)
        var response = query("web")
        response[2] |= 0x80
        #expect(try running.send(response, milliseconds: 200) == nil)
        #expect(try running.send(query("web").dropLast(1) + [])?[3] == 0x81)
        var notify = query("web")
        notify[2] = 0x20
        #expect(try running.send(notify)?[3] == 0x84)
        var chaos = query("version.bind", 16)
        chaos[chaos.count - 1] = 3
        #expect(try running.send(chaos)?[3] == 0x85)
        #expect(try running.send(query("web", 252))?[3] == 0x85)
        try running.end()
    }

    @Test func floodsAreBounded() throws {
        let dead = try FakeServer { _ in nil }
        let running = try Running(servers: [dead.text])
        let socket = try DatagramSocket.connect(running.address, port: running.port)
        for number in 0..<400 {
            DatagramSocket.send(socket.raw, query("x\(number).example.org"))
            if number % 50 == 0 { NetClock.sleep(milliseconds: 5) }
        }
        NetClock.sleep(milliseconds: 50)
        let counters = try running.ask(.list).counters
        #expect(counters.pending <= 128)
        #expect(counters.dropped > 0)
        #expect(try running.send(query("web"))?.suffix(4) == [10, 1, 0, 2])
        try running.end()
    }

    @Test func theHostsServersAreFollowed() throws {
        let folder = try FileCalls.makeTemporaryFolder("/tmp/names.XXXXXX")
        let path = folder + "/resolv.conf"
        let first = try FakeServer { FakeServer.address($0) }
        let second = try FakeServer { FakeServer.address($0) }
        try SmallFile.replace(path, with: Array("nameserver \(first.text)\n".utf8))
        let running = try Running(resolvConf: path)
        _ = try running.send(query("example.org"))
        #expect(first.seen.update { $0.count } == 1)
        try SmallFile.replace(path, with: Array("nameserver \(second.text)\n".utf8))
        NetClock.sleep(milliseconds: 1_100)
        _ = try running.send(query("example.org"))
        #expect(second.seen.update { $0.count } == 1)
        try running.end()
    }

    @Test func anEngineSeesWhoIsThere() throws {
        let running = try Running()
        #expect(try running.ask(.list).serving == [running.sandbox])
        let other = NamesSandbox(id: .random())
        try running.ask(.put(other))
        #expect(try running.ask(.list).known == [other.id])
        try running.ask(.remove(running.sandbox))
        #expect(try running.ask(.list).serving.isEmpty)
        #expect(throws: KernelFault.self) { try running.send(query("web"), milliseconds: 200) }
        try running.end()
    }
}
