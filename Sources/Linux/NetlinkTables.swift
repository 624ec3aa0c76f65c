/// Requests to nf_tables, as pure builders. Numbers are those of include/uapi/linux/netfilter/nf_tables.h; multi-byte values
/// are in network order. Each is one message of a batch (`NetlinkSocket.batch`).
public struct TablesRequest: Sendable {
    /// NFPROTO_INET, NFPROTO_IPV4, NFPROTO_BRIDGE, NFPROTO_IPV6
    public enum Family: UInt8, Sendable { case inet = 1, ipv4 = 2, bridge = 7, ipv6 = 10 }

    public let table: String
    public let family: Family

    public init(table: String, family: Family = .inet) {
        self.table = table
        self.family = family
    }

    private static func type(_ message: UInt16) -> UInt16 { 10 << 8 | message }

    func message(
        _ type: UInt16, _ flags: UInt16, _ subject: String, _ attributes: (inout NetlinkWriter) -> Void
    ) -> NetlinkMessage {
        var writer = NetlinkWriter(capacity: 256)
        // struct nfgenmsg: family, version 0, resource 0.
        for value in [family.rawValue, 0, 0, 0] { writer.native(value) }
        attributes(&writer)
        return NetlinkMessage(type: Self.type(type), flags: flags, payload: writer.bytes, subject: subject)
    }

    /// Made unless it is there. `note` is kept with the table and read back by `TableInfo`.
    public func create(note: String) -> NetlinkMessage {
        message(0, NetlinkMessage.flagCreate, "create table \(table)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(2, big: UInt32(0))
            writer.attribute(6, bytes: Array(note.utf8))
        }
    }

    /// With everything in it.
    public func delete() -> NetlinkMessage {
        message(2, 0, "delete table \(table)") { $0.attribute(1, text: table) }
    }

    /// Sent outside a batch, with `query`.
    public func get() -> NetlinkMessage { message(1, 0, "table \(table)") { $0.attribute(1, text: table) } }

    /// All rules, with `dump`.
    func rules() -> NetlinkMessage { message(7, 0, "rules of table \(table)") { $0.attribute(1, text: table) } }

    /// Whether a message is a rule to be appended.
    public static func isRule(_ message: NetlinkMessage) -> Bool { message.type == type(6) }

    /// Whether a notification (group NFNLGRP_NFTABLES) tells that the table, or a chain, rule, set or element of it, is gone:
    /// NFT_MSG_DELTABLE, DELCHAIN, DELRULE, DELSET, DELSETELEM. Each has the table's name as its attribute 1.
    public func isLoss(_ event: NetlinkReply) -> Bool {
        guard [2, 5, 8, 11, 14].map(Self.type).contains(event.type), event.payload.count >= 4,
            event.payload.first == family.rawValue
        else { return false }
        return (try? NetlinkAttributes(event.payload.dropFirst(4)))?.text(1) == table
    }

    /// Whether a notification tells of a change to a table, chain, rule, set or element of another table. (NFT_MSG_NEWGEN 15,
    /// which ends each transaction, names none.)
    public func isOthers(_ event: NetlinkReply) -> Bool {
        guard event.type >> 8 == 10, event.type & 0xFF <= 14, event.payload.count >= 4 else { return false }
        if event.payload.first != family.rawValue { return true }
        return (try? NetlinkAttributes(event.payload.dropFirst(4)))?.text(1) != table
    }

    /// NFNLGRP_NFTABLES
    public static let changes: CInt = 7

    /// A chain that only others jump to.
    public func create(chain: String) -> NetlinkMessage {
        message(3, NetlinkMessage.flagCreate, "create chain \(chain)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(3, text: chain)
        }
    }

    public enum Hook: UInt32, Sendable { case prerouting, input, forward, output, postrouting }

    /// A chain that the kernel enters at a hook; its policy is accept. `type` is `filter` or `nat`.
    public func create(chain: String, type: String, hook: Hook, priority: Int32) -> NetlinkMessage {
        message(3, NetlinkMessage.flagCreate, "create chain \(chain)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(3, text: chain)
            writer.nested(4) { hookWriter in
                hookWriter.attribute(1, big: hook.rawValue)
                hookWriter.attribute(2, big: priority)
            }
            writer.attribute(5, big: UInt32(1))
            writer.attribute(7, text: type)
        }
    }

