/// A request's first line and fields.
public struct RequestHead: Sendable, Equatable {
    public var method: String
    /// As it came: `/path?query`.
    public var target: String
    /// 0 or 1: HTTP/1.x.
    public var minor = 1
    public var fields = HTTPFields()

    public init(method: String, target: String, fields: HTTPFields = HTTPFields()) {
        self.method = method
        self.target = target
        self.fields = fields
    }

    /// As it goes over the wire.
    public func bytes() throws -> [UInt8] {
        guard method.utf8.allSatisfy(HeadParser.isToken), !method.isEmpty, HeadParser.isTarget(target) else {
            throw WireFault(.malformed, "\"\(method) \(target.prefix(200))\" is no request line")
        }
        var bytes = Array("\(method) \(target) HTTP/1.1\r\n".utf8)
        try fields.write(to: &bytes)
        return bytes
    }

    /// Whether the connection may be used for another request.
    public var keepsAlive: Bool {
        minor == 1 ? !fields.has("Connection", word: "close") : fields.has("Connection", word: "keep-alive")
    }
}

/// An answer's first line and fields.
public struct ResponseHead: Sendable, Equatable {
    public var status: Int
    public var reason = ""
    public var minor = 1
    public var fields = HTTPFields()

    public init(status: Int, reason: String = "", fields: HTTPFields = HTTPFields()) {
        self.status = status
        self.reason = reason
        self.fields = fields
    }

    public func bytes() throws -> [UInt8] {
        guard (100...599).contains(status), reason.utf8.allSatisfy(HeadParser.isFieldByte) else {
            throw WireFault(.malformed, "\(status) is no status")
        }
        var bytes = Array("HTTP/1.1 \(status) \(reason)\r\n".utf8)
        try fields.write(to: &bytes)
        return bytes
    }

    public var keepsAlive: Bool {
        minor == 1 ? !fields.has("Connection", word: "close") : fields.has("Connection", word: "keep-alive")
    }
}

/// Reads heads of HTTP/1.x messages (RFC 9112). Stricter than the RFC where two readers could disagree: lines end with CRLF, no
/// folded fields, no blanks before a colon, no control bytes.
public enum HeadParser {
    /// - Parameter bytes: the head with its empty line.
    public static func request(_ bytes: [UInt8], limits: WireLimits = WireLimits()) throws -> RequestHead {
        var lines = try Lines(bytes)
        let words = try lines.next().split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count == 3, !words[0].isEmpty, words[0].allSatisfy(isToken) else { throw malformed("a request line") }
        let target = String(decoding: words[1], as: UTF8.self)
        guard isTarget(target) else { throw malformed("a request target") }
        var head = RequestHead(method: String(decoding: words[0], as: UTF8.self), target: target)
        head.minor = try version(words[2])
        head.fields = try fields(&lines, limits)
        return head
    }

    public static func response(_ bytes: [UInt8], limits: WireLimits = WireLimits()) throws -> ResponseHead {
        var lines = try Lines(bytes)
        let line = try lines.next()
        let words = line.split(separator: 0x20, maxSplits: 2, omittingEmptySubsequences: false)
        guard words.count >= 2, words[1].count == 3, let status = Int(String(decoding: words[1], as: UTF8.self)),
            (100...599).contains(status), words[1].allSatisfy({ (0x30...0x39).contains($0) })
        else { throw malformed("a status line") }
        var head = ResponseHead(status: status)
        head.minor = try version(words[0])
        if words.count == 3 {
            guard words[2].allSatisfy(isFieldByte) else { throw malformed("a status line") }
            head.reason = String(decoding: words[2], as: UTF8.self)
        }
        head.fields = try fields(&lines, limits)
        return head
    }

    private static func version(_ word: ArraySlice<UInt8>) throws -> Int {
        switch String(decoding: word, as: UTF8.self) {
        case "HTTP/1.1": return 1
        case "HTTP/1.0": return 0
        default: throw malformed("HTTP/1.1")
        }
    }

    private static func fields(_ lines: inout Lines, _ limits: WireLimits) throws -> HTTPFields {
        var fields = HTTPFields()
        while true {
            let line = try lines.next()
            if line.isEmpty {
                guard lines.isAtEnd else { throw malformed("the end of a head") }
                return fields
            }
            guard fields.list.count < limits.fields else { throw WireFault(.tooLarge, "more than \(limits.fields) fields") }
            let (name, value) = try field(line)
            fields.add(name, value)
        }
    }

    /// One `name: value` line.
    static func field(_ line: ArraySlice<UInt8>) throws -> (String, String) {
        guard let colon = line.firstIndex(of: 0x3A), colon > line.startIndex, line[..<colon].allSatisfy(isToken),
            line[(colon + 1)...].allSatisfy(isFieldByte)
        else { throw malformed("a field") }
        let value = HTTPFields.trimmed(String(decoding: line[(colon + 1)...], as: UTF8.self))
        return (String(decoding: line[..<colon], as: UTF8.self), value)
    }

    static func malformed(_ what: String) -> WireFault { WireFault(.malformed, "malformed HTTP: \(what) was expected") }

    /// tchar of RFC 9110, 5.6.2
    static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
        default: false
        }
    }

    /// What a value may hold: no control bytes but the tab.
    static func isFieldByte(_ byte: UInt8) -> Bool { byte == 0x09 || (byte >= 0x20 && byte != 0x7F) }

    /// A target as clients may send it: printable, in one piece.
    static func isTarget(_ target: String) -> Bool {
        !target.isEmpty && target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }

    /// Lines that end with CRLF.
    private struct Lines {
        private let bytes: [UInt8]
        private var position = 0

        init(_ bytes: [UInt8]) throws {
            self.bytes = bytes
            guard bytes.suffix(4).elementsEqual([0x0D, 0x0A, 0x0D, 0x0A]) else { throw malformed("the end of a head") }
        }

        var isAtEnd: Bool { position == bytes.count }

        mutating func next() throws -> ArraySlice<UInt8> {
            guard let feed = bytes[position...].firstIndex(of: 0x0A), feed > position, bytes[feed - 1] == 0x0D else {
                throw malformed("a line")
            }
            defer { position = feed + 1 }
            return bytes[position..<(feed - 1)]
        }
    }
}
