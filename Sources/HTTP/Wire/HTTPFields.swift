/// Fields of a message in their order (RFC 9110, 5). Names are compared without regard to case.
public struct HTTPFields: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    public struct Field: Sendable, Equatable {
        public let name: String
        public var value: String
    }

    public private(set) var list: [Field] = []

    public init() {}

    public init(dictionaryLiteral elements: (String, String)...) {
        list = elements.map { Field(name: $0.0, value: $0.1) }
    }

    /// The first value of that name. Setting replaces all of them; nil removes them.
    public subscript(_ name: String) -> String? {
        get { list.first { Self.same($0.name, name) }?.value }
        set {
            list.removeAll { Self.same($0.name, name) }
            if let newValue { list.append(Field(name: name, value: newValue)) }
        }
    }

    public func all(_ name: String) -> [String] { list.filter { Self.same($0.name, name) }.map(\.value) }

    public mutating func add(_ name: String, _ value: String) { list.append(Field(name: name, value: value)) }

    /// Whether a comma separated field has this word.
    public func has(_ name: String, word: String) -> Bool {
        all(name).contains { value in
            value.split(separator: ",").contains { Self.same(Self.trimmed($0), word) }
        }
    }

    public static func same(_ one: some StringProtocol, _ other: some StringProtocol) -> Bool {
        one.utf8.count == other.utf8.count && zip(one.utf8, other.utf8).allSatisfy { lower($0) == lower($1) }
    }

    static func lower(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }

    /// Without blanks at both ends.
    public static func trimmed(_ text: some StringProtocol) -> String {
        var bytes = Array(text.utf8)[...]
        while let first = bytes.first, first == 0x20 || first == 0x09 { bytes = bytes.dropFirst() }
        while let last = bytes.last, last == 0x20 || last == 0x09 { bytes = bytes.dropLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// As lines. A name or a value that would not be read back as the same field is a fault: nothing from outside can end a line.
    func write(to bytes: inout [UInt8]) throws {
        for field in list {
            guard !field.name.isEmpty, field.name.utf8.allSatisfy(HeadParser.isToken),
                field.value.utf8.allSatisfy(HeadParser.isFieldByte)
            else { throw WireFault(.malformed, "the field \"\(field.name.prefix(60))\" cannot be sent") }
            bytes += field.name.utf8
            bytes += [0x3A, 0x20]
            bytes += field.value.utf8
            bytes += [0x0D, 0x0A]
        }
        bytes += [0x0D, 0x0A]
    }
}
