import Linux
import Model

/// A filter ready for the kernel. Made in the parent; installed by the container's process just before exec.
public struct SeccompProgram: Sendable, Equatable {
    public var instructions: [BPFInstruction]
    /// SECCOMP_FILTER_FLAG_… for seccomp(2), NEW_LISTENER included when a rule notifies.
    public var flags: UInt32
    /// Names of system calls in the profile that no table of ours knows: skipped, worth a debug line.
    public var unknownNames: [String]

    public init(instructions: [BPFInstruction], flags: UInt32 = 0, unknownNames: [String] = []) {
        self.instructions = instructions
        self.flags = flags
        self.unknownNames = unknownNames
    }

    /// Whether `install` answers a listener that must go to `listenerPath`.
    public var notifies: Bool { flags & SeccompFilter.newListener != 0 }

    /// Installs the filter on the calling process: with no_new_privs just before exec, without it while CAP_SYS_ADMIN is
    /// still there. The listener is the caller's to hand to its parent (by number and pidfd_getfd(2), because the filter
    /// may notify sendmsg).
    public func install() throws -> Descriptor? {
        do { return try SeccompFilter.install(instructions, flags: flags) } catch let fault as KernelFault {
            throw Fault(.system, "cannot install the seccomp filter", cause: fault)
        }
    }
}

/// Compiles `linux.seccomp`. A fault names the JSON path of what cannot be honoured.
public func compileSeccomp(_ profile: OCI.Seccomp) throws -> SeccompProgram {
    throw Fault(.unsupported, "linux.seccomp is not built yet")
}
