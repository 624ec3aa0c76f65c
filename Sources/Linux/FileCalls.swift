import Glibc

/// Files, environment and clocks, as a client's commands need them.
public enum FileCalls {
    // MARK: The process

    public static var environment: [String] {
        var result: [String] = []
        var entry = environ
        while let text = entry.pointee {
            result.append(String(cString: text))
            entry += 1
        }
        return result
    }

    public static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    public static var userID: UInt32 { geteuid() }
    public static var processID: CInt { getpid() }

    public static func exit(_ code: CInt) -> Never { Glibc.exit(code) }

    /// The working folder; nil where it is gone.
    public static var workingFolder: String? {
        guard let path = getcwd(nil, 0) else { return nil }
        defer { free(path) }
        return String(cString: path)
    }

    // MARK: Files

    public static func open(_ path: String) throws -> Descriptor {
        Descriptor(owning: try kernel("open", path) { Glibc.open(path, O_RDONLY | O_CLOEXEC) })
    }

    /// A descriptor of our own for what stdin is.
    public static func standardInput() throws -> Descriptor {
        Descriptor(owning: try kernel("fcntl F_DUPFD_CLOEXEC") { fcntl(0, F_DUPFD_CLOEXEC, 3) })
    }

    /// For writing: made where it is missing.
    public static func create(_ path: String, exclusive: Bool = false, append: Bool = false, mode: mode_t = 0o644) throws
        -> Descriptor
    {
        let flags = O_WRONLY | O_CREAT | O_CLOEXEC | (exclusive ? O_EXCL : 0) | (append ? O_APPEND : O_TRUNC)
        return Descriptor(owning: try kernel("open", path) { Glibc.open(path, flags, mode) })
    }

    /// The whole file. A larger one than `limit` bytes is a fault (EFBIG).
    public static func read(_ path: String, limit: Int = 16 << 20) throws -> [UInt8] {
        let file = try open(path)
        return try read(file.raw, limit: limit, path)
    }

    public static func read(_ fd: CInt, limit: Int, _ detail: String) throws -> [UInt8] {
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try StreamCalls.read(fd, into: $0) }
            if count == 0 { return content }
            guard content.count + count <= limit else { throw KernelFault("read", errno: EFBIG, detail) }
            content += buffer[..<count]
        }
    }

    public static func rename(_ old: String, _ new: String) throws { try kernel("rename", new) { Glibc.rename(old, new) } }

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
    public static func unlink(_ path: String) { _ = Glibc.unlink(path) }
    public static func isMissing(_ fault: KernelFault) -> Bool { fault.errno == ENOENT }
    public static func alreadyExists(_ fault: KernelFault) -> Bool { fault.errno == EEXIST }

    public static func isFolder(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// Size of a regular file; nil for anything else.
    public static func size(_ fd: CInt) -> Int? {
        var info = stat()
        return fstat(fd, &info) == 0 && info.st_mode & S_IFMT == S_IFREG ? Int(info.st_size) : nil
    }

    /// Makes a folder; one that is there already is fine.
    public static func makeFolder(_ path: String, mode: mode_t) throws {
        if mkdir(path, mode) != 0, errno != EEXIST { throw KernelFault("mkdir", errno: errno, path) }
    }

    /// A new folder with a name nobody has: `template` ends in XXXXXX (mkdtemp(3)).
    public static func makeTemporaryFolder(_ template: String) throws -> String {
        var name = Array(template.utf8CString)
        let made = name.withUnsafeMutableBufferPointer { buffer in buffer.baseAddress.map { mkdtemp($0) != nil } ?? false }
        guard made else { throw KernelFault("mkdtemp", errno: errno, template) }
        return String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The absolute path without symbolic links (realpath(3)); nil where it does not exist.
    public static func resolve(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(cString: real)
    }

    /// An exclusive lock on an open file, held until the file is closed (flock(2)).
    public static func lock(_ fd: CInt) throws { try kernel("flock") { flock(fd, LOCK_EX) } }

    // MARK: Clocks

    /// Nanoseconds since 1970 (clock_gettime(2) CLOCK_REALTIME).
    public static var now: Int64 { clock(CLOCK_REALTIME) }
    /// Nanoseconds of a clock that only goes forward.
    public static var monotonic: Int64 { clock(CLOCK_MONOTONIC) }

    private static func clock(_ id: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(id, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    public static func sleep(milliseconds: Int) { _ = usleep(useconds_t(milliseconds * 1000)) }

    /// How far local time is ahead of UTC at that instant, in seconds, and the zone's abbreviation (localtime_r(3)).
    public static func localOffset(at seconds: Int64) -> (seconds: Int, zone: String) {
        var time = time_t(seconds)
        var local = tm()
        guard localtime_r(&time, &local) != nil else { return (0, "UTC") }
        return (local.tm_gmtoff, local.tm_zone.map { String(cString: $0) } ?? "UTC")
    }
}
