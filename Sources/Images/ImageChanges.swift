import JSON
import Model

/// The Dockerfile instructions that `import --change` and `commit --change` take, applied to what a container starts with.
public struct ImageChanges {
    private var settings: ImageSettings
    private var cmdWasSet = false

    /// Applies the lines in order. Throws `invalid` in docker's words.
    public static func apply(_ lines: [String], to settings: ImageSettings) throws -> ImageSettings {
        var changes = ImageChanges(settings: settings)
        for text in lines {
            // One change may hold several lines, as a Dockerfile would.
            for line in joined(text) { try changes.apply(line) }
        }
        return changes.settings
    }

    private init(settings: ImageSettings) { self.settings = settings }

    /// Lines of a Dockerfile without comments and empty ones, with `\` continuations joined.
    private static func joined(_ text: String) -> [String] {
        var lines: [String] = []
        var open = ""
        for raw in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let line = String(raw).trimmed
            if line.isEmpty || line.hasPrefix("#") { continue }
            if line.hasSuffix("\\") {
                open += line.dropLast() + " "
                continue
            }
            lines.append(open + line)
            open = ""
        }
        if !open.isEmpty { lines.append(open) }
        return lines
    }

    private mutating func apply(_ line: String) throws {
        let word = line.prefix { !$0.isWhitespace }
        let rest = String(line.dropFirst(word.count)).trimmed
        let name = word.uppercased()
        guard !rest.isEmpty || name == "CMD" || name == "ENTRYPOINT" else {
            throw Fault(.invalid, "\(name) requires at least one argument")
        }
        switch name {
        case "CMD":
            settings.cmd = Self.command(rest)
            cmdWasSet = true
        case "ENTRYPOINT":
            settings.entrypoint = Self.command(rest)
            // An inherited CMD was meant for the entrypoint before.
            if !cmdWasSet { settings.cmd = nil }
        case "ENV": for (key, value) in try pairs(rest, name) { setEnv(key, value) }
        case "LABEL": for (key, value) in try pairs(rest, name) { settings.labels[key] = value }
        case "EXPOSE": for word in try ShellWords.split(rest, lookup: variable) { try expose(word) }
        case "USER": settings.user = try ShellWords.expand(rest, lookup: variable)
        case "WORKDIR": workingDir(try ShellWords.expand(rest, lookup: variable))
        case "VOLUME": try volumes(rest)
        case "STOPSIGNAL": settings.stopSignal = try ShellWords.expand(rest, lookup: variable)
        case "HEALTHCHECK": settings.healthcheck = try Self.healthcheck(rest)
        case "ONBUILD": try onBuild(rest)
        default: throw Fault(.invalid, "\(name) is not a valid change command")
        }
    }

    private func variable(_ name: String) -> String {
        let prefix = name + "="
        return settings.env.last { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) } ?? ""
    }

    /// `["a","b"]` as it is; anything else goes to the shell.
    private static func command(_ text: String) -> [String] {
        if let list = try? [String](json: Array(text.utf8)), text.hasPrefix("[") { return list }
        return text.isEmpty ? [] : ["/bin/sh", "-c", text]
    }

    /// `k=v k2="v 2"`, or the old form `key the rest`.
    private func pairs(_ text: String, _ name: String) throws -> [(String, String)] {
        let words = try ShellWords.split(text, lookup: variable)
        guard let first = words.first else { throw Fault(.invalid, "\(name) requires at least one argument") }
        if !first.contains("="), !text.prefix(while: { !$0.isWhitespace }).contains("=") {
            let value = String(text.drop { !$0.isWhitespace }).trimmed
            guard !value.isEmpty else { throw Fault(.invalid, "\(name) must have two arguments") }
            return [(first, try ShellWords.expand(value, lookup: variable))]
        }
        return try words.map { word in
            guard let equals = word.firstIndex(of: "=") else {
                throw Fault(.invalid, "Syntax error - can't find = in \"\(word)\". Must be of the form: name=value")
            }
            guard equals > word.startIndex else { throw Fault(.invalid, "\(name) names can not be blank") }
            return (String(word[..<equals]), String(word[word.index(after: equals)...]))
        }
    }

    private mutating func setEnv(_ key: String, _ value: String) {
        let entry = key + "=" + value
        if let index = settings.env.firstIndex(where: { $0.hasPrefix(key + "=") }) {
            settings.env[index] = entry
        } else {
            settings.env.append(entry)
        }
    }

    private mutating func expose(_ word: String) throws {
        let parts = word.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let proto = parts.count > 1 ? parts[1].lowercased() : "tcp"
        let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
        guard ["tcp", "udp", "sctp"].contains(proto), (1...2).contains(ends.count), let first = ends[0],
            let last = ends[ends.count - 1], first > 0, first <= last
        else { throw Fault(.invalid, "invalid containerPort: \(word)") }
        for port in first...last { settings.exposedPorts.append("\(port)/\(proto)") }
        settings.exposedPorts = Array(Set(settings.exposedPorts)).sorted()
    }

    private mutating func workingDir(_ path: String) {
        let full = path.hasPrefix("/") ? path : settings.workingDir + "/" + path
        var parts: [Substring] = []
        for part in full.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        settings.workingDir = "/" + parts.joined(separator: "/")
    }

    private mutating func volumes(_ text: String) throws {
        let list: [String]
        if text.hasPrefix("["), let json = try? [String](json: Array(text.utf8)) {
            list = json
        } else {
            list = try ShellWords.split(text, lookup: variable)
        }
        guard list.allSatisfy({ !$0.trimmed.isEmpty }) else {
            throw Fault(.invalid, "VOLUME specified can not be an empty string")
        }
        settings.volumes = Array(Set(settings.volumes + list)).sorted()
    }

    private mutating func onBuild(_ text: String) throws {
        switch text.prefix(while: { !$0.isWhitespace }).uppercased() {
        case "ONBUILD": throw Fault(.invalid, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
        case "MAINTAINER", "FROM":
            throw Fault(.invalid, "\(text.prefix { !$0.isWhitespace }.uppercased()) isn't allowed as an ONBUILD trigger")
        default: settings.onBuild.append(text)
        }
    }

    // MARK: HEALTHCHECK [--interval=…] [--timeout=…] [--start-period=…] [--start-interval=…] [--retries=N] CMD … | NONE

    private static func healthcheck(_ text: String) throws -> ImageHealthcheck {
        var check = ImageHealthcheck()
        var rest = text
        while rest.hasPrefix("--") {
            let word = String(rest.prefix { !$0.isWhitespace })
            rest = String(rest.dropFirst(word.count)).trimmed
            try flag(String(word.dropFirst(2)), &check)
        }
        let kind = rest.prefix { !$0.isWhitespace }.uppercased()
        let arguments = String(rest.dropFirst(kind.count)).trimmed
        switch kind {
        case "NONE":
            guard arguments.isEmpty else { throw Fault(.invalid, "HEALTHCHECK NONE takes no arguments") }
            check.test = ["NONE"]
        case "CMD":
            guard !arguments.isEmpty else { throw Fault(.invalid, "Missing command after HEALTHCHECK CMD") }
            if arguments.hasPrefix("["), let list = try? [String](json: Array(arguments.utf8)) {
                check.test = ["CMD"] + list
            } else {
                check.test = ["CMD-SHELL", arguments]
            }
        default: throw Fault(.invalid, "Unknown type \"\(kind)\" in HEALTHCHECK (try CMD)")
        }
        return check
    }

    private static func flag(_ text: String, _ check: inout ImageHealthcheck) throws {
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { throw Fault(.invalid, "Missing a value on flag: \(text)") }
        func duration() throws -> Int64 {
            guard let value = GoDuration.nanoseconds(parts[1]), value == 0 || value >= 1_000_000 else {
                throw Fault(.invalid, "Interval \"\(parts[0])\" cannot be less than 1ms")
            }
            return value
        }
        switch parts[0] {
        case "interval": check.interval = try duration()
        case "timeout": check.timeout = try duration()
        case "start-period": check.startPeriod = try duration()
        case "start-interval": check.startInterval = try duration()
        case "retries":
            guard let count = Int(parts[1]), count >= 0 else { throw Fault(.invalid, "--retries cannot be negative") }
            check.retries = count
        default: throw Fault(.invalid, "Unknown flag: \(parts[0])")
        }
    }
}

