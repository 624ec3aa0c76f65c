import CKernel
import Glibc

/// How a file is opened (open(2)); O_CLOEXEC is always added.
public struct OpenFlags: OptionSet, Sendable {
    public let rawValue: CInt
    public init(rawValue: CInt) { self.rawValue = rawValue }
    public static let readOnly = OpenFlags([])
    public static let writeOnly = OpenFlags(rawValue: O_WRONLY)
    public static let readWrite = OpenFlags(rawValue: O_RDWR)
    public static let create = OpenFlags(rawValue: O_CREAT)
    public static let exclusive = OpenFlags(rawValue: O_EXCL)
    public static let truncate = OpenFlags(rawValue: O_TRUNC)
    public static let append = OpenFlags(rawValue: O_APPEND)
    public static let nonBlocking = OpenFlags(rawValue: O_NONBLOCK)
    public static let noControllingTerminal = OpenFlags(rawValue: O_NOCTTY)
    public static let noFollow = OpenFlags(rawValue: O_NOFOLLOW)
    public static let directory = OpenFlags(rawValue: O_DIRECTORY)
    public static let path = OpenFlags(rawValue: 0o10000000)  // O_PATH
}

/// What openat2(2) may follow.
public struct ResolveFlags: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let noCrossMounts = ResolveFlags(rawValue: 0x01)
    public static let noMagicLinks = ResolveFlags(rawValue: 0x02)
    public static let noSymlinks = ResolveFlags(rawValue: 0x04)
    public static let beneath = ResolveFlags(rawValue: 0x08)
    public static let inRoot = ResolveFlags(rawValue: 0x10)
}

/// fstatat(2), what is needed of it.
public struct NodeStatus: Sendable, Equatable {
    public enum Kind: UInt32, Sendable {
        case pipe = 0o010000
        case character = 0o020000
        case folder = 0o040000
        case block = 0o060000
        case regular = 0o100000
        case link = 0o120000
        case socket = 0o140000
    }
    public var kind: Kind?
    /// The twelve bits of permissions.
    public var permissions: UInt32
    public var user: UInt32
    public var group: UInt32
    /// Of the device that a device node stands for.
    public var major: UInt32
    public var minor: UInt32
    public var device: UInt64
    public var inode: UInt64
    public var size: UInt64
    /// Nanoseconds since 1970.
    public var modified: Int64

    init(_ raw: skiff_status) {
        kind = Kind(rawValue: raw.mode & 0o170000)
        permissions = raw.mode & 0o7777
        user = raw.uid
        group = raw.gid
        major = raw.major
        minor = raw.minor
        device = raw.device
        inode = raw.inode
        size = raw.size
        modified = raw.modified
    }
}

/// Magic numbers of file systems (statfs(2)).
public enum FileSystemMagic {
    public static let proc: Int64 = 0x9fa0
    public static let sysfs: Int64 = 0x6265_6572
    public static let devpts: Int64 = 0x1cd1
    public static let tmpfs: Int64 = 0x0102_1994
    public static let cgroup: Int64 = 0x27_e0eb
    public static let cgroup2: Int64 = 0x6367_7270
    public static let overlay: Int64 = 0x794c_7630
    /// What the kernel shows of itself: no files of anybody's.
    public static let kernelsOwn: Set<Int64> = [
        proc, sysfs, devpts, cgroup, cgroup2,
        // mqueue, securityfs, debugfs, tracefs, bpf, pstore, configfs, fusectl, binfmt_misc, efivarfs
        0x1980_0202, 0x7363_6673, 0x6462_6720, 0x7472_6163, 0xcafe_4a11, 0x6165_676c, 0x6265_6570, 0x6573_5543, 0x4249_4e4d,
        0xde5e_81e4,
    ]
}

/// Files by path and by descriptor. Folders are borrowed descriptors; `Files.workingDirectory` is AT_FDCWD.
public enum Files {
    public static let workingDirectory: CInt = AT_FDCWD
    private static let emptyPath: CInt = 0x1000

