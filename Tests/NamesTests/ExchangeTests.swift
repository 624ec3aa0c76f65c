import Model
import Names
import Testing

/// A forwarded query with a clock that the test turns, and servers that do what the test says.
private struct Scene {
    static let millisecond: Int64 = 1_000_000
    var now: Int64 = 1_000
    var book = ServerBook()
    var exchange: Exchange
    private var lastID: UInt16 = 100
    let servers: [NameServer]

    init(_ addresses: String..., edns: UInt16? = nil, isStream: Bool = false) throws {
        servers = addresses.compactMap { NameServer($0) }
        let bytes = query("example.org", edns: edns)
        exchange = Exchange(bytes, try DNSMessage(bytes), servers: servers, isStream: isStream, now: now)
    }

    private mutating func id() -> UInt16 {
        lastID += 1
        return lastID
    }

    mutating func begin() -> Exchange.Step { exchange.begin(id: id(), now: now) }

    /// Lets time go by to the moment that the exchange waits for.
    mutating func wake() -> Exchange.Step {
        now = max(now, exchange.wakeTime)
        return exchange.timePassed(id: id(), book: &book, now: now)
    }

    mutating func fail(_ attempt: Int) -> Exchange.Step { exchange.failed(attempt, id: id(), book: &book, now: now) }

    mutating func receive(_ bytes: [UInt8], _ attempt: Int) -> Exchange.Step {
        exchange.received(bytes, for: attempt, id: id(), book: &book, now: now)
    }

    /// An answer to what an attempt sent.
    func answer(_ attempt: Int, code: UInt8 = 0, name: String = "example.org", truncated: Bool = false, padding: Int = 0)
        -> [UInt8]
    {
        let id = exchange.attempts[attempt].id
        var bytes = query(name, id: id)
        bytes[2] = truncated ? 0x83 : 0x81
        bytes[3] = 0x80 | code
        if padding > 0 {
            bytes[11] = 1
            bytes += [0, 0, 16, 0, 1, 0, 0, 0, 0, UInt8(padding >> 8), UInt8(padding & 0xFF)]
            bytes += [UInt8](repeating: 1, count: padding)
        }
        return bytes
    }

    func server(_ attempt: Int) -> NameServer { exchange.attempts[attempt].server }
}

private func code(_ step: Exchange.Step) -> UInt8? {
    guard case .reply(let bytes) = step else { return nil }
    return bytes[3] & 0xF
}

@Suite struct ExchangeTests {
    @Test func aGoodAnswerBearsTheClientsID() throws {
        var scene = try Scene("10.0.0.1", "10.0.0.2")
        #expect(scene.begin() == .ask(0))
        #expect(scene.server(0) == scene.servers[0])
        let sent = scene.exchange.bytes(of: 0)
        #expect(sent[0] == 0 && sent[1] == 101)
        #expect(Array(sent[2...]) == Array(scene.exchange.query[2...]))
        guard case .reply(let bytes) = scene.receive(scene.answer(0), 0) else {
            Issue.record("no reply")
            return
        }
        #expect(bytes[0] == 0x12 && bytes[1] == 0x34)
    }

    @Test func aNameThatDoesNotExistIsAnAnswer() throws {
        var scene = try Scene("10.0.0.1", "10.0.0.2")
        _ = scene.begin()
        #expect(code(scene.receive(scene.answer(0, code: 3), 0)) == 3)
    }

    @Test func silenceBringsTheNextServerAndTheFirstMayStillAnswer() throws {
        var scene = try Scene("10.0.0.1", "10.0.0.2")
        _ = scene.begin()
        let begun = scene.now
        #expect(scene.wake() == .ask(1))
        #expect(scene.now - begun == Exchange.patience)
        #expect(scene.server(1) == scene.servers[1])
        #expect(code(scene.receive(scene.answer(0), 0)) == 0)
    }

    @Test func aRefusalBringsTheNextServerAtOnce() throws {
        for failure in [2, 5] as [UInt8] {
            var scene = try Scene("10.0.0.1", "10.0.0.2")
            _ = scene.begin()
            #expect(scene.receive(scene.answer(0, code: failure), 0) == .ask(1))
            #expect(code(scene.receive(scene.answer(1), 1)) == 0)
        }
    }

