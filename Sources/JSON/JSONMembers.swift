// What structures with many optional members need: reading into a variable, leaving out what is empty.

extension JSONReader {
    /// Reads the next value into `value`; `null` leaves it as it is, as in Go.
    public mutating func assign<T: JSONReadable>(_ value: inout T) throws {
        if null() { return }
        value = try T(from: &self)
    }

    /// Reads the next value into `value`; `null` leaves it as it is, as in Go.
    public mutating func assign<T: JSONReadable>(_ value: inout T?) throws {
        if null() { return }
        value = try T(from: &self)
    }
}

extension JSONWriter {
    public mutating func member(_ name: String, unlessEmpty value: [some JSONWritable]) {
        if !value.isEmpty { member(name, value) }
    }

    public mutating func member(_ name: String, unlessEmpty value: [String: some JSONWritable]) {
        if !value.isEmpty { member(name, value) }
    }

    public mutating func member(_ name: String, ifTrue value: Bool) {
        if value { member(name, value) }
    }
}

/// Enumerations of words: an unknown word is a fault that lists the known ones.
extension JSONReadable where Self: RawRepresentable & CaseIterable, RawValue == String {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let value = Self(rawValue: text) else {
            let known = Self.allCases.map(\.rawValue).joined(separator: ", ")
            throw reader.fault("unknown value \"\(text)\", known are \(known)")
        }
        self = value
    }
}

extension JSONWritable where Self: RawRepresentable, RawValue == String {
    public func write(to writer: inout JSONWriter) { writer.string(rawValue) }
}
