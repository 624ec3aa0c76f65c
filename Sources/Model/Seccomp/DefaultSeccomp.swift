/// The seccomp profile of a container for which nobody names one: moby's list, and sockets of AF_ALG shut on every way.
///
/// A filter sees a system call's registers, not memory, so it cannot tell the address family in i386's `socketcall`. Where no
/// security module refuses AF_ALG (`skiff-default` of AppArmor does), the profile refuses socketcall's SYS_SOCKET with ENOSYS:
/// musl and a glibc built for Linux 4.3 and newer make sockets by socket(2) also on i386. An older i386 program gets no
/// sockets then; `allowsSocketcall` is for the engine's user who needs it.
public enum DefaultSeccomp {
    /// - Parameters:
    ///   - capabilities: the bounding set of the container, as `CAP_…`.
    ///   - kernel: major and minor version.
    ///   - architecture: of the machine.
    ///   - allowsSocketcall: leave AF_ALG by way of socketcall to a security module.
    public static func profile(
        capabilities: some Sequence<String>, kernel: (major: Int, minor: Int), architecture: OCI.SeccompArch = native,
        allowsSocketcall: Bool = false
    ) -> OCI.Seccomp {
        let held = Set(capabilities)
        var profile = OCI.Seccomp(
            defaultAction: .errno, defaultErrnoRet: 1, architectures: [architecture] + secondary(of: architecture))
        for rule in rules where rule.applies(held, kernel, goName(of: architecture)) {
            var names = rule.names
            if !allowsSocketcall && rule.args.isEmpty { names.removeAll { $0 == "socketcall" } }
            profile.syscalls.append(
                OCI.SeccompRule(names: names, action: rule.action, errnoRet: rule.errnoRet, args: rule.args))
        }
        if !allowsSocketcall {
            profile.syscalls.append(
                OCI.SeccompRule(
                    names: ["socketcall"], action: .errno, errnoRet: 38, args: [.init(index: 0, value: 1, op: .equal)]))
            profile.syscalls.append(
                OCI.SeccompRule(names: ["socketcall"], action: .allow, args: [.init(index: 0, value: 1, op: .greater)]))
        }
        return profile
    }

    /// Of the machine for which this program was built.
    public static var native: OCI.SeccompArch {
        #if arch(x86_64)
            .x86_64
        #elseif arch(arm64)
            .aarch64
        #elseif arch(riscv64)
            .riscv64
        #endif
    }

    /// `archMap` of moby's profile.
    static func secondary(of architecture: OCI.SeccompArch) -> [OCI.SeccompArch] {
        switch architecture {
        case .x86_64: [.x86, .x32]
        case .aarch64: [.arm]
        case .s390x: [.s390]
        case .mips64: [.mips, .mips64n32]
        case .mips64n32: [.mips, .mips64]
        case .mipsel64: [.mipsel, .mipsel64n32]
        case .mipsel64n32: [.mipsel, .mipsel64]
        default: []
        }
    }

    /// As the rules' `arches` call it.
    static func goName(of architecture: OCI.SeccompArch) -> String {
        switch architecture {
        case .x86_64: "amd64"
        case .x86: "x86"
        case .x32: "x32"
        case .aarch64: "arm64"
        case .arm: "arm"
        case .ppc64le: "ppc64le"
        case .s390x: "s390x"
        case .s390: "s390"
        case .riscv64: "riscv64"
        default: architecture.rawValue
        }
    }
}

/// A rule of the default profile and when it counts.
struct DefaultSeccompRule: Sendable {
    struct Condition: Sendable {
        /// All of them held (of an exclusion: any).
        var capabilities: [String] = []
        /// Any of them.
        var architectures: [String] = []
        var minimumKernel: (major: Int, minor: Int)?
    }

    var names: [String]
    var action: OCI.SeccompAction
    var errnoRet: UInt32?
    var args: [OCI.SeccompArg] = []
    var includes = Condition()
    var excludes = Condition()

    func applies(_ capabilities: Set<String>, _ kernel: (major: Int, minor: Int), _ architecture: String) -> Bool {
        if excludes.architectures.contains(architecture) || excludes.capabilities.contains(where: { capabilities.contains($0) })
        {
            return false
        }
        if let minimum = excludes.minimumKernel, kernel >= minimum { return false }
        if !includes.architectures.isEmpty && !includes.architectures.contains(architecture) { return false }
        if let minimum = includes.minimumKernel, kernel < minimum { return false }
        return includes.capabilities.allSatisfy { capabilities.contains($0) }
    }
}