    @Test func whenNobodyListensTheClientHearsAtOnce() throws {
        var scene = try Scene("10.0.0.1", "10.0.0.2")
        _ = scene.begin()
        #expect(scene.fail(0) == .ask(1))
        #expect(code(scene.fail(1)) == 2)
        var lonely = try Scene()
        #expect(code(lonely.begin()) == 2)
    }

    @Test func whenAllRefuseTheClientHearsWhatTheySaid() throws {
        var scene = try Scene("10.0.0.1", "10.0.0.2")
        _ = scene.begin()
        _ = scene.receive(scene.answer(0, code: 5), 0)
        #expect(code(scene.fail(1)) == 5)
    }

    @Test func aRefusalWaitsForThoseWhoAreStillAsked() throws {
        var scene = try Scene("10.0.0.1", "10.0.0.2")
        _ = scene.begin()
        _ = scene.wake()
        #expect(scene.receive(scene.answer(1, code: 2), 1) == .wait)
        #expect(code(scene.receive(scene.answer(0), 0)) == 0)
    }

    @Test func silentServersAreAskedAgainAndGivenUpInTime() throws {
        var scene = try Scene("10.0.0.1", "10.0.0.2")
        let begun = scene.now
        _ = scene.begin()
        var asked = 1
        var last = Exchange.Step.wait
        for _ in 0..<20 {
            last = scene.wake()
            if case .ask = last { asked += 1 }
            if case .reply = last { break }
        }
        #expect(code(last) == 2)
        #expect(asked == 2 * Exchange.rounds)
        #expect(scene.now - begun == Exchange.lifetime)
    }

    @Test func guessedAnswersArePassedOver() throws {
        var scene = try Scene("10.0.0.1")
        _ = scene.begin()
        var wrongID = scene.answer(0)
        wrongID[1] ^= 1
        #expect(scene.receive(wrongID, 0) == .wait)
        #expect(scene.receive(scene.answer(0, name: "example.com"), 0) == .wait)
        #expect(scene.receive(scene.exchange.bytes(of: 0), 0) == .wait)  // a query is no answer
        #expect(scene.receive([1, 2, 3], 0) == .wait)
        #expect(scene.receive(Array(scene.answer(0).dropLast()), 0) == .wait)
        #expect(code(scene.receive(scene.answer(0), 0)) == 0)
    }

    @Test func anAnswerTooLargeForTheClientIsCutAndMarked() throws {
        var scene = try Scene("10.0.0.1")
        _ = scene.begin()
        guard case .reply(let bytes) = scene.receive(scene.answer(0, padding: 600), 0) else {
            Issue.record("no reply")
            return
        }
        #expect(bytes.count <= 512)
        #expect(try DNSMessage(bytes).isTruncated)
    }

    @Test func aTruncatedAnswerGoesToUDPClientsAsItIs() throws {
        var scene = try Scene("10.0.0.1")
        _ = scene.begin()
        guard case .reply(let bytes) = scene.receive(scene.answer(0, truncated: true), 0) else {
            Issue.record("no reply")
            return
        }
        #expect(try DNSMessage(bytes).isTruncated)
    }

    @Test func tcpClientsAreServedOverTCPAndByUDPWhereAServerHasNone() throws {
        var scene = try Scene("10.0.0.1", isStream: true)
        #expect(scene.begin() == .ask(0))
        #expect(scene.exchange.attempts[0].isStream)
        #expect(scene.fail(0) == .ask(1))
        #expect(!scene.exchange.attempts[1].isStream)
        #expect(code(scene.receive(scene.answer(1), 1)) == 0)
    }

    @Test func aSilentServerIsAskedLastForAWhile() throws {
        var scene = try Scene("10.0.0.1", "10.0.0.2")
        _ = scene.begin()
        _ = scene.wake()
        _ = scene.receive(scene.answer(1), 1)
        #expect(scene.book.order(scene.servers, now: scene.now) == scene.servers.reversed())
        #expect(scene.book.order(scene.servers, now: scene.now + ServerBook.suspicion + 1) == scene.servers)
        scene.book.failed(scene.servers[0], now: scene.now)
        scene.book.answered(scene.servers[0])
        #expect(scene.book.order(scene.servers, now: scene.now) == scene.servers)
    }
}
