import HTTP
import Testing

@Suite struct HeadParserTests {
    private func request(_ text: String) throws -> RequestHead { try HeadParser.request(Array(text.utf8)) }
    private func response(_ text: String) throws -> ResponseHead { try HeadParser.response(Array(text.utf8)) }

    @Test func aRequestIsReadAsItWasWritten() throws {
        let head = RequestHead(method: "GET", target: "/v2/a/b?n=1", fields: ["Host": "x:5000", "Accept": "a, b"])
        #expect(try HeadParser.request(try head.bytes()) == head)
    }

    @Test func anAnswerIsReadAsItWasWritten() throws {
        let head = ResponseHead(status: 206, reason: "Partial Content", fields: ["Content-Length": "5"])
        #expect(try HeadParser.response(try head.bytes()) == head)
    }

    @Test func fieldsAreFoundWhateverTheirCase() throws {
        let head = try response("HTTP/1.1 200 OK\r\ncontent-LENGTH:  12 \r\nConnection: keep-alive, Close\r\n\r\n")
        #expect(head.fields["Content-Length"] == "12")
        #expect(!head.keepsAlive)
    }

    @Test func anAnswerNeedsNoReason() throws {
        #expect(try response("HTTP/1.1 200\r\n\r\n").status == 200)
        #expect(try response("HTTP/1.1 404 \r\n\r\n").reason == "")
    }

    @Test(arguments: [
        "GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\n\r\n",
        "GET /\u{7F} HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\u{0}c\r\n\r\n", "GET / HTTP/1.1\r\nA\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n", "\r\n\r\n", "",
        "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "G\u{1}T / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1",
    ]) func aRequestThatTwoReadersCouldReadDifferentlyIsRefused(_ text: String) {
        #expect(throws: WireFault.self) { try request(text) }
    }

    @Test(arguments: [
        "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 -20 OK\r\n\r\n", "HTTP/3 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
    ])
    func anAnswerWithoutAProperStatusLineIsRefused(_ text: String) { #expect(throws: WireFault.self) { try response(text) } }

    @Test func moreFieldsThanAllowedAreRefused() throws {
        let fields = (0..<300).map { "F\($0): x\r\n" }.joined()
        #expect(throws: WireFault.self) { try response("HTTP/1.1 200 OK\r\n\(fields)\r\n") }
    }

    @Test(arguments: ["a\r\nX-Injected: 1", "a\nb", "a\u{0}"]) func nothingFromOutsideEndsALine(_ value: String) {
        #expect(throws: WireFault.self) { try RequestHead(method: "GET", target: "/", fields: ["A": value]).bytes() }
    }

    @Test(arguments: ["/a b", "/a\r\nHost: evil", "", "/ä"]) func aTargetIsOneWord(_ target: String) {
        #expect(throws: WireFault.self) { try RequestHead(method: "GET", target: target).bytes() }
    }

    @Test func aBodyWithLengthAndChunksIsRefused() throws {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5, 5",
            "Content-Length: +5", "Content-Length: -1", "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Content-Length:",
        ] {
            let head = try request("POST / HTTP/1.1\r\n\(fields)\r\n\r\n")
            #expect(throws: WireFault.self, "\(fields)") { try head.bodyFraming() }
        }
        #expect(throws: WireFault.self) { try request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").bodyFraming() }
    }

    @Test func theFramingFollowsMethodAndStatus() throws {
        let head = try response("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
        #expect(try head.bodyFraming(to: "GET") == .length(7))
        #expect(try head.bodyFraming(to: "HEAD") == .empty)
        #expect(try response("HTTP/1.1 204 No\r\n\r\n").bodyFraming(to: "GET") == .empty)
        #expect(try response("HTTP/1.0 200 OK\r\n\r\n").bodyFraming(to: "GET") == .untilClose)
        #expect(try request("GET / HTTP/1.1\r\n\r\n").bodyFraming() == .empty)
    }
}
