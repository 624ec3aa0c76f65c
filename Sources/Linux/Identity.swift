import CKernel
import Glibc

/// The three sets of capset(2) as 64 bits each.
public struct CapabilitySets: Sendable, Equatable {
    public var effective: UInt64
    public var permitted: UInt64
    public var inheritable: UInt64

    public init(effective: UInt64, permitted: UInt64, inheritable: UInt64) {
        self.effective = effective
        self.permitted = permitted
        self.inheritable = inheritable
    }

    /// capget(2) of the calling process.
    public static func current() throws -> CapabilitySets {
        var words: [UInt32] = [0, 0, 0, 0, 0, 0]
        try kernel("capget") { skiff_capget(0, &words) }
        return CapabilitySets(
            effective: UInt64(words[0]) | UInt64(words[3]) << 32, permitted: UInt64(words[1]) | UInt64(words[4]) << 32,
            inheritable: UInt64(words[2]) | UInt64(words[5]) << 32)
    }

    /// capset(2) on the calling process.
    public func apply() throws {
        let words = [effective, permitted, inheritable]
        let all = words.map { UInt32(truncatingIfNeeded: $0) } + words.map { UInt32(truncatingIfNeeded: $0 >> 32) }
        try kernel("capset") { skiff_capset(all) }
    }
}

/// Identity and privileges of the calling process (credentials(7), capabilities(7), prctl(2)).
public enum Identity {
    /// PR_CAPBSET_READ: 1 when the bounding set has it, 0 when not, nil when the kernel does not know it.
    public static func boundingSetHas(_ capability: Int) -> Bool? {
        let answer = skiff_prctl(23, UInt(capability), 0, 0, 0)
        return answer < 0 ? nil : answer == 1
    }
    /// PR_CAPBSET_DROP
    public static func dropFromBoundingSet(_ capability: Int) throws {
        try kernel("prctl PR_CAPBSET_DROP", "\(capability)") { skiff_prctl(24, UInt(capability), 0, 0, 0) }
    }
    /// PR_CAP_AMBIENT_RAISE
    public static func raiseAmbient(_ capability: Int) throws {
        try kernel("prctl PR_CAP_AMBIENT_RAISE", "\(capability)") { skiff_prctl(47, 2, UInt(capability), 0, 0) }
    }
    /// PR_CAP_AMBIENT_CLEAR_ALL
    public static func clearAmbient() throws { try kernel("prctl PR_CAP_AMBIENT_CLEAR_ALL") { skiff_prctl(47, 4, 0, 0, 0) } }
    /// PR_SET_KEEPCAPS
    public static func keepCapabilities(_ on: Bool) throws {
        try kernel("prctl PR_SET_KEEPCAPS") { skiff_prctl(8, on ? 1 : 0, 0, 0, 0) }
    }
    /// PR_SET_NO_NEW_PRIVS
    public static func setNoNewPrivileges() throws { try kernel("prctl PR_SET_NO_NEW_PRIVS") { skiff_prctl(38, 1, 0, 0, 0) } }
    /// PR_SET_DUMPABLE
    public static func setDumpable(_ on: Bool) throws {
        try kernel("prctl PR_SET_DUMPABLE") { skiff_prctl(4, on ? 1 : 0, 0, 0, 0) }
    }
    /// PR_SET_CHILD_SUBREAPER
    public static func setSubreaper() throws { try kernel("prctl PR_SET_CHILD_SUBREAPER") { skiff_prctl(36, 1, 0, 0, 0) } }
    /// PR_SET_PDEATHSIG; 0 for none
    public static func setParentDeathSignal(_ signal: CInt) throws {
        try kernel("prctl PR_SET_PDEATHSIG") { skiff_prctl(1, UInt(signal), 0, 0, 0) }
    }

    public static func setUser(_ id: UInt32) throws { try kernel("setresuid", "\(id)") { skiff_setresuid(id) } }
    public static func setGroup(_ id: UInt32) throws { try kernel("setresgid", "\(id)") { skiff_setresgid(id) } }
    public static func setGroups(_ ids: [UInt32]) throws { try kernel("setgroups") { skiff_setgroups(ids.count, ids) } }

    /// sethostname(2) and setdomainname(2) of the current uts namespace
    public static func setHostname(_ name: String) throws {
        try kernel("sethostname", name) { skiff_sethostname(name, name.utf8.count) }
    }
    public static func setDomainname(_ name: String) throws {
        try kernel("setdomainname", name) { skiff_setdomainname(name, name.utf8.count) }
    }

    /// keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: a new session keyring of that name, searchable by its owner.
    public static func joinSessionKeyring(_ name: String) throws {
        let key = try kernel("keyctl JOIN_SESSION_KEYRING", name) { skiff_join_session_keyring(name) }
        // KEY_POS_ALL | KEY_USR_ALL without write: as keyctl_setperm(3) has them
        _ = skiff_keyctl_set_permissions(key, 0x3f1b_0000)
    }
}

extension KernelFault {
    public var isExisting: Bool { errno == EEXIST }
    public var isNoFolder: Bool { errno == ENOTDIR }
    public var isLink: Bool { errno == ELOOP }
    public var isGone: Bool { errno == ESRCH }
    public var isBrokenPipe: Bool { errno == EPIPE || errno == ECONNRESET }
    public var isMissingFile: Bool { errno == ENOENT }
    public var isNotPermitted: Bool { errno == EPERM }
    public var isNoExecutable: Bool { errno == ENOEXEC }
    public var isReset: Bool { errno == ECONNRESET }
    public var isNoChild: Bool { errno == ECHILD }
    public var isWouldBlock: Bool { errno == EAGAIN }
    public var isNoReader: Bool { errno == ENXIO }
    public var isEndOfTerminal: Bool { errno == EIO }
    public var isTooLarge: Bool { errno == EFBIG || errno == E2BIG }
    public var isNotEmpty: Bool { errno == ENOTEMPTY || errno == EEXIST }
}
