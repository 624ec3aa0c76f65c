/// One netlink message without its length and sequence number, which the conversation fills in (netlink(7)).
public struct NetlinkMessage: Sendable, Equatable {
    public var type: UInt16
    public var flags: UInt16
    /// The family's fixed header and its attributes.
    public var payload: [UInt8]
    /// What the message is about, for faults.
    public var subject: String

    public init(type: UInt16, flags: UInt16, payload: [UInt8], subject: String = "") {
        self.type = type
        self.flags = flags
        self.payload = payload
        self.subject = subject
    }

    /// include/uapi/linux/netlink.h
    public static let error: UInt16 = 2
    public static let done: UInt16 = 3
    public static let flagRequest: UInt16 = 0x01
    public static let flagMulti: UInt16 = 0x02
    public static let flagAck: UInt16 = 0x04
    public static let flagDumpInterrupted: UInt16 = 0x10
    public static let flagCapped: UInt16 = 0x100
    public static let flagAckAttributes: UInt16 = 0x200
    public static let flagDump: UInt16 = 0x300
    public static let flagExclusive: UInt16 = 0x200
    public static let flagCreate: UInt16 = 0x400
    public static let flagAppend: UInt16 = 0x800

    /// The message as it goes out, padded to four bytes.
    public func bytes(sequence: UInt32, port: UInt32 = 0) -> [UInt8] {
        var out = NetlinkWriter()
        out.native(UInt32(16 + payload.count))
        out.native(type)
        out.native(flags)
        out.native(sequence)
        out.native(port)
        out.raw(payload)
        return out.bytes
    }
}

/// A message that came in.
public struct NetlinkReply: Sendable, Equatable {
    public var type: UInt16
    public var flags: UInt16
    public var sequence: UInt32
    /// Of the socket whose request this answers, or, in a notification, tells of.
    public var port: UInt32 = 0
    public var payload: ArraySlice<UInt8>

    /// The messages of one datagram. A length that does not fit ends in EBADMSG.
    public static func parse(_ bytes: ArraySlice<UInt8>) throws -> [NetlinkReply] {
        var replies: [NetlinkReply] = []
        var at = bytes.startIndex
        while bytes.endIndex - at >= 16 {
            let length = Int(bytes.native(UInt32.self, at: at) ?? 0)
            guard length >= 16, length <= bytes.endIndex - at else { throw NetlinkReply.malformed }
            replies.append(
                NetlinkReply(
                    type: bytes.native(at: at + 4) ?? 0, flags: bytes.native(at: at + 6) ?? 0,
                    sequence: bytes.native(at: at + 8) ?? 0, port: bytes.native(at: at + 12) ?? 0,
                    payload: bytes[(at + 16)..<(at + length)]))
            at += min((length + 3) & ~3, bytes.endIndex - at)
        }
        return replies
    }

    /// EBADMSG
    private static let badMessage: CInt = 74
    static let malformed = KernelFault("netlink", errno: badMessage, "malformed message")

    /// For a message of type `error`: 0 is an acknowledgement, otherwise the errno and the kernel's own words (NLMSGERR_ATTR_MSG).
    public func acknowledgement() throws -> (errno: CInt, text: String?) {
        guard let code: Int32 = payload.native(at: payload.startIndex) else { throw NetlinkReply.malformed }
        guard flags & NetlinkMessage.flagAckAttributes != 0, payload.count >= 20 else { return (-code, nil) }
        var skip = 20
        if flags & NetlinkMessage.flagCapped == 0 {
            let echoed = Int(payload.native(UInt32.self, at: payload.startIndex + 4) ?? 16)
            skip += max(0, (echoed + 3) & ~3 - 16)
        }
        guard skip <= payload.count else { return (-code, nil) }
        let attributes = try NetlinkAttributes(payload.dropFirst(skip))
        return (-code, attributes.text(1))
    }
}

