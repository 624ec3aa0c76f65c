import CKernel
import Glibc

/// A file name or path as the kernel has it: bytes without NUL, not necessarily UTF-8.
public typealias PathBytes = [UInt8]

/// What fstatat(2) says of a file.
public struct FileStatus: Sendable {
    public enum Kind: Sendable { case regular, directory, symlink, character, block, fifo, socket, unknown }

    public let kind: Kind
    /// Permission bits with set-user-id, set-group-id and sticky.
    public let mode: UInt32
    public let uid: UInt32
    public let gid: UInt32
    public let size: Int64
    public let links: UInt64
    public let inode: UInt64
    public let device: UInt64
    public let deviceMajor: UInt32
    public let deviceMinor: UInt32
    public let modified: FileTime
    /// When content or any attribute last changed: nothing but the kernel sets it.
    public let changed: FileTime
    /// Bytes that the file occupies.
    public let allocated: Int64

    init(_ status: stat) {
        switch status.st_mode & S_IFMT {
        case S_IFREG: kind = .regular
        case S_IFDIR: kind = .directory
        case S_IFLNK: kind = .symlink
        case S_IFCHR: kind = .character
        case S_IFBLK: kind = .block
        case S_IFIFO: kind = .fifo
        case S_IFSOCK: kind = .socket
        default: kind = .unknown
        }
        mode = status.st_mode & 0o7777
        uid = status.st_uid
        gid = status.st_gid
        size = Int64(status.st_size)
        links = UInt64(status.st_nlink)
        inode = UInt64(status.st_ino)
        device = UInt64(status.st_dev)
        deviceMajor = skiff_major(UInt64(status.st_rdev))
        deviceMinor = skiff_minor(UInt64(status.st_rdev))
        modified = FileTime(seconds: Int64(status.st_mtim.tv_sec), nanoseconds: Int64(status.st_mtim.tv_nsec))
        changed = FileTime(seconds: Int64(status.st_ctim.tv_sec), nanoseconds: Int64(status.st_ctim.tv_nsec))
        allocated = Int64(status.st_blocks) * 512
    }

    /// Overlayfs's whiteout: a character device 0/0 (kernel, overlayfs.rst).
    public var isWhiteout: Bool { kind == .character && deviceMajor == 0 && deviceMinor == 0 }
}

/// A file's time: seconds since 1970 (may be negative) and 0 to 999,999,999 nanoseconds.
public struct FileTime: Sendable, Hashable {
    public var seconds: Int64
    public var nanoseconds: Int64
    public init(seconds: Int64, nanoseconds: Int64 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
    var timespec: Glibc.timespec { Glibc.timespec(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds)) }
}

/// Runs `body` with the path as a C string.
@inline(__always)
func withPathBytes<R>(_ path: PathBytes, _ body: (UnsafePointer<CChar>) -> R) -> R {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: path.count + 1) { buffer in
        guard let base = buffer.baseAddress else { return body("") }
        path.withUnsafeBytes {
            UnsafeMutableRawPointer(base).copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: path.count)
        }
        buffer[path.count] = 0
        return body(base)
    }
}

func pathText(_ path: PathBytes) -> String { String(decoding: path, as: UTF8.self) }

/// How a file is opened; O_CLOEXEC is always added.
public struct OpenMode: OptionSet, Sendable {
    public let rawValue: CInt
    public init(rawValue: CInt) { self.rawValue = rawValue }
    public static let read = OpenMode(rawValue: O_RDONLY)
    public static let write = OpenMode(rawValue: O_WRONLY)
    public static let readWrite = OpenMode(rawValue: O_RDWR)
    public static let create = OpenMode(rawValue: O_CREAT)
    public static let exclusive = OpenMode(rawValue: O_EXCL)
    public static let truncate = OpenMode(rawValue: O_TRUNC)
    public static let directory = OpenMode(rawValue: O_DIRECTORY)
    public static let noFollow = OpenMode(rawValue: O_NOFOLLOW)
    public static let nonBlocking = OpenMode(rawValue: O_NONBLOCK)
    /// A handle without access to the content (O_PATH).
    public static let path = OpenMode(rawValue: 0o10000000)
}

extension Descriptor {
    /// open(2) of an absolute path or one relative to the working folder: only for paths that the engine made itself.
    public static func open(_ path: String, _ mode: OpenMode, permissions: UInt32 = 0o600) throws -> Descriptor {
        Descriptor(
            owning: try kernel("open", path) { Glibc.open(path, mode.rawValue | O_CLOEXEC, mode_t(permissions)) })
    }

    /// openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS: this folder is the root for `..`, absolute paths and every
    /// symbolic link on the way. An empty path is the folder itself.
    public borrowing func open(
        inRoot path: PathBytes, _ mode: OpenMode, permissions: UInt32 = 0, followSymlinks: Bool = true
    ) throws -> Descriptor {
        // RESOLVE_NO_MAGICLINKS 0x02, RESOLVE_NO_SYMLINKS 0x04, RESOLVE_IN_ROOT 0x10 (linux/openat2.h)
        let resolve: UInt64 = followSymlinks ? 0x12 : 0x16
        let flags = UInt64(UInt32(bitPattern: mode.rawValue | O_CLOEXEC))
        let raw = raw
        return Descriptor(
            owning: try kernel("openat2", pathText(path)) {
                withPathBytes(path.isEmpty ? [0x2E] : path) { skiff_openat2(raw, $0, flags, UInt64(permissions), resolve) }
            })
    }

