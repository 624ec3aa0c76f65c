import CKernel
import Glibc

/// A log file: appended to by one writer, read at offsets by others.
public final class LogFile {
    public let descriptor: Descriptor

    /// What tells one file from another.
    public struct Identity: Hashable, Sendable {
        public let device: UInt64
        public let inode: UInt64
    }

    public struct Status: Sendable {
        public let identity: Identity
        public let size: Int
    }

    private init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

    /// Opens for appending and reading, makes the file (0640) where there is none. A symbolic link is refused. open(2)
    public static func append(_ path: String) throws -> LogFile {
        let flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW
        return LogFile(Descriptor(owning: try kernel("open", path) { open(path, flags, 0o640) }))
    }

    /// Opens for reading; nil where there is no such file.
    public static func read(_ path: String) throws -> LogFile? {
        let raw: CInt
        do { raw = try kernel("open", path) { open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) } } catch let fault as KernelFault {
            guard fault.errno == ENOENT else { throw fault }
            return nil
        }
        return LogFile(Descriptor(owning: raw))
    }

    public func status() throws -> Status {
        var status = stat()
        let raw = descriptor.raw
        try kernel("fstat") { fstat(raw, &status) }
        return Status(
            identity: Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino)), size: Int(status.st_size))
    }

    /// Nil where there is no such file. lstat(2)
    public static func identity(of path: String) -> Identity? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// Appends; the number of bytes that were taken may be smaller when the disk is full. write(2)
    public func append(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let count = write(descriptor.raw, rest.baseAddress, rest.count)
            if count >= 0 {
                done += count
                continue
            }
            if errno == EINTR { continue }
            if done > 0 { return done }
            throw KernelFault("write", errno: errno)
        }
        return done
    }

    public func truncate(to size: Int) throws {
        let raw = descriptor.raw
        try kernel("ftruncate") { ftruncate(raw, off_t(size)) }
    }

    /// Bytes at an offset, fewer at the end of the file. pread(2)
    public func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let raw = descriptor.raw
        return try kernel("pread") { pread(raw, buffer.baseAddress, buffer.count, off_t(offset)) }
    }

    public static func rename(_ from: String, to: String) throws { try kernel("rename", to) { Glibc.rename(from, to) } }
}

/// Tells that something in a folder has changed: files written to, made, renamed, removed. inotify(7)
public final class FolderWatch {
    /// Readable when something has happened.
    public let descriptor: Descriptor

    public init(_ folder: String) throws {
        let raw = try kernel("inotify_init1") { ck_watch_folder(folder) }
        descriptor = Descriptor(owning: raw)
    }

    /// Forgets what has happened so far; true when there was something.
    public func clear() -> Bool {
        var seen = false
        var buffer = [UInt8](repeating: 0, count: 4096)
        while Glibc.read(descriptor.raw, &buffer, buffer.count) > 0 { seen = true }
        return seen
    }
}

/// Position of a byte; nil where there is none. memchr(3)
@inline(__always)
public func position(of byte: UInt8, in bytes: UnsafeRawBufferPointer) -> Int? {
    guard let base = bytes.baseAddress, let found = memchr(base, CInt(byte), bytes.count) else { return nil }
    return UnsafeRawPointer(found) - base
}
