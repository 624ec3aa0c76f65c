import Linux
import Model

/// Names of capabilities(7) in the order of their numbers.
package enum CapabilityNames {
    package static let all = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
        "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
        "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
        "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
        "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
        "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
        "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
    ]
    package static let setPCap = 8
    package static let sysAdmin = 21

    package static func number(_ name: String) -> Int? { all.firstIndex(of: name) }

    static func mask(_ names: [String], _ unknown: inout [String]) -> UInt64 {
        var mask: UInt64 = 0
        for name in names {
            if let number = number(name) {
                mask |= 1 << UInt64(number)
            } else if !unknown.contains(name) {
                unknown.append(name)
            }
        }
        return mask
    }

    static func names(_ mask: UInt64) -> String {
        all.indices.filter { mask & (1 << UInt64($0)) != 0 }.map { all[$0] }.joined(separator: ", ")
    }
}

/// The five sets as masks.
struct CapabilityPlan: Sendable {
    var bounding: UInt64
    var effective: UInt64
    var permitted: UInt64
    var inheritable: UInt64
    var ambient: UInt64
    /// Names that are none.
    var unknown: [String] = []

    init(_ sets: OCI.Capabilities?) {
        var unknown: [String] = []
        bounding = CapabilityNames.mask(sets?.bounding ?? [], &unknown)
        effective = CapabilityNames.mask(sets?.effective ?? [], &unknown)
        permitted = CapabilityNames.mask(sets?.permitted ?? [], &unknown)
        inheritable = CapabilityNames.mask(sets?.inheritable ?? [], &unknown)
        ambient = CapabilityNames.mask(sets?.ambient ?? [], &unknown)
        self.unknown = unknown
    }
}
