/// A chain of anybody's, with all that the kernel tells of it.
public struct TablesChain: Sendable, Hashable {
    /// Where the kernel enters a base chain.
    public struct Entry: Sendable, Hashable {
        public var hook: TablesRequest.Hook
        public var priority: Int32
        /// What no rule accepted is dropped.
        public var dropsByDefault: Bool

        public init(hook: TablesRequest.Hook, priority: Int32, dropsByDefault: Bool) {
            self.hook = hook
            self.priority = priority
            self.dropsByDefault = dropsByDefault
        }
    }

    public var table: TablesName
    public var name: String
    /// Nil for a chain that only others jump to.
    public var entry: Entry?
    /// `filter`, `nat` or `route` of a base chain.
    public var type: String

    public init(table: TablesName, name: String, entry: Entry?, type: String = "filter") {
        self.table = table
        self.name = name
        self.entry = entry
        self.type = type
    }

    /// An answer to NFT_MSG_GETCHAIN; nil for one of a hook that is none of inet's.
    public init?(_ reply: NetlinkReply) throws {
        guard reply.type == 10 << 8 | 3, reply.payload.count >= 4 else { return nil }
        let attributes = try NetlinkAttributes(reply.payload.dropFirst(4))
        table = TablesName(family: reply.payload[reply.payload.startIndex], name: attributes.text(1) ?? "")
        name = attributes.text(3) ?? ""
        type = attributes.text(7) ?? ""
        if let hook = try attributes.nested(4) {
            guard let number = hook.big(1, as: UInt32.self), let known = TablesRequest.Hook(rawValue: number) else {
                return nil
            }
            entry = Entry(
                hook: known, priority: hook.big(2, as: Int32.self) ?? 0,
                dropsByDefault: attributes.big(5, as: UInt32.self) == 0)
        }
    }
}

/// A table of anybody's.
public struct TablesName: Sendable, Hashable, CustomStringConvertible {
    /// NFPROTO_INET 1, NFPROTO_IPV4 2, NFPROTO_IPV6 10 …
    public var family: UInt8
    public var name: String

    public init(family: UInt8, name: String) {
        self.family = family
        self.name = name
    }

    /// As nft writes it.
    public var description: String {
        let families: [UInt8: String] = [1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"]
        return "\(families[family] ?? "family \(family)") \(name)"
    }
}

/// A rule of anybody's.
public struct TablesRule: Sendable, Hashable {
    public var chain: String
    /// The kernel's number for it within its table (`nft -a`).
    public var handle: UInt64
    public var expressions: [TablesExpression]
    public var comment: String?

    public init(chain: String, handle: UInt64, expressions: [TablesExpression], comment: String? = nil) {
        self.chain = chain
        self.handle = handle
        self.expressions = expressions
        self.comment = comment
    }

    /// An answer to NFT_MSG_GETRULE.
    public init?(_ reply: NetlinkReply) throws {
        guard reply.type == 10 << 8 | 6, reply.payload.count >= 4 else { return nil }
        let attributes = try NetlinkAttributes(reply.payload.dropFirst(4))
        chain = attributes.text(2) ?? ""
        handle = attributes.big(3) ?? 0
        expressions =
            try attributes.nested(4)?.all.compactMap { item in
                let expression = try NetlinkAttributes(item.content)
                guard let name = expression.text(1) else { return nil }
                return TablesExpression(name: name, content: Array(expression.content(2) ?? []))
            } ?? []
        comment = attributes.content(7).flatMap { Self.comment($0) }
    }

    /// libnftnl's user data: type, length, value; type 0 is the comment.
    private static func comment(_ data: ArraySlice<UInt8>) -> String? {
        var rest = data
        while rest.count >= 2 {
            let (type, length) = (rest[rest.startIndex], Int(rest[rest.startIndex + 1]))
            rest = rest.dropFirst(2)
            if type == 0 { return String(decoding: rest.prefix(length).prefix { $0 != 0 }, as: UTF8.self) }
            rest = rest.dropFirst(length)
        }
        return nil
    }
}

/// A set or map of anybody's, without its elements.
public struct TablesSet: Sendable, Hashable {
    public var name: String
    public var flags: UInt32
    public var keyLength: Int
    /// What a copy of it is made with: attribute numbers and contents.
    let attributes: [UInt16: [UInt8]]

    public var isAnonymous: Bool { flags & 0x1 != 0 }
    public var isInterval: Bool { flags & 0x4 != 0 }
    public var isMap: Bool { flags & 0x8 != 0 }
    public var hasTimeouts: Bool { flags & 0x10 != 0 }
    /// Rules add elements to it while packets come.
    public var isDynamic: Bool { flags & 0x20 != 0 }
    /// Its values are objects.
    public var hasObjects: Bool { flags & 0x40 != 0 }
    /// NFT_DATA_VERDICT
    public var isVerdictMap: Bool { isMap && attributes[6] == [0xFF, 0xFF, 0xFF, 0x00] }