/// Builds payloads: fixed headers and attributes, each attribute padded to four bytes.
public struct NetlinkWriter: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init(capacity: Int = 128) { bytes.reserveCapacity(capacity) }

    /// In the machine's byte order.
    public mutating func native(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    /// In network byte order.
    public mutating func big(_ value: some FixedWidthInteger) { native(value.bigEndian) }

    /// As they are, then padded.
    public mutating func raw(_ value: some Collection<UInt8>) {
        bytes.append(contentsOf: value)
        pad()
    }

    private mutating func pad() { while bytes.count % 4 != 0 { bytes.append(0) } }

    private mutating func attribute(_ type: UInt16, _ content: (inout NetlinkWriter) throws -> Void) rethrows {
        let start = bytes.count
        native(UInt16(0))
        native(type)
        try content(&self)
        let length = UInt16(truncatingIfNeeded: bytes.count - start)
        withUnsafeBytes(of: length) { source in
            for index in source.indices { bytes[start + index] = source[index] }
        }
        pad()
    }

    public mutating func attribute(_ type: UInt16, bytes value: some Collection<UInt8>) {
        attribute(type) { $0.bytes.append(contentsOf: value) }
    }

    public mutating func attribute(_ type: UInt16, native value: some FixedWidthInteger) {
        attribute(type) { $0.native(value) }
    }

    public mutating func attribute(_ type: UInt16, big value: some FixedWidthInteger) {
        attribute(type) { $0.big(value) }
    }

    /// With its terminating zero.
    public mutating func attribute(_ type: UInt16, text: String) {
        attribute(type) { writer in
            writer.bytes.append(contentsOf: text.utf8)
            writer.bytes.append(0)
        }
    }

    /// With NLA_F_NESTED set. The content must stay under 64 KiB.
    public mutating func nested(_ type: UInt16, _ content: (inout NetlinkWriter) throws -> Void) rethrows {
        try attribute(type | 0x8000, content)
    }
}

/// The attributes of a message or of a nested attribute; the last of a type wins, lists keep their order.
public struct NetlinkAttributes: Sendable {
    public struct Attribute: Sendable {
        public let type: UInt16
        public let content: ArraySlice<UInt8>
    }

    public let all: [Attribute]

    /// Throws EBADMSG where a length does not fit.
    public init(_ bytes: ArraySlice<UInt8>) throws {
        var all: [Attribute] = []
        var at = bytes.startIndex
        while bytes.endIndex - at >= 4 {
            let length = Int(bytes.native(UInt16.self, at: at) ?? 0)
            guard length >= 4, length <= bytes.endIndex - at else { throw NetlinkReply.malformed }
            let type: UInt16 = bytes.native(at: at + 2) ?? 0
            all.append(Attribute(type: type & 0x3FFF, content: bytes[(at + 4)..<(at + length)]))
            at += min((length + 3) & ~3, bytes.endIndex - at)
        }
        self.all = all
    }

    public func content(_ type: UInt16) -> ArraySlice<UInt8>? { all.last { $0.type == type }?.content }

    public func nested(_ type: UInt16) throws -> NetlinkAttributes? { try content(type).map { try NetlinkAttributes($0) } }

    /// Up to the first zero.
    public func text(_ type: UInt16) -> String? {
        content(type).map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    public func native<T: FixedWidthInteger>(_ type: UInt16, as: T.Type = T.self) -> T? {
        content(type).flatMap { $0.native(at: $0.startIndex) }
    }

    public func big<T: FixedWidthInteger>(_ type: UInt16, as: T.Type = T.self) -> T? {
        native(type, as: T.self).map { T(bigEndian: $0) }
    }
}

extension ArraySlice<UInt8> {
    /// The number in the machine's byte order at an index; nil beyond the end.
    public func native<T: FixedWidthInteger>(_ type: T.Type = T.self, at index: Int) -> T? {
        let size = MemoryLayout<T>.size
        guard index >= startIndex, endIndex - index >= size else { return nil }
        var value: T = 0
        Swift.withUnsafeMutableBytes(of: &value) { $0.copyBytes(from: self[index..<(index + size)]) }
        return value
    }
}
