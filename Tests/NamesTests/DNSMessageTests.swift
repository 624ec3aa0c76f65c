import Model
import Names
import Testing

/// Bytes from hexadecimal text with comments behind `#`.
func hex(_ text: String) -> [UInt8] {
    let digits = text.split(separator: "\n").map { $0.split(separator: "#", omittingEmptySubsequences: false)[0] }.joined()
        .filter { $0.isHexDigit }
    var bytes: [UInt8] = []
    var rest = digits[...]
    while rest.count >= 2 {
        bytes.append(UInt8(rest.prefix(2), radix: 16) ?? 0)
        rest = rest.dropFirst(2)
    }
    return bytes
}

/// A query as programs send it.
func query(_ name: String, _ type: UInt16 = DNSQuestion.a, id: UInt16 = 0x1234, edns: UInt16? = nil) -> [UInt8] {
    var bytes: [UInt8] = [UInt8(id >> 8), UInt8(id & 0xFF), 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, edns == nil ? 0 : 1]
    for label in name.split(separator: ".") { bytes += [UInt8(label.utf8.count)] + Array(label.utf8) }
    bytes += [0, UInt8(type >> 8), UInt8(type & 0xFF), 0, 1]
    if let edns { bytes += [0, 0, 41, UInt8(edns >> 8), UInt8(edns & 0xFF), 0, 0, 0, 0, 0, 0] }
    return bytes
}

@Suite struct DNSMessageTests {
    /// `dig +noedns Db.example` as sent.
    static let plain = hex(
        """
        1234                # id
        0100                # query, recursion desired
        0001 0000 0000 0000 # one question
        02 4462             # Db
        07 6578616d706c65   # example
        00
        0001 0001           # A, IN
        """)

    @Test func readsAQuery() throws {
        let message = try DNSMessage(Self.plain)
        #expect(message.id == 0x1234)
        #expect(!message.isResponse)
        #expect(message.question?.name == DNSName("db.example"))
        #expect(message.question?.type == DNSQuestion.a)
        #expect(message.questionEnd == Self.plain.count)
        #expect(message.edns == nil)
    }

    @Test func readsEDNS() throws {
        let bytes = hex(
            """
            0001 0120 0001 0000 0000 0001
            01 61 00 001c 0001  # a. AAAA
            00 0029 04d0        # OPT of the root, 1232 bytes
            00 00 8000          # version 0, DO
            000c                # 12 bytes of options:
            000a 0008 0102030405060708  # COOKIE
            """)
        let message = try DNSMessage(bytes)
        #expect(message.edns == DNSExtension(size: 1232, version: 0, wantsSignatures: true))
    }

    @Test func readsAnAnswerWithCompression() throws {
        let bytes = hex(
            """
            1234 8180 0001 0002 0000 0000
            03 777777 01 61 00 0001 0001           # www.a A
            c00c 0005 0001 0000003c 0004 01 62 c010 # www.a CNAME b.a: pointers back into the question
            01 62 c010 0001 0001 0000003c 0004 0a000001
            """)
        let message = try DNSMessage(bytes)
        #expect(message.isResponse)
        #expect(message.answers(try DNSMessage(query("WWW.a"))))
        #expect(!message.answers(try DNSMessage(query("www.b"))))
        #expect(!message.answers(try DNSMessage(query("www.a", DNSQuestion.aaaa))))
    }

