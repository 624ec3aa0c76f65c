import CKernel
import Glibc

/// Kinds of namespaces by their CLONE_NEW flags (clone3(2), namespaces(7)).
public struct NamespaceKinds: OptionSet, Sendable, Hashable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let time = NamespaceKinds(rawValue: 0x80)
    public static let mount = NamespaceKinds(rawValue: 0x2_0000)
    public static let cgroup = NamespaceKinds(rawValue: 0x200_0000)
    public static let uts = NamespaceKinds(rawValue: 0x400_0000)
    public static let ipc = NamespaceKinds(rawValue: 0x800_0000)
    public static let user = NamespaceKinds(rawValue: 0x1000_0000)
    public static let pid = NamespaceKinds(rawValue: 0x2000_0000)
    public static let network = NamespaceKinds(rawValue: 0x4000_0000)
}

/// How a process ended (waitid(2)).
public enum ExitStatus: Sendable, Equatable {
    case exited(Int32)
    case signaled(Int32)

    /// As shells have it: the code, or 128 and the signal's number.
    public var code: Int32 {
        switch self {
        case .exited(let code): code
        case .signaled(let signal): 128 + signal
        }
    }
}

/// The child's pid and pidfd; in the child itself `pid` is 0 and there is no pidfd.
public struct ClonedProcess: ~Copyable {
    public let pid: CInt
    public var pidfd: Descriptor?
    /// It is in the cgroup that was asked for.
    public var isInCgroup = false
    public var isChild: Bool { pid == 0 }
}

public enum Processes {
    /// clone3(2) as fork(2): the child goes on with a copy of the memory. Only in a process with one thread.
    /// - Parameters:
    ///   - intoCgroup: a cgroup v2 folder for CLONE_INTO_CGROUP; `isInCgroup` of the result tells whether it came to that.
    ///   - sibling: CLONE_PARENT: the child's parent is the caller's.
    public static func clone(_ kinds: NamespaceKinds = [], intoCgroup: CInt? = nil, sibling: Bool = false) throws
        -> ClonedProcess
    {
        var pidfd: CInt = -1
        let flags = kinds.rawValue | (sibling ? 0x8000 : 0)
        let signal = sibling ? 0 : SIGCHLD
        var isInCgroup = intoCgroup != nil
        var pid = skiff_clone3(flags, signal, &pidfd, intoCgroup ?? -1)
        if pid < 0, errno == ENOSYS, !kinds.contains(.time) {
            // Container engines' filters forbid clone3, whose arguments they cannot see.
            pid = skiff_clone(flags, signal, &pidfd)
            isInCgroup = false
        }
        guard pid >= 0 else { throw KernelFault("clone3", errno: errno) }
        if pid == 0 { return ClonedProcess(pid: 0, pidfd: nil, isInCgroup: isInCgroup) }
        return ClonedProcess(pid: pid, pidfd: Descriptor(owning: pidfd), isInCgroup: isInCgroup)
    }

    /// _exit(2)
    public static func exitNow(_ code: Int32) -> Never { _exit(code) }

    /// execve(2); comes back with the errno only.
    public static func execute(_ path: String, _ arguments: [String], _ environment: [String]) -> CInt {
        withCStrings(arguments) { arguments in
            withCStrings(environment) { environment in
                execve(path, arguments, environment)
                return errno
            }
        }
    }

    /// execveat(2) of an open file, or execve(2) by its name in /proc; comes back with the errno only.
    public static func execute(descriptor: CInt, _ arguments: [String], _ environment: [String]) -> CInt {
        withCStrings(arguments) { arguments in
            withCStrings(environment) { environment in
                _ = skiff_execveat(descriptor, "", arguments, environment, 0x1000)
                if errno == ENOSYS { execve("/proc/self/fd/\(descriptor)", arguments, environment) }
                return errno
            }
        }
    }

