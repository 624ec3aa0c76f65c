import Glibc

/// The kernel's old packet filter tables, those of iptables-legacy. include/uapi/linux/netfilter_ipv4/ip_tables.h
public enum XTables {
    private static let tables = ["filter", "mangle", "security"]

    /// Whether a table of this network namespace holds more than the empty chains that it begins with. False where nobody has
    /// used such a table: asking would create it, so the list of those that exist is read first.
    public static func hasInputRules(isIPv6: Bool) -> Bool {
        let list = isIPv6 ? "/proc/thread-self/net/ip6_tables_names" : "/proc/thread-self/net/ip_tables_names"
        guard let bytes = try? SmallFile.read(list) else { return false }
        let present = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { String($0) }
        return tables.contains { present.contains($0) && holdsRules($0, isIPv6: isIPv6) }
    }

    /// struct ipt_getinfo: name of 32 bytes, valid_hooks, hook_entry[5], underflow[5], num_entries, size. A base chain without
    /// rules is its policy alone: its first entry is its last.
    private static func holdsRules(_ table: String, isIPv6: Bool) -> Bool {
        let raw = socket(isIPv6 ? AF_INET6 : AF_INET, CInt(SOCK_RAW.rawValue) | 0o2000000, 255)
        guard raw >= 0 else { return true }
        let descriptor = Descriptor(owning: raw)
        var info = Array(table.utf8) + [UInt8](repeating: 0, count: 84 - table.utf8.count)
        var size = socklen_t(info.count)
        // IPT_SO_GET_INFO and IP6T_SO_GET_INFO are both 64.
        let code = info.withUnsafeMutableBytes {
            getsockopt(descriptor.raw, isIPv6 ? CInt(IPPROTO_IPV6) : CInt(IPPROTO_IP), 64, $0.baseAddress, &size)
        }
        guard code == 0 else { return true }
        func number(_ at: Int) -> UInt32 { info[...].native(UInt32.self, at: at) ?? 0 }
        // NF_INET_LOCAL_IN is 1.
        guard number(32) & 2 != 0 else { return false }
        return number(36 + 4) != number(56 + 4)
    }
}
