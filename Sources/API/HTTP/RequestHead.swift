/// The method, target and fields of one HTTP/1.x request.
public struct RequestHead: Sendable, Equatable {
    public struct Field: Sendable, Equatable {
        /// Lower case.
        public var name: String
        public var value: String
    }

    public var method: String
    /// As it stood in the request line: path and query, not decoded.
    public var target: String
    /// The minor version of HTTP/1.x: 0 or 1.
    public var minorVersion: Int
    public var fields: [Field]

    /// The value of the first field of that name (given in lower case).
    public subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }

    /// Whether a list field (`Connection: keep-alive, Upgrade`) names the word, whatever its case.
    public func lists(_ name: String, _ word: String) -> Bool {
        fields.contains { field in
            field.name == name
                && field.value.split(separator: ",").contains { Lexis.trimmed($0).lowercased() == word }
        }
    }

    /// Whether the connection goes on after this request (RFC 9112, 9.3).
    public var keepsAlive: Bool {
        minorVersion == 1 ? !lists("connection", "close") : lists("connection", "keep-alive")
    }

    /// The protocol that the client wants to change to, or nil: `Connection: Upgrade` with `Upgrade: tcp`.
    public var upgrade: String? {
        guard let wanted = self["upgrade"] else { return nil }
        return lists("connection", "upgrade") ? wanted.lowercased() : nil
    }
}

/// How the body of a request is delimited.
public enum RequestBodyLength: Sendable, Equatable {
    case none
    case fixed(Int)
    case chunked
}

/// Characters of the HTTP grammar (RFC 9110, 5.6.2).
enum Lexis {
    static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"),
            UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"),
            UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    static func hex(_ byte: UInt8) -> Int? {
        switch byte {
        case 0x30...0x39: Int(byte - 0x30)
        case 0x41...0x46: Int(byte - 0x41) + 10
        case 0x61...0x66: Int(byte - 0x61) + 10
        default: nil
        }
    }

    static func trimmed(_ text: some StringProtocol) -> Substring {
        var utf8 = Substring(text).utf8
        while let first = utf8.first, isBlank(first) { utf8.removeFirst() }
        while let last = utf8.last, isBlank(last) { utf8.removeLast() }
        return Substring(utf8)
    }
}
