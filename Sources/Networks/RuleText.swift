import Linux
import Model

/// Conditions in nft's words, for people.
enum RuleText {
    static func text(_ condition: RuleCondition, family: UInt8, _ table: HostRules.Table) -> String {
        switch condition.test {
        case .limit(let words): return "limit \(words)"
        case .kernel(let words): return words
        default: break
        }
        let name = condition.fields.map { self.name($0, family) }.joined(separator: " . ")
        let field = condition.fields.first
        switch condition.test {
        case .compare(let operation, let value):
            if let flags = flags(condition, operation, value) { return flags }
            if let prefix = prefix(condition, value) { return name + (operation == 1 ? " != " : " ") + prefix }
            let signs = ["", "!= ", "< ", "<= ", "> ", ">= "]
            return name + " " + (Int(operation) < signs.count ? signs[Int(operation)] : "? ") + words(value, field, family)
        case .range(let isInside, let first, let last):
            return name + (isInside ? " " : " != ") + words(first, field, family) + "-" + words(last, field, family)
        case .lookup(let set, let isInverted):
            return name + (isInverted ? " != " : " ") + members(set, condition.fields, family, table)
        case .limit(let words), .kernel(let words): return words
        }
    }

    static func member(_ member: TablesMember, of fields: [LoadedField], family: UInt8) -> String {
        fields.map { name($0, family) }.joined(separator: " . ") + " " + key(member.key, fields, family)
    }

    private static func members(
        _ set: String, _ fields: [LoadedField], _ family: UInt8, _ table: HostRules.Table
    ) -> String {
        guard set.hasPrefix("__"), let members = table.members[set], members.count <= 12 else { return "@\(set)" }
        let sorted = members.sorted { $0.isBefore($1) }
        var words: [String] = []
        for (index, member) in sorted.enumerated() where !member.isEnd {
            var text = key(member.key, fields, family)
            if table.sets[set]?.isInterval == true, index + 1 < sorted.count, sorted[index + 1].isEnd {
                let last = before(sorted[index + 1].key)
                if last != member.key { text += "-" + key(last, fields, family) }
            }
            words.append(text)
        }
        return "{ " + words.joined(separator: ", ") + " }"
    }

    private static func before(_ key: [UInt8]) -> [UInt8] {
        var key = key
        for index in key.indices.reversed() {
            key[index] &-= 1
            if key[index] != 0xFF { break }
        }
        return key
    }

    private static func key(_ key: [UInt8], _ fields: [LoadedField], _ family: UInt8) -> String {
        if fields.count <= 1 { return words(key, fields.first, family) }
        var rest = key[...]
        return fields.map { field in
            defer { rest = rest.dropFirst((field.length + 3) / 4 * 4) }
            return words(Array(rest.prefix(field.length)), field, family)
        }.joined(separator: " . ")
    }

    private static func name(_ loaded: LoadedField, _ family: UInt8) -> String {
        switch loaded.field {
        case .payload(base: 1, let offset):
            let names: [Int: String] =
                family == 2
                ? [8: "ip ttl", 9: "ip protocol", 12: "ip saddr", 16: "ip daddr"]
                : [6: "ip6 nexthdr", 7: "ip6 hoplimit", 8: "ip6 saddr", 24: "ip6 daddr"]
            return names[offset] ?? "byte \(offset) of the header"
        case .payload(base: 2, let offset):
            return [0: "sport", 2: "dport", 13: "tcp flags"][offset] ?? "byte \(offset) of the transport header"
        case .payload(base: 0, let offset): return offset == 6 ? "ether saddr" : "byte \(offset) of the link's header"
        case .payload: return "a header within the packet"
        case .meta(let key):
            let names: [UInt32: String] = [
                0: "meta length", 3: "meta mark", 4: "iif", 5: "oif", 6: "iifname", 7: "oifname", 8: "iiftype", 19: "pkttype",
                21: "iifgroup", 30: "meta time", 31: "meta day", 32: "meta hour",
            ]
            return names[key] ?? "meta key \(key)"
        case .connection(let key):
            return [0: "ct state", 2: "ct status", 3: "ct mark", 14: "ct packets", 15: "ct bytes"][key] ?? "ct key \(key)"
        case .route(let result, let flags):
            return "fib " + (flags & 1 != 0 ? "saddr" : "daddr") + (flags & 8 != 0 ? " . iif" : "")
                + (result == 3 ? " type" : " oif")
        case .constant: return "a constant"
        case .other(let words): return words
        }
    }

