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
            let hint = fault.isInvalid ? " (linux.seccomp.flags may ask for more than this kernel has)" : ""
            throw Fault(.system, "cannot install the seccomp filter\(hint)", cause: fault)
        }
    }
}

/// Compiles `linux.seccomp` for this machine. A fault names the JSON path of what cannot be honoured.
///
/// Rules for one system call, as in libseccomp: one without conditions wins over all that have some, the first of them over
/// later ones; of those with conditions the first that holds; a rule whose action is the default counts for nothing. Several
/// conditions on one argument are alternatives, as in runc. A call with a number above every number that the profile names is
/// answered with ENOSYS when the default action refuses: so programs fall back as on an older kernel. A call of an
/// architecture that the profile does not list kills the process.
public func compileSeccomp(_ profile: OCI.Seccomp) throws -> SeccompProgram {
    try compileSeccomp(profile, native: .native)
}

package func compileSeccomp(_ profile: OCI.Seccomp, native: SyscallArchitecture) throws -> SeccompProgram {
    var compiler = try SeccompCompiler(profile, native: native)
    for (index, rule) in profile.syscalls.enumerated() { try compiler.add(rule, index) }
    let instructions = compiler.emit()
    guard instructions.count <= SeccompFilter.maximumCount else {
        throw Fault(
            .invalid,
            "linux.seccomp: the profile makes a filter of \(instructions.count) instructions, more than the kernel's limit of "
                + "\(SeccompFilter.maximumCount): use fewer argument conditions", subject: "linux.seccomp")
    }
    return SeccompProgram(instructions: instructions, flags: compiler.flags, unknownNames: compiler.unknownNames)
}
