import Linux
import Model

/// One field of a packet, or something that the kernel knows of it.
package enum PacketField: Sendable, Hashable {
    /// enum nft_payload_bases: link 0, network 1, transport 2.
    case payload(base: UInt32, offset: Int)
    /// enum nft_meta_keys
    case meta(UInt32)
    /// enum nft_ct_keys
    case connection(UInt32)
    /// enum nft_fib_result of enum nft_fib_flags
    case route(result: UInt32, flags: UInt32)
    case constant([UInt8])
    case other(String)
}

/// What a register holds: a field with what was done to it.
package struct LoadedField: Sendable, Hashable {
    package var field: PacketField
    package var length: Int
    /// `value & mask ^ xor`, one after the other.
    package var masks: [Mask] = []

    package struct Mask: Sendable, Hashable {
        package var mask: [UInt8]
        package var xor: [UInt8]
    }
}

/// What a rule asks of a packet.
package struct RuleCondition: Sendable, Hashable {
    package enum Test: Sendable, Hashable {
        /// enum nft_cmp_ops: equal 0, unequal 1, less 2, at most 3, more 4, at least 5.
        case compare(UInt32, [UInt8])
        case range(isInside: Bool, [UInt8], [UInt8])
        case lookup(String, isInverted: Bool)
        /// How often something may happen; its words.
        case limit(String)
        /// What only the kernel can tell while packets come; its words.
        case kernel(String)
    }

    /// One, or the parts of a set's key.
    package var fields: [LoadedField]
    package var test: Test
}

/// A rule of the host as we understand it.
package struct HostRule: Sendable, Hashable {
    package enum Outcome: Sendable, Hashable {
        case none
        case verdict(TablesExpression.Verdict)
        case reject(TablesExpression)
        /// A verdict map, the register with its key, and what that is.
        case map(String, UInt32, [LoadedField])
    }

    /// Where it stands: `nft -a` shows the handle.
    package var chain: String
    package var handle: UInt64
    package var comment: String?
    /// What is asked of the packet, in the rule's order.
    package var conditions: [RuleCondition] = []
    /// The expressions that ask it, and those that write to the log. Sets have the names that the host gave them.
    package var expressions: [TablesExpression] = []
    package var outcome = Outcome.none
    package var logs = false
    /// Why it is not known which packets the rule means; empty for most rules.
    package var doubts: [String] = []
    /// Asks iptables' own matches, some of which also remember the packet.
    package var isKept: Bool { expressions.contains(where: \.isMatch) }
    /// Why it is not known for connections of this host to itself only.
    package var loopbackDoubts: [String] = []
}

extension TablesExpression {
    /// A match of iptables, kept as it is.
    var isMatch: Bool { name == "match" }
}

