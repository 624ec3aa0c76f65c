/// The parts of a template: Go's text/template, the part of it that people use on command lines.
indirect enum TemplateNode: Sendable {
    case text(String)
    case action(TemplatePipeline)
    case condition(TemplatePipeline, then: [TemplateNode], otherwise: [TemplateNode])
    case loop(TemplatePipeline, names: [String], body: [TemplateNode], otherwise: [TemplateNode])
    case with(TemplatePipeline, body: [TemplateNode], otherwise: [TemplateNode])
}

/// `$x := a | b c`
struct TemplatePipeline: Sendable {
    var assigns: String?
    /// Each command is a list of operands; the first may be a function's name.
    var commands: [[TemplateOperand]]
    let source: String
}

indirect enum TemplateOperand: Sendable {
    case dot([String])
    case variable(String, [String])
    case function(String)
    case constant(TemplateValue)
    case nested(TemplatePipeline, [String])
}

/// Reads a template's text.
struct TemplateParser {
    private enum Piece {
        case text(String)
        case action(String)
    }

    private var pieces: [Piece] = []
    private var at = 0

    static func parse(_ text: String) throws -> [TemplateNode] {
        var parser = TemplateParser()
        try parser.cut(text)
        let nodes = try parser.nodes(inside: nil)
        return nodes.0
    }

    /// Cuts at `{{` and `}}`; `{{-` and `-}}` take the space beside them away.
    private mutating func cut(_ text: String) throws {
        var rest = text[...]
        var trims = false
        while let open = String(rest).range(of: "{{") {
            let whole = String(rest)
            var before = String(whole[..<open.lowerBound])
            if trims { before = String(before.drop { $0.isWhitespace }) }
            var inside = whole[open.upperBound...]
            guard let close = Self.end(of: inside) else { throw TemplateFault("unclosed action") }
            rest = Substring(whole[inside.index(close, offsetBy: 2)...])
            inside = inside[..<close]
            if inside.hasPrefix("- ") {
                inside = inside.dropFirst()
                while before.last?.isWhitespace == true { before.removeLast() }
            }
            trims = inside.hasSuffix(" -")
            if trims { inside = inside.dropLast() }
            if !before.isEmpty { pieces.append(.text(before)) }
            let action = inside.trimmingSpaces()
            if !action.hasPrefix("/*") { pieces.append(.action(action)) }
        }
        var last = String(rest)
        if trims { last = String(last.drop { $0.isWhitespace }) }
        if !last.isEmpty { pieces.append(.text(last)) }
    }

    /// Where `}}` stands outside of quotes.
    private static func end(of text: Substring) -> String.Index? {
        var quote: Character?
        var index = text.startIndex
        while index < text.endIndex {
            let character = text[index]
            if let open = quote {
                if character == "\\", open == "\"" {
                    index = text.index(after: index)
                } else if character == open {
                    quote = nil
                }
                guard index < text.endIndex else { return nil }
            } else if character == "\"" || character == "`" {
                quote = character
            } else if character == "}" {
                let next = text.index(after: index)
                if next < text.endIndex, text[next] == "}" { return index }
            }
            index = text.index(after: index)
        }
        return nil
    }

    /// Nodes up to `{{end}}` or `{{else …}}`; that word is returned.
    private mutating func nodes(inside: String?) throws -> ([TemplateNode], String) {
        var result: [TemplateNode] = []
        while at < pieces.count {
            let piece = pieces[at]
            at += 1
            guard case .action(let action) = piece else {
                if case .text(let text) = piece { result.append(.text(text)) }
                continue
            }
            let (word, rest) = GoText.cut(action, " ") ?? (action, "")
            switch word {
            case "end", "else":
                guard inside != nil else { throw TemplateFault("unexpected {{\(word)}}") }
                return (result, action)
            case "if", "with", "range": result.append(try block(word, rest.trimmingSpaces()))
            case "define", "template", "block", "break", "continue":
                throw TemplateFault("{{\(word)}} is not supported in formats")
            case "": throw TemplateFault("missing value for command")
            default: result.append(.action(try TemplateLexer.pipeline(action)))
            }
        }
        if let inside { throw TemplateFault("unexpected EOF: {{\(inside)}} has no {{end}}") }
        return (result, "")
    }

