import Glibc

/// Starting other programs from a client (posix_spawn(3)).
public enum LaunchCalls {
    public enum Wiring: Sendable {
        case descriptor(CInt)
        case null
    }

    public enum Ending: Sendable, Equatable {
        case exited(CInt)
        case signalled(CInt)
    }

    /// Starts `path` with fresh signal masks; other descriptors are closed by their close-on-exec marks.
    /// - Parameter newSession: detached from the terminal and from this process's group (setsid(2)).
    public static func start(
        _ path: String, _ arguments: [String], environment: [String]? = nil, stdin: Wiring = .null, stdout: Wiring,
        stderr: Wiring,
        newSession: Bool = false
    ) throws -> CInt {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (target, wiring) in [(CInt(0), stdin), (1, stdout), (2, stderr)] {
            switch wiring {
            case .descriptor(let fd): posix_spawn_file_actions_adddup2(&actions, fd, target)
            case .null: posix_spawn_file_actions_addopen(&actions, target, "/dev/null", O_RDWR, 0)
            }
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        var flags = Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)
        if newSession { flags |= 0x80 }  // POSIX_SPAWN_SETSID, hidden behind _GNU_SOURCE
        posix_spawnattr_setflags(&attributes, flags)
        var pid: pid_t = 0
        let result = withStrings([path] + arguments) { argv in
            withStrings(environment ?? FileCalls.environment) { posix_spawn(&pid, path, &actions, &attributes, argv, $0) }
        }
        guard result == 0 else { throw KernelFault("exec", errno: result, path) }
        return pid
    }

    /// Waits for the end (waitpid(2)).
    public static func wait(_ pid: CInt) throws -> Ending {
        var status: CInt = 0
        try kernel("waitpid") { waitpid(pid, &status, 0) }
        return ending(status)
    }

    /// Nil while it runs.
    public static func poll(_ pid: CInt) throws -> Ending? {
        var status: CInt = 0
        let result = try kernel("waitpid") { waitpid(pid, &status, WNOHANG) }
        return result == 0 ? nil : ending(status)
    }

    public static func kill(_ pid: CInt, _ signal: CInt) { _ = Glibc.kill(pid, signal) }

    private static func ending(_ status: CInt) -> Ending {
        status & 0x7F == 0 ? .exited((status >> 8) & 0xFF) : .signalled(status & 0x7F)
    }

    /// The executable of that name in PATH; nil where there is none. A name with a slash is looked at itself.
    public static func find(_ name: String) -> String? {
        if name.utf8.contains(UInt8(ascii: "/")) { return access(name, X_OK) == 0 ? name : nil }
        let path = FileCalls.variable("PATH") ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        for folder in path.split(separator: ":", omittingEmptySubsequences: true) {
            let candidate = folder + "/" + name
            if access(String(candidate), X_OK) == 0 { return String(candidate) }
        }
        return nil
    }

    private static func withStrings<T>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> T) -> T {
        let copies = strings.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        return body(copies + [nil])
    }
}
