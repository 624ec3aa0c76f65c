import HTTP
import Linux
import Testing

/// Two ends of a stream: what one writes, the channel reads.
struct ChannelPair: ~Copyable {
    let channel: Channel
    let other: Descriptor

    init(idleTimeout: Int = 2000) throws {
        let (one, two) = try StreamSocket.pair().release()
        channel = try Channel(Descriptor(owning: one), idleTimeout: idleTimeout)
        other = Descriptor(owning: two)
    }

    func say(_ text: String) throws { try Files.write(other.raw, Array(text.utf8)) }
    func end() { PollIO.shutdownWrite(other.raw) }
}

@Suite struct BodyReaderTests {
    private func body(_ text: String, _ framing: BodyFraming, limit: Int = 1000) throws -> String {
        let pair = try ChannelPair()
        try pair.say(text)
        pair.end()
        return String(decoding: try BodyReader(pair.channel, framing).readAll(limit: limit), as: UTF8.self)
    }

    @Test func aBodyEndsWhereItsLengthSays() throws {
        let pair = try ChannelPair()
        try pair.say("hello, worldHTTP/1.1 204 No\r\n\r\n")
        let reader = BodyReader(pair.channel, .length(12))
        #expect(try reader.readAll(limit: 100) == Array("hello, world".utf8))
        #expect(reader.leavesChannelUsable)
        #expect(try pair.channel.readResponse().status == 204)
    }

    @Test func chunksAreOneBody() throws {
        #expect(try body("5\r\nhello\r\n7;ext=1\r\n, world\r\n0\r\nTrailer: x\r\n\r\n", .chunked) == "hello, world")
        #expect(try body("0\r\n\r\n", .chunked) == "")
        #expect(try body("A \r\n0123456789\r\n000\r\n\r\n", .chunked) == "0123456789")
    }

    @Test(arguments: [
        "5\r\nhel", "", "5\r\nhello", "5\r\nhello\r\n", "0\r\n", "x\r\n", "-5\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n",
        "5\r\nhelloXX0\r\n\r\n", "\r\n\r\n", "1000000000000000\r\n", "+5\r\nhello\r\n0\r\n\r\n", "0\r\n bad\r\n\r\n",
        "5\r\r\nhello",
    ]) func chunksThatAreNoneOrHaveNoEndAreAFault(_ text: String) {
        #expect(throws: WireFault.self) { try body(text, .chunked) }
    }

    @Test func aLineWithoutEndIsNotReadForEver() {
        let long = String(repeating: "a", count: 100_000)
        #expect(throws: WireFault.self) { try body("5;" + long, .chunked) }
        #expect(throws: WireFault.self) { try body("0\r\nA: " + long, .chunked) }
    }

    @Test func aBodyThatIsCutIsAFault() {
        #expect(throws: WireFault.self) { try body("hel", .length(5)) }
    }

    @Test func withoutALengthTheEndOfTheConnectionIsTheEnd() throws { #expect(try body("hello", .untilClose) == "hello") }

    @Test func moreThanTheLimitIsNotKept() {
        #expect(throws: WireFault.self) { try body(String(repeating: "a", count: 2000), .untilClose) }
    }

    @Test func aStallIsNoticed() throws {
        let pair = try ChannelPair(idleTimeout: 150)
        try pair.say("he")
        let reader = BodyReader(pair.channel, .length(5))
        let fault = #expect(throws: WireFault.self) { try reader.readAll(limit: 100) }
        #expect(fault?.kind == .timedOut)
    }

    @Test func aWaitEndsWhenItIsCancelled() throws {
        let pair = try ChannelPair(idleTimeout: 60_000)
        let cancellation = WireCancellation()
        pair.channel.cancellation = cancellation
        try startThread {
            NetClock.sleep(milliseconds: 100)
            cancellation.cancel()
        }
        let fault = #expect(throws: WireFault.self) { try pair.channel.readHead() }
        #expect(fault?.kind == .cancelled)
    }

    @Test func aHeadWithoutEndIsNotReadForEver() throws {
        let pair = try ChannelPair()
        let cancellation = WireCancellation()
        let other = SharedDescriptor(try pair.other.duplicate())
        try startThread {
            let line = Array("X: \(String(repeating: "a", count: 5000))\r\n".utf8)
            for _ in 0..<40 where !cancellation.isCancelled { try? Files.write(other.raw, line) }
        }
        let fault = #expect(throws: WireFault.self) { try pair.channel.readHead() }
        #expect(fault?.kind == .tooLarge)
        cancellation.cancel()
        pair.channel.abort()
    }

    @Test func whatIsWrittenInChunksIsReadInChunks() throws {
        let pair = try ChannelPair()
        let other = try Channel(try pair.other.duplicate())
        let writer = ChunkedWriter(other)
        try Array("hello".utf8).withUnsafeBytes { try writer.write($0) }
        try writer.write(UnsafeRawBufferPointer(start: nil, count: 0))
        try writer.finish()
        #expect(try BodyReader(pair.channel, .chunked).readAll(limit: 10) == Array("hello".utf8))
    }
}
