import Model

/// Docker's capabilities: fourteen by default, changed by `--cap-add` and `--cap-drop`.
package enum CapabilitySet {
    package static let standard = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
        "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
    ]

    /// In the kernel's order (capability.h), number 0 first.
    package static let all = [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE",
        "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
        "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
        "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
    ].map { "CAP_" + $0 }

    /// - Throws: `invalid` that names an unknown capability.
    package static func granted(add: [String], drop: [String], privileged: Bool) throws -> [String] {
        let add = try add.map { try canonical($0, of: "CapAdd") }
        let drop = try drop.map { try canonical($0, of: "CapDrop") }
        if privileged { return all }
        if drop.contains("ALL") {
            return add.contains("ALL") ? all : unique(add)
        }
        if add.contains("ALL") { return all.filter { !drop.contains($0) } }
        return unique(standard.filter { !drop.contains($0) } + add)
    }

    /// `net_admin`, `CAP_NET_ADMIN` and `ALL` in one form.
    private static func canonical(_ text: String, of list: String) throws -> String {
        let upper = text.uppercased()
        if upper == "ALL" { return upper }
        let name = upper.hasPrefix("CAP_") ? upper : "CAP_" + upper
        guard all.contains(name) else {
            throw Fault(.invalid, "invalid \(list): unknown capability: \"\(name)\"", subject: text)
        }
        return name
    }

    private static func unique(_ names: [String]) -> [String] {
        var seen = Set<String>()
        return names.filter { seen.insert($0).inserted }
    }
}
