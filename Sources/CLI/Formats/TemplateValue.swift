import JSON

/// What a template works on.
package indirect enum TemplateValue: Sendable {
    case null
    case bool(Bool)
    case int(Int)
    case string(String)
    case list([TemplateValue])
    /// Members in the order in which they are shown.
    case map([(key: String, value: TemplateValue)])
    /// Fields that are known by name; a field that is not among them is a fault.
    case record(type: String, [(key: String, value: TemplateValue)])
    /// A number that is no Int.
    case number(String)

    package init(_ json: JSONValue) {
        switch json {
        case .object(let members): self = .map(members.map { ($0.key, TemplateValue($0.value)) })
        case .array(let elements): self = .list(elements.map { TemplateValue($0) })
        case .string(let text): self = .string(text)
        case .number(let digits): self = Int(digits).map { .int($0) } ?? .number(digits)
        case .bool(let on): self = .bool(on)
        case .null: self = .null
        }
    }

    /// As JSON, keys in order of the alphabet, as Go writes maps.
    package var json: JSONValue {
        switch self {
        case .null: .null
        case .bool(let on): .bool(on)
        case .int(let number): .number(String(number))
        case .number(let digits): .number(digits)
        case .string(let text): .string(text)
        case .list(let elements): .array(elements.map(\.json))
        case .map(let members): .object(members.map { .init(key: $0.key, value: $0.value.json) })
        case .record(_, let members):
            .object(members.map { .init(key: $0.key, value: $0.value.json) }.sorted { $0.key < $1.key })
        }
    }

    /// As Go's fmt prints it with %v.
    package var text: String {
        switch self {
        case .null: "<no value>"
        case .bool(let on): on ? "true" : "false"
        case .int(let number): String(number)
        case .number(let digits): digits
        case .string(let text): text
        case .list(let elements): "[" + elements.map(\.nested).joined(separator: " ") + "]"
        case .map(let members), .record(_, let members):
            "map[" + members.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value.nested)" }.joined(separator: " ") + "]"
        }
    }

    private var nested: String { if case .null = self { "<nil>" } else { text } }

    /// Go's truth: empty, zero and nil are false.
    package var isTrue: Bool {
        switch self {
        case .null: false
        case .bool(let on): on
        case .int(let number): number != 0
        case .number(let digits): Double(digits) != 0
        case .string(let text): !text.isEmpty
        case .list(let elements): !elements.isEmpty
        case .map(let members): !members.isEmpty
        case .record: true
        }
    }

    /// A member by name; JSON and Go differ in the case of some names (Id, ID).
    package func member(_ name: String) throws -> TemplateValue {
        switch self {
        case .map(let members):
            if let found = Self.find(name, members) { return found }
            throw TemplateFault("map has no entry for key \(GoText.quote(name))")
        case .record(let type, let members):
            if let found = Self.find(name, members) { return found }
            throw TemplateFault("can't evaluate field \(name) in type \(type)")
        case .null: throw TemplateFault("nil pointer evaluating interface {}.\(name)")
        default: throw TemplateFault("can't evaluate field \(name) in type \(kindName)")
        }
    }

    private static func find(_ name: String, _ members: [(key: String, value: TemplateValue)]) -> TemplateValue? {
        if let exact = members.first(where: { $0.key == name }) { return exact.value }
        let lower = name.lowercased()
        return members.first { $0.key.lowercased() == lower }?.value
    }

    package var kindName: String {
        switch self {
        case .null: "nil"
        case .bool: "bool"
        case .int: "int"
        case .number: "float64"
        case .string: "string"
        case .list: "[]interface {}"
        case .map: "map[string]interface {}"
        case .record(let type, _): type
        }
    }
}

/// A template that cannot be read or carried out.
package struct TemplateFault: Error, Sendable {
    package let message: String
    package init(_ message: String) { self.message = message }
}
