/// A pull reader for one JSON document (RFC 8259): the caller asks for what it expects, in the order of the text.
///
///     var reader = try JSONReader(bytes)
///     try reader.object { key, reader in
///         switch key {
///         case "name": name = try reader.string()
///         default: try reader.skip()
///         }
///     }
///     try reader.end()
///
/// Every value must be read or skipped by the closure that is given it. A fault carries the path of the value.
/// Of equal keys the last wins, as in Go, when the caller assigns. Invalid UTF-8 and lone surrogates become U+FFFD, as in Go.
public struct JSONReader {
    private let bytes: [UInt8]
    private var position: Int
    private var depth = 0
    private let maximumDepth: Int

    /// The paths of members that were passed over with `ignore()`: at most 64, in the order of the text.
    public private(set) var ignored: [String] = []

    public init(_ bytes: [UInt8], limits: JSONLimits = JSONLimits()) throws {
        guard bytes.count <= limits.size else {
            throw JSONFault(message: "document of \(bytes.count) bytes is larger than the limit of \(limits.size)")
        }
        self.bytes = bytes
        self.position = 0
        self.maximumDepth = limits.depth
        skipSpace()
    }

    public init(_ text: String, limits: JSONLimits = JSONLimits()) throws {
        try self.init(Array(text.utf8), limits: limits)
    }

    /// The kind of the value that comes next, without reading it.
    public enum Kind: Sendable { case object, array, string, number, bool, null, end, invalid }

    public var next: Kind {
        guard position < bytes.count else { return .end }
        switch bytes[position] {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        default: return .invalid
        }
    }

    /// A fault at the present place; the path is filled in by the objects and arrays around it.
    public func fault(_ message: String) -> JSONFault { JSONFault(message: message, offset: position) }

    // MARK: Containers

