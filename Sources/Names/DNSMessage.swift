/// Why bytes are no DNS message.
public enum DNSFault: Error, Sendable, Equatable {
    /// Shorter than it says it is.
    case truncated
    /// A label with reserved bits, a name that is too long, a pointer that does not point back.
    case badName
    /// More than one question, a second OPT record, bytes after the end.
    case badShape
}

/// What a query asks (RFC 1035 4.1.2).
public struct DNSQuestion: Sendable, Hashable {
    public var name: DNSName
    public var type: UInt16
    public var `class`: UInt16

    public init(name: DNSName, type: UInt16, class: UInt16) {
        self.name = name
        self.type = type
        self.class = `class`
    }

    public static let a: UInt16 = 1
    public static let ptr: UInt16 = 12
    public static let aaaa: UInt16 = 28
    public static let opt: UInt16 = 41
    public static let any: UInt16 = 255
    public static let internet: UInt16 = 1
}

/// The OPT record (RFC 6891 6.1.2).
public struct DNSExtension: Sendable, Hashable {
    /// What the sender takes over UDP, in bytes.
    public var size: UInt16
    public var version: UInt8
    /// The DO bit (RFC 3225).
    public var wantsSignatures: Bool

    public init(size: UInt16, version: UInt8, wantsSignatures: Bool) {
        self.size = size
        self.version = version
        self.wantsSignatures = wantsSignatures
    }
}

/// A message as far as a forwarder looks into it: header, question, OPT; every record's borders are checked.
///
/// Reading never goes outside the bytes, follows a compression pointer only backwards, and takes time linear in the length
/// for the names of questions, bounded (255 bytes a name) for those of records.
public struct DNSMessage: Sendable, Equatable {
    public var id: UInt16
    public var flags: UInt16
    /// Nil where there is none.
    public var question: DNSQuestion?
    /// Where the question ends; 12 without one.
    public var questionEnd = 12
    public var edns: DNSExtension?

    public var isResponse: Bool { flags & 0x8000 != 0 }
    public var opcode: UInt16 { flags >> 11 & 0xF }
    public var isTruncated: Bool { flags & 0x0200 != 0 }
    public var code: UInt16 { flags & 0xF }

    /// Reads a whole message. A truncated one (TC) may end in the middle of a record.
    public init(_ bytes: [UInt8]) throws(DNSFault) {
        guard bytes.count >= 12 else { throw .truncated }
        func word(_ at: Int) -> UInt16 { UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1]) }
        id = word(0)
        flags = word(2)
        let questions = word(4)
        guard questions <= 1 else { throw .badShape }
        var reader = DNSReader(bytes)
        if questions == 1 {
            let name = try reader.name(compressed: false)
            question = DNSQuestion(name: name, type: try reader.word(), class: try reader.word())
            questionEnd = reader.at
        }
        if isTruncated, isResponse { return }
        for (section, count) in [word(6), word(8), word(10)].enumerated() {
            for _ in 0..<count { try record(&reader, isAdditional: section == 2) }
        }
        guard reader.at == bytes.count else { throw .badShape }
    }

    private mutating func record(_ reader: inout DNSReader, isAdditional: Bool) throws(DNSFault) {
        let start = reader.at
        try reader.skipName()
        let isRoot = reader.at == start + 1
        let type = try reader.word()
        let `class` = try reader.word()
        let high = try reader.word()
        let low = try reader.word()
        try reader.skip(Int(try reader.word()))
        guard type == DNSQuestion.opt else { return }
        guard isAdditional, isRoot, edns == nil else { throw .badShape }
        edns = DNSExtension(size: `class`, version: UInt8(truncatingIfNeeded: high), wantsSignatures: low & 0x8000 != 0)
    }

    /// Whether an answer is one to this query: its question, letter case aside, is the query's.
    public func answers(_ query: DNSMessage) -> Bool { isResponse && opcode == query.opcode && question == query.question }
}

/// A place in a message.
struct DNSReader {
    let bytes: [UInt8]
    private(set) var at = 12

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func word() throws(DNSFault) -> UInt16 {
        guard at + 2 <= bytes.count else { throw .truncated }
        defer { at += 2 }
        return UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
    }

    mutating func skip(_ count: Int) throws(DNSFault) {
        guard at + count <= bytes.count else { throw .truncated }
        at += count
    }

    /// The name here, in lower case. A pointer must point before everything of this name that was read so far, which bounds
    /// the number of jumps; a question's name cannot have one.
    mutating func name(compressed: Bool) throws(DNSFault) -> DNSName {
        var wire: [UInt8] = []
        var place = at
        var lowest = at
        var end: Int?
        while true {
            guard place < bytes.count else { throw .truncated }
            let length = Int(bytes[place])
            if length == 0 {
                wire.append(0)
                at = end ?? place + 1
                return DNSName(trusted: wire)
            }
            switch length & 0xC0 {
            case 0:
                guard place + 1 + length <= bytes.count else { throw .truncated }
                // With the root's label that is still to come
                guard wire.count + length + 2 <= 255 else { throw .badName }
                wire.append(UInt8(length))
                for index in (place + 1)...(place + length) { wire.append(DNSName.lower(bytes[index])) }
                place += 1 + length
            case 0xC0:
                guard compressed else { throw .badName }
                guard place + 2 <= bytes.count else { throw .truncated }
                let target = (length & 0x3F) << 8 | Int(bytes[place + 1])
                guard target >= 12, target < lowest else { throw .badName }
                if end == nil { end = place + 2 }
                lowest = target
                place = target
            default: throw .badName
            }
        }
    }

    /// Past a record's name. Where it leads by a pointer is looked at only so far that it leads back.
    mutating func skipName() throws(DNSFault) {
        let start = at
        while true {
            guard at < bytes.count else { throw .truncated }
            let length = Int(bytes[at])
            switch length & 0xC0 {
            case 0:
                guard at + 1 + length <= bytes.count else { throw .truncated }
                at += 1 + length
                guard at - start <= 255 else { throw .badName }
                if length == 0 { return }
            case 0xC0:
                guard at + 2 <= bytes.count else { throw .truncated }
                let target = (length & 0x3F) << 8 | Int(bytes[at + 1])
                guard target >= 12, target < start else { throw .badName }
                at += 2
                return
            default: throw .badName
            }
        }
    }
}
