import Linux
import Model

/// `--since` and `--until`: `10m`, `2024-01-02T15:04:05`, `2024-01-02`, seconds since 1970; as the API takes them (docker's GetTimestamp).
package enum TimeArgument {
    package static func parse(_ text: String, now: Int64) throws -> String {
        if text.isEmpty { return "" }
        if let duration = try? GoDuration.parse(text) { return seconds(now - Int64(duration)) }
        if let time = timestamp(text) { return seconds(time.nanoseconds) }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }) else {
            throw FlagFault("failed to parse value as time or duration: \(GoText.quote(text))")
        }
        return text
    }

    private static func seconds(_ nanoseconds: Int64) -> String {
        let whole = Timestamp(nanoseconds: nanoseconds).seconds
        return "\(whole).\(GoText.pad(Int(nanoseconds - whole * 1_000_000_000), 9))"
    }

    /// RFC 3339, its date alone, without seconds, without a zone (then local time).
    private static func timestamp(_ text: String) -> Timestamp? {
        if let time = Timestamp(text) { return time }
        var date = text
        var zone = ""
        if date.hasSuffix("Z") {
            date.removeLast()
            zone = "Z"
        } else if let sign = date.lastIndex(where: { $0 == "+" || $0 == "-" }), date.utf8.count > 16,
            date.distance(from: date.startIndex, to: sign) > 10
        {
            zone = String(date[sign...])
            date = String(date[..<sign])
        }
        switch date.utf8.count {
        case 10: date += "T00:00:00"
        case 13: date += ":00:00"
        case 16: date += ":00"
        default: break
        }
        if !zone.isEmpty { return Timestamp(date + zone) }
        guard let asUTC = Timestamp(date + "Z") else { return nil }
        let offset = FileCalls.localOffset(at: asUTC.seconds).seconds
        return Timestamp(nanoseconds: asUTC.nanoseconds - Int64(offset) * 1_000_000_000)
    }
}
