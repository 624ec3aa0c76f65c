import CKernel
import Glibc

/// One classic BPF instruction, laid out as the kernel's `struct sock_filter`.
public struct BPFInstruction: Sendable, Equatable {
    public var code: UInt16
    public var jumpTrue: UInt8
    public var jumpFalse: UInt8
    public var operand: UInt32

    public init(code: UInt16, jumpTrue: UInt8 = 0, jumpFalse: UInt8 = 0, operand: UInt32) {
        self.code = code
        self.jumpTrue = jumpTrue
        self.jumpFalse = jumpFalse
        self.operand = operand
    }
}

/// seccomp(2).
public enum SeccompFilter {
    /// The kernel's limit of instructions in one filter (BPF_MAXINSNS).
    public static let maximumCount = 4096

    /// Installs a filter on the calling thread; needs no_new_privs or CAP_SYS_ADMIN. Answers the listener's descriptor when
    /// `flags` has SECCOMP_FILTER_FLAG_NEW_LISTENER.
    public static func install(_ instructions: [BPFInstruction], flags: UInt32) throws -> Descriptor? {
        guard instructions.count <= maximumCount else { throw KernelFault("seccomp", errno: E2BIG, "\(instructions.count)") }
        let result = try instructions.withUnsafeBytes { bytes in
            let filter = bytes.bindMemory(to: sock_filter.self)
            return try kernel("seccomp SECCOMP_SET_MODE_FILTER", "\(filter.count) instructions, flags \(flags)") {
                skiff_seccomp_set_filter(flags, filter.baseAddress, UInt16(filter.count))
            }
        }
        return flags & newListener != 0 ? Descriptor(owning: result) : nil
    }

    // SECCOMP_FILTER_FLAG_…
    public static let synchronizeThreads: UInt32 = 1 << 0
    public static let log: UInt32 = 1 << 1
    public static let speculationAllowed: UInt32 = 1 << 2
    public static let newListener: UInt32 = 1 << 3
    public static let synchronizeOrNoSuchProcess: UInt32 = 1 << 4
    public static let waitKillable: UInt32 = 1 << 5

    /// Whether this kernel knows every one of the flags.
    public static func supports(flags: UInt32) -> Bool { skiff_seccomp_probe_flags(flags) == -1 && errno == EFAULT }

    /// Whether this kernel knows the action (SECCOMP_RET_…).
    public static func supports(action: UInt32) -> Bool { skiff_seccomp_action_available(action) == 0 }

    /// Whether the kernel has seccomp filters at all.
    public static var isAvailable: Bool { supports(flags: 0) }
}