/// Go's durations: `1h30m`, `1.5s`, `300ms`.
public enum GoDuration {
    /// Nil where the text is none, or negative.
    public static func nanoseconds(_ text: String) -> Int64? {
        if text == "0" { return 0 }
        let units: [(String, Double)] = [
            ("ns", 1), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9),
        ]
        var rest = text[...]
        var total = 0.0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let number = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { !$0.isNumber && $0 != "." }
            rest = rest.dropFirst(unit.count)
            guard let value = Double(number), let scale = units.first(where: { $0.0 == unit })?.1 else { return nil }
            total += value * scale
        }
        return total < 9e18 ? Int64(total) : nil
    }
}

/// Words with the quotes, backslashes and variables of a Dockerfile.
enum ShellWords {
    /// Splits at spaces outside quotes.
    static func split(_ text: String, lookup: (String) -> String) throws -> [String] {
        try parse(text, splitting: true, lookup: lookup)
    }

    /// The text as one word.
    static func expand(_ text: String, lookup: (String) -> String) throws -> String {
        try parse(text, splitting: false, lookup: lookup).joined()
    }

    private static func parse(_ text: String, splitting: Bool, lookup: (String) -> String) throws -> [String] {
        var words: [String] = []
        var word = ""
        var open = false
        var quote: Character?
        var index = text.startIndex
        while index < text.endIndex {
            let character = text[index]
            index = text.index(after: index)
            if character == "\\", quote != "'", index < text.endIndex {
                let next = text[index]
                // Within double quotes only these are escaped.
                if quote == "\"", !"\"\\$".contains(next) { word.append("\\") }
                word.append(next)
                open = true
                index = text.index(after: index)
            } else if character == quote {
                quote = nil
            } else if quote == nil, character == "\"" || character == "'" {
                quote = character
                open = true
            } else if character == "$", quote != "'" {
                word += variable(text, &index, lookup)
                open = true
            } else if quote == nil, splitting, character.isWhitespace {
                if open { words.append(word) }
                word = ""
                open = false
            } else {
                word.append(character)
                open = true
            }
        }
        guard quote == nil else { throw Fault(.invalid, "unexpected end of statement while looking for matching quote") }
        if open { words.append(word) }
        return words
    }

    /// `$NAME` or `${NAME}`; the index stands after the dollar.
    private static func variable(_ text: String, _ index: inout String.Index, _ lookup: (String) -> String) -> String {
        func isName(_ character: Character) -> Bool {
            character.isASCII && (character.isLetter || character.isNumber || character == "_")
        }
        let rest = text[index...]
        if rest.first == "{", let end = rest.firstIndex(of: "}") {
            let name = rest[rest.index(after: index)..<end]
            guard !name.isEmpty, name.allSatisfy(isName) else { return "$" }
            index = text.index(after: end)
            return lookup(String(name))
        }
        let name = rest.prefix(while: isName)
        guard !name.isEmpty else { return "$" }
        index = name.endIndex
        return lookup(String(name))
    }
}

extension String {
    /// Without spaces and line ends at both sides.
    var trimmed: String {
        var text = self[...]
        while let first = text.first, first.isWhitespace { text = text.dropFirst() }
        while let last = text.last, last.isWhitespace { text = text.dropLast() }
        return String(text)
    }
}