    /// At the end of a chain, or before the rule with this handle. A comment shows in `nft list ruleset`, and in what
    /// iptables-nft lists.
    public func append(
        _ expressions: [TablesExpression], to chain: String, before handle: UInt64? = nil, comment: String? = nil
    ) -> NetlinkMessage {
        // With a position the flag would mean: behind it.
        let flags = NetlinkMessage.flagCreate | (handle == nil ? NetlinkMessage.flagAppend : 0)
        return message(6, flags, "append to chain \(chain)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(2, text: chain)
            writer.nested(4) { list in
                for expression in expressions { list.nested(1) { expression.write(to: &$0) } }
            }
            if let handle { writer.attribute(6, big: handle) }
            if let comment {
                // libnftnl's user data: type 0 (comment), length, text with its zero.
                let text = Array(comment.utf8.prefix(120)) + [0]
                writer.attribute(7, bytes: [0, UInt8(text.count)] + text)
            }
        }
    }

    /// ENOENT fails the batch when the chain has no such rule.
    public func delete(rule handle: UInt64, of chain: String) -> NetlinkMessage {
        message(8, 0, "delete a rule of chain \(chain)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(2, text: chain)
            writer.attribute(3, big: handle)
        }
    }

    /// A set, or a map where the kind of its values is given. Hash based: elements cost the same however many there are.
    /// With the sizes of a concatenation's fields its elements are ranges of each.
    public func create(
        set: String, key: TablesKind, value: TablesKind? = nil, rangesOf fields: [UInt32] = [], id: UInt32
    ) -> NetlinkMessage {
        message(9, NetlinkMessage.flagCreate, "create set \(set)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(2, text: set)
            // NFT_SET_MAP; NFT_SET_INTERVAL and NFT_SET_CONCAT
            writer.attribute(3, big: UInt32(value == nil ? 0 : 8) | (fields.isEmpty ? 0 : 0x84))
            writer.attribute(4, big: key.type)
            writer.attribute(5, big: key.size)
            if let value {
                writer.attribute(6, big: value.type)
                writer.attribute(7, big: value.size)
            }
            if !fields.isEmpty {
                // NFTA_SET_DESC_CONCAT, of NFTA_LIST_ELEM, of NFTA_SET_FIELD_LEN
                writer.nested(9) { description in
                    description.nested(2) { list in
                        for size in fields { list.nested(1) { $0.attribute(1, big: size) } }
                    }
                }
            }
            writer.attribute(10, big: id)
            // libnftnl's user data: NFTNL_UDATA_SET_KEYBYTEORDER 0 and DATABYTEORDER 1; 1 is host's order, 2 network order.
            var note: [UInt8] = [0, 4] + Self.bytes(key.byteOrder)
            if let value { note += [1, 4] + Self.bytes(value.byteOrder) }
            writer.attribute(13, bytes: note)
        }
    }

    private static func bytes(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

    /// Adds elements in as many messages as their size asks for.
    public func add(_ elements: [TablesElement], to set: String) -> [NetlinkMessage] {
        messages(12, NetlinkMessage.flagCreate, "add to set \(set)", elements, set)
    }

    /// ENOENT fails the batch when one is not there.
    public func remove(_ elements: [TablesElement], from set: String) -> [NetlinkMessage] {
        messages(14, 0, "remove from set \(set)", elements, set)
    }

    private func messages(
        _ type: UInt16, _ flags: UInt16, _ subject: String, _ elements: [TablesElement], _ set: String
    ) -> [NetlinkMessage] {
        messages(type, flags, subject, elements, set) { $0.write(to: &$1) }
    }

    func messages<Element>(
        _ type: UInt16, _ flags: UInt16, _ subject: String, _ elements: [Element], _ set: String,
        _ write: (Element, inout NetlinkWriter) -> Void
    ) -> [NetlinkMessage] {
        // The list is one attribute, whose length is a 16-bit number.
        stride(from: 0, to: elements.count, by: 300).map { start in
            message(type, flags, subject) { writer in
                writer.attribute(1, text: table)
                writer.attribute(2, text: set)
                writer.nested(3) { list in
                    for element in elements[start..<min(start + 300, elements.count)] {
                        list.nested(1) { write(element, &$0) }
                    }
                }
            }
        }
    }

    /// Sent outside a batch, with `dump`.
    public func dump(set: String) -> NetlinkMessage {
        message(13, 0, "set \(set)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(2, text: set)
        }
    }
}

/// The kind of a set's keys or values: nft's type number and bytes, for a concatenation each part padded to four bytes.
public struct TablesKind: Sendable, Hashable {
    public let type: UInt32
    public let size: UInt32
    let byteOrder: UInt32