    /// posix_spawn(3): a child with three borrowed streams and nothing else of this process; its pid.
    public static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String], streams: [CInt], folder: String? = nil
    ) throws -> CInt {
        precondition(streams.count == 3)
        var pid: CInt = 0
        let code = withCStrings(arguments) { arguments in
            withCStrings(environment) { environment in
                skiff_spawn(&pid, path, arguments, environment, streams, folder)
            }
        }
        guard code == 0 else { throw KernelFault("posix_spawn", errno: code, path) }
        return pid
    }

    static func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R) -> R {
        var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        return pointers.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { preconditionFailure("the array has at least its end") }
            return body(base)
        }
    }

    public static var id: CInt { getpid() }
    public static var userID: UInt32 { geteuid() }
    public static var groupID: UInt32 { getegid() }

    /// pidfd_open(2)
    public static func open(_ pid: CInt) throws -> Descriptor {
        Descriptor(owning: try kernel("pidfd_open", "\(pid)") { skiff_pidfd_open(pid, 0) })
    }

    /// pidfd_send_signal(2)
    public static func signal(pidfd: CInt, _ signal: CInt) throws {
        try kernel("pidfd_send_signal") { skiff_pidfd_send_signal(pidfd, signal) }
    }

    /// pidfd_getfd(2)
    public static func takeDescriptor(_ number: CInt, pidfd: CInt) throws -> Descriptor {
        Descriptor(owning: try kernel("pidfd_getfd", "\(number)") { skiff_pidfd_getfd(pidfd, number) })
    }

    /// Waits for a child's end and reaps it.
    public static func wait(pidfd: CInt) throws -> ExitStatus {
        var status: CInt = 0
        var bySignal: CInt = 0
        try kernel("waitid") { skiff_wait_pidfd(pidfd, 0, &status, &bySignal) }
        return bySignal != 0 ? .signaled(status & 0x7f) : .exited(status)
    }

    /// Reaps a child that ended; nil while it runs.
    public static func poll(pidfd: CInt) throws -> ExitStatus? {
        var status: CInt = 0
        var bySignal: CInt = 0
        let ended = try kernel("waitid") { skiff_wait_pidfd(pidfd, 1, &status, &bySignal) }
        if ended != 1 { return nil }
        return bySignal != 0 ? .signaled(status & 0x7f) : .exited(status)
    }

    /// Reaps a child by pid (-1: any); nil when none has ended. ECHILD is thrown when there is none.
    public static func reap(_ pid: CInt, wait: Bool) throws -> (pid: CInt, status: ExitStatus)? {
        var status: CInt = 0
        var bySignal: CInt = 0
        let reaped = try kernel("waitid", "\(pid)") { skiff_wait_pid(pid, wait ? 0 : 1, &status, &bySignal) }
        return reaped == 0 ? nil : (reaped, bySignal != 0 ? .signaled(status & 0x7f) : .exited(status))
    }

    /// Reaps every ended child but the one of the pidfd (waitid(2) with WNOWAIT to look first).
    public static func reapOthers(than pidfd: CInt) {
        let own = skiff_pidfd_pid(pidfd)
        while true {
            let pid = skiff_ended_child()
            if pid <= 0 || pid == own { return }
            _ = try? reap(pid, wait: false)
        }
    }

    /// Field 22 of /proc/<pid>/stat, in clock ticks since boot; nil when there is no such process. `state` is field 3.
    public static func stat(_ pid: CInt) -> ProcessStat? {
        guard let bytes = try? Files.read("/proc/\(pid)/stat", limit: 4096) else { return nil }
        return ProcessStat(bytes)
    }

    /// setns(2)
    public static func join(_ descriptor: CInt, _ kinds: NamespaceKinds) throws {
        try kernel("setns") { skiff_setns(descriptor, CInt(bitPattern: UInt32(kinds.rawValue))) }
    }

    /// unshare(2)
    public static func unshare(_ kinds: NamespaceKinds) throws {
        try kernel("unshare") { skiff_unshare(CInt(bitPattern: UInt32(kinds.rawValue))) }
    }

    /// ioctl_ns(2) NS_GET_NSTYPE
    public static func namespaceKind(of descriptor: CInt) -> NamespaceKinds? {
        let type = skiff_namespace_type(descriptor)
        return type < 0 ? nil : NamespaceKinds(rawValue: UInt64(type))
    }

    /// setsid(2)
    public static func newSession() throws { try kernel("setsid") { setsid() } }

    /// close_range(2) CLOSE_RANGE_CLOEXEC
    public static func closeOnExec(from first: CInt) throws {
        try kernel("close_range") { skiff_close_range(UInt32(first), UInt32.max, 4) }
    }

    /// close_range(2)
    public static func close(from first: CInt, to last: CInt = .max) throws {
        if first <= last { try kernel("close_range") { skiff_close_range(UInt32(first), UInt32(last), 0) } }
    }

    /// dup2(2), without close-on-exec: what the executed program gets.
    public static func duplicate(_ descriptor: CInt, to number: CInt) throws {
        if descriptor == number {
            try kernel("fcntl F_SETFD") { fcntl(number, F_SETFD, 0) }
        } else {
            try kernel("dup2") { dup2(descriptor, number) }
        }
    }

    /// A duplicate numbered `minimum` or more, close-on-exec (fcntl(2) F_DUPFD_CLOEXEC).
    public static func duplicate(_ descriptor: CInt, atLeast minimum: CInt) throws -> Descriptor {
        Descriptor(owning: try kernel("fcntl F_DUPFD_CLOEXEC") { fcntl(descriptor, F_DUPFD_CLOEXEC, minimum) })
    }

    public static func isOpen(_ descriptor: CInt) -> Bool { fcntl(descriptor, F_GETFD) >= 0 }
}

/// Parts of /proc/<pid>/stat (proc_pid_stat(5)).
public struct ProcessStat: Sendable, Equatable {
    /// `R`, `S`, `Z` …
    public var state: UInt8
    public var startTicks: UInt64

    public init?(_ bytes: [UInt8]) {
        // The name in parentheses may hold anything: what follows the last one counts.
        guard let end = bytes.lastIndex(of: UInt8(ascii: ")")), end + 2 < bytes.count else { return nil }
        state = bytes[end + 2]
        var field = 3
        var value: UInt64 = 0
        for byte in bytes[(end + 2)...] {
            if byte == 0x20 {
                if field == 22 { break }
                field += 1
            } else if field == 22, byte >= 0x30, byte <= 0x39 {
                value = value &* 10 &+ UInt64(byte - 0x30)
            }
        }
        guard field == 22 else { return nil }
        startTicks = value
    }
}

/// The environment of this process (environ(7)).
public enum ProcessEnvironment {
    public static func value(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    public static var all: [String] {
        var result: [String] = []
        var entry = environ
        while let text = entry.pointee {
            result.append(String(cString: text))
            entry += 1
        }
        return result
    }
}
