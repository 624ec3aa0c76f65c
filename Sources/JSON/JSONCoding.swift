/// A value that can be read from JSON.
public protocol JSONReadable {
    init(from reader: inout JSONReader) throws
}

/// A value that can be written as JSON.
public protocol JSONWritable {
    func write(to writer: inout JSONWriter)
}

public typealias JSONCodable = JSONReadable & JSONWritable

extension JSONReader {
    /// The next value, by its type.
    public mutating func value<T: JSONReadable>(_ type: T.Type = T.self) throws -> T { try T(from: &self) }
}

extension JSONReadable {
    /// Reads a whole document that is one value of this type.
    public init(json bytes: [UInt8], limits: JSONLimits = JSONLimits()) throws {
        var reader = try JSONReader(bytes, limits: limits)
        try self.init(from: &reader)
        try reader.end()
    }
}

extension JSONWritable {
    /// This value as a document.
    public var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }

    public var jsonText: String { String(decoding: json, as: UTF8.self) }
}

extension String: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws { self = try reader.string() }
    public func write(to writer: inout JSONWriter) { writer.string(self) }
}

extension Bool: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws { self = try reader.bool() }
    public func write(to writer: inout JSONWriter) { writer.bool(self) }
}

extension Double: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws { self = try reader.double() }
    public func write(to writer: inout JSONWriter) { writer.double(self) }
}

extension JSONReadable where Self: FixedWidthInteger {
    public init(from reader: inout JSONReader) throws { self = try reader.integer() }
}

extension JSONWritable where Self: FixedWidthInteger {
    public func write(to writer: inout JSONWriter) { writer.integer(self) }
}

extension Int: JSONReadable, JSONWritable {}
extension Int64: JSONReadable, JSONWritable {}
extension Int32: JSONReadable, JSONWritable {}
extension UInt: JSONReadable, JSONWritable {}
extension UInt64: JSONReadable, JSONWritable {}
extension UInt32: JSONReadable, JSONWritable {}
extension UInt16: JSONReadable, JSONWritable {}
extension UInt8: JSONReadable, JSONWritable {}

/// `null` reads as an empty array, as in Go.
extension Array: JSONReadable where Element: JSONReadable {
    public init(from reader: inout JSONReader) throws {
        self = []
        if reader.null() { return }
        try reader.array { reader in append(try reader.value()) }
    }
}

extension Array: JSONWritable where Element: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        writer.array { writer in for element in self { element.write(to: &writer) } }
    }
}

/// `null` reads as an empty dictionary, as in Go. Members are written in the order of their keys.
extension Dictionary: JSONReadable where Key == String, Value: JSONReadable {
    public init(from reader: inout JSONReader) throws {
        self = [:]
        if reader.null() { return }
        // not by subscript: a null value of a nullable type is a member too
        try reader.object { key, reader in updateValue(try reader.value(), forKey: key) }
    }
}

extension Dictionary: JSONWritable where Key == String, Value: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            for (key, value) in self.sorted(by: { $0.key < $1.key }) { writer.member(key, value) }
        }
    }
}

extension Optional: JSONReadable where Wrapped: JSONReadable {
    public init(from reader: inout JSONReader) throws { self = reader.null() ? nil : try Wrapped(from: &reader) }
}

extension Optional: JSONWritable where Wrapped: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        if let self { self.write(to: &writer) } else { writer.null() }
    }
}