    /// Numbers of nft's datatypes (include/datatype.h of nftables).
    public static let family = TablesKind(type: 2, size: 4, byteOrder: 1)
    public static let ipv4 = TablesKind(type: 7, size: 4, byteOrder: 2)
    public static let ipv6 = TablesKind(type: 8, size: 16, byteOrder: 2)
    public static let mac = TablesKind(type: 9, size: 6, byteOrder: 2)
    public static let interface = TablesKind(type: 41, size: 16, byteOrder: 1)
    public static let proto = TablesKind(type: 12, size: 4, byteOrder: 2)
    public static let port = TablesKind(type: 13, size: 4, byteOrder: 2)

    public static func concatenation(_ kinds: TablesKind...) -> TablesKind {
        TablesKind(
            type: kinds.reduce(0) { $0 << 6 | $1.type }, size: kinds.reduce(0) { $0 + ($1.size + 3) / 4 * 4 }, byteOrder: 0)
    }
}

/// An element of a set or map.
public struct TablesElement: Sendable, Hashable {
    public var key: [UInt8]
    public var value: [UInt8]?
    /// The last of a range of each field.
    public var keyEnd: [UInt8]?

    public init(key: [UInt8], value: [UInt8]? = nil, keyEnd: [UInt8]? = nil) {
        self.key = key
        self.value = value
        self.keyEnd = keyEnd
    }

    func write(to writer: inout NetlinkWriter) {
        writer.nested(1) { $0.attribute(1, bytes: key) }
        if let keyEnd { writer.nested(10) { $0.attribute(1, bytes: keyEnd) } }
        if let value { writer.nested(2) { $0.attribute(1, bytes: value) } }
    }

    /// The elements of one answer to a set's dump.
    public static func parse(_ reply: NetlinkReply) throws -> [TablesElement] {
        guard reply.type == 10 << 8 | 12, reply.payload.count >= 4 else { return [] }
        guard let list = try NetlinkAttributes(reply.payload.dropFirst(4)).nested(3) else { return [] }
        return try list.all.compactMap { attribute in
            let element = try NetlinkAttributes(attribute.content)
            guard let key = try element.nested(1)?.content(1) else { return nil }
            return TablesElement(key: Array(key), value: try element.nested(2)?.content(1).map { Array($0) })
        }
    }

    /// Parts of a key or value as a concatenation holds them, each padded to four bytes.
    public static func concatenate(_ parts: [UInt8]...) -> [UInt8] {
        parts.flatMap { $0 + [UInt8](repeating: 0, count: (4 - $0.count % 4) % 4) }
    }
}

extension NetlinkSocket {
    /// The note that the table was made with; nil when there is no such table.
    public func note(of table: TablesRequest) throws -> String? {
        do {
            let reply = try query(table.get())
            guard reply.payload.count >= 4 else { throw NetlinkReply.malformed }
            let attributes = try NetlinkAttributes(reply.payload.dropFirst(4))
            return String(decoding: attributes.content(6) ?? [], as: UTF8.self)
        } catch let fault as KernelFault where fault.isNotFound {
            return nil
        }
    }

    /// Rules of all of the table's chains.
    public func ruleCount(of table: TablesRequest) throws -> Int { try dump(table.rules()).count }

    /// NFT_TABLE_F_OWNER: nobody but the process that made the table can change it.
    public func isOwned(_ table: TablesName) throws -> Bool {
        guard let family = TablesRequest.Family(rawValue: table.family) else { return false }
        let reply = try query(TablesRequest(table: table.name, family: family).get())
        guard reply.payload.count >= 4 else { throw NetlinkReply.malformed }
        return try (NetlinkAttributes(reply.payload.dropFirst(4)).big(2, as: UInt32.self) ?? 0) & 2 != 0
    }

    public func elements(of set: String, in table: TablesRequest) throws -> [TablesElement] {
        try dump(table.dump(set: set)).flatMap { try TablesElement.parse($0) }
    }
}
