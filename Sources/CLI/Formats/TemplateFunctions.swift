import JSON

/// The functions that formats may call: docker's and the commonest of Go's.
enum TemplateFunctions {
    static let names: Set<String> = [
        "json", "join", "upper", "lower", "title", "split", "truncate", "pad", "println", "print", "printf", "index", "len",
        "eq", "ne",
        "lt", "le", "gt", "ge", "and", "or", "not", "slice", "html", "js", "urlquery",
    ]

    /// The type of a record whose every member is its own name.
    static let namesItself = "header"

    static func call(_ name: String, _ arguments: [TemplateValue]) throws -> TemplateValue {
        switch name {
        case "json":
            try count(name, arguments, 1...1)
            return .string(arguments[0].json.jsonText)
        case "join", "split", "truncate", "pad", "upper", "lower", "title": return try text(name, arguments)
        case "print", "println":
            let line = arguments.map(\.text).joined(separator: " ")
            return .string(name == "println" ? line + "\n" : line)
        case "printf":
            guard case .string(let format)? = arguments.first else {
                throw TemplateFault("wrong number of args for printf: want at least 1 got 0")
            }
            return .string(GoFormat.format(format, Array(arguments.dropFirst())))
        case "len":
            try count(name, arguments, 1...1)
            switch arguments[0] {
            case .string(let text): return .int(text.utf8.count)
            case .list(let elements): return .int(elements.count)
            case .map(let members), .record(_, let members): return .int(members.count)
            default: throw TemplateFault("error calling len: len of type \(arguments[0].kindName)")
            }
        case "index": return try index(arguments)
        case "eq", "ne", "lt", "le", "gt", "ge": return .bool(try compare(name, arguments))
        case "and":
            try count(name, arguments, 1...64)
            return arguments.first { !$0.isTrue } ?? arguments[arguments.count - 1]
        case "or":
            try count(name, arguments, 1...64)
            return arguments.first { $0.isTrue } ?? arguments[arguments.count - 1]
        case "not":
            try count(name, arguments, 1...1)
            return .bool(!arguments[0].isTrue)
        default: throw TemplateFault("function \(GoText.quote(name)) is not supported in formats")
        }
    }

    private static func count(_ name: String, _ arguments: [TemplateValue], _ wanted: ClosedRange<Int>) throws {
        guard wanted.contains(arguments.count) else {
            throw TemplateFault("wrong number of args for \(name): want \(wanted.lowerBound) got \(arguments.count)")
        }
    }

    private static func string(_ name: String, _ value: TemplateValue) throws -> String {
        guard case .string(let text) = value else {
            throw TemplateFault("wrong type for value; expected string; got \(value.kindName)")
        }
        return text
    }

    private static func text(_ name: String, _ arguments: [TemplateValue]) throws -> TemplateValue {
        switch name {
        case "join":
            try count(name, arguments, 2...2)
            guard case .list(let elements) = arguments[0] else {
                throw TemplateFault("wrong type for value; expected []string; got \(arguments[0].kindName)")
            }
            return .string(elements.map(\.text).joined(separator: try string(name, arguments[1])))
        case "split":
            try count(name, arguments, 2...2)
            let whole = try string(name, arguments[0])
            let mark = try string(name, arguments[1])
            guard !mark.isEmpty else { return .list(whole.map { .string(String($0)) }) }
            var parts: [TemplateValue] = []
            var rest = whole
            while let found = rest.range(of: mark) {
                parts.append(.string(String(rest[..<found.lowerBound])))
                rest = String(rest[found.upperBound...])
            }
            return .list(parts + [.string(rest)])
        case "truncate":
            try count(name, arguments, 2...2)
            guard case .int(let length) = arguments[1] else { throw TemplateFault("wrong type for value; expected int") }
            return .string(String(try string(name, arguments[0]).prefix(max(0, length))))
        case "pad":
            try count(name, arguments, 3...3)
            guard case .int(let left) = arguments[1], case .int(let right) = arguments[2], (0..<10_000).contains(left),
                (0..<10_000).contains(right)
            else {
                throw TemplateFault("wrong type for value; expected int")
            }
            let inner = try string(name, arguments[0])
            return .string(
                inner.isEmpty ? "" : String(repeating: " ", count: left) + inner + String(repeating: " ", count: right))
        default:
            try count(name, arguments, 1...1)
            let inner = try string(name, arguments[0])
            switch name {
            case "upper": return .string(inner.uppercased())
            case "lower": return .string(inner.lowercased())
            default: return .string(inner.prefix(1).uppercased() + inner.dropFirst())
            }
        }
    }