    /// openat(2) of one name in this folder, never through a symbolic link.
    public borrowing func open(child name: PathBytes, _ mode: OpenMode, permissions: UInt32 = 0) throws -> Descriptor {
        let raw = raw
        return Descriptor(
            owning: try kernel("openat", pathText(name)) {
                withPathBytes(name) { openat(raw, $0, mode.rawValue | O_CLOEXEC | O_NOFOLLOW, mode_t(permissions)) }
            })
    }

    // MARK: Names in this folder

    /// mkdirat(2)
    public borrowing func makeDirectory(_ name: PathBytes, permissions: UInt32) throws {
        let raw = raw
        try kernel("mkdirat", pathText(name)) { withPathBytes(name) { mkdirat(raw, $0, mode_t(permissions)) } }
    }

    /// symlinkat(2)
    public borrowing func makeSymlink(_ name: PathBytes, to target: PathBytes) throws {
        let raw = raw
        try kernel("symlinkat", pathText(name)) {
            withPathBytes(target) { target in withPathBytes(name) { symlinkat(target, raw, $0) } }
        }
    }

    /// mknodat(2); the kind must be a device, a FIFO or a socket. The umask applies.
    public borrowing func makeNode(
        _ name: PathBytes, _ kind: FileStatus.Kind, permissions: UInt32, major: UInt32 = 0, minor: UInt32 = 0
    ) throws {
        let type: mode_t
        switch kind {
        case .character: type = S_IFCHR
        case .block: type = S_IFBLK
        case .fifo: type = S_IFIFO
        case .socket: type = S_IFSOCK
        default: throw KernelFault("mknodat", errno: EINVAL, pathText(name))
        }
        let raw = raw
        let device = dev_t(skiff_makedev(major, minor))
        try kernel("mknodat", pathText(name)) { withPathBytes(name) { mknodat(raw, $0, type | mode_t(permissions), device) } }
    }

    /// linkat(2) without following a symbolic link at the end.
    public borrowing func link(_ name: PathBytes, to folder: borrowing Descriptor, _ target: PathBytes) throws {
        let raw = raw
        let from = folder.raw
        try kernel("linkat", pathText(name)) {
            withPathBytes(target) { target in withPathBytes(name) { linkat(from, target, raw, $0, 0) } }
        }
    }

    /// unlinkat(2)
    public borrowing func unlink(_ name: PathBytes, directory: Bool = false) throws {
        let raw = raw
        try kernel("unlinkat", pathText(name)) { withPathBytes(name) { unlinkat(raw, $0, directory ? AT_REMOVEDIR : 0) } }
    }

    /// renameat(2)
    public borrowing func rename(_ name: PathBytes, to folder: borrowing Descriptor, _ newName: PathBytes) throws {
        let raw = raw
        let other = folder.raw
        try kernel("renameat", pathText(name)) {
            withPathBytes(name) { old in withPathBytes(newName) { renameat(raw, old, other, $0) } }
        }
    }

    /// fstatat(2) of the name itself; nil when there is none.
    public borrowing func status(of name: PathBytes) throws -> FileStatus? {
        var status = stat()
        let raw = raw
        do {
            try kernel("fstatat", pathText(name)) { withPathBytes(name) { fstatat(raw, $0, &status, AT_SYMLINK_NOFOLLOW) } }
        } catch let fault as KernelFault where fault.errno == ENOENT {
            return nil
        }
        return FileStatus(status)
    }

    /// readlinkat(2)
    public borrowing func symlinkTarget(_ name: PathBytes) throws -> PathBytes {
        let raw = raw
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = try kernel("readlinkat", pathText(name)) { withPathBytes(name) { readlinkat(raw, $0, &buffer, 4096) } }
        return buffer[..<count].map { UInt8(bitPattern: $0) }
    }

    /// fchownat(2) of the name itself.
    public borrowing func changeOwner(of name: PathBytes, uid: UInt32, gid: UInt32) throws {
        let raw = raw
        try kernel("fchownat", pathText(name)) { withPathBytes(name) { fchownat(raw, $0, uid, gid, AT_SYMLINK_NOFOLLOW) } }
    }

    /// utimensat(2) of the name itself.
    public borrowing func setTimes(of name: PathBytes, accessed: FileTime, modified: FileTime) throws {
        let raw = raw
        let times = [accessed.timespec, modified.timespec]
        try kernel("utimensat", pathText(name)) { withPathBytes(name) { utimensat(raw, $0, times, AT_SYMLINK_NOFOLLOW) } }
    }

