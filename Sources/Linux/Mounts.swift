import CKernel
import Glibc

/// Attributes of a mount, as mount_setattr(2) and fsmount(2) have them.
public struct MountAttributes: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let readOnly = MountAttributes(rawValue: 0x1)
    public static let noSUID = MountAttributes(rawValue: 0x2)
    public static let noDevices = MountAttributes(rawValue: 0x4)
    public static let noExecute = MountAttributes(rawValue: 0x8)
    /// All bits of the choice between relatime (0), noatime and strictatime: must be cleared when one is set.
    public static let accessTime = MountAttributes(rawValue: 0x70)
    public static let noAccessTime = MountAttributes(rawValue: 0x10)
    public static let strictAccessTime = MountAttributes(rawValue: 0x20)
    public static let noFolderAccessTime = MountAttributes(rawValue: 0x80)
    public static let idmapped = MountAttributes(rawValue: 0x10_0000)
    public static let noSymlinks = MountAttributes(rawValue: 0x20_0000)
}

/// Propagation of a mount (mount_namespaces(7)).
public enum MountPropagation: UInt64, Sendable {
    case unbindable = 0x20000
    case `private` = 0x40000
    case slave = 0x80000
    case shared = 0x100000
}

public enum Mounts {
    /// open_tree(2): a detached clone of the mount at the path.
    public static func clone(_ path: String, at folder: CInt = AT_FDCWD, recursive: Bool, follow: Bool = true) throws
        -> Descriptor
    {
        // OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW
        var flags: UInt32 = 1 | UInt32(O_CLOEXEC)
        if recursive { flags |= 0x8000 }
        if path.isEmpty { flags |= 0x1000 }
        if !follow { flags |= 0x100 }
        return Descriptor(owning: try kernel("open_tree", path) { skiff_open_tree(folder, path, flags) })
    }

    /// A detached clone of what an open descriptor stands for.
    public static func clone(of descriptor: CInt, recursive: Bool) throws -> Descriptor {
        try clone("", at: descriptor, recursive: recursive)
    }

    /// move_mount(2): attaches a detached mount (or moves an attached one) onto what `target` stands for.
    public static func attach(_ mount: CInt, onto target: CInt) throws {
        // MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
        try kernel("move_mount") { skiff_move_mount(mount, "", target, "", 0x4 | 0x40) }
    }

    public static func attach(_ mount: CInt, ontoPath path: String) throws {
        try kernel("move_mount", path) { skiff_move_mount(mount, "", AT_FDCWD, path, 0x4) }
    }

    /// Onto a folder below another mount, which may be attached nowhere itself (from Linux 6.15 on).
    public static func attach(_ mount: CInt, below target: CInt, _ path: String) throws {
        try kernel("move_mount", path) { skiff_move_mount(mount, "", target, path, 0x4) }
    }

    /// mount_setattr(2) on the mount of a descriptor. `userNamespace` goes with `.idmapped`.
    public static func change(
        _ mount: CInt, set: MountAttributes = [], clear: MountAttributes = [], propagation: MountPropagation? = nil,
        userNamespace: CInt = 0, recursive: Bool = false
    ) throws {
        try kernel("mount_setattr") {
            skiff_mount_setattr(
                mount, "", 0x1000 | (recursive ? 0x8000 : 0), set.rawValue, clear.rawValue, propagation?.rawValue ?? 0,
                UInt64(UInt32(bitPattern: userNamespace)))
        }
    }

    /// mount(2) with propagation flags on a path of the process's own root.
    public static func setPropagation(_ path: String, _ propagation: MountPropagation, recursive: Bool) throws {
        try kernel("mount", path) {
            mount(nil, path, nil, UInt(propagation.rawValue) | (recursive ? 0x4000 : 0), nil)
        }
    }

    /// mount(2), for what the new calls cannot: options longer than 255 bytes.
    public static func mountOld(source: String, target: String, type: String, flags: UInt, data: String) throws {
        try kernel("mount", target) { mount(source, target, type, flags, data) }
    }

    /// pivot_root(2) with both names `.`: the old root then lies over the new one.
    public static func pivotRootHere() throws { try kernel("pivot_root") { skiff_pivot_root(".", ".") } }

    /// umount2(2) MNT_DETACH
    public static func detach(_ path: String) throws { try kernel("umount", path) { umount2(path, CInt(2)) } }

    /// statx(2): whether a descriptor stands for the root of a mount.
    public static func isRoot(_ descriptor: CInt) -> Bool { skiff_is_mount_root(descriptor, "", 0x1000) == 1 }
}

/// A file system that is being configured (fsopen(2)). Faults carry what the kernel wrote into the context's log.
public struct FileSystemContext: ~Copyable {
    private let context: Descriptor
    private let type: String

    public init(_ type: String) throws {
        self.type = type
        context = Descriptor(owning: try kernel("fsopen", type) { skiff_fsopen(type, 1) })
    }

    /// FSCONFIG_SET_STRING: at most 255 bytes.
    public borrowing func set(_ key: String, _ value: String) throws { try configure(1, key, value, 0) }
    /// FSCONFIG_SET_FLAG
    public borrowing func set(_ flag: String) throws { try configure(0, flag, nil, 0) }
    /// FSCONFIG_SET_FD
    public borrowing func set(_ key: String, descriptor: CInt) throws { try configure(5, key, nil, descriptor) }

    /// FSCONFIG_CMD_CREATE and fsmount(2): the detached mount.
    public borrowing func create(_ attributes: MountAttributes = []) throws -> Descriptor {
        try configure(6, nil, nil, 0)
        let result = skiff_fsmount(context.raw, 1, UInt32(attributes.rawValue))
        guard result >= 0 else { throw fault("fsmount", errno, nil) }
        return Descriptor(owning: result)
    }

    private borrowing func configure(_ command: UInt32, _ key: String?, _ value: String?, _ auxiliary: CInt) throws {
        while skiff_fsconfig(context.raw, command, key, value, auxiliary) != 0 {
            let code = errno
            if code == EINTR { continue }
            throw fault("fsconfig", code, key.map { key in value.map { "\(key)=\($0)" } ?? key })
        }
    }

    private borrowing func fault(_ call: String, _ code: CInt, _ detail: String?) -> KernelFault {
        var words = type
        if let detail { words += " " + detail }
        // The log: one message per read, "e " for an error.
        while let line = try? Files.readSome(context.raw, limit: 1024), !line.isEmpty {
            guard line.count > 2, line[0] == UInt8(ascii: "e") else { continue }
            let text = String(decoding: line.dropFirst(2).filter { $0 >= 0x20 }, as: UTF8.self)
            words += " (\(text))"
        }
        return KernelFault(call, errno: code, words)
    }
}