    private static func index(_ arguments: [TemplateValue]) throws -> TemplateValue {
        guard var value = arguments.first else { throw TemplateFault("wrong number of args for index: want at least 1 got 0") }
        for key in arguments.dropFirst() {
            switch (value, key) {
            case (.record(Self.namesItself, _), .string): value = key
            case (.list(let elements), .int(let index)):
                guard elements.indices.contains(index) else {
                    throw TemplateFault("error calling index: index out of range: \(index)")
                }
                value = elements[index]
            case (.map(let members), .string(let name)), (.record(_, let members), .string(let name)):
                value = members.first { $0.key == name }?.value ?? .string("")
            case (.null, _): throw TemplateFault("error calling index: index of untyped nil")
            default: throw TemplateFault("error calling index: can't index item of type \(value.kindName)")
            }
        }
        return value
    }

    private static func compare(_ name: String, _ arguments: [TemplateValue]) throws -> Bool {
        try count(name, arguments, name == "eq" ? 2...64 : 2...2)
        if name == "eq" || name == "ne" {
            let same = arguments.dropFirst().contains { equal($0, arguments[0]) }
            return name == "eq" ? same : !same
        }
        let order: Int
        switch (arguments[0], arguments[1]) {
        case (.int(let left), .int(let right)): order = left < right ? -1 : left == right ? 0 : 1
        case (.string(let left), .string(let right)): order = left < right ? -1 : left == right ? 0 : 1
        default: throw TemplateFault("error calling \(name): incompatible types for comparison")
        }
        switch name {
        case "lt": return order < 0
        case "le": return order <= 0
        case "gt": return order > 0
        default: return order >= 0
        }
    }

    private static func equal(_ left: TemplateValue, _ right: TemplateValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.int(let a), .int(let b)): a == b
        case (.string(let a), .string(let b)): a == b
        default: left.text == right.text && left.kindName == right.kindName
        }
    }
}

/// fmt.Sprintf: %s %v %d %q %x %t %f %% with flags, width and precision.
enum GoFormat {
    static func format(_ format: String, _ arguments: [TemplateValue]) -> String {
        var result = ""
        var rest = Array(format)[...]
        var next = 0
        while let character = rest.popFirst() {
            guard character == "%" else {
                result.append(character)
                continue
            }
            var flags = ""
            while let flag = rest.first, "-+ 0#".contains(flag) {
                flags.append(flag)
                rest.removeFirst()
            }
            let width = number(&rest) ?? 0
            var precision: Int?
            if rest.first == "." {
                rest.removeFirst()
                precision = number(&rest) ?? 0
            }
            guard let verb = rest.popFirst() else { return result + "%!(NOVERB)" }
            if verb == "%" {
                result.append("%")
                continue
            }
            guard next < arguments.count else {
                result += "%!\(verb)(MISSING)"
                continue
            }
            result += pad(text(verb, arguments[next], precision, plus: flags.contains("+")), min(width, 10_000), flags, verb)
            next += 1
        }
        return result
    }

    private static func number(_ rest: inout ArraySlice<Character>) -> Int? {
        var digits = ""
        while let digit = rest.first, ("0"..."9").contains(digit) {
            digits.append(digit)
            rest.removeFirst()
        }
        return Int(digits)
    }

    private static func text(_ verb: Character, _ value: TemplateValue, _ precision: Int?, plus: Bool) -> String {
        switch (verb, value) {
        case ("q", .string(let text)): return GoText.quote(text)
        case ("x", .int(let number)): return String(number, radix: 16)
        case ("d", .int(let number)): return (plus && number >= 0 ? "+" : "") + String(number)
        case ("f", .number(let digits)): return GoText.fixed(Double(digits) ?? 0, precision ?? 6)
        case ("s", _), ("v", _), ("t", .bool): return precision.map { String(value.text.prefix($0)) } ?? value.text
        default: return "%!\(verb)(\(value.kindName)=\(value.text))"
        }
    }

    private static func pad(_ text: String, _ width: Int, _ flags: String, _ verb: Character) -> String {
        let missing = width - text.count
        guard missing > 0 else { return text }
        if flags.contains("-") { return text + String(repeating: " ", count: missing) }
        return String(repeating: flags.contains("0") && verb != "s" ? "0" : " ", count: missing) + text
    }
}
