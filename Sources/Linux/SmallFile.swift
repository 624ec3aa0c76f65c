import Glibc

/// Whole small files: records, configurations, files of /proc.
public enum SmallFile {
    /// All of it, at most `limit` bytes (EFBIG beyond). open(2), read(2)
    public static func read(_ path: String, limit: Int = 16 << 20) throws -> [UInt8] {
        let file = Descriptor(owning: try kernel("open", path) { open(path, O_RDONLY | O_CLOEXEC) })
        var bytes: [UInt8] = []
        while true {
            let room = max(4096, bytes.count)
            let part = try [UInt8](unsafeUninitializedCapacity: room) { buffer, initialized in
                initialized = try kernel("read", path) { Glibc.read(file.raw, buffer.baseAddress, room) }
            }
            if part.isEmpty { return bytes }
            if bytes.isEmpty { bytes = part } else { bytes.append(contentsOf: part) }
            guard bytes.count <= limit else { throw KernelFault("read", errno: EFBIG, path) }
        }
    }

    /// Replaces `path` by a new file, written aside and renamed: a reader sees the old content or the new one. rename(2)
    /// Survives the death of this process, not power loss (no fsync).
    public static func replace(_ path: String, with bytes: [UInt8], mode: mode_t = 0o600) throws {
        let aside = path + ".new"
        _ = unlink(aside)
        do {
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
            let file = Descriptor(owning: try kernel("open", aside) { open(aside, flags, mode) })
            try PollIO.writeAll(bytes, to: file.raw)
            try kernel("rename", path) { rename(aside, path) }
        } catch {
            _ = unlink(aside)
            throw error
        }
    }

    /// True when it was there. unlink(2)
    @discardableResult
    public static func remove(_ path: String) -> Bool { unlink(path) == 0 }

    /// A folder that must not exist yet. mkdir(2)
    public static func makeFolder(_ path: String, mode: mode_t = 0o700) throws {
        try kernel("mkdir", path) { mkdir(path, mode) }
    }
}
