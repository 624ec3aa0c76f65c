/// Numbers of bytes as docker reads and shows them (go-units).
package enum ByteSize {
    /// `512`, `1.5g`, `10 MB`, `64KiB`: powers of 1024. `-1` is let through for --memory-swap.
    package static func parse(_ text: String) throws -> Int {
        if text == "-1" { return -1 }
        let fault = FlagFault("invalid size: '\(text)'")
        guard let last = text.lastIndex(where: { ("0"..."9").contains($0) || $0 == "." }) else { throw fault }
        var number = text[...last]
        var unit = text[text.index(after: last)...]
        if unit.first == " " { unit = unit.dropFirst() }
        if number.hasSuffix(".") { number = number.dropLast() }
        guard let value = Double(number), value.isFinite else {
            throw FlagFault("strconv.ParseFloat: parsing \(GoText.quote(String(number))): invalid syntax")
        }
        guard value >= 0 else { throw fault }
        if unit.isEmpty || unit.lowercased() == "b" { return Int(value) }
        guard let letter = unit.first?.lowercased(), let power = ["k", "m", "g", "t", "p"].firstIndex(of: letter) else {
            throw FlagFault("invalid suffix: '\(unit.trimmingSpaces())'")
        }
        guard ["", "b", "ib"].contains(unit.dropFirst().lowercased()) else {
            throw FlagFault("invalid suffix: '\(unit.trimmingSpaces())'")
        }
        var factor = 1024.0
        for _ in 0..<power { factor *= 1024 }
        let product = value * factor
        guard product < 9.2e18 else { throw fault }
        return Int(product)
    }

    /// `1.09GB`: powers of 1000, three significant digits (`images`), or as many as asked.
    package static func human(_ bytes: Double, digits: Int = 3) -> String {
        scaled(bytes, 1000, ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"], digits)
    }

    /// `1.017GiB`: powers of 1024, four significant digits (`info`, `stats`).
    package static func binary(_ bytes: Double) -> String {
        scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"], 4)
    }

    private static func scaled(_ bytes: Double, _ base: Double, _ units: [String], _ digits: Int) -> String {
        var value = bytes
        var index = 0
        while value >= base, index < units.count - 1 {
            value /= base
            index += 1
        }
        return significant(value, digits) + units[index]
    }

    /// %.Ng: with an exponent where the number has more digits than that before its point.
    private static func significant(_ value: Double, _ digits: Int) -> String {
        var limit = 1.0
        for _ in 0..<digits { limit *= 10 }
        guard value.rounded() >= limit else { return GoText.significant(value, digits) }
        let mantissa = GoText.significant(value / 1000, digits)
        return mantissa + "e+03"
    }
}

/// A number of CPUs as billionths.
package enum NanoCPUs {
    package static func parse(_ text: String) throws -> Int {
        if let (top, bottom) = GoText.cut(text, "/"), let dividend = Int(top), let divisor = Int(bottom), divisor > 0,
            abs(dividend) < 1_000_000
        {
            let product = dividend * 1_000_000_000
            guard product % divisor == 0 else { throw FlagFault("value is too precise") }
            return product / divisor
        }
        guard let value = exact(text) else { throw FlagFault("failed to parse \(text) as a rational number") }
        return value
    }

    private static func exact(_ text: String) -> Int? {
        var body = text[...]
        let negative = body.first == "-"
        if negative || body.first == "+" { body = body.dropFirst() }
        let parts = body.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, !(first.isEmpty && parts.count == 1) else { return nil }
        let fraction = parts.count > 1 ? parts[1] : ""
        guard !(first.isEmpty && fraction.isEmpty), first.count < 9,
            (first + fraction).allSatisfy({ $0.isASCII && $0.isNumber }), fraction.count <= 9
        else { return nil }
        let padded = fraction + String(repeating: "0", count: 9 - fraction.count)
        guard let whole = Int(first.isEmpty ? "0" : String(first)), let rest = Int(padded) else { return nil }
        return (whole * 1_000_000_000 + rest) * (negative ? -1 : 1)
    }
}
