import Model
import Names
import Testing

@Suite struct DNSAnswerTests {
    private func v4(_ text: String) throws -> DNSRecord { .address(try #require(IPAddress(text))) }

    @Test func anAnswerKeepsTheClientsLetters() throws {
        let bytes = DNSMessageTests.plain
        let message = try DNSMessage(bytes)
        let answer = DNSAnswer.make(message, bytes, records: [try v4("172.20.0.2")], limit: 512)
        #expect(
            answer
                == hex(
                    """
                    1234 8180 0001 0001 0000 0000
                    02 4462 07 6578616d706c65 00 0001 0001  # Db.example, as it came
                    c00c 0001 0001 00000005 0004 ac140002  # 5 seconds
                    """))
    }

    @Test func ipv6AndPointers() throws {
        let bytes = query("a", DNSQuestion.aaaa)
        let answer = DNSAnswer.make(try DNSMessage(bytes), bytes, records: [try v4("fd00::2")], limit: 512)
        #expect(Array(answer.suffix(28)) == hex("c00c 001c 0001 00000005 0010 fd000000000000000000000000000002"))
        let reverse = query("2.0.20.172.in-addr.arpa", DNSQuestion.ptr)
        let name = try #require(DNSName("web.net"))
        let pointer = DNSAnswer.make(try DNSMessage(reverse), reverse, records: [.pointer(name)], limit: 512)
        #expect(Array(pointer.suffix(21)) == hex("c00c 000c 0001 00000005 0009 03 776562 03 6e6574 00"))
    }

    @Test func ednsIsAnsweredByEdns() throws {
        let bytes = query("a", edns: 1232)
        let message = try DNSMessage(bytes)
        let answer = DNSAnswer.make(message, bytes, code: .noSuchName, limit: DNSAnswer.limit(message, isStream: false))
        #expect(try DNSMessage(answer).edns?.size == 4096)
        #expect(try DNSMessage(answer).code == 3)
    }

    @Test func anUnknownEdnsVersionIsSaid() throws {
        let bytes = query("a", edns: 512)
        let answer = DNSAnswer.make(try DNSMessage(bytes), bytes, code: .badVersion, limit: 512)
        // extended code 1 above the header's 0 is 16
        #expect(Array(answer.suffix(11)) == hex("00 0029 1000 01 00 0000 0000"))
        #expect(answer[3] & 0xF == 0)
    }

    @Test func whatDoesNotFitIsLeftOutAndSaid() throws {
        let records = try (1...60).map { try v4("10.0.0.\($0)") }
        let bytes = query("many.example")
        let message = try DNSMessage(bytes)
        let small = DNSAnswer.make(message, bytes, records: records, limit: 512)
        #expect(small.count <= 512)
        #expect(small.count > 480)
        #expect(try DNSMessage(small).isTruncated)
        let stream = DNSAnswer.make(message, bytes, records: records, limit: DNSAnswer.limit(message, isStream: true))
        #expect(try !DNSMessage(stream).isTruncated)
        #expect(stream[7] == 60)
        let withEdns = query("many.example", edns: 1232)
        let large = try DNSMessage(withEdns)
        let answer = DNSAnswer.make(large, withEdns, records: records, limit: DNSAnswer.limit(large, isStream: false))
        #expect(try !DNSMessage(answer).isTruncated)
    }

    @Test(arguments: [(nil, 512), (100, 512), (1232, 1232), (65535, 4096)] as [(UInt16?, Int)])
    func aClientGetsWhatItTakes(_ edns: UInt16?, _ limit: Int) throws {
        #expect(DNSAnswer.limit(try DNSMessage(query("a", edns: edns)), isStream: false) == limit)
    }
}
