import Glibc

/// The kernel's old packet filter tables, those of iptables-legacy. include/uapi/linux/netfilter_ipv4/ip_tables.h
public enum XTables {
    private static let tables = ["filter", "mangle", "security"]

    /// NF_INET_LOCAL_IN, NF_INET_FORWARD
    public enum Hook: Int, Sendable { case input = 1, forward = 2 }

    /// A rule of the chain at a hook, as far as it is understood here.
    public struct Rule: Sendable, Hashable {
        public enum Outcome: Sendable, Hashable {
            case accept, drop
            /// The packet goes on to the next rule.
            case none
            /// Another chain, a queue, or what is not known here.
            case other
        }

        /// Names of interfaces; one that ends in + is how names begin, an empty one asks for nothing.
        public var input: String
        public var output: String
        /// Nothing is asked of a packet but the interfaces.
        public var isPlain: Bool
        public var outcome: Outcome

        public init(input: String = "", output: String = "", isPlain: Bool = true, outcome: Outcome) {
            self.input = input
            self.output = output
            self.isPlain = isPlain
            self.outcome = outcome
        }

        /// Whether a packet with these interfaces certainly meets it; nil for an interface is one that is not known.
        public func means(input: String?, output: String?) -> Bool {
            isPlain && Self.fits(self.input, input) && Self.fits(self.output, output)
        }

        private static func fits(_ wanted: String, _ name: String?) -> Bool {
            if wanted.isEmpty { return true }
            guard let name else { return false }
            return wanted.hasSuffix("+") ? name.hasPrefix(wanted.dropLast()) : name == wanted
        }
    }

    /// The chains at a hook, by table, each with its policy as the last rule. Empty where nobody has used such tables: asking
    /// would create them, so the list of those that exist is read first. Nil where they cannot be read.
    public static func chains(at hook: Hook, isIPv6: Bool) -> [String: [Rule]]? {
        let list = isIPv6 ? "/proc/thread-self/net/ip6_tables_names" : "/proc/thread-self/net/ip_tables_names"
        guard let bytes = try? SmallFile.read(list) else { return [:] }
        let present = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { String($0) }
        var chains: [String: [Rule]] = [:]
        for table in tables where present.contains(table) {
            guard let found = rules(table, hook, isIPv6) else { return nil }
            chains[table] = found
        }
        return chains
    }

    private static func option(_ raw: CInt, _ isIPv6: Bool, _ name: CInt, _ buffer: inout [UInt8]) -> Bool {
        var size = socklen_t(buffer.count)
        let code = buffer.withUnsafeMutableBytes {
            getsockopt(raw, isIPv6 ? CInt(IPPROTO_IPV6) : CInt(IPPROTO_IP), name, $0.baseAddress, &size)
        }
        return code == 0
    }

    private static func rules(_ table: String, _ hook: Hook, _ isIPv6: Bool) -> [Rule]? {
        let raw = socket(isIPv6 ? AF_INET6 : AF_INET, CInt(SOCK_RAW.rawValue) | 0o2000000, 255)
        guard raw >= 0 else { return nil }
        let descriptor = Descriptor(owning: raw)
        let name = Array(table.utf8) + [UInt8](repeating: 0, count: 32 - table.utf8.count)
        // struct ipt_getinfo: name, valid_hooks, hook_entry[5], underflow[5], num_entries, size. IPT_SO_GET_INFO and
        // IP6T_SO_GET_INFO are both 64, the entries 65.
        var info = name + [UInt8](repeating: 0, count: 52)
        guard option(descriptor.raw, isIPv6, 64, &info) else { return nil }
        func number(_ at: Int) -> Int { Int(info[...].native(UInt32.self, at: at) ?? 0) }
        guard number(32) & 1 << hook.rawValue != 0 else { return [] }
        let size = number(80)
        guard size > 0, size < 1 << 28 else { return nil }
        // struct ipt_get_entries: name, size, and the entries from the next multiple of eight on.
        var entries = name + info[80..<84] + [UInt8](repeating: 0, count: 4 + size)
        guard option(descriptor.raw, isIPv6, 65, &entries) else { return nil }
        return parse(entries[40...], from: number(36 + 4 * hook.rawValue), to: number(56 + 4 * hook.rawValue), isIPv6: isIPv6)
    }

    /// The entries of a table (struct ipt_entry, ip6t_entry) from a hook's first to its policy. Nil for what does not fit.
    public static func parse(_ entries: ArraySlice<UInt8>, from first: Int, to last: Int, isIPv6: Bool) -> [Rule]? {
        var rules: [Rule] = []
        var at = first
        while at <= last {
            let entry = entries.dropFirst(at)
            // Behind struct ipt_ip (84 bytes) or ip6t_ip6 (136): nfcache, target_offset, next_offset.
            let head = isIPv6 ? 136 : 84
            let start = entry.startIndex
            guard let target = entry.native(UInt16.self, at: start + head + 4).map(Int.init),
                let next = entry.native(UInt16.self, at: start + head + 6).map(Int.init), next >= target + 32,
                target >= (isIPv6 ? 168 : 112), entry.count >= next
            else { return nil }
            rules.append(rule(Array(entry.prefix(next)), target: target, isIPv6: isIPv6))
            at += next
        }
        return rules
    }

    private static func rule(_ entry: [UInt8], target: Int, isIPv6: Bool) -> Rule {
        // Addresses and their masks; names of interfaces and their masks; protocol, flags, inversions.
        let (names, proto) = isIPv6 ? (64, 128) : (16, 80)
        func interface(_ at: Int) -> String {
            let bytes = entry[at..<(at + 16)].prefix { $0 != 0 }
            let isWhole = bytes.isEmpty || bytes.count > 15 || entry[at + 32 + bytes.count] != 0
            return String(decoding: bytes, as: UTF8.self) + (isWhole ? "" : "+")
        }
        let flags = isIPv6 ? entry[131] & 3 : entry[82] & 1
        let inversions = entry[isIPv6 ? 132 : 83]
        let isPlain =
            !entry[..<names].contains { $0 != 0 } && entry[proto] == 0 && entry[proto + 1] == 0 && flags == 0
            && inversions == 0 && hasOnlyComments(entry[(isIPv6 ? 168 : 112)..<target])
        return Rule(
            input: interface(names), output: interface(names + 16), isPlain: isPlain, outcome: outcome(entry[target...]))
    }

    /// struct xt_entry_match: its size, a name of 29 bytes.
    private static func hasOnlyComments(_ matches: ArraySlice<UInt8>) -> Bool {
        var rest = matches
        while rest.count >= 32 {
            guard let size = rest.native(UInt16.self, at: rest.startIndex).map(Int.init), size >= 32,
                text(rest.dropFirst(2)) == "comment"
            else { return false }
            rest = rest.dropFirst(size)
        }
        return true
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.prefix(29).prefix { $0 != 0 }, as: UTF8.self)
    }

    /// struct xt_standard_target has no name and a verdict: NF_DROP is -1, NF_ACCEPT -2, a jump is not negative.
    private static func outcome(_ target: ArraySlice<UInt8>) -> Rule.Outcome {
        switch text(target.dropFirst(2)) {
        case "":
            switch target.native(Int32.self, at: target.startIndex + 32) {
            case -1: .drop
            case -2: .accept
            default: .other
            }
        case "REJECT": .drop
        case "LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TRACE", "CLASSIFY", "TCPMSS", "DSCP", "TOS", "TTL", "HL": .none
        default: .other
        }
    }
}
