import Linux
import Model
import Names
import Runtime

/// `skiff-runtime names`: the process that holds the names of all sandboxes (docs/decisions/0013-names.md).
enum NamesMode {
    static func run(_ arguments: [String]) -> Int32 {
        namesMain(arguments) {
            if SeccompFilter.isAvailable { _ = try compileSeccomp(profile).install() }
        }
    }

    /// What the loop calls, and nothing else: sockets of the internet families, reading files, memory without execution.
    static var profile: OCI.Seccomp {
        let plain = [
            "read", "write", "readv", "writev", "pread64", "recvfrom", "sendto", "recvmsg", "sendmsg", "connect", "accept4",
            "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername", "epoll_wait", "epoll_pwait", "epoll_ctl",
            "close", "fcntl", "fstat", "newfstatat", "statx", "lseek", "clock_gettime", "gettimeofday", "getrandom", "munmap",
            "mremap", "brk", "madvise", "futex", "memfd_create", "exit", "exit_group", "rt_sigreturn", "rt_sigaction",
            "rt_sigprocmask", "restart_syscall", "getpid", "gettid", "tgkill", "sched_yield",
        ]
        func only(_ names: [String], _ index: UInt32, mask: UInt64, equals value: UInt64) -> OCI.SeccompRule {
            OCI.SeccompRule(
                names: names, action: .allow,
                args: [OCI.SeccompArg(index: index, value: mask, valueTwo: value, op: .maskedEqual)])
        }
        let all: UInt64 = 0xFFFF_FFFF
        return OCI.Seccomp(
            defaultAction: .errno, defaultErrnoRet: 1,
            syscalls: [
                OCI.SeccompRule(names: plain, action: .allow),
                // O_RDONLY without O_CREAT, O_TRUNC
                only(["openat"], 2, mask: 0o1103, equals: 0),
                // AF_INET, AF_INET6; AF_UNIX for the ioctl below
                only(["socket"], 0, mask: all, equals: 2), only(["socket"], 0, mask: all, equals: 10),
                only(["socket"], 0, mask: all, equals: 1),
                // SIOCGIFINDEX, for link-local name servers
                only(["ioctl"], 1, mask: all, equals: 0x8933),
                // PROT_EXEC
                only(["mmap", "mprotect"], 2, mask: 4, equals: 0),
            ])
    }
}
