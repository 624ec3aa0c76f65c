import Glibc

/// A file that one process at a time may hold (fcntl(2) F_SETLK); held until the value goes away. Its content is the
/// holder's pid, for people.
public struct FileLock: ~Copyable, Sendable {
    private let file: Descriptor

    /// Nil when another process holds it; `holder` is then its pid.
    public static func take(_ path: String, holder: inout CInt) throws -> FileLock? {
        let file = try Descriptor.open(path, [.readWrite, .create], permissions: 0o600)
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        if fcntl(file.raw, F_SETLK, &lock) == -1 {
            guard errno == EAGAIN || errno == EACCES else { throw KernelFault("fcntl F_SETLK", errno: errno, path) }
            var query = flock()
            query.l_type = Int16(F_WRLCK)
            query.l_whence = Int16(SEEK_SET)
            if fcntl(file.raw, F_GETLK, &query) == 0 { holder = query.l_pid }
            return nil
        }
        try file.truncate(to: 0)
        try writeText("\(getpid())\n", to: file.raw)
        return FileLock(file: file)
    }

    private init(file: consuming Descriptor) { self.file = file }

    private static func writeText(_ text: String, to raw: CInt) throws {
        let bytes = Array(text.utf8)
        try kernel("write") { write(raw, bytes, bytes.count) }
    }
}

/// Whether a process with this pid lives, and is the one that started at `startTicks` (proc_pid_stat(5), field 22).
public func processLives(pid: CInt, startTicks: UInt64) -> Bool {
    guard pid > 0, let fields = try? readFile("/proc/\(pid)/stat", limit: 4096), let end = fields.lastIndex(of: 0x29) else {
        return false
    }
    // Behind the name in parentheses come the state (field 3) and the rest.
    let words = fields[(end + 1)...].split(separator: 0x20)
    guard words.count > 19, words[0].first != UInt8(ascii: "Z") else { return false }
    return UInt64(String(decoding: words[19], as: UTF8.self)) == startTicks
}

/// A file's whole content. Longer files than `limit` throw EFBIG.
public func readFile(_ path: String, limit: Int = 16 << 20) throws -> [UInt8] {
    try Descriptor.open(path, .read).readAll(limit: limit, path)
}

extension Descriptor {
    /// What is left to read. More than `limit` throws EFBIG.
    public borrowing func readAll(limit: Int, _ detail: String? = nil) throws -> [UInt8] {
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try read(into: $0) }
            if count == 0 { return content }
            content.append(contentsOf: buffer[..<count])
            guard content.count <= limit else { throw KernelFault("read", errno: EFBIG, detail) }
        }
    }
}

/// Writes a file anew under its name. Not synced, not atomic: for files that are made again when they are needed.
public func writeFile(_ path: String, _ bytes: [UInt8], permissions: UInt32 = 0o600) throws {
    let file = try Descriptor.open(path, [.write, .create, .truncate], permissions: permissions)
    try bytes.withUnsafeBytes { try file.writeAll($0) }
}

/// Removes a folder's entry and everything below it; what is not there is fine.
public func removeTree(_ path: String) throws {
    guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
        throw KernelFault("unlink", errno: EINVAL, path)
    }
    do {
        let parent = try Descriptor.open(String(path[..<slash]), [.path, .directory])
        try parent.removeTree(Array(path[path.index(after: slash)...].utf8))
    } catch let fault as KernelFault where fault.errno == ENOENT {}
}

/// Writes all of it to a descriptor that may be non-blocking, waiting where it is full. poll(2)
public func writeWaiting(_ bytes: [UInt8], to raw: CInt) throws {
    var done = 0
    while done < bytes.count {
        let count = bytes.withUnsafeBytes { write(raw, $0.baseAddress?.advanced(by: done), bytes.count - done) }
        if count >= 0 {
            done += count
            continue
        }
        switch errno {
        case EINTR: continue
        case EAGAIN:
            var entry = pollfd(fd: raw, events: Int16(POLLOUT), revents: 0)
            _ = poll(&entry, 1, -1)
        default: throw KernelFault("write", errno: errno)
        }
    }
}