    /// An answer to NFT_MSG_GETSET.
    public init?(_ reply: NetlinkReply) throws {
        guard reply.type == 10 << 8 | 9, reply.payload.count >= 4 else { return nil }
        let attributes = try NetlinkAttributes(reply.payload.dropFirst(4))
        guard let name = attributes.text(2) else { return nil }
        self.name = name
        flags = attributes.big(3) ?? 0
        keyLength = Int(attributes.big(5, as: UInt32.self) ?? 0)
        // KEY_TYPE, KEY_LEN, DATA_TYPE, DATA_LEN, DESC, TIMEOUT, GC_INTERVAL, USERDATA
        let kept: Set<UInt16> = [4, 5, 6, 7, 9, 11, 12, 13]
        self.attributes = Dictionary(
            attributes.all.filter { kept.contains($0.type) }.map { ($0.type, Array($0.content)) }
        ) { _, last in last }
    }
}

/// An element of anybody's set, as it is.
public struct TablesMember: Sendable, Hashable {
    public var key: [UInt8]
    /// The end of a range, in sets of ranges over several fields.
    public var keyEnd: [UInt8]?
    public var value: [UInt8]?
    public var verdict: TablesExpression.Verdict?
    /// NFT_SET_ELEM_INTERVAL_END 1, NFT_SET_ELEM_CATCHALL 2
    public var flags: UInt32
    /// Milliseconds from now, for one that ends.
    public var expires: UInt64?

    /// The elements of one answer to NFT_MSG_GETSETELEM.
    public static func parse(_ reply: NetlinkReply) throws -> [TablesMember] {
        guard reply.type == 10 << 8 | 12, reply.payload.count >= 4,
            let list = try NetlinkAttributes(reply.payload.dropFirst(4)).nested(3)
        else { return [] }
        return try list.all.map { try TablesMember(NetlinkAttributes($0.content)) }
    }

    init(_ element: NetlinkAttributes) throws {
        key = try element.nested(1)?.content(1).map { Array($0) } ?? []
        keyEnd = try element.nested(10)?.content(1).map { Array($0) }
        let data = try element.nested(2)
        value = data?.content(1).map { Array($0) }
        verdict = try data.flatMap { try TablesExpression.Verdict($0) }
        flags = element.big(3) ?? 0
        expires = element.big(5)
    }

    public init(key: [UInt8], keyEnd: [UInt8]? = nil, flags: UInt32 = 0, verdict: TablesExpression.Verdict? = nil) {
        self.key = key
        self.keyEnd = keyEnd
        self.flags = flags
        self.verdict = verdict
    }

    func write(to writer: inout NetlinkWriter) {
        if flags & 2 == 0 { writer.nested(1) { $0.attribute(1, bytes: key) } }
        if let keyEnd { writer.nested(10) { $0.attribute(1, bytes: keyEnd) } }
        if let verdict {
            writer.nested(2) { verdict.write(to: &$0) }
        } else if let value {
            writer.nested(2) { $0.attribute(1, bytes: value) }
        }
        if flags != 0 { writer.attribute(3, big: flags) }
        if let expires {
            writer.attribute(4, big: max(expires, 1))
            writer.attribute(5, big: max(expires, 1))
        }
    }
}

extension TablesRequest {
    /// A set of ours with the kind of another's. NFT_SET_ANONYMOUS, CONSTANT and EVAL are left out: this one has a name, and
    /// is filled by us.
    public func create(set: String, like other: TablesSet, id: UInt32) -> NetlinkMessage {
        message(9, NetlinkMessage.flagCreate, "create set \(set)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(2, text: set)
            writer.attribute(3, big: other.flags & ~0x123)
            for (type, content) in other.attributes.sorted(by: { $0.key < $1.key }) {
                writer.attribute(type == 9 ? type | 0x8000 : type, bytes: content)
            }
            writer.attribute(10, big: id)
        }
    }

    public func add(_ members: [TablesMember], to set: String) -> [NetlinkMessage] {
        messages(12, NetlinkMessage.flagCreate, "add to set \(set)", members, set) { $0.write(to: &$1) }
    }

    public func delete(set: String) -> NetlinkMessage {
        message(11, 0, "delete set \(set)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(2, text: set)
        }
    }

    public func delete(chain: String) -> NetlinkMessage {
        message(5, 0, "delete chain \(chain)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(3, text: chain)
        }
    }

    /// Takes all rules out of a chain.
    public func flush(chain: String) -> NetlinkMessage {
        message(8, 0, "flush chain \(chain)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(2, text: chain)
        }
    }
}

extension NetlinkSocket {
    private static func ask(_ type: UInt16, _ table: TablesName?, _ set: String? = nil) -> NetlinkMessage {
        var writer = NetlinkWriter()
        for value in [table?.family ?? 0, 0, 0, 0] as [UInt8] { writer.native(value) }
        if let table { writer.attribute(1, text: table.name) }
        if let set { writer.attribute(2, text: set) }
        return NetlinkMessage(type: 10 << 8 | type, flags: 0, payload: writer.bytes, subject: table?.description ?? "")
    }

    /// Counts the changes of all tables of this network namespace (NFT_MSG_GETGEN).
    public func tablesGeneration() throws -> UInt32 {
        let reply = try query(Self.ask(16, nil))
        guard reply.payload.count >= 4 else { throw NetlinkReply.malformed }
        return try NetlinkAttributes(reply.payload.dropFirst(4)).big(1) ?? 0
    }

    /// Every table's chains.
    public func chains() throws -> [TablesChain] { try dump(Self.ask(4, nil)).compactMap { try TablesChain($0) } }

    /// All rules of a table, those of a chain in their order.
    public func rules(of table: TablesName) throws -> [TablesRule] {
        try dump(Self.ask(7, table)).compactMap { try TablesRule($0) }
    }

    public func sets(of table: TablesName) throws -> [TablesSet] {
        try dump(Self.ask(10, table)).compactMap { try TablesSet($0) }
    }

    public func members(of set: String, in table: TablesName) throws -> [TablesMember] {
        try dump(Self.ask(13, table, set)).flatMap { try TablesMember.parse($0) }
    }
}
