/// A value as D-Bus sends it (D-Bus Specification, "Type System"); only those types that systemd's manager needs.
public indirect enum DBusValue: Sendable, Equatable {
    case byte(UInt8)
    case bool(Bool)
    case uint32(UInt32)
    case uint64(UInt64)
    case string(String)
    case path(String)
    case signature(String)
    case bytes([UInt8])
    case uint32s([UInt32])
    case strings([String])
    case variant(DBusValue)
    /// a(sv)
    case properties([DBusProperty])
    /// a(sa(sv)), always empty: StartTransientUnit's further units.
    case noUnits

    public var signature: String {
        switch self {
        case .byte: "y"
        case .bool: "b"
        case .uint32: "u"
        case .uint64: "t"
        case .string: "s"
        case .path: "o"
        case .signature: "g"
        case .bytes: "ay"
        case .uint32s: "au"
        case .strings: "as"
        case .variant: "v"
        case .properties: "a(sv)"
        case .noUnits: "a(sa(sv))"
        }
    }
}

public struct DBusProperty: Sendable, Equatable {
    public var name: String
    public var value: DBusValue

    public init(_ name: String, _ value: DBusValue) {
        self.name = name
        self.value = value
    }
}

/// Writes messages, little-endian.
struct DBusWriter {
    private(set) var bytes: [UInt8] = []

    mutating func align(_ boundary: Int) { while bytes.count % boundary != 0 { bytes.append(0) } }

