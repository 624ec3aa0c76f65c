/// Texts as Go's standard library writes them: docker's messages are made with it.
package enum GoText {
    /// strconv.Quote
    package static func quote(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                result += "\\x" + (digits.count < 2 ? "0" : "") + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// JSON as Go's json.Marshal writes it: `<`, `>` and `&` only stand in strings.
    package static func escapedForHTML(_ json: String) -> String {
        guard json.utf8.contains(where: { $0 == 0x3C || $0 == 0x3E || $0 == 0x26 }) else { return json }
        return json.map { character in
            switch character {
            case "<": "\\u003c"
            case ">": "\\u003e"
            case "&": "\\u0026"
            default: String(character)
            }
        }.joined()
    }

    /// A whole text between two marks, or nil.
    package static func cut(_ text: String, _ separator: Character) -> (before: String, after: String)? {
        guard let index = text.firstIndex(of: separator) else { return nil }
        return (String(text[..<index]), String(text[text.index(after: index)...]))
    }

    /// A line of comma-separated values with double quotes (RFC 4180), as docker's --mount and --network take it.
    package static func csv(_ text: String) throws -> [String] {
        var fields: [String] = []
        var field = ""
        var quoted = false
        var wasQuoted = false
        var characters = text.makeIterator()
        var next = characters.next()
        while let character = next {
            next = characters.next()
            if quoted {
                if character != "\"" {
                    field.append(character)
                } else if next == "\"" {
                    field.append("\"")
                    next = characters.next()
                } else {
                    quoted = false
                }
            } else if character == "," {
                fields.append(field)
                field = ""
                wasQuoted = false
            } else if character == "\"" {
                guard field.isEmpty, !wasQuoted else {
                    throw FlagFault("parse error on line 1, column \(field.utf8.count + 1): bare \" in non-quoted-field")
                }
                quoted = true
                wasQuoted = true
            } else {
                field.append(character)
            }
        }
        guard !quoted else {
            throw FlagFault("parse error on line 1, column \(text.utf8.count + 1): extraneous or missing \" in quoted-field")
        }
        return fields + [field]
    }

    /// Words of a command line, quotes and backslashes taken as a shell does (for --entrypoint-like texts).
    package static func pad(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return digits.count >= width ? digits : String(repeating: "0", count: width - digits.count) + digits
    }

    /// fmt's %.Nf
    package static func fixed(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "-Inf" : "+Inf" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = (abs(value) * scale).rounded(.toNearestOrEven)
        guard scaled < 9e15 else { return String(value) }
        let whole = Int(scaled)
        let sign = value < 0 && whole != 0 ? "-" : ""
        if digits == 0 { return sign + String(whole) }
        let divisor = Int(scale)
        return sign + String(whole / divisor) + "." + pad(whole % divisor, digits)
    }

    /// fmt's %.4g as docker's sizes use it: four significant digits, no trailing zeros.
    package static func significant(_ value: Double, _ digits: Int) -> String {
        guard value != 0 else { return "0" }
        var whole = 0
        var probe = abs(value)
        while probe >= 1 {
            probe /= 10
            whole += 1
        }
        var text = fixed(value, max(0, digits - max(whole, 1)))
        if text.contains(".") {
            while text.hasSuffix("0") { text.removeLast() }
            if text.hasSuffix(".") { text.removeLast() }
        }
        return text
    }
}