    /// Permissions of a name that is no symbolic link: by way of an O_PATH descriptor, so that a link is never followed.
    public borrowing func changeMode(of name: PathBytes, _ permissions: UInt32) throws {
        let file = try open(child: name, [.path])
        guard try file.status().kind != .symlink else { return }
        let path = "/proc/self/fd/\(file.raw)"
        try kernel("chmod", pathText(name)) { chmod(path, mode_t(permissions)) }
    }

    // MARK: This file

    /// fstat(2)
    public borrowing func status() throws -> FileStatus {
        var status = stat()
        let raw = raw
        try kernel("fstat") { fstat(raw, &status) }
        return FileStatus(status)
    }

    /// fchown(2)
    public borrowing func changeOwner(uid: UInt32, gid: UInt32) throws {
        let raw = raw
        try kernel("fchown") { fchown(raw, uid, gid) }
    }

    /// fchmod(2)
    public borrowing func changeMode(_ permissions: UInt32) throws {
        let raw = raw
        try kernel("fchmod") { fchmod(raw, mode_t(permissions)) }
    }

    /// futimens(2)
    public borrowing func setTimes(accessed: FileTime, modified: FileTime) throws {
        let raw = raw
        let times = (accessed.timespec, modified.timespec)
        try withUnsafeBytes(of: times) { bytes in
            let times = bytes.bindMemory(to: timespec.self).baseAddress
            _ = try kernel("futimens") { futimens(raw, times) }
        }
    }

    /// ftruncate(2)
    public borrowing func truncate(to size: Int64) throws {
        let raw = raw
        try kernel("ftruncate") { ftruncate(raw, Int(size)) }
    }

    /// Writes all of the bytes at the file's position (write(2)).
    public borrowing func writeAll(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        let raw = raw
        while !rest.isEmpty {
            let part = rest
            let count = try kernel("write") { Glibc.write(raw, part.baseAddress, part.count) }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// Writes all of the bytes at an offset (pwrite(2)).
    public borrowing func writeAll(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws {
        var rest = bytes
        var offset = offset
        let raw = raw
        while !rest.isEmpty {
            let part = rest
            let place = offset
            let count = try kernel("pwrite") { pwrite(raw, part.baseAddress, part.count, Int(place)) }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            offset += Int64(count)
        }
    }

    /// read(2); 0 at the end.
    public borrowing func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let raw = raw
        return try kernel("read") { Glibc.read(raw, buffer.baseAddress, buffer.count) }
    }

    /// pread(2); 0 at the end.
    public borrowing func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws -> Int {
        let raw = raw
        return try kernel("pread") { pread(raw, buffer.baseAddress, buffer.count, Int(offset)) }
    }

    /// fsync(2)
    public borrowing func sync() throws {
        let raw = raw
        try kernel("fsync") { fsync(raw) }
    }

    /// syncfs(2): everything written to this file's file system so far is on the disk.
    public borrowing func syncFileSystem() throws {
        let raw = raw
        try kernel("syncfs") { skiff_syncfs(raw) }
    }

    /// sync_file_range(2): begins to write the file to the disk and waits for nothing. Only a hint: no error.
    public borrowing func beginWriteback() { _ = skiff_begin_writeback(raw) }

    /// lseek(2) SEEK_DATA and SEEK_HOLE: the next run of data at or after `offset`; nil when there is none.
    public borrowing func nextData(from offset: Int64, size: Int64) -> Range<Int64>? {
        let start = Int64(lseek(raw, Int(offset), 3))
        guard start >= 0, start < size else { return nil }
        let end = Int64(lseek(raw, Int(start), 4))
        return start..<(end < 0 ? size : min(end, size))
    }

    /// The path by which the kernel knows this descriptor (readlink(2) on /proc/self/fd).
    public borrowing func kernelPath() throws -> PathBytes {
        let path = "/proc/self/fd/\(raw)"
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = try kernel("readlink", path) { readlink(path, &buffer, 4096) }
        return buffer[..<count].map { UInt8(bitPattern: $0) }
    }
}

extension Descriptor {
    /// A second descriptor for one that somebody else owns (fcntl(2) F_DUPFD_CLOEXEC).
    public static func duplicate(of raw: CInt) throws -> Descriptor {
        Descriptor(owning: try kernel("fcntl F_DUPFD_CLOEXEC") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }
}

extension Descriptor {
    /// Asks ext4 to spread the folders made in this one over the disk (FS_TOPDIR_FL, ioctl_iflags(2)). Only a hint: no error.
    ///
    /// Otherwise a large tree that is made soon after one was removed gets the same inode tables, whose entries ext4 does not reuse
    /// for five minutes and looks at one by one: measured, 9,000 files took 8 to 11 s instead of 0.9.
    public borrowing func spreadFolders() { _ = skiff_add_inode_flag(raw, 0x0002_0000) }

    /// What is made in this folder from now on has its blocks written in place where the file system would copy them (FS_NOCOW_FL,
    /// ioctl_iflags(2); btrfs). False where it cannot be.
    public borrowing func writeInPlace() -> Bool { skiff_add_inode_flag(raw, 0x0080_0000) == 0 }
}