    /// openat(2)
    public static func open(_ path: String, _ flags: OpenFlags, mode: UInt32 = 0, at folder: CInt = AT_FDCWD) throws
        -> Descriptor
    {
        Descriptor(
            owning: try kernel("open", path) { openat(folder, path, flags.rawValue | O_CLOEXEC, mode_t(mode)) })
    }

    /// openat2(2): the path is resolved below `root`, whatever symbolic links the container has put there.
    public static func openInside(
        _ root: CInt, _ path: String, _ flags: OpenFlags, mode: UInt32 = 0, resolve: ResolveFlags = [.inRoot, .noMagicLinks]
    ) throws -> Descriptor {
        while true {
            do {
                return Descriptor(
                    owning: try kernel("openat2", path) {
                        skiff_openat2(
                            root, path, UInt64(UInt32(bitPattern: flags.rawValue | O_CLOEXEC)), UInt64(mode), resolve.rawValue)
                    })
            } catch let fault as KernelFault where fault.errno == EAGAIN {
                continue  // a rename raced with `..` (openat2(2), EAGAIN)
            }
        }
    }

    public static func status(_ path: String, at folder: CInt = AT_FDCWD, follow: Bool = true) throws -> NodeStatus {
        var raw = skiff_status()
        try kernel("stat", path) { skiff_status_at(folder, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, &raw) }
        return NodeStatus(raw)
    }

    public static func status(of descriptor: CInt) throws -> NodeStatus {
        var raw = skiff_status()
        try kernel("fstat") { skiff_status_at(descriptor, "", emptyPath, &raw) }
        return NodeStatus(raw)
    }

    public static func exists(_ path: String, at folder: CInt = AT_FDCWD) -> Bool { faccessat(folder, path, F_OK, 0) == 0 }

    /// Whether the calling process may execute the file (access(2) X_OK with effective ids).
    public static func isExecutable(_ path: String) -> Bool { faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 }

    /// fstatfs(2)
    public static func fileSystem(of descriptor: CInt) throws -> Int64 {
        var magic: Int64 = 0
        var flags: UInt64 = 0
        try kernel("fstatfs") { skiff_file_system(descriptor, &magic, &flags) }
        return magic
    }

    /// fstatfs(2), the mount's ST_ flags.
    public static func mountFlags(of descriptor: CInt) throws -> UInt64 {
        var magic: Int64 = 0
        var flags: UInt64 = 0
        try kernel("fstatfs") { skiff_file_system(descriptor, &magic, &flags) }
        return flags
    }

    /// The whole content, at most `limit` bytes: a longer file is a fault (EFBIG).
    public static func read(_ path: String, limit: Int = 16 << 20, at folder: CInt = AT_FDCWD) throws -> [UInt8] {
        let file = try open(path, .readOnly, at: folder)
        return try read(file.raw, path, limit: limit)
    }

    public static func read(_ descriptor: CInt, _ name: String, limit: Int) throws -> [UInt8] {
        let size = (try? status(of: descriptor)).map { Int(clamping: $0.size) } ?? 0
        var content: [UInt8] = []
        var capacity = min(max(size + 1, 1024), limit + 1)
        while true {
            let chunk = try [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
                count = try kernel("read", name) { Glibc.read(descriptor, buffer.baseAddress, capacity) }
            }
            if chunk.isEmpty { return content }
            if content.isEmpty { content = chunk } else { content += chunk }
            guard content.count <= limit else { throw KernelFault("read", errno: EFBIG, name) }
            capacity = 16384
        }
    }

