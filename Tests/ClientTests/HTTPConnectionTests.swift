import Linux
import Model
import Testing

import Client

/// A connection whose answer has been written already.
private func connection(_ answer: String, closed: Bool = true) throws -> (HTTPConnection, CInt) {
    let ends = try streamSocketPair()
    try StreamCalls.writeAll(ends[1], Array(answer.utf8))
    if closed { SocketCalls.endWriting(ends[1]) }
    return (HTTPConnection(Descriptor(owning: ends[0])), ends[1])
}

@Suite struct HTTPConnectionTests {
    @Test func bodiesWithALength() throws {
        let (client, _) = try connection(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhelloHTTP/1.1 204 No Content\r\n\r\n",
            closed: false)
        let head = try client.receiveHead()
        #expect(head.status == 200 && head.field("content-type") == "text/plain")
        #expect(try client.readAll() == Array("hello".utf8))
        #expect(client.isReusable)
        #expect(try client.receiveHead().status == 204)
        #expect(try client.readAll() == [])
    }

    @Test func chunkedBodies() throws {
        let (client, _) = try connection(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
            closed: false)
        _ = try client.receiveHead()
        #expect(String(decoding: try client.readAll(), as: UTF8.self) == "hello world")
        #expect(client.isReusable)
    }

    @Test func bodiesUntilTheEnd() throws {
        let (client, _) = try connection("HTTP/1.1 200 OK\r\n\r\nrest")
        _ = try client.receiveHead()
        #expect(try client.readAll() == Array("rest".utf8))
        #expect(!client.isReusable)
    }

    @Test func interimAnswersArePassedOver() throws {
        let (client, _) = try connection("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        #expect(try client.receiveHead().status == 201)
    }

    @Test func bytesBehindAnUpgradeAreKept() throws {
        let (client, _) = try connection("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly")
        #expect(try client.receiveHead(upgraded: true).status == 101)
        #expect(client.takeBuffered() == Array("early".utf8))
    }

    @Test(arguments: [
        "nonsense\r\n\r\n", "HTTP/1.1 xx OK\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "",
        "HTTP/1.1 200",
    ]) func badHeadsAreFaults(_ answer: String) throws {
        let (client, _) = try connection(answer)
        #expect(throws: Fault.self) { try client.receiveHead() }
    }

    @Test(arguments: [
        "Content-Length: 10\r\n\r\nshort", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ]) func bodiesThatBreakOffAreFaults(_ rest: String) throws {
        let (client, _) = try connection("HTTP/1.1 200 OK\r\n" + rest)
        _ = try client.receiveHead()
        #expect(throws: Fault.self) { try client.readAll() }
    }

    @Test func bodiesBeyondTheLimitAreRefused() throws {
        let (client, _) = try connection("HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 5000))
        _ = try client.receiveHead()
        #expect(throws: Fault.self) { try client.readAll(limit: 1000) }
    }

    @Test func endlessHeadsAreRefused() throws {
        let (client, _) = try connection("HTTP/1.1 200 OK\r\n" + String(repeating: "a: b\r\n", count: 15_000))
        #expect(throws: Fault.self) { try client.receiveHead() }
    }

    @Test func refusalsCarryTheEnginesWords() {
        var head = ResponseHead()
        head.status = 404
        let refusal = #expect(throws: EngineRefusal.self) {
            try EngineClient.check(head, Array(#"{"message":"No such container: x"}"#.utf8))
        }
        #expect(refusal?.description == "Error response from daemon: No such container: x")
    }
}