/// What is known of the packets that a chain is translated, or judged, for.
package struct PacketKnowledge: Sendable, Hashable {
    /// NFPROTO_IPV4 2, NFPROTO_IPV6 10.
    package var families: [UInt8]
    package var protocols: [UInt8] = [6, 17, 132]
    package var port: UInt16?
    package var address: IPAddress?
    /// True: from this host to itself; false: from elsewhere; nil: either.
    package var isLoopback: Bool?
    /// A connection's first packet.
    package var isNew = false

    package init(families: [UInt8]) { self.families = families }

    /// What a field may hold, byte by byte; nil in place of a byte that may be any. Nil when nothing is known.
    func values(of loaded: LoadedField) -> [[UInt8?]]? {
        guard var values = values(of: loaded.field, loaded.length) else {
            // Bits that address translation sets are none for a packet that reaches the host itself.
            guard loaded.field == .connection(2), let mask = loaded.masks.first?.mask,
                zip(mask, Self.translationBits).allSatisfy({ $0 & ~$1 == 0 })
            else { return nil }
            return [[UInt8](repeating: 0, count: loaded.length)]
        }
        for mask in loaded.masks where mask.mask.count == loaded.length {
            values = values.map { value in
                value.indices.map { index in
                    if mask.mask[index] == 0 { return mask.xor[index] }
                    return value[index].map { $0 & mask.mask[index] ^ mask.xor[index] }
                }
            }
        }
        return values
    }

    /// IPS_SRC_NAT, DST_NAT, SRC_NAT_DONE, DST_NAT_DONE
    static let translationBits = Self.native(0x1B0)

    private func values(of field: PacketField, _ length: Int) -> [[UInt8?]]? {
        switch field {
        case .constant(let bytes): return [bytes]
        case .meta(let key): return meta(key, length)
        case .connection(0) where isNew: return [Self.native(8)]
        case .connection(1): return [[0]]
        case .payload(let base, let offset): return payload(base, offset, length)
        case .route(result: 3, flags: 2):
            // Published ports are on addresses of this host: RTN_LOCAL.
            return length == 4 ? [Self.native(2)] : nil
        default: return nil
        }
    }

    private func meta(_ key: UInt32, _ length: Int) -> [[UInt8?]]? {
        switch key {
        // NFT_META_PROTOCOL
        case 1: return families.map { $0 == 2 ? [0x08, 0x00] : [0x86, 0xDD] }
        // NFT_META_IIF, IIFNAME; the index of lo is 1 in every network namespace.
        case 4 where isLoopback == true: return [Self.native(1)]
        case 6 where isLoopback == true: return [FirewallRules.name("lo")]
        // NFT_META_OIF, OIFNAME: a packet for the host has no way out.
        case 5: return [Self.native(0)]
        case 7: return [[UInt8](repeating: 0, count: 16)]
        // NFT_META_IIFTYPE: ARPHRD_LOOPBACK
        case 8 where isLoopback == true: return [Array(Self.native(772).prefix(length))]
        case 15: return families.map { [$0] }
        case 16: return protocols.map { [$0] }
        default: return nil
        }
    }

    private func payload(_ base: UInt32, _ offset: Int, _ length: Int) -> [[UInt8?]]? {
        var whole = [UInt8?](repeating: nil, count: offset + length)
        func put(_ bytes: [UInt8], _ at: Int) {
            for (index, byte) in bytes.enumerated() where at + index < whole.count { whole[at + index] = byte }
        }
        switch base {
        case 1 where families == [2]:
            if case .v4(let address)? = address { put(address.bytes, 16) }
            // The header's byte 9 is the protocol.
            return protocols.map { proto in
                var value = whole
                if value.count > 9 { value[9] = proto }
                return Array(value[offset...])
            }
        case 1 where families == [10]:
            if case .v6(let address)? = address { put(address.bytes, 24) }
        case 2:
            if let port { put([UInt8(port >> 8), UInt8(port & 0xFF)], 2) }
        default: return nil
        }
        let value = Array(whole[offset...])
        return value.contains { $0 != nil } ? [value] : nil
    }

    static func native(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

    /// Whether the packets meet a condition; nil when some do and some do not, or it is not known.
    func meets(_ condition: RuleCondition, _ table: HostRules.Table) -> Bool? {
        if isLoopback == false, let answer = Self.isLoopback(condition) { return answer == false }
        var possible: [[UInt8?]] = [[]]
        for field in condition.fields {
            let values = values(of: field) ?? [[UInt8?](repeating: nil, count: field.length)]
            let padding = [UInt8?](repeating: 0, count: condition.fields.count > 1 ? (4 - field.length % 4) % 4 : 0)
            possible = possible.flatMap { start in values.map { start + $0 + padding } }
        }
        var answers: Set<Bool?> = []
        for value in possible { answers.insert(Self.meets(condition.test, value, table)) }
        return answers.count == 1 ? answers.first ?? nil : nil
    }

    private static func meets(_ test: RuleCondition.Test, _ value: [UInt8?], _ table: HostRules.Table) -> Bool? {
        switch test {
        case .compare(let operation, let wanted): return compare(operation, value, wanted)
        case .range(let isInside, let first, let last):
            guard let known = whole(value), known.count == first.count else { return nil }
            return (!known.lexicographicallyPrecedes(first) && !last.lexicographicallyPrecedes(known)) == isInside
        case .lookup(let set, let isInverted):
            guard let members = table.members[set], let kind = table.sets[set] else { return nil }
            return contains(members, kind, value).map { $0 != isInverted }
        case .limit, .kernel: return nil
        }
    }

    /// Whether a condition asks for lo itself; false when it asks for any other than lo; nil when it asks for something else.
    private static func isLoopback(_ condition: RuleCondition) -> Bool? {
        guard condition.fields.count == 1, let loaded = condition.fields.first, loaded.masks.isEmpty,
            case .compare(let operation, let value) = condition.test, operation < 2
        else { return nil }
        switch loaded.field {
        case .meta(4): if value != native(1) { return nil }
        // iptables-nft compares as many bytes as the name has, with its zero.
        case .meta(6): if value.prefix(3) != [0x6C, 0x6F, 0] { return nil }
        default: return nil
        }
        return operation == 0
    }

    private static func whole(_ value: [UInt8?]) -> [UInt8]? {
        let known = value.compactMap { $0 }
        return known.count == value.count ? known : nil
    }

    private static func compare(_ operation: UInt32, _ value: [UInt8?], _ wanted: [UInt8]) -> Bool? {
        // A comparison may ask for the first bytes only: `iifname "eth*"`.
        let value = Array(value.prefix(wanted.count))
        guard value.count == wanted.count else { return nil }
        if operation < 2 {
            if zip(value, wanted).contains(where: { $0 != nil && $0 != $1 }) { return operation == 1 }
            return value.contains { $0 == nil } ? nil : operation == 0
        }
        guard let known = whole(value) else { return nil }
        let (less, more) = (known.lexicographicallyPrecedes(wanted), wanted.lexicographicallyPrecedes(known))
        return [less, !more, more, !less][Int(min(operation, 5)) - 2]
    }

    /// Whether a set has a key of which some bytes are known.
    static func contains(_ members: [TablesMember], _ set: TablesSet, _ value: [UInt8?]) -> Bool? {
        if members.contains(where: { $0.flags & 2 != 0 }) { return true }
        func fits(_ key: [UInt8]) -> Bool {
            key.count == value.count && zip(value, key).allSatisfy { $0 == nil || $0 == $1 }
        }
        let known = whole(value)
        if !set.isInterval {
            let candidates = members.filter { fits($0.key) }
            return candidates.isEmpty ? false : known == nil ? nil : true
        }
        guard let known else { return nil }
        if members.contains(where: { $0.keyEnd != nil }) { return nil }
        return HostRule.interval(of: known, in: members) != nil
    }
}

extension HostRule {
    /// The member of a set of ranges whose range a value lies in. A range begins with a member and ends before the next.
    static func interval(of value: [UInt8], in members: [TablesMember]) -> TablesMember? {
        let last = members.filter { !value.lexicographicallyPrecedes($0.key) }.max { $0.isBefore($1) }
        return last.flatMap { $0.isEnd ? nil : $0 }
    }
}

extension TablesMember {
    /// NFT_SET_ELEM_INTERVAL_END
    static let endOfRange: UInt32 = 1

    var isEnd: Bool { flags & Self.endOfRange != 0 }

    /// The order of a set's ranges: where one ends and the next begins, the end comes first.
    func isBefore(_ other: TablesMember) -> Bool {
        key == other.key ? isEnd && !other.isEnd : key.lexicographicallyPrecedes(other.key)
    }
}
