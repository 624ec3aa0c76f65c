import Model

/// Durations as settings have them.
package enum DurationText {
    /// `90s`, `15m`, `1h30m`, `7d`.
    package static func parse(_ text: String) throws -> Timestamp {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        var total: Int64 = 0
        var digits = ""
        for character in text {
            if character.isASCII, character.isNumber {
                digits.append(character)
                continue
            }
            guard let unit = units[character], let number = Int64(digits), number < 100_000_000 else {
                digits = "x"
                break
            }
            total += number * unit
            digits = ""
        }
        guard digits.isEmpty, !text.isEmpty, total < 9_000_000_000 else {
            throw Fault(.invalid, "\"\(text)\" is no duration such as 90s, 15m, 1h30m or 7d")
        }
        return Timestamp(seconds: total)
    }
}