    /// Reads an object; `member` must consume the value of each key.
    public mutating func object(_ member: (_ key: String, _ reader: inout JSONReader) throws -> Void) throws {
        try open(UInt8(ascii: "{"), "an object")
        if take(UInt8(ascii: "}")) { return leave() }
        while true {
            guard next == .string else { throw fault("expected a member name, found \(found)") }
            let key = try rawString()
            skipSpace()
            guard position < bytes.count, bytes[position] == UInt8(ascii: ":") else {
                throw fault("expected ':' after a member name, found \(found)")
            }
            position += 1
            skipSpace()
            let known = ignored.count
            do { try member(key, &self) } catch var fault as JSONFault {
                fault.prepend(key: key)
                throw fault
            }
            if ignored.count > known { prependIgnored(from: known, key) }
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "}")) else { throw fault("expected ',' or '}', found \(found)") }
            return leave()
        }
    }

    /// Reads an array; `element` must consume each value.
    public mutating func array(_ element: (_ reader: inout JSONReader) throws -> Void) throws {
        try open(UInt8(ascii: "["), "an array")
        if take(UInt8(ascii: "]")) { return leave() }
        var index = 0
        while true {
            let known = ignored.count
            do { try element(&self) } catch var fault as JSONFault {
                fault.prepend(index: index)
                throw fault
            }
            if ignored.count > known { prependIgnored(from: known, "[\(index)]") }
            index += 1
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "]")) else { throw fault("expected ',' or ']', found \(found)") }
            return leave()
        }
    }

    // MARK: Values

    public mutating func string() throws -> String {
        guard next == .string else { throw fault("expected a string, found \(found)") }
        let value = try rawString()
        skipSpace()
        return value
    }

    public mutating func bool() throws -> Bool {
        if word("true") { return true }
        if word("false") { return false }
        throw fault("expected true or false, found \(found)")
    }

    /// Takes a `null` if one is next.
    public mutating func null() -> Bool { word("null") }

    public mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) throws -> T {
        guard next == .number else { throw fault("expected a number, found \(found)") }
        let start = position
        let text = try numberText()
        if let value = T(text) { return value }
        // 1e3 and 1.0 are integers too
        if let double = Double(text), let value = T(exactly: double) { return value }
        position = start
        throw fault("number \(text) does not fit: expected an integer from \(T.min) to \(T.max)")
    }

    public mutating func double() throws -> Double {
        guard next == .number else { throw fault("expected a number, found \(found)") }
        let text = try numberText()
        guard let value = Double(text) else { throw fault("number \(text) cannot be represented") }
        return value
    }

    /// The digits of a number as they stand in the text.
    public mutating func numberText() throws -> String {
        let start = position
        var end = position
        func digit(_ at: Int) -> Bool { at < bytes.count && bytes[at] >= 0x30 && bytes[at] <= 0x39 }
        if end < bytes.count, bytes[end] == UInt8(ascii: "-") { end += 1 }
        guard digit(end) else { throw fault("expected a number, found \(found)") }
        if bytes[end] == 0x30 { end += 1 } else { while digit(end) { end += 1 } }
        if end < bytes.count, bytes[end] == UInt8(ascii: "."), digit(end + 1) {
            end += 1
            while digit(end) { end += 1 }
        }
        if end < bytes.count, bytes[end] | 0x20 == UInt8(ascii: "e") {
            var exponent = end + 1
            if exponent < bytes.count, bytes[exponent] == UInt8(ascii: "+") || bytes[exponent] == UInt8(ascii: "-") {
                exponent += 1
            }
            guard digit(exponent) else { throw fault("a number's exponent has no digits") }
            while digit(exponent) { exponent += 1 }
            end = exponent
        }
        position = end
        let text = String(decoding: bytes[start..<end], as: UTF8.self)
        skipSpace()
        return text
    }

    /// Passes over one value of any kind.
    public mutating func skip() throws {
        switch next {
        case .object: try object { _, reader in try reader.skip() }
        case .array: try array { reader in try reader.skip() }
        case .string: _ = try string()
        case .number: _ = try numberText()
        case .bool: _ = try bool()
        case .null: if !null() { throw fault("expected a value, found \(found)") }
        case .end, .invalid: throw fault("expected a value, found \(found)")
        }
    }

    /// Passes over the value of a member that is not known and notes its path in `ignored`.
    public mutating func ignore() throws {
        if ignored.count < 64 { ignored.append("") }
        try skip()
    }

    private mutating func prependIgnored(from first: Int, _ part: String) {
        for index in first..<ignored.count {
            let path = ignored[index]
            ignored[index] = path.isEmpty || path.utf8.first == UInt8(ascii: "[") ? part + path : part + "." + path
        }
    }

    /// The bytes of the next value as they stand in the text; the value is consumed.
    public mutating func raw() throws -> [UInt8] {
        let start = position
        try skip()
        var end = position
        while end > start, Self.isSpace(bytes[end - 1]) { end -= 1 }
        return Array(bytes[start..<end])
    }

    /// The document must be over.
    public func end() throws {
        guard position == bytes.count else { throw fault("unexpected \(found) after the document") }
    }

    /// Whether the document is over (documents may follow one another in a stream).
    public var isAtEnd: Bool { position == bytes.count }

    // MARK: Lexis

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

    private var found: String {
        guard position < bytes.count else { return "the end of the text" }
        switch next {
        case .object: return "an object"
        case .array: return "an array"
        case .string: return "a string"
        case .number: return "a number"
        case .bool: return "a boolean"
        case .null: return "null"
        case .end, .invalid:
            let byte = bytes[position]
            if byte > 0x20, byte < 0x7F { return "'\(Character(UnicodeScalar(byte)))'" }
            return "byte 0x" + String(byte, radix: 16)
        }
    }

    private mutating func skipSpace() {
        while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
    }

    private mutating func open(_ byte: UInt8, _ what: String) throws {
        guard position < bytes.count, bytes[position] == byte else { throw fault("expected \(what), found \(found)") }
        guard depth < maximumDepth else { throw fault("nested deeper than \(maximumDepth) levels") }
        depth += 1
        position += 1
        skipSpace()
    }

    private mutating func leave() { depth -= 1 }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard position < bytes.count, bytes[position] == byte else { return false }
        position += 1
        skipSpace()
        return true
    }

    private mutating func word(_ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard position + count <= bytes.count else { return false }
        for index in 0..<count where bytes[position + index] != text.utf8Start[index] { return false }
        position += count
        skipSpace()
        return true
    }

    /// A string's content; space after it is not skipped.
    private mutating func rawString() throws -> String {
        position += 1
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                let text = String(decoding: bytes[start..<position], as: UTF8.self)
                position += 1
                return text
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(from: start) }
            guard byte >= 0x20 else { throw fault("control character in a string") }
            position += 1
        }
        throw fault("a string without an end")
    }

    private mutating func escapedString(from start: Int) throws -> String {
        var buffer = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: buffer, as: UTF8.self)
            case UInt8(ascii: "\\"): try escape(into: &buffer)
            case 0..<0x20: throw fault("control character in a string")
            default: buffer.append(byte)
            }
        }
        throw fault("a string without an end")
    }

    private mutating func escape(into buffer: inout [UInt8]) throws {
        guard position < bytes.count else { throw fault("a string without an end") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): buffer.append(byte)
        case UInt8(ascii: "b"): buffer.append(0x08)
        case UInt8(ascii: "f"): buffer.append(0x0C)
        case UInt8(ascii: "n"): buffer.append(0x0A)
        case UInt8(ascii: "r"): buffer.append(0x0D)
        case UInt8(ascii: "t"): buffer.append(0x09)
        case UInt8(ascii: "u"):
            var scalar = try hex4()
            if (0xD800..<0xDC00).contains(scalar), position + 6 <= bytes.count, bytes[position] == UInt8(ascii: "\\"),
                bytes[position + 1] == UInt8(ascii: "u")
            {
                let mark = position
                position += 2
                let low = try hex4()
                if (0xDC00..<0xE000).contains(low) {
                    scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
                } else {
                    position = mark
                }
            }
            let value = UnicodeScalar(scalar) ?? "\u{FFFD}"
            buffer.append(contentsOf: Array(String(Character(value)).utf8))
        default: throw fault("unknown escape in a string")
        }
    }

    private mutating func hex4() throws -> UInt32 {
        guard position + 4 <= bytes.count else { throw fault("a string without an end") }
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = bytes[position]
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x41...0x46: digit = byte - 0x41 + 10
            case 0x61...0x66: digit = byte - 0x61 + 10
            default: throw fault("a \\u escape needs four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}
