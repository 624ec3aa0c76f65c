import Model
import Testing

@Suite struct TimestampTests {
    @Test(arguments: [
        ("2024-02-29T23:59:59.123456789Z", "2024-02-29T23:59:59.123456789Z"), ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("2026-11-22T05:00:00.5+01:30", "2026-11-22T03:30:00.5Z"), ("1969-12-31T23:59:59.9Z", "1969-12-31T23:59:59.9Z"),
    ])
    func textSurvives(_ pair: (String, String)) { #expect(Timestamp(pair.0)?.description == pair.1) }

    @Test(arguments: [
        "", "2024", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00", "2024-01-01T00:00:00.Z", "9999-01-01T00:00:00Z",
    ])
    func otherTextsAreRefused(_ text: String) { #expect(Timestamp(text) == nil) }
}
