/// A command line that does not follow the grammar; the text is complete, the status is docker's.
package struct UsageFault: Error, Sendable, Equatable {
    package let text: String
    package let status: CInt
    package init(_ text: String, status: CInt) {
        self.text = text
        self.status = status
    }
}

/// A bad flag, before the usage line has been put below it.
package struct FlagFault: Error, Sendable, Equatable {
    package let message: String
    package init(_ message: String) { self.message = message }
}

/// What was given: flags by name, in order, and the arguments.
package struct Parsed: Sendable {
    package private(set) var given: [String: [String]] = [:]
    package var arguments: [String] = []

    package init() {}

    mutating func add(_ flag: Flag, _ value: String) {
        if flag.kind == .list { given[flag.name, default: []].append(value) } else { given[flag.name] = [value] }
    }

    package func has(_ name: String) -> Bool { given[name] != nil }
    package func string(_ name: String) -> String? { given[name]?.last }
    package func list(_ name: String) -> [String] { given[name] ?? [] }

    package func bool(_ name: String, default value: Bool = false) -> Bool {
        guard let text = given[name]?.last else { return value }
        return FlagParser.bool(text) ?? value
    }

    package func int(_ name: String) -> Int? { string(name).flatMap { FlagParser.integer($0) } }
    package func bytes(_ name: String) -> Int? { string(name).flatMap { try? ByteSize.parse($0) } }
    package func nanoseconds(_ name: String) -> Int? { string(name).flatMap { try? GoDuration.parse($0) } }
}

/// Docker's flag grammar (pflag's): `-it`, `-p8080:80`, `-p=8080:80`, `--name=x`, `--name x`, `--flag=false`, `--`.
package enum FlagParser {
    /// Parses the words behind a command's name.
    package static func parse(_ words: [String], _ flags: [Flag], mixesFlags: Bool) throws -> Parsed {
        var parsed = Parsed()
        var index = 0
        func takeValue(_ complaint: String) throws -> String {
            index += 1
            guard index < words.count else { throw FlagFault(complaint) }
            return words[index]
        }
        while index < words.count {
            let word = words[index]
            if word == "--" {
                parsed.arguments += words[(index + 1)...]
                return parsed
            }
            if word.hasPrefix("--") {
                try long(word, flags, &parsed, takeValue)
            } else if word.hasPrefix("-"), word.utf8.count > 1 {
                try short(word, flags, &parsed, takeValue)
            } else {
                if !mixesFlags {
                    parsed.arguments += words[index...]
                    return parsed
                }
                parsed.arguments.append(word)
            }
            index += 1
        }
        return parsed
    }

    private static func long(
        _ word: String, _ flags: [Flag], _ parsed: inout Parsed, _ takeValue: (String) throws -> String
    ) throws {
        let body = word.dropFirst(2)
        guard let first = body.first, first != "-", first != "=" else { throw FlagFault("bad flag syntax: \(word)") }
        let equals = body.firstIndex(of: "=")
        let name = String(equals.map { body[..<$0] } ?? body)
        guard let flag = flags.first(where: { $0.name == name }) else {
            if name == "help" { throw HelpWanted() }
            throw FlagFault("unknown flag: --\(name)")
        }
        // `run` and `create` show it among their flags.
        if flag.name == "help" { throw HelpWanted() }
        let value: String
        if let equals {
            value = String(body[body.index(after: equals)...])
        } else if flag.kind == .bool {
            value = "true"
        } else if case .optional(let bare) = flag.kind {
            value = bare
        } else {
            value = try takeValue("flag needs an argument: --\(name)")
        }
        try add(flag, value, &parsed)
    }

    private static func short(
        _ word: String, _ flags: [Flag], _ parsed: inout Parsed, _ takeValue: (String) throws -> String
    ) throws {
        var rest = word.dropFirst()
        while let letter = rest.first {
            rest = rest.dropFirst()
            guard let flag = flags.first(where: { $0.short == letter }) else {
                if letter == "h" { throw HelpWanted() }
                throw FlagFault("unknown shorthand flag: '\(letter)' in \(word)")
            }
            if rest.first == "=" {
                try add(flag, String(rest.dropFirst()), &parsed)
                return
            }
            if flag.kind == .bool {
                try add(flag, "true", &parsed)
                continue
            }
            if rest.isEmpty {
                try add(flag, takeValue("flag needs an argument: '\(letter)' in \(word)"), &parsed)
            } else {
                try add(flag, String(rest), &parsed)
            }
            return
        }
    }

    /// `--help` or `-h` where a command has no flag of that name.
    package struct HelpWanted: Error {}

    private static func add(_ flag: Flag, _ value: String, _ parsed: inout Parsed) throws {
        if let complaint = complaint(flag, value) {
            throw FlagFault("invalid argument \(GoText.quote(value)) for \"\(flag.spelled)\" flag: \(complaint)")
        }
        parsed.add(flag, value)
    }

    /// What is wrong with a value, in the words of Go's parsers; nil when nothing is.
    private static func complaint(_ flag: Flag, _ value: String) -> String? {
        func number(_ function: String, _ fits: Bool) -> String? {
            if fits { return nil }
            let digits = value.drop { $0 == "-" || $0 == "+" }
            let isNumber = !digits.isEmpty && digits.allSatisfy { $0.isASCII && $0.isNumber }
            return "strconv.\(function): parsing \(GoText.quote(value)): \(isNumber ? "value out of range" : "invalid syntax")"
        }
        if let check = flag.check {
            do { try check(value) } catch { return (error as? FlagFault)?.message ?? String(describing: error) }
        }
        switch flag.kind {
        case .string, .list, .optional: return nil
        case .bool:
            return number("ParseBool", bool(value) != nil).map { _ in
                "strconv.ParseBool: parsing \(GoText.quote(value)): invalid syntax"
            }
        case .int: return number("ParseInt", integer(value) != nil)
        case .uint: return number("ParseUint", integer(value).map { $0 >= 0 } ?? false)
        case .uint16: return number("ParseUint", integer(value).map { (0...65_535).contains($0) } ?? false)
        case .bytes:
            do { _ = try ByteSize.parse(value) } catch { return (error as? FlagFault)?.message ?? "invalid size: '\(value)'" }
            return nil
        case .duration:
            do { _ = try GoDuration.parse(value) } catch { return (error as? FlagFault)?.message ?? "invalid duration" }
            return nil
        case .decimal:
            do { _ = try NanoCPUs.parse(value) } catch {
                return (error as? FlagFault)?.message ?? "failed to parse \(value) as a rational number"
            }
            return nil
        }
    }

    static func bool(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "TRUE", "true", "True": true
        case "0", "f", "F", "FALSE", "false", "False": false
        default: nil
        }
    }

    /// Go's ParseInt with base 0: signs, 0x, 0o, 0b and underscores between digits.
    static func integer(_ text: String) -> Int? {
        var digits = text[...]
        let negative = digits.first == "-"
        if negative || digits.first == "+" { digits = digits.dropFirst() }
        var radix = 10
        let lower = digits.lowercased()
        if lower.hasPrefix("0x") {
            radix = 16
        } else if lower.hasPrefix("0o") {
            radix = 8
        } else if lower.hasPrefix("0b") {
            radix = 2
        }
        if radix != 10 {
            digits = digits.dropFirst(2)
        } else if digits.first == "0", digits.count > 1 {
            radix = 8
        }
        guard let first = digits.first, first != "-", first != "+" else { return nil }
        return Int((negative ? "-" : "") + digits, radix: radix)
    }
}
