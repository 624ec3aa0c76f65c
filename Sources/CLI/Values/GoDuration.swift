/// Durations as Go's time package reads and writes them.
package enum GoDuration {
    private static let units: [(String, Double)] = [
        ("ns", 1), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12),
    ]

    /// `1h30m`, `1.5s`, `300ms` in nanoseconds.
    package static func parse(_ text: String) throws -> Int {
        let invalid = FlagFault("time: invalid duration \(GoText.quote(text))")
        var rest = text[...]
        let negative = rest.first == "-"
        if negative || rest.first == "+" { rest = rest.dropFirst() }
        if rest == "0" { return 0 }
        guard !rest.isEmpty else { throw invalid }
        var total = 0.0
        while !rest.isEmpty {
            let number = rest.prefix { $0 == "." || ("0"..."9").contains($0) }
            guard !number.isEmpty, number != ".", let value = Double(number.hasSuffix(".") ? number + "0" : number) else {
                throw invalid
            }
            rest = rest.dropFirst(number.count)
            let unit = String(rest.prefix { $0 != "." && !("0"..."9").contains($0) })
            guard !unit.isEmpty else { throw FlagFault("time: missing unit in duration \(GoText.quote(text))") }
            guard let factor = units.first(where: { $0.0 == unit })?.1 else {
                throw FlagFault("time: unknown unit \(GoText.quote(unit)) in duration \(GoText.quote(text))")
            }
            total += value * factor
            rest = rest.dropFirst(unit.count)
        }
        guard total < 9.2e18 else { throw invalid }
        return Int(total.rounded()) * (negative ? -1 : 1)
    }

    /// `1h2m3.5s`
    package static func text(_ nanoseconds: Int) -> String {
        if nanoseconds == 0 { return "0s" }
        let sign = nanoseconds < 0 ? "-" : ""
        let value = nanoseconds.magnitude
        func number(_ unit: UInt) -> String {
            var fraction = GoText.pad(Int(value % unit), String(unit).count - 1)
            while fraction.hasSuffix("0") { fraction.removeLast() }
            return String(value / unit) + (fraction.isEmpty ? "" : "." + fraction)
        }
        if value < 1_000 { return "\(sign)\(value)ns" }
        if value < 1_000_000 { return "\(sign)\(number(1_000))µs" }
        if value < 1_000_000_000 { return "\(sign)\(number(1_000_000))ms" }
        let seconds = value / 1_000_000_000
        var fraction = GoText.pad(Int(value % 1_000_000_000), 9)
        while fraction.hasSuffix("0") { fraction.removeLast() }
        let small = String(seconds % 60) + (fraction.isEmpty ? "" : "." + fraction) + "s"
        if seconds < 60 { return sign + small }
        if seconds < 3600 { return "\(sign)\(seconds / 60)m\(small)" }
        return "\(sign)\(seconds / 3600)h\(seconds / 60 % 60)m\(small)"
    }

    /// `Less than a second`, `5 minutes`, `About an hour` (go-units' HumanDuration).
    package static func human(_ nanoseconds: Int) -> String {
        let seconds = nanoseconds / 1_000_000_000
        if seconds < 1 { return "Less than a second" }
        if seconds == 1 { return "1 second" }
        if seconds < 60 { return "\(seconds) seconds" }
        let minutes = seconds / 60
        if minutes == 1 { return "About a minute" }
        if minutes < 60 { return "\(minutes) minutes" }
        let hours = (seconds + 1800) / 3600
        if hours == 1 { return "About an hour" }
        if hours < 48 { return "\(hours) hours" }
        if hours < 24 * 7 * 2 { return "\(hours / 24) days" }
        if hours < 24 * 30 * 2 { return "\(hours / 24 / 7) weeks" }
        if hours < 24 * 365 * 2 { return "\(hours / 24 / 30) months" }
        return "\(seconds / 3600 / 24 / 365) years"
    }
}
