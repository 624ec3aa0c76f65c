/// A text that is not the JSON that was expected, with the place where it went wrong.
public struct JSONFault: Error, CustomStringConvertible, Equatable {
    /// JSONPath-like place, `process.rlimits[2].type`; empty for the document itself.
    public internal(set) var path: String
    public let message: String
    /// Byte offset in the document.
    public let offset: Int

    public init(path: String = "", message: String, offset: Int = 0) {
        self.path = path
        self.message = message
        self.offset = offset
    }

    mutating func prepend(key: String) {
        if path.isEmpty || path.utf8.first == UInt8(ascii: "[") { path = key + path } else { path = key + "." + path }
    }

    mutating func prepend(index: Int) {
        if path.isEmpty || path.utf8.first == UInt8(ascii: "[") {
            path = "[\(index)]" + path
        } else {
            path = "[\(index)]." + path
        }
    }

    /// One line: names and values may be a stranger's.
    public var description: String {
        let shown = VisibleText.of(message, limit: 600)
        return path.isEmpty ? shown : "\(VisibleText.of(path)): \(shown)"
    }
}

/// How much a document may ask of its reader.
public struct JSONLimits: Sendable {
    /// Bytes of the whole document.
    public var size: Int
    /// Nested objects and arrays.
    public var depth: Int

    public init(size: Int = 16 << 20, depth: Int = 128) {
        self.size = size
        self.depth = depth
    }
}
