import Glibc

/// A program to start: exactly the named descriptors, an environment of its own, default signals, a session of its own.
public struct SpawnRequest: Sendable {
    public var path: String
    /// With the program's name as the first.
    public var arguments: [String]
    public var environment: [String]
    /// Descriptors of this process (borrowed) that the program gets as 0, 1, 2 …, in this order. Everything else of ours
    /// is close-on-exec.
    public var descriptors: [CInt]

    public init(path: String, arguments: [String], environment: [String] = [], descriptors: [CInt]) {
        self.path = path
        self.arguments = arguments
        self.environment = environment
        self.descriptors = descriptors
    }
}

/// Starts a program without copying this process's memory (posix_spawn(3), which is vfork inside). The caller reaps it.
/// Returns when the program is executing.
public func spawn(_ request: SpawnRequest) throws -> CInt {
    // Sources above every target, so that no target's dup2 overwrites a source that is still needed.
    let floor = CInt(request.descriptors.count)
    var sources: [CInt] = []
    defer { for source in sources { close(source) } }
    for descriptor in request.descriptors {
        sources.append(try kernel("fcntl F_DUPFD_CLOEXEC") { fcntl(descriptor, F_DUPFD_CLOEXEC, floor) })
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (target, source) in sources.enumerated() { posix_spawn_file_actions_adddup2(&actions, source, CInt(target)) }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    var all = sigset_t()
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    let setsid: CInt = 0x80  // POSIX_SPAWN_SETSID
    posix_spawnattr_setflags(&attributes, Int16(CInt(POSIX_SPAWN_SETSIGMASK) | CInt(POSIX_SPAWN_SETSIGDEF) | setsid))

    var pid: pid_t = 0
    let code = withCStrings(request.arguments) { arguments in
        withCStrings(request.environment) { environment in
            posix_spawn(&pid, request.path, &actions, &attributes, arguments, environment)
        }
    }
    guard code == 0 else { throw KernelFault("posix_spawn", errno: code, request.path) }
    return pid
}

private func withCStrings<T>(_ words: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> T) -> T {
    let copies = words.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return body(copies + [nil])
}

/// How a child has ended: its exit code, 128+n by signal n; nil while it lives or where there is no such child. waitpid(2)
public func reapChild(_ pid: CInt) -> CInt? {
    var status: CInt = 0
    while true {
        let result = waitpid(pid, &status, WNOHANG)
        if result == -1, errno == EINTR { continue }
        guard result == pid else { return nil }
        let signal = status & 0x7F
        return signal == 0 ? (status >> 8) & 0xFF : 128 + signal
    }
}

/// getenv(3); call it before the process has threads that change the environment.
public func environmentVariable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

/// This process's id. getpid(2)
public var ownProcessID: CInt { getpid() }

/// Dies at once, as if killed from outside: no clean-up runs. kill(2)
public func killThisProcess() {
    kill(getpid(), SIGKILL)
    pause()
}

/// This machine's name. gethostname(2)
public func hostName() -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

extension KernelFault {
    /// There is nothing at the path, or something on the way is no folder.
    public var isAbsent: Bool { errno == ENOENT || errno == ENOTDIR || errno == ELOOP }
}

/// Waits for a child to end: its exit code, 128+n by signal n, 255 where there is no such child. waitpid(2)
public func waitForChild(_ pid: CInt) -> CInt {
    var status: CInt = 0
    while waitpid(pid, &status, 0) == -1 { if errno != EINTR { return 255 } }
    let signal = status & 0x7F
    return signal == 0 ? (status >> 8) & 0xFF : 128 + signal
}

/// Two connected stream sockets, close-on-exec. socketpair(2)
public func streamSocketPair() throws -> [CInt] {
    var ends: [CInt] = [-1, -1]
    let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    try kernel("socketpair") { socketpair(AF_UNIX, kind, 0, &ends) }
    return ends
}
