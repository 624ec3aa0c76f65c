import Linux
import Model

/// The program that enters containers must not be overwritable from inside (`#!/proc/self/exe`, CVE-2019-5736): this process
/// becomes a copy of itself in memory-backed storage, run from a detached read-only mount. Made once per boot and version.
public enum SealedCopy {
    /// In memory, gone after a boot: the first that is a tmpfs.
    private static let folders = ["/run/skiff-runtime/sealed", "/dev/shm/skiff-runtime-sealed"]

    private static let entered = Flag()

    /// Told by the program's first lines, which have looked already.
    public static func isEntered(from mount: CInt) { entered.set(mount) }

    /// The descriptor of the mount that this process was executed from; nobody needs it, but its last close takes time.
    public static var mount: CInt { entered.mount }

    /// Comes back when this process is the sealed copy already; else becomes it, with the same arguments.
    public static func enter() throws {
        if isSealed { return }
        let program = try open()
        var code = Processes.execute(descriptor: program.raw, CommandLine.arguments, ProcessEnvironment.all)
        // Where programs may not be executed from that file system: a sealed file of this process's own.
        let own = try Files.open("/proc/self/exe", .readOnly)
        let file = try inMemory(own.raw)
        code = Processes.execute(descriptor: file.raw, CommandLine.arguments, ProcessEnvironment.all)
        throw Fault(.system, "cannot run the sealed copy of the runtime: \(KernelFault.text(of: code).lowercased())")
    }

    /// A descriptor to execute (execveat(2), AT_EMPTY_PATH): the engine starts its shims from it and saves them the detour.
    public static func open() throws -> Descriptor {
        do {
            let own = try Files.open("/proc/self/exe", .readOnly)
            do { return try mounted(own.raw) } catch is KernelFault { return try inMemory(own.raw) }
        } catch { throw Fault(.system, "cannot make a sealed copy of the runtime", cause: error) }
    }

    /// Whether the running program is the root of a read-only mount, or a file in memory that is sealed.
    public static var isSealed: Bool {
        if entered.isSet { return true }
        guard let own = try? Files.open("/proc/self/exe", .path) else { return false }
        let name = (try? Files.readLink("/proc/self/exe")) ?? ""
        // Where statx(2) is forbidden: the root of a mount that is attached nowhere has no other name.
        let isRoot = Mounts.isRoot(own.raw) || name == "/" || name.hasPrefix("/ (")
        if isRoot, let flags = try? Files.mountFlags(of: own.raw), flags & 1 != 0 { return true }
        return name.hasPrefix("/memfd:skiff-runtime")
    }

    /// The copy by what it is a copy of; a detached clone of its mount, read-only.
    private static func mounted(_ own: CInt) throws -> Descriptor {
        let status = try Files.status(of: own)
        let name = "\(status.device)-\(status.inode)-\(status.modified)-\(status.size)"
        let folder = try ownFolder()
        let file: Descriptor
        do { file = try Files.open(name, [.path, .noFollow], at: folder.raw) } catch let fault as KernelFault
            where fault.isMissingFile
        { file = try copy(own, name, folder.raw) }
        guard try Files.status(of: file.raw).size == status.size else { throw KernelFault("open", errno: 5, name) }
        let clone = try Mounts.clone(of: file.raw, recursive: false)
        try Mounts.change(clone.raw, set: [.readOnly, .noSUID, .noDevices], clear: .noExecute, propagation: .private)
        return clone
    }

    /// A folder that nobody else can write to.
    private static func ownFolder() throws -> Descriptor {
        for path in folders {
            let folder: Descriptor
            do { folder = try Files.open(path, [.path, .directory, .noFollow]) } catch let fault as KernelFault
                where fault.isMissingFile
            {
                guard (try? Files.makeFolders(path, mode: 0o700)) != nil,
                    let made = try? Files.open(path, [.path, .directory, .noFollow])
                else { continue }
                folder = made
            }
            let status = try Files.status(of: folder.raw)
            guard status.user == Processes.userID, status.permissions & 0o022 == 0,
                try Files.fileSystem(of: folder.raw) == FileSystemMagic.tmpfs
            else { continue }
            return folder
        }
        throw KernelFault("open", errno: 2, folders[0])
    }

    private static func copy(_ own: CInt, _ name: String, _ folder: CInt) throws -> Descriptor {
        // Copies of versions that are gone; who runs from one keeps it.
        // Several versions may be in use at once; only many are a sign that most are not.
        let others = try Files.names(in: folder).filter { !$0.hasPrefix(".") }
        if others.count >= 8 { for old in others { try? Files.remove(old, at: folder) } }
        let aside = ".\(name).\(Processes.id)"
        do {
            let target = try Files.open(aside, [.writeOnly, .create, .exclusive, .noFollow], mode: 0o500, at: folder)
            try Files.copy(from: own, to: target.raw)
        }
        let readable = try Files.open(aside, [.readOnly, .noFollow], at: folder)
        Files.gatherPages(of: readable.raw, size: Int(try Files.status(of: readable.raw).size))
        try Files.rename(aside, to: name, at: folder)
        return try Files.open(name, [.path, .noFollow], at: folder)
    }

    private static func inMemory(_ own: CInt) throws -> Descriptor {
        let file = try Files.memory("skiff-runtime", isSealable: true)
        try Files.copy(from: own, to: file.raw)
        try Files.seal(file.raw)
        return file
    }
}

/// A word said once, before there is anything that could run at the same time.
private final class Flag: @unchecked Sendable {
    // True by the program's first line or never: nobody writes while somebody else reads.
    private(set) var isSet = false
    private(set) var mount: CInt = -1

    func set(_ mount: CInt) {
        isSet = true
        self.mount = mount
    }
}
