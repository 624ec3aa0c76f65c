import CKernel
import Glibc

/// Signals of a long-lived process, one by one, in the order in which they came.
public struct SignalPipe: ~Copyable, Sendable {
    private let end: Descriptor

    /// For the whole process; once.
    public init(_ signals: [CInt]) throws {
        end = Descriptor(owning: try kernel("sigaction") { skiff_signal_pipe(signals, CInt(signals.count)) })
    }

    /// Waits for the next signal.
    public borrowing func next() throws -> CInt {
        var byte: UInt8 = 0
        let raw = end.raw
        let count = try kernel("read") { read(raw, &byte, 1) }
        guard count == 1 else { throw KernelFault("read", errno: EPIPE, "signals") }
        return CInt(byte)
    }

    /// A signal to this process itself, from any thread.
    public static func raise(_ signal: CInt) { _ = kill(getpid(), signal) }
}

/// Service manager, environment and limits of this process.
public enum DaemonProcess {
    /// An environment variable, nil when it is unset. Read before threads start.
    public static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    public static func removeFromEnvironment(_ name: String) { unsetenv(name) }

    /// Listening sockets that a service manager handed over (sd_listen_fds(3)), close-on-exec, owned by the caller.
    public static func activatedSockets() -> [CInt] {
        defer { for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { removeFromEnvironment(name) } }
        guard let pid = environment("LISTEN_PID"), pid == String(getpid()), let text = environment("LISTEN_FDS"),
            let count = Int32(text), (1...64).contains(count)
        else { return [] }
        return (3..<(3 + count)).filter { fcntl($0, F_SETFD, FD_CLOEXEC) == 0 }
    }

    /// Tells the service manager (`READY=1`); does nothing without one. sd_notify(3)
    public static func notify(_ text: String) throws {
        guard let path = environment("NOTIFY_SOCKET"), path.hasPrefix("/") || path.hasPrefix("@") else { return }
        try kernel("sd_notify", path) { skiff_notify(path, text) }
    }

    /// At most so many heaps for all threads (mallopt(3) M_ARENA_MAX). Before threads start.
    public static func limitHeaps(_ arenas: CInt) { skiff_limit_heaps(arenas) }

    /// Gives back free heap and the pages of this program's text: what is needed comes back from the page cache.
    public static func releaseIdleMemory() { skiff_release_text() }

    /// The soft limit of open files becomes the hard one; answers it. setrlimit(2)
    @discardableResult public static func raiseFileLimit() throws -> Int {
        Int(try kernel("setrlimit RLIMIT_NOFILE") { skiff_raise_file_limit() })
    }

    /// One write(2) to standard error; what does not fit is lost.
    public static func writeError(_ bytes: [UInt8]) { _ = write(2, bytes, bytes.count) }

    public static func writeOutput(_ text: String) {
        let bytes = Array(text.utf8)
        _ = write(1, bytes, bytes.count)
    }

    /// The kernel's name of standard error's file as systemd writes it into JOURNAL_STREAM: device and inode.
    public static var isJournal: Bool {
        guard let stream = environment("JOURNAL_STREAM") else { return false }
        var status = stat()
        guard fstat(2, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    /// flock(2) LOCK_EX | LOCK_NB; false when somebody else holds it.
    public static func tryLock(_ descriptor: CInt) throws -> Bool {
        do {
            try kernel("flock") { flock(descriptor, LOCK_EX | LOCK_NB) }
            return true
        } catch let fault as KernelFault where fault.errno == EWOULDBLOCK {
            return false
        }
    }

    /// The file's content becomes these bytes. For files that this process holds locked.
    public static func overwrite(_ descriptor: CInt, _ bytes: [UInt8]) throws {
        try kernel("ftruncate") { ftruncate(descriptor, 0) }
        try kernel("pwrite") { pwrite(descriptor, bytes, bytes.count, 0) }
    }

    /// A Unix stream socket that listens at `path` with that mode. What stands at the path is replaced where nobody answers
    /// on it.
    /// - Throws: EADDRINUSE when somebody does.
    public static func listen(_ path: String, mode: UInt32, group: UInt32?) throws -> Descriptor {
        if Files.exists(path) {
            if (try? Sockets.connect(path)) != nil { throw KernelFault("bind", errno: EADDRINUSE, path) }
            try kernel("unlink", path) { unlink(path) }
        }
        // nobody gets in between bind(2) and chmod(2)
        let mask = umask(0o177)
        defer { umask(mask) }
        let socket = try Sockets.listen(path, backlog: 1024)
        if let group { try kernel("chown", path) { chown(path, uid_t.max, group) } }
        try kernel("chmod", path) { chmod(path, mode) }
        return socket
    }

    /// The id of a group by name, from /etc/group alone: a static program has no NSS.
    public static func groupID(_ name: String) -> UInt32? {
        if let number = UInt32(name) { return number }
        guard let bytes = try? Files.read("/etc/group") else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 3, fields[0] == name { return UInt32(fields[2]) }
        }
        return nil
    }
}

extension KernelFault {
    public var isAddressInUse: Bool { errno == EADDRINUSE }
    /// The kernel was built without it.
    public var isMissingProtocol: Bool { errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT }
}
