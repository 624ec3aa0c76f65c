import Testing

import CLI

@Suite struct ByteSizeTests {
    @Test(arguments: [
        ("0", 0), ("512", 512), ("1k", 1024), ("1.5g", 1_610_612_736), ("64KiB", 65_536), ("10 MB", 10_485_760), ("-1", -1),
        ("2b", 2),
    ])
    func sizes(_ text: String, _ bytes: Int) throws { #expect(try ByteSize.parse(text) == bytes) }

    @Test(arguments: ["", "x", "1x", "1kk", "-5", "1e", "99999999999999999999p"]) func noSizes(_ text: String) {
        #expect(throws: FlagFault.self) { try ByteSize.parse(text) }
    }

    @Test func shownLikeDocker() {
        #expect(ByteSize.human(2_024_912) == "2.02MB" && ByteSize.human(2_024_912, digits: 4) == "2.025MB")
        #expect(ByteSize.human(0) == "0B" && ByteSize.human(999) == "999B" && ByteSize.human(1_000_000_000) == "1GB")
        #expect(
            ByteSize.binary(679_936) == "664KiB" && ByteSize.binary(25_277_825_843) == "23.54GiB" && ByteSize.binary(0) == "0B")
    }

    @Test func processors() throws {
        #expect(
            try NanoCPUs.parse("1.5") == 1_500_000_000 && NanoCPUs.parse(".5") == 500_000_000
                && NanoCPUs.parse("1/4") == 250_000_000)
        #expect(throws: FlagFault.self) { try NanoCPUs.parse("1/3") }
        #expect(throws: FlagFault.self) { try NanoCPUs.parse("1.2.3") }
    }
}
