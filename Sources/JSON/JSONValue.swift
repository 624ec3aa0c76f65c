/// Any JSON value, for texts whose shape is not known beforehand. Objects keep their order.
public enum JSONValue: Equatable, Sendable {
    case object([Member])
    case array([JSONValue])
    case string(String)
    /// The digits as they stood in the text.
    case number(String)
    case bool(Bool)
    case null

    public struct Member: Equatable, Sendable {
        public var key: String
        public var value: JSONValue
        public init(key: String, value: JSONValue) {
            self.key = key
            self.value = value
        }
    }

    /// The last member of that name, or nil.
    public subscript(_ key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.key == key }?.value
    }

    public subscript(_ index: Int) -> JSONValue? {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
        return elements[index]
    }

    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var int: Int? { if case .number(let value) = self { Int(value) } else { nil } }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    public var members: [Member]? { if case .object(let value) = self { value } else { nil } }

    /// The value as an indented text, as Go's MarshalIndent writes it: empty objects and arrays stay on their line.
    public func indented(by unit: String = "    ") -> String {
        var text = ""
        append(to: &text, unit: unit, level: 0)
        return text
    }

    private func append(to text: inout String, unit: String, level: Int) {
        func line(_ level: Int) { text += "\n" + String(repeating: unit, count: level) }
        switch self {
        case .object(let members) where !members.isEmpty:
            text += "{"
            for (index, member) in members.enumerated() {
                line(level + 1)
                text += member.key.jsonText + ": "
                member.value.append(to: &text, unit: unit, level: level + 1)
                if index < members.count - 1 { text += "," }
            }
            line(level)
            text += "}"
        case .array(let elements) where !elements.isEmpty:
            text += "["
            for (index, element) in elements.enumerated() {
                line(level + 1)
                element.append(to: &text, unit: unit, level: level + 1)
                if index < elements.count - 1 { text += "," }
            }
            line(level)
            text += "]"
        default: text += jsonText
        }
    }
}

extension JSONValue: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        switch reader.next {
        case .object:
            var members: [Member] = []
            try reader.object { key, reader in members.append(Member(key: key, value: try reader.value())) }
            self = .object(members)
        case .array: self = .array(try reader.value())
        case .string: self = .string(try reader.string())
        case .number: self = .number(try reader.numberText())
        case .bool: self = .bool(try reader.bool())
        default:
            guard reader.null() else {
                try reader.skip()
                throw reader.fault("expected a value")
            }
            self = .null
        }
    }

    public func write(to writer: inout JSONWriter) {
        switch self {
        case .object(let members):
            writer.object { writer in for member in members { writer.member(member.key, member.value) } }
        case .array(let elements): elements.write(to: &writer)
        case .string(let value): writer.string(value)
        case .number(let digits): writer.raw(Array(digits.utf8))
        case .bool(let value): writer.bool(value)
        case .null: writer.null()
        }
    }
}
