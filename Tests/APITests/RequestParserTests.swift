import API
import NIOCore
import Testing

@Suite struct RequestParserTests {
    /// All events of a text that is fed in pieces of that size; bodies are put together.
    static func parse(_ text: String, piece: Int = .max) throws -> (
        head: RequestHead?, body: String, isComplete: Bool, rest: String
    ) {
        var parser = RequestParser()
        var buffer = ByteBuffer()
        var head: RequestHead?
        var body: [UInt8] = []
        var isComplete = false
        var input = Array(text.utf8)[...]
        while true {
            switch try parser.next(&buffer) {
            case .needsMore:
                if input.isEmpty || isComplete {
                    return (
                        head, String(decoding: body, as: UTF8.self), isComplete,
                        String(buffer: buffer) + String(decoding: input, as: UTF8.self)
                    )
                }
                buffer.writeBytes(input.prefix(piece))
                input = input.dropFirst(piece)
            case .head(let found, _): head = found
            case .body(let bytes): body += Array(bytes.readableBytesView)
            case .end: isComplete = true
            }
        }
    }

    @Test(arguments: [1, 2, 3, 7, 1000]) func aRequestMayComeInPiecesOfAnySize(piece: Int) throws {
        let text =
            "POST /v1.50/x?a=b HTTP/1.1\r\nHost: d\r\nContent-Type:  application/json \r\nContent-Length: 5\r\n\r\nhelloGET"
        let result = try Self.parse(text, piece: piece)
        #expect(result.head?.method == "POST")
        #expect(result.head?.target == "/v1.50/x?a=b")
        #expect(result.head?["content-type"] == "application/json")
        #expect(result.body == "hello")
        #expect(result.isComplete)
        #expect(result.rest == "GET")
    }

    @Test(arguments: [1, 2, 5, 1000]) func chunksArePutTogetherAndTrailersDropped(piece: Int) throws {
        let text =
            "POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\nrest"
        let result = try Self.parse(text, piece: piece)
        #expect(result.body == "hello0123456789")
        #expect(result.isComplete)
        #expect(result.rest == "rest")
    }

    @Test func whatFollowsARequestIsLeftAlone() throws {
        let result = try Self.parse(
            "POST /exec/1/start HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}\u{1}\u{2} not http\r\n")
        #expect(result.isComplete)
        #expect(result.rest == "\u{1}\u{2} not http\r\n")
    }

    @Test func lineFeedsAloneAndEmptyLinesBeforeARequestAreFine() throws {
        let result = try Self.parse("\r\n\nGET / HTTP/1.1\nHost: d\n\n")
        #expect(result.head?.method == "GET")
        #expect(result.isComplete)
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\nHost: d\r\n\r\n", "GET  / HTTP/1.1\r\nHost: d\r\n\r\n", "GET /\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: d\r\n\r\n", "GET / HTTP/1.1\r\nHost: d\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : d\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: d\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: d\r\nContent-Length: +1\r\n\r\n", "GET / HTTP/1.1\r\nHost: d\r\nContent-Length: \r\n\r\n",
        "GET / HTTP/1.1\r\nHost: d\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX\r\n",
        "GET / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "GET / HTTP/1.1\r\nHost: d\r\nX: a\u{0}b\r\n\r\n", "GET / HTTP/1.1\r\nHost: d\r\nX: a\rb\r\n\r\n",
    ])
    func whatTwoReadersMayReadDifferentlyIsRefused(text: String) {
        #expect(throws: RequestFault.self) { try Self.parse(text) }
    }

    @Test func aHeadWithoutEndIsRefusedAtTheLimit() {
        let text = "GET / HTTP/1.1\r\nHost: d\r\nX: " + String(repeating: "a", count: 300 << 10)
        #expect(throws: RequestFault(status: 431, message: "request header fields too large")) { try Self.parse(text) }
        let many = "GET / HTTP/1.1\r\nHost: d\r\n" + String(repeating: "a: b\r\n", count: 300) + "\r\n"
        #expect(throws: RequestFault(status: 431, message: "too many request header fields")) { try Self.parse(many) }
    }

    @Test func anUpgradeNeedsBothFields() throws {
        let both = try Self.parse("POST / HTTP/1.1\r\nHost: d\r\nConnection: keep-alive, Upgrade\r\nUpgrade: TCP\r\n\r\n")
        #expect(both.head?.upgrade == "tcp")
        let one = try Self.parse("POST / HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\n\r\n")
        #expect(one.head?.upgrade == nil)
    }

    @Test func connectionsEndAsTheVersionsSay() throws {
        func keeps(_ text: String) throws -> Bool? { try Self.parse(text).head?.keepsAlive }
        #expect(try keeps("GET / HTTP/1.1\r\nHost: d\r\n\r\n") == true)
        #expect(try keeps("GET / HTTP/1.1\r\nHost: d\r\nConnection: Close\r\n\r\n") == false)
        #expect(try keeps("GET / HTTP/1.0\r\n\r\n") == false)
        #expect(try keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") == true)
    }

    /// Mutated requests in random pieces: each ends as a request, as a fault, or wants more; none traps.
    @Test func noBytesTrap() {
        var generator = Xorshift(seed: 0x5EED)
        let seeds = [
            "POST /v1.50/containers/create?name=a HTTP/1.1\r\nHost: d\r\nContent-Length: 11\r\n\r\nhello world",
            "POST /x HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "GET /_ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ].map { Array($0.utf8) }
        for _ in 0..<20_000 {
            var bytes = seeds[Int(generator.next() % 3)]
            for _ in 0..<(generator.next() % 6) {
                let at = Int(generator.next() % UInt64(bytes.count))
                switch generator.next() % 3 {
                case 0: bytes[at] = UInt8(truncatingIfNeeded: generator.next())
                case 1: bytes.insert(UInt8(truncatingIfNeeded: generator.next() >> 8), at: at)
                default: bytes.remove(at: at)
                }
            }
            var parser = RequestParser()
            var buffer = ByteBuffer()
            var rest = bytes[...]
            var requests = 0
            feeding: while requests < 50 {
                do {
                    switch try parser.next(&buffer) {
                    case .needsMore:
                        if rest.isEmpty { break feeding }
                        let count = Int(generator.next() % 40) + 1
                        buffer.writeBytes(rest.prefix(count))
                        rest = rest.dropFirst(count)
                    case .end:
                        requests += 1
                        parser.nextRequest()
                    case .head, .body: break
                    }
                } catch { break feeding }
            }
        }
    }
}

/// Marsaglia's xorshift64: the same numbers in every run.
struct Xorshift: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