    @Test(arguments: [
        ("", DNSFault.truncated),  // nothing
        ("1234 0100 0001 0000 0000", .truncated),  // header cut
        ("1234 0100 0001 0000 0000 0000", .truncated),  // no question
        ("1234 0100 0001 0000 0000 0000 01", .truncated),  // label cut
        ("1234 0100 0001 0000 0000 0000 01 61 00 0001 00", .truncated),  // class cut
        ("1234 0100 0001 0000 0000 0000 c00c 0001 0001", .badName),  // question points at itself
        ("1234 0100 0001 0000 0000 0000 40 00 0001 0001", .badName),  // reserved label type 01
        ("1234 0100 0001 0000 0000 0000 80 00 0001 0001", .badName),  // reserved label type 10
        ("1234 0100 0002 0000 0000 0000 00 0001 0001 00 0001 0001", .badShape),  // two questions
        ("1234 0100 0001 0000 0000 0000 00 0001 0001 00", .badShape),  // a byte too many
        ("1234 8180 0001 0001 0000 0000 00 0001 0001", .truncated),  // an answer that is not there
        ("1234 8180 0001 ffff 0000 0000 00 0001 0001", .truncated),  // 65,535 of them
        ("1234 8180 0001 0001 0000 0000 00 0001 0001 c0ff 0001 0001 00000000 0000", .badName),  // pointer forwards
        ("1234 8180 0001 0001 0000 0000 00 0001 0001 c000 0001 0001 00000000 0000", .badName),  // into the header
        ("1234 8180 0001 0001 0000 0000 00 0001 0001 c011 0001 0001 00000000 0000", .badName),  // at itself
        ("1234 8180 0001 0001 0000 0000 00 0001 0001 00 0001 0001 00000000 0004 0a00", .truncated),  // data cut
        ("1234 0100 0001 0000 0000 0002 00 0001 0001 00 0029 0200 00000000 0000 00 0029 0200 00000000 0000", .badShape),
        ("1234 0100 0001 0001 0000 0000 00 0001 0001 00 0029 0200 00000000 0000", .badShape),  // OPT as an answer
        ("1234 0100 0001 0000 0000 0001 00 0001 0001 01 61 00 0029 0200 00000000 0000", .badShape),  // OPT of a name
    ]) func refuses(_ text: String, _ fault: DNSFault) {
        #expect(throws: fault) { try DNSMessage(hex(text)) }
    }

    @Test func refusesNamesBeyond255Bytes() throws {
        let label = String(repeating: "a", count: 63)
        let longest = [label, label, label, String(repeating: "b", count: 61)].joined(separator: ".")
        #expect(try DNSMessage(query(longest)).question?.name.wire.count == 255)
        #expect(throws: DNSFault.badName) { try DNSMessage(query(longest + "c")) }
    }

    @Test func aTruncatedAnswerMayEndAnywhere() throws {
        let bytes = hex("1234 8380 0001 0002 0000 0000 01 61 00 0001 0001 c00c 0001")
        #expect(try DNSMessage(bytes).isTruncated)
    }

    @Test func everyPrefixAndEveryFlippedBitIsReadWithoutHarm() {
        let message = hex(
            """
            1234 8180 0001 0002 0000 0001 03 777777 01 61 00 0001 0001
            c00c 0005 0001 0000003c 0004 01 62 c010 01 62 c010 0001 0001 0000003c 0004 0a000001
            00 0029 04d0 00 00 8000 0000
            """)
        #expect(throws: Never.self) { try DNSMessage(message) }
        for length in 0..<message.count { #expect(throws: DNSFault.self) { try DNSMessage(Array(message[..<length])) } }
        for bit in 0..<(message.count * 8) {
            var changed = message
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            _ = try? DNSMessage(changed)
        }
    }
}

@Suite struct DNSNameTests {
    @Test func namesAreEqualWhateverTheirCase() { #expect(DNSName("Web.MyNet.") == DNSName("web.mynet")) }

    @Test(arguments: ["a..b", ".a", String(repeating: "x", count: 64), String(repeating: "abc.", count: 64)])
    func refuses(_ text: String) { #expect(DNSName(text) == nil) }

    @Test func knowsTheRootAndSingleLabels() {
        #expect(DNSName("") == DNSName.root)
        #expect(DNSName("web")?.isSingleLabel == true)
        #expect(DNSName("web.net")?.isSingleLabel == false)
        #expect(DNSName.root.isSingleLabel == false)
    }

    @Test func showsOddBytes() throws {
        let bytes: [UInt8] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0x61, 0x2E, 0x07, 0, 0, 1, 0, 1]
        #expect(try DNSMessage(bytes).question?.name.description == "a\\046\\007")
    }
}