    /// One read(2) of at most `limit` bytes; empty at the end.
    public static func readSome(_ descriptor: CInt, limit: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            count = try kernel("read") { Glibc.read(descriptor, buffer.baseAddress, limit) }
        }
    }

    /// Writes everything, in as many write(2) as it takes.
    public static func write(_ descriptor: CInt, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                done += try kernel("write") {
                    Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done)
                }
            }
        }
    }

    /// Writes an existing file with one write(2): files of procfs and sysfs.
    public static func put(_ value: String, _ path: String, at folder: CInt = AT_FDCWD) throws {
        let file = try open(path, .writeOnly, at: folder)
        var value = value
        try value.withUTF8 { bytes in
            _ = try kernel("write", path) { Glibc.write(file.raw, bytes.baseAddress, bytes.count) }
        }
    }

    /// Writes aside and renames: readers see the old file or the new one.
    public static func replace(_ name: String, with bytes: [UInt8], mode: UInt32 = 0o600, at folder: CInt) throws {
        let aside = "." + name + ".new"
        let file = try open(aside, [.writeOnly, .create, .truncate, .noFollow], mode: mode, at: folder)
        try write(file.raw, bytes)
        try kernel("rename", name) { renameat(folder, aside, folder, name) }
    }

    /// mkdirat(2); true when it was made, false when something is there already.
    @discardableResult
    public static func makeFolder(_ path: String, mode: UInt32, at folder: CInt = AT_FDCWD) throws -> Bool {
        do {
            try kernel("mkdir", path) { mkdirat(folder, path, mode_t(mode)) }
            return true
        } catch let fault as KernelFault where fault.errno == EEXIST { return false }
    }

    /// A folder with all its parents, by plain path; for the runtime's own folders only.
    public static func makeFolders(_ path: String, mode: UInt32) throws {
        var end = path.startIndex
        while true {
            end = path[end...].dropFirst().firstIndex(of: "/") ?? path.endIndex
            let part = String(path[..<end])
            if part != "/", !part.isEmpty { try makeFolder(part, mode: mode) }
            if end == path.endIndex { return }
        }
    }

    public static func makeNode(
        _ name: String, _ kind: NodeStatus.Kind, permissions: UInt32, major: UInt32, minor: UInt32, at folder: CInt
    )
        throws
    { try kernel("mknod", name) { skiff_mknodat(folder, name, kind.rawValue | permissions, major, minor) } }

    public static func makePipe(_ name: String, permissions: UInt32, at folder: CInt = AT_FDCWD) throws {
        try kernel("mkfifo", name) { mkfifoat(folder, name, mode_t(permissions)) }
    }

    public static func link(_ name: String, to target: String, at folder: CInt) throws {
        try kernel("symlink", name) { symlinkat(target, folder, name) }
    }

    public static func readLink(_ path: String, at folder: CInt = AT_FDCWD) throws -> String {
        let bytes = try [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
            count = Int(try kernel("readlink", path) { skiff_readlink(folder, path, buffer.baseAddress, 4096) })
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Nothing can change the content any more (fcntl(2) F_ADD_SEALS).
    public static func seal(_ memory: CInt) throws { try kernel("fcntl F_ADD_SEALS") { skiff_add_seals(memory) } }

    public static func rename(_ name: String, to other: String, at folder: CInt) throws {
        try kernel("rename", other) { renameat(folder, name, folder, other) }
    }

    /// unlink(2); a name that is not there is a fault.
    public static func removeExisting(_ path: String) throws { try kernel("unlink", path) { unlink(path) } }

    /// unlinkat(2); a name that is not there is no fault.
    public static func remove(_ path: String, at folder: CInt = AT_FDCWD, isFolder: Bool = false) throws {
        do { try kernel("unlink", path) { unlinkat(folder, path, isFolder ? AT_REMOVEDIR : 0) } } catch let fault as KernelFault
            where fault.errno == ENOENT
        {}
    }

    public static func changeOwner(of descriptor: CInt, user: UInt32, group: UInt32) throws {
        try kernel("fchown") { fchownat(descriptor, "", user, group, emptyPath) }
    }

    public static func changeOwner(_ name: String, user: UInt32, group: UInt32, at folder: CInt) throws {
        try kernel("chown", name) { fchownat(folder, name, user, group, AT_SYMLINK_NOFOLLOW) }
    }

    /// Names in an open folder without `.` and `..`, in no order.
    public static func names(in folder: CInt) throws -> [String] {
        let own = try open(".", [.readOnly, .directory], at: folder).release()
        guard let stream = fdopendir(own) else {
            let code = errno
            close(own)
            throw KernelFault("fdopendir", errno: code)
        }
        return entries(stream)
    }

    /// Names in a folder without `.` and `..`, in no order.
    public static func names(_ path: String) throws -> [String] {
        guard let stream = opendir(path) else { throw KernelFault("opendir", errno: errno, path) }
        return entries(stream)
    }

    private static func entries(_ stream: OpaquePointer) -> [String] {
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    /// The whole content of a file to another (sendfile(2)).
    public static func copy(from source: CInt, to target: CInt) throws {
        var copied: Int64 = 1
        while copied > 0 { copied = try kernel("sendfile") { skiff_sendfile(target, source, 1 << 24) } }
    }

    /// Lets the kernel keep a file of a tmpfs in huge pages, so that programs that map it meet one fault for two MiB in place of
    /// one for 64 KiB. madvise(2) MADV_COLLAPSE, Linux 6.1; where it cannot be had nothing changes.
    public static func gatherPages(of file: CInt, size: Int) {
        let huge = 2 << 20
        let whole = size & ~(huge - 1)
        guard whole > 0,
            let room = mmap(nil, whole + huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), room != MAP_FAILED
        else { return }
        let aligned = UnsafeMutableRawPointer(bitPattern: (UInt(bitPattern: room) + UInt(huge - 1)) & ~UInt(huge - 1))
        if mmap(aligned, whole, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED {
            madvise(aligned, whole, 25)
        }
        munmap(room, whole + huge)
    }

    /// memfd_create(2) with the bytes in it, read from the start.
    public static func memory(_ name: String, _ bytes: [UInt8] = [], isSealable: Bool = false) throws -> Descriptor {
        let file = Descriptor(owning: try kernel("memfd_create", name) { skiff_memfd_create(name, isSealable ? 3 : 1) })
        if !bytes.isEmpty {
            try write(file.raw, bytes)
            try kernel("lseek") { lseek(file.raw, 0, SEEK_SET) }
        }
        return file
    }

    /// The content of a file from its beginning, whatever its offset (pread(2)).
    public static func readFromStart(_ descriptor: CInt, limit: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            count = try kernel("pread") { pread(descriptor, buffer.baseAddress, limit, 0) }
        }
    }

    /// umask(2)
    @discardableResult public static func setUmask(_ mask: UInt32) -> UInt32 { UInt32(umask(mode_t(mask))) }

    /// flock(2) LOCK_EX, waiting.
    public static func lock(_ descriptor: CInt) throws { try kernel("flock") { flock(descriptor, LOCK_EX) } }

    /// close(2) of a descriptor whose number only is known, after a fork.
    public static func close(_ descriptor: CInt) { _ = Glibc.close(descriptor) }

    public static func canonical(_ path: String) throws -> String {
        guard let resolved = realpath(path, nil) else { throw KernelFault("realpath", errno: errno, path) }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// getcwd(2), as the kernel says it: a folder outside the root reads "(unreachable)…".
    public static func currentFolder() throws -> String {
        let bytes = try [UInt8](unsafeUninitializedCapacity: 4097) { buffer, count in
            count = Int(try kernel("getcwd") { skiff_getcwd(buffer.baseAddress, 4097) }) - 1
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    public static func changeFolder(_ path: String) throws { try kernel("chdir", path) { chdir(path) } }
    public static func changeFolder(to descriptor: CInt) throws { try kernel("fchdir") { fchdir(descriptor) } }
    public static func changeRoot(_ path: String) throws { try kernel("chroot", path) { chroot(path) } }
}
