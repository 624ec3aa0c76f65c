/// A format that was read: carried out for each row.
package struct Template: Sendable {
    private let nodes: [TemplateNode]
    private let words: Words

    /// What docker puts before a fault: its lists and its `inspect` differ.
    package struct Words: Sendable {
        let parsing: String
        let running: String
        package static let inspecting = Words(parsing: "template parsing error: ", running: "template parsing error: ")
        package static let listing = Words(parsing: "failed to parse template: ", running: "failed to execute template: ")
    }

    /// Docker's words for a template that cannot be read.
    package init(_ text: String, _ words: Words = .inspecting) throws {
        self.words = words
        do { nodes = try TemplateParser.parse(text) } catch let fault as TemplateFault {
            throw TemplateFault(words.parsing + "template: :1: \(fault.message)")
        }
    }

    package func run(_ value: TemplateValue) throws -> String {
        var runner = TemplateRunner(value)
        do { try runner.run(nodes) } catch let fault as TemplateFault {
            let place = runner.place.map { "executing \"\" at <\($0)>: " } ?? ""
            throw TemplateFault(words.running + "template: :1:2: \(place)\(fault.message)")
        }
        return runner.output
    }

    /// The fields that the template shows first-hand, to decide what must be asked for (`.Size`).
    package func mentions(_ field: String) -> Bool { Self.mentions(field, nodes) }

    private static func mentions(_ field: String, _ nodes: [TemplateNode]) -> Bool {
        nodes.contains { node in
            switch node {
            case .text: false
            case .action(let pipeline): mentions(field, pipeline)
            case .condition(let pipeline, let then, let otherwise):
                mentions(field, pipeline) || mentions(field, then) || mentions(field, otherwise)
            case .loop(let pipeline, _, let body, let otherwise), .with(let pipeline, let body, let otherwise):
                mentions(field, pipeline) || mentions(field, body) || mentions(field, otherwise)
            }
        }
    }

    private static func mentions(_ field: String, _ pipeline: TemplatePipeline) -> Bool {
        pipeline.commands.joined().contains { operand in
            switch operand {
            case .dot(let path), .variable(_, let path): path.first == field
            case .nested(let inner, _): mentions(field, inner)
            case .function, .constant: false
            }
        }
    }
}

struct TemplateRunner {
    private(set) var output = ""
    private(set) var place: String?
    private var dot: TemplateValue
    private var variables: [(name: String, value: TemplateValue)]

    /// More than this is no line of a listing.
    private static let longest = 64 << 20

    init(_ value: TemplateValue) {
        dot = value
        variables = [("$", value)]
    }

    mutating func run(_ nodes: [TemplateNode]) throws {
        for node in nodes {
            guard output.utf8.count < Self.longest else { throw TemplateFault("the output is too long") }
            try run(node)
        }
    }

    private mutating func run(_ node: TemplateNode) throws {
        switch node {
        case .text(let text): output += text
        case .action(let pipeline):
            let value = try evaluate(pipeline)
            if pipeline.assigns == nil { output += value.text }
        case .condition(let pipeline, let then, let otherwise):
            let scope = variables.count
            let value = try evaluate(pipeline)
            try run(value.isTrue ? then : otherwise)
            variables.removeLast(variables.count - scope)
        case .with(let pipeline, let body, let otherwise):
            let scope = variables.count
            let value = try evaluate(pipeline)
            let before = dot
            if value.isTrue { dot = value }
            try run(value.isTrue ? body : otherwise)
            dot = before
            variables.removeLast(variables.count - scope)
        case .loop(let pipeline, let names, let body, let otherwise): try loop(pipeline, names, body, otherwise)
        }
    }

    private mutating func loop(
        _ pipeline: TemplatePipeline, _ names: [String], _ body: [TemplateNode], _ otherwise: [TemplateNode]
    ) throws {
        let value = try evaluate(pipeline)
        let items: [(TemplateValue, TemplateValue)]
        switch value {
        case .list(let elements): items = elements.enumerated().map { (.int($0.offset), $0.element) }
        case .map(let members), .record(_, let members):
            items = members.sorted { $0.key < $1.key }.map { (.string($0.key), $0.value) }
        case .null: items = []
        case .int(let count) where count >= 0 && count < 100_000: items = (0..<count).map { (.int($0), .int($0)) }
        default: throw TemplateFault("range can't iterate over \(value.text)")
        }
        if items.isEmpty { return try run(otherwise) }
        let before = dot
        let scope = variables.count
        for (key, element) in items {
            dot = element
            if names.count == 1 { variables.append((names[0], element)) }
            if names.count == 2 { variables += [(names[0], key), (names[1], element)] }
            try run(body)
            variables.removeLast(variables.count - scope)
        }
        dot = before
    }

    private mutating func evaluate(_ pipeline: TemplatePipeline) throws -> TemplateValue {
        var result: TemplateValue?
        for command in pipeline.commands {
            place = pipeline.source
            result = try evaluate(command, piped: result)
        }
        let value = result ?? .null
        if let name = pipeline.assigns {
            if let index = variables.lastIndex(where: { $0.name == name }), name != "$" {
                variables[index].value = value
            } else {
                variables.append((name, value))
            }
        }
        return value
    }

    private mutating func evaluate(_ command: [TemplateOperand], piped: TemplateValue?) throws -> TemplateValue {
        // A method of docker's contexts: `.Label "name"`.
        if case .dot(let path)? = command.first, path.last == "Label", command.count + (piped == nil ? 0 : 1) == 2 {
            let labels = try follow(dot, path)
            let name = try piped ?? value(command[1])
            return try TemplateFunctions.call("index", [labels, name])
        }
        guard case .function(let name)? = command.first else {
            guard command.count == 1, piped == nil, let operand = command.first else {
                throw TemplateFault("can't give argument to non-function")
            }
            return try value(operand)
        }
        var arguments: [TemplateValue] = []
        for operand in command.dropFirst() { arguments.append(try value(operand)) }
        if let piped { arguments.append(piped) }
        return try TemplateFunctions.call(name, arguments)
    }

    private mutating func value(_ operand: TemplateOperand) throws -> TemplateValue {
        switch operand {
        case .constant(let value): return value
        case .dot(let path): return try follow(dot, path)
        case .variable(let name, let path):
            guard let variable = variables.last(where: { $0.name == name }) else {
                throw TemplateFault("undefined variable \(GoText.quote(name))")
            }
            return try follow(variable.value, path)
        case .nested(let pipeline, let path): return try follow(try evaluate(pipeline), path)
        case .function(let name): return try TemplateFunctions.call(name, [])
        }
    }

    private mutating func follow(_ value: TemplateValue, _ path: [String]) throws -> TemplateValue {
        var value = value
        for (index, name) in path.enumerated() {
            place = "." + path[...index].joined(separator: ".")
            value = try value.member(name)
        }
        return value
    }
}
