import JSON

/// Who asks: every engine method that changes something takes one. From peer credentials of the socket (SO_PEERCRED).
public struct Caller: Sendable, Hashable {
    public let uid: UInt32
    public let gid: UInt32
    public let pid: Int32

    public init(uid: UInt32, gid: UInt32, pid: Int32) {
        self.uid = uid
        self.gid = gid
        self.pid = pid
    }

    /// The engine itself (restart policies, clean-up).
    public static let engine = Caller(uid: 0, gid: 0, pid: 0)

    /// The owner that objects made by this caller get.
    public var owner: Owner { Owner(uid: uid) }
}

/// Whom a stored object belongs to.
public struct Owner: Sendable, Hashable {
    public let uid: UInt32
    public init(uid: UInt32) { self.uid = uid }
    public static let root = Owner(uid: 0)
}

/// 64 lower-case hexadecimal digits that name a container, network, exec or sandbox.
public struct ObjectID: Sendable, Hashable, CustomStringConvertible {
    public let text: String

    /// Nil unless the text is exactly 64 lower-case hexadecimal digits.
    public init?(_ text: String) {
        let utf8 = text.utf8
        guard utf8.count == 64, utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else {
            return nil
        }
        self.text = text
    }

    init(zeros: Void) { text = String(repeating: "0", count: 64) }

    /// A new one from the system's random source. Its short form never looks like a number (docker's rule).
    public static func random() -> ObjectID {
        var generator = SystemRandomNumberGenerator()
        while true {
            var text = ""
            for _ in 0..<4 {
                let part = String(generator.next() as UInt64, radix: 16)
                text += String(repeating: "0", count: 16 - part.count) + part
            }
            if text.prefix(12).contains(where: { !$0.isNumber }), let id = ObjectID(text) { return id }
        }
    }

    /// The first twelve digits, as lists show them.
    public var short: String { String(text.prefix(12)) }
    public var description: String { text }
}

extension ObjectID: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let id = ObjectID(text) else { throw reader.fault("\"\(text)\" is no id of 64 hexadecimal digits") }
        self = id
    }
    public func write(to writer: inout JSONWriter) { writer.string(text) }
}