    private static func words(_ value: [UInt8], _ loaded: LoadedField?, _ family: UInt8) -> String {
        switch loaded?.field {
        case .payload(base: 1, _)? where value.count == 4: return IPv4Address(bytes: value)?.description ?? hex(value)
        case .payload(base: 1, _)? where value.count == 16: return IPv6Address(bytes: value)?.description ?? hex(value)
        case .payload(base: 0, _)? where value.count == 6: return MACAddress(bytes: value)?.description ?? hex(value)
        case .payload?: return value.count <= 4 ? String(value.reduce(0) { $0 << 8 | Int($1) }) : hex(value)
        case .meta(6)?, .meta(7)?:
            let name = String(decoding: value.prefix { $0 != 0 }, as: UTF8.self)
            return "\"\(name)\(value.contains(0) ? "" : "*")\""
        case .connection(0)?: return states(value) ?? hex(value)
        case .route(result: 3, flags: _)?:
            let kinds = ["unspec", "unicast", "local", "broadcast", "anycast", "multicast"]
            let kind = Int(number(value))
            return kind < kinds.count ? kinds[kind] : String(kind)
        case .meta?, .connection?: return value.count <= 4 ? String(number(value)) : hex(value)
        default: return hex(value)
        }
    }

    /// In the machine's byte order.
    private static func number(_ value: [UInt8]) -> UInt32 {
        let bytes = value + [UInt8](repeating: 0, count: max(0, 4 - value.count))
        return bytes[...].native(UInt32.self, at: 0) ?? 0
    }

    private static func states(_ value: [UInt8]) -> String? {
        let bits = number(value)
        let names = [(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")] as [(UInt32, String)]
        let present = names.filter { bits & $0.0 != 0 }.map(\.1)
        return present.isEmpty ? nil : present.joined(separator: ",")
    }

    /// `ct state new`: a mask, compared with zero.
    private static func flags(_ condition: RuleCondition, _ operation: UInt32, _ value: [UInt8]) -> String? {
        guard operation < 2, let loaded = condition.fields.first, case .connection(let key) = loaded.field,
            key == 0 || key == 2,
            let mask = loaded.masks.last?.mask, value.allSatisfy({ $0 == 0 })
        else { return nil }
        let words = key == 0 ? states(mask) ?? hex(mask) : hex(mask)
        return (key == 0 ? "ct state " : "ct status ") + (operation == 0 ? "!= " : "") + words
    }

    /// `10.0.0.0/8`: a mask of leading ones.
    private static func prefix(_ condition: RuleCondition, _ value: [UInt8]) -> String? {
        guard let loaded = condition.fields.first, case .payload(base: 1, _) = loaded.field else { return nil }
        let isAddress = value.count == 4 || value.count == 16
        if let mask = loaded.masks.last?.mask, isAddress {
            let bits = mask.reduce(0) { $0 + $1.nonzeroBitCount }
            return words(value, loaded, 2) + "/\(bits)"
        }
        // Whole bytes: nft loads the first of them only.
        guard case .payload(base: 1, let offset) = loaded.field, loaded.masks.isEmpty else { return nil }
        let whole = [12: 4, 16: 4, 8: 16, 24: 16][offset] ?? 0
        guard value.count < whole, value.count > 1 || whole == 4 && (offset == 12 || offset == 16) else { return nil }
        let padded = value + [UInt8](repeating: 0, count: whole - value.count)
        return words(padded, loaded, 2) + "/\(value.count * 8)"
    }

    private static func hex(_ value: [UInt8]) -> String {
        "0x" + value.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
