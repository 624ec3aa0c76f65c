import Glibc

/// Files and folders of a cgroup file system: small, read and written whole (cgroups(7)).
public enum CgroupFile {
    /// Writes a value with one write(2); the file must exist.
    public static func write(_ path: String, _ value: String) throws {
        let file = try open(path, O_WRONLY)
        try write(file, value, path)
    }

    /// Writes a value to an open file with one write(2) at its beginning.
    public static func write(_ file: borrowing Descriptor, _ value: String, _ path: @autoclosure () -> String) throws {
        var value = value
        let raw = file.raw
        try value.withUTF8 { bytes in
            _ = try kernel("write", "\(path()) (\(String(decoding: bytes, as: UTF8.self)))") {
                pwrite(raw, bytes.baseAddress, bytes.count, 0)
            }
        }
    }

    /// Writes `0`, the caller, to an open `tasks` or `cgroup.procs`.
    public static func enter(_ file: CInt, _ name: @autoclosure () -> String) throws {
        var digit = UInt8(ascii: "0")
        _ = try kernel("write", name()) { pwrite(file, &digit, 1, 0) }
    }

    public static func openForWriting(_ path: String) throws -> Descriptor { try open(path, O_WRONLY) }

    /// An open file or folder, close-on-exec (open(2)).
    static func open(_ path: String, _ flags: CInt) throws -> Descriptor {
        Descriptor(owning: try kernel("open", path) { Glibc.open(path, flags | O_CLOEXEC) })
    }

    /// A folder, for CLONE_INTO_CGROUP, bpf(2) and inotify.
    public static func openFolder(_ path: String) throws -> Descriptor { try open(path, O_RDONLY | O_DIRECTORY) }

    /// The whole content.
    public static func read(_ path: String) throws -> [UInt8] {
        let file = try open(path, O_RDONLY)
        let raw = file.raw
        var content: [UInt8] = []
        var capacity = 4096
        while true {
            let chunk = try [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
                count = try kernel("read", path) { Glibc.read(raw, buffer.baseAddress, capacity) }
            }
            if content.isEmpty { content = chunk } else { content += chunk }
            if chunk.isEmpty { return content }
            capacity = min(capacity * 4, 1 << 20)
        }
    }

    /// The content without line break at its end.
    public static func text(_ path: String) throws -> String {
        var bytes = try read(path)
        while let last = bytes.last, last == 0x0A || last == 0x20 { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A file that holds one number; `max` reads as UInt64.max. Nil when the file is not there or holds something else.
    public static func number(_ path: String) -> UInt64? {
        guard let text = try? text(path) else { return nil }
        return text == "max" ? UInt64.max : UInt64(text)
    }

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// True when the folder was made, false when it was there (mkdir(2)).
    public static func makeFolder(_ path: String) throws -> Bool {
        do {
            try kernel("mkdir", path) { mkdir(path, 0o755) }
            return true
        } catch let fault as KernelFault where fault.errno == EEXIST {
            return false
        }
    }

    /// rmdir(2); a folder that is not there is no fault.
    public static func removeFolder(_ path: String) throws {
        do { try kernel("rmdir", path) { rmdir(path) } } catch let fault as KernelFault where fault.errno == ENOENT {}
    }

    /// Names of the folders below, in no order; none when it is not there.
    public static func folders(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    /// chown(2), without following a link.
    public static func changeOwner(_ path: String, user: UInt32, group: UInt32) throws {
        try kernel("lchown", path) { lchown(path, user, group) }
    }

    /// kill(2); a process that is gone is no fault.
    public static func signal(_ pid: CInt, _ signal: CInt) throws {
        do { try kernel("kill", "\(pid)") { kill(pid, signal) } } catch let fault as KernelFault where fault.errno == ESRCH {}
    }

    /// nanosleep(2).
    public static func pause(microseconds: Int) {
        var time = timespec(tv_sec: microseconds / 1_000_000, tv_nsec: microseconds % 1_000_000 * 1000)
        _ = nanosleep(&time, nil)
    }
}

/// errno values that the rooms above decide by; they do not import the C library.
extension KernelFault {
    public var isMissing: Bool { errno == ENOENT || errno == ENODEV }
    public var isBusy: Bool { errno == EBUSY }
    public var isInvalid: Bool { errno == EINVAL }
    public var isRefused: Bool { errno == EACCES || errno == EPERM || errno == EROFS }
    public var isUnsupported: Bool { errno == EOPNOTSUPP || errno == ENOSYS }
    public var isOutOfRange: Bool { errno == ERANGE || errno == EOVERFLOW }
    public var isNoSpace: Bool { errno == ENOSPC }
}