    private mutating func block(_ word: String, _ condition: String) throws -> TemplateNode {
        guard !condition.isEmpty else { throw TemplateFault("missing value for \(word)") }
        var names: [String] = []
        var text = condition
        if word == "range", condition.hasPrefix("$"), let assign = condition.range(of: ":=") {
            names = condition[..<assign.lowerBound].split(separator: ",").map { $0.trimmingSpaces() }
            text = String(condition[assign.upperBound...]).trimmingSpaces()
        }
        let pipeline = try TemplateLexer.pipeline(text)
        let (body, end) = try nodes(inside: word)
        var otherwise: [TemplateNode] = []
        if end != "end" {
            let rest = end.dropFirst(4).trimmingSpaces()
            if rest.isEmpty {
                let (nodes, last) = try nodes(inside: word)
                guard last == "end" else { throw TemplateFault("expected end; found {{\(last)}}") }
                otherwise = nodes
            } else {
                let (next, condition) = GoText.cut(rest, " ") ?? (rest, "")
                guard next == "if" || next == "with" else { throw TemplateFault("unexpected {{else \(rest)}}") }
                otherwise = [try block(next, condition.trimmingSpaces())]
            }
        }
        switch word {
        case "if": return .condition(pipeline, then: body, otherwise: otherwise)
        case "with": return .with(pipeline, body: body, otherwise: otherwise)
        default: return .loop(pipeline, names: names, body: body, otherwise: otherwise)
        }
    }
}

/// Words of one action.
struct TemplateLexer {
    private let text: [Character]
    private var at = 0
    private var depth = 0

    private init(_ text: String) { self.text = Array(text) }

    static func pipeline(_ text: String) throws -> TemplatePipeline {
        var lexer = TemplateLexer(text)
        let result = try lexer.pipeline(until: nil)
        guard lexer.at == lexer.text.count else {
            throw TemplateFault("unexpected \(GoText.quote(String(lexer.text[lexer.at]))) in operand")
        }
        return result
    }

    private mutating func pipeline(until end: Character?) throws -> TemplatePipeline {
        depth += 1
        defer { depth -= 1 }
        guard depth < 50 else { throw TemplateFault("template is nested too deep") }
        let start = at
        var result = TemplatePipeline(assigns: nil, commands: [[]], source: String(text[start...]))
        while true {
            while at < text.count, text[at].isWhitespace { at += 1 }
            guard at < text.count, text[at] != end else { break }
            let character = text[at]
            if character == "|" {
                at += 1
                guard result.commands.last?.isEmpty == false else { throw TemplateFault("missing value for command") }
                result.commands.append([])
            } else if character == ":" || character == "=" {
                at += character == ":" ? 2 : 1
                guard result.commands.count == 1, case .variable(let name, let path)? = result.commands[0].first, path.isEmpty
                else {
                    throw TemplateFault("unexpected \":=\" in command")
                }
                result.assigns = name
                result.commands = [[]]
            } else {
                let operand = try operand(character)
                result.commands[result.commands.count - 1].append(operand)
            }
        }
        guard result.commands.allSatisfy({ !$0.isEmpty }) else { throw TemplateFault("missing value for command") }
        return result
    }

    private mutating func operand(_ character: Character) throws -> TemplateOperand {
        switch character {
        case ".": return .dot(try path())
        case "$":
            at += 1
            let name = word()
            return .variable("$" + name, try path())
        case "\"", "`": return .constant(.string(try quoted(character)))
        case "(":
            at += 1
            let inner = try pipeline(until: ")")
            guard at < text.count else { throw TemplateFault("unclosed left paren") }
            at += 1
            return .nested(inner, try path())
        case "-", "+", "0"..."9":
            let start = at
            at += 1
            while at < text.count, text[at].isHexDigit || "xXob._".contains(text[at]) { at += 1 }
            let digits = String(text[start..<at])
            guard let number = FlagParser.integer(digits) else {
                guard Double(digits) != nil else { throw TemplateFault("bad number syntax: \(GoText.quote(digits))") }
                return .constant(.number(digits))
            }
            return .constant(.int(number))
        default:
            let name = word()
            switch name {
            case "true": return .constant(.bool(true))
            case "false": return .constant(.bool(false))
            case "nil": return .constant(.null)
            case "": throw TemplateFault("unexpected \(GoText.quote(String(character))) in operand")
            default:
                guard TemplateFunctions.names.contains(name) else {
                    throw TemplateFault("function \(GoText.quote(name)) not defined")
                }
                return .function(name)
            }
        }
    }

    private mutating func word() -> String {
        let start = at
        while at < text.count, text[at].isLetter || text[at].isNumber || text[at] == "_" { at += 1 }
        return String(text[start..<at])
    }

    private mutating func path() throws -> [String] {
        var names: [String] = []
        while at < text.count, text[at] == "." {
            at += 1
            let name = word()
            if name.isEmpty {
                guard names.isEmpty, at == text.count || text[at].isWhitespace || text[at] == ")" || text[at] == "|" else {
                    throw TemplateFault("unexpected <.> in operand")
                }
                return []
            }
            names.append(name)
        }
        return names
    }

    private mutating func quoted(_ mark: Character) throws -> String {
        var result = ""
        at += 1
        while at < text.count, text[at] != mark {
            if mark == "\"", text[at] == "\\", at + 1 < text.count {
                at += 1
                switch text[at] {
                case "n": result += "\n"
                case "t": result += "\t"
                case "r": result += "\r"
                default: result.append(text[at])
                }
            } else {
                result.append(text[at])
            }
            at += 1
        }
        guard at < text.count else { throw TemplateFault("unterminated quoted string") }
        at += 1
        return result
    }
}
