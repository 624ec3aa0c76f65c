import Linux
import Model

/// Times as docker's lists show them.
package enum HumanTime {
    /// `2026-01-02 15:04:05 +0000 UTC`: Go's Time.String without a fraction, in local time.
    package static func full(seconds: Int64) -> String {
        let (offset, zone) = FileCalls.localOffset(at: seconds)
        let text = Timestamp(seconds: seconds + Int64(offset)).description
        return text.prefix(10) + " " + text.dropFirst(11).prefix(8) + " " + offsetText(offset, colon: false) + " " + zone
    }

    /// RFC 3339 with nanoseconds in local time, as `events` shows it.
    package static func local(_ time: Timestamp) -> String {
        let (offset, _) = FileCalls.localOffset(at: time.seconds)
        let text = Timestamp(nanoseconds: time.nanoseconds + Int64(offset) * 1_000_000_000).fixedDescription
        return text.dropLast() + (offset == 0 ? "Z" : offsetText(offset, colon: true))
    }

    private static func offsetText(_ offset: Int, colon: Bool) -> String {
        let minutes = abs(offset) / 60
        return (offset < 0 ? "-" : "+") + GoText.pad(minutes / 60, 2) + (colon ? ":" : "") + GoText.pad(minutes % 60, 2)
    }

    /// `5 minutes ago`
    package static func ago(seconds: Int64, now: Int64) -> String {
        GoDuration.human(Int(now - seconds * 1_000_000_000)) + " ago"
    }
}
