import JSON

/// The Docker Engine API's types (version 1.55), as they stand on the wire.
public enum Docker {
    /// The newest API version that this engine speaks, and the oldest that it still serves.
    public static let apiVersion = "1.55"
    public static let minimumAPIVersion = "1.24"

    /// `{}`: the value of a set's member in Go's JSON.
    public struct Empty: Sendable, JSONReadable, JSONWritable {
        public init() {}
        public init(from reader: inout JSONReader) throws { try reader.skip() }
        public func write(to writer: inout JSONWriter) { writer.object { _ in } }
    }

    /// A list of words; a single string is read as a list of one (Go's strslice).
    public struct StringList: Sendable, JSONReadable, JSONWritable, ExpressibleByArrayLiteral {
        public var words: [String]
        public init(_ words: [String]) { self.words = words }
        public init(arrayLiteral elements: String...) { words = elements }
        public init(from reader: inout JSONReader) throws {
            words = reader.next == .string ? [try reader.string()] : try reader.value()
        }
        public func write(to writer: inout JSONWriter) { words.write(to: &writer) }
    }
}
