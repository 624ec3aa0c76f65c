import Testing

import CLI

@Suite struct GoDurationTests {
    @Test(arguments: [
        ("1s", 1_000_000_000), ("1h30m", 5_400_000_000_000), ("1.5s", 1_500_000_000), ("300ms", 300_000_000), ("0", 0),
        ("-2m", -120_000_000_000),
    ])
    func durations(_ text: String, _ nanoseconds: Int) throws { #expect(try GoDuration.parse(text) == nanoseconds) }

    @Test(arguments: ["", "1", "s", "1x", "1s2", ".s", "99999999999h"]) func noDurations(_ text: String) {
        #expect(throws: FlagFault.self) { try GoDuration.parse(text) }
    }

    @Test func texts() {
        #expect(
            GoDuration.text(90_500_000_000) == "1m30.5s" && GoDuration.text(1_500_000) == "1.5ms"
                && GoDuration.text(3_600_000_000_000) == "1h0m0s")
    }

    @Test(arguments: [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"), (3600, "About an hour"), (7200, "2 hours"), (172_800, "2 days"), (1_209_600, "2 weeks"),
        (5_184_000, "2 months"),
        (63_072_000, "2 years"),
    ]) func humanTexts(_ seconds: Int, _ text: String) { #expect(GoDuration.human(seconds * 1_000_000_000) == text) }
}