    mutating func uint32(_ value: UInt32) {
        align(4)
        for shift in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    mutating func write(_ value: DBusValue) {
        switch value {
        case .byte(let value): bytes.append(value)
        case .bool(let value): uint32(value ? 1 : 0)
        case .uint32(let value): uint32(value)
        case .uint64(let value):
            align(8)
            uint32(UInt32(truncatingIfNeeded: value))
            uint32(UInt32(truncatingIfNeeded: value >> 32))
        case .string(let text), .path(let text):
            uint32(UInt32(text.utf8.count))
            bytes += Array(text.utf8) + [0]
        case .signature(let text):
            bytes.append(UInt8(text.utf8.count))
            bytes += Array(text.utf8) + [0]
        case .bytes(let values): array(1) { writer in writer.bytes += values }
        case .uint32s(let values): array(4) { writer in for value in values { writer.uint32(value) } }
        case .strings(let values): array(4) { writer in for value in values { writer.write(.string(value)) } }
        case .variant(let value):
            write(.signature(value.signature))
            write(value)
        case .properties(let properties):
            array(8) { writer in
                for property in properties {
                    writer.align(8)
                    writer.write(.string(property.name))
                    writer.write(.variant(property.value))
                }
            }
        case .noUnits: array(8) { _ in }
        }
    }

    /// The length counts from the first element, behind its padding.
    private mutating func array(_ boundary: Int, _ elements: (inout DBusWriter) -> Void) {
        uint32(0)
        let place = bytes.count - 4
        align(boundary)
        let start = bytes.count
        elements(&self)
        let length = UInt32(bytes.count - start)
        for shift in 0..<4 { bytes[place + shift] = UInt8(truncatingIfNeeded: length >> (8 * UInt32(shift))) }
    }

    mutating func append(_ other: [UInt8]) { bytes += other }
}

/// A call of a method ("Message Protocol").
package struct DBusCall {
    package var destination: String?
    package var path: String
    package var interface: String
    package var member: String
    package var arguments: [DBusValue]

    package init(destination: String?, path: String, interface: String, member: String, arguments: [DBusValue]) {
        self.destination = destination
        self.path = path
        self.interface = interface
        self.member = member
        self.arguments = arguments
    }

    package func message(serial: UInt32) -> [UInt8] {
        var body = DBusWriter()
        for argument in arguments { body.write(argument) }
        var header = DBusWriter()
        // little-endian, METHOD_CALL, no flags, version 1
        for byte in [UInt8(ascii: "l"), 1, 0, 1] { header.write(.byte(byte)) }
        header.uint32(UInt32(body.bytes.count))
        header.uint32(serial)
        var fields: [(UInt8, DBusValue)] = [(1, .path(path)), (2, .string(interface)), (3, .string(member))]
        if let destination { fields.append((6, .string(destination))) }
        if !arguments.isEmpty { fields.append((8, .signature(arguments.map(\.signature).joined()))) }
        var list = DBusWriter()
        for (code, value) in fields {
            list.align(8)
            list.write(.byte(code))
            list.write(.variant(value))
        }
        header.uint32(UInt32(list.bytes.count))
        // the list begins at 16, a multiple of 8, so its own alignment holds
        header.append(list.bytes)
        header.align(8)
        header.append(body.bytes)
        return header.bytes
    }
}

/// A message from the other side, as far as it is understood: strings, object paths and numbers at the front of its body.
package struct DBusMessage: Equatable, Sendable {
    package enum Kind: UInt8, Sendable {
        case call = 1
        case reply = 2
        case error = 3
        case signal = 4
    }

    package var kind: Kind
    package var replySerial: UInt32?
    package var member: String?
    package var errorName: String?
    package var body: [DBusValue]

    /// How long the message is that begins with these 16 bytes; nil for what is none.
    package static func length(of head: [UInt8]) -> Int? {
        guard head.count >= 16, head[0] == UInt8(ascii: "l"), head[3] == 1 else { return nil }
        let body = Int(word(head, 4))
        let fields = Int(word(head, 12))
        guard body <= 1 << 26, fields <= 1 << 26 else { return nil }
        return 16 + (fields + 7) / 8 * 8 + body
    }

    package init?(_ bytes: [UInt8]) {
        guard bytes.count >= 16, let kind = Kind(rawValue: bytes[1]) else { return nil }
        self.kind = kind
        let fieldsEnd = 16 + Int(Self.word(bytes, 12))
        var reader = DBusReader(bytes: bytes, position: 16, end: fieldsEnd)
        var signature = ""
        while reader.position < fieldsEnd {
            reader.align(8)
            guard let code = reader.byte(), let type = reader.signature(), let value = reader.value(type) else { break }
            switch (code, value) {
            case (3, .string(let text)): member = text
            case (4, .string(let text)): errorName = text
            case (5, .uint32(let serial)): replySerial = serial
            case (8, .signature(let text)): signature = text
            default: break
            }
        }
        body = []
        var content = DBusReader(bytes: bytes, position: (fieldsEnd + 7) / 8 * 8, end: bytes.count)
        for type in signature {
            guard let value = content.value(String(type)) else { break }
            body.append(value)
        }
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
    }
}

private struct DBusReader {
    let bytes: [UInt8]
    var position: Int
    let end: Int

    mutating func align(_ boundary: Int) { position = (position + boundary - 1) / boundary * boundary }

    mutating func byte() -> UInt8? {
        guard position < min(end, bytes.count) else { return nil }
        position += 1
        return bytes[position - 1]
    }

    mutating func uint32() -> UInt32? {
        align(4)
        guard position + 4 <= min(end, bytes.count) else { return nil }
        position += 4
        return (0..<4).reduce(0) { $0 | UInt32(bytes[position - 4 + $1]) << (8 * UInt32($1)) }
    }

    mutating func text(_ length: Int) -> String? {
        guard position + length + 1 <= min(end, bytes.count) else { return nil }
        position += length + 1
        return String(decoding: bytes[position - length - 1..<position - 1], as: UTF8.self)
    }

    mutating func signature() -> String? { byte().flatMap { text(Int($0)) } }

    /// Nil for types that are not read.
    mutating func value(_ type: String) -> DBusValue? {
        switch type {
        case "y": return byte().map { .byte($0) }
        case "b": return uint32().map { .bool($0 != 0) }
        case "u", "i": return uint32().map { .uint32($0) }
        case "s": return uint32().flatMap { text(Int($0)) }.map { .string($0) }
        case "o": return uint32().flatMap { text(Int($0)) }.map { .path($0) }
        case "g": return signature().map { .signature($0) }
        case "v": return signature().flatMap { value($0) }
        default: return nil
        }
    }
}
