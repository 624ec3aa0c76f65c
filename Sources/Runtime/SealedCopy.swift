import Linux
import Model

/// The program that enters containers must not be overwritable from inside (`#!/proc/self/exe`, CVE-2019-5736): this process
/// becomes a copy of itself in memory-backed storage, run from a detached read-only mount. Made once per boot and version.
public enum SealedCopy {
    private static let folder = "/run/skiff-runtime/sealed"

    /// Comes back when this process is the sealed copy already; else becomes it, with the same arguments.
    public static func enter() throws {
        if isSealed { return }
        let program = try open()
        let code = Processes.execute(descriptor: program.raw, CommandLine.arguments, ProcessEnvironment.all)
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
        guard let own = try? Files.open("/proc/self/exe", .path) else { return false }
        if Mounts.isRoot(own.raw), let flags = try? Files.mountFlags(of: own.raw), flags & 1 != 0 { return true }
        return (try? Files.readLink("/proc/self/exe"))?.hasPrefix("/memfd:skiff-runtime") ?? false
    }

    /// The copy by what it is a copy of; a detached clone of its mount, read-only.
    private static func mounted(_ own: CInt) throws -> Descriptor {
        let status = try Files.status(of: own)
        let name = "\(status.device)-\(status.inode)-\(status.modified)-\(status.size)"
        let file: Descriptor
        do { file = try Files.open(folder + "/" + name, [.path, .noFollow]) } catch let fault as KernelFault
            where fault.isMissingFile
        { file = try copy(own, name) }
        let mine = try Files.status(of: file.raw)
        guard mine.user == Processes.userID, mine.size == status.size, mine.permissions & 0o022 == 0 else {
            throw KernelFault("open", errno: 1, name)
        }
        let clone = try Mounts.clone(of: file.raw, recursive: false)
        try Mounts.change(clone.raw, set: [.readOnly, .noSUID, .noDevices], propagation: .private)
        return clone
    }

    private static func copy(_ own: CInt, _ name: String) throws -> Descriptor {
        try Files.makeFolders(folder, mode: 0o700)
        let place = try Files.open(folder, [.path, .directory])
        guard try [FileSystemMagic.tmpfs, 0x8584_58f6].contains(Files.fileSystem(of: place.raw)) else {
            throw KernelFault("fstatfs", errno: 22, folder)
        }
        for old in try Files.names(folder) where old != name && !old.hasPrefix(".") { try? Files.remove(old, at: place.raw) }
        let aside = ".\(name).\(Processes.id)"
        do {
            let target = try Files.open(aside, [.writeOnly, .create, .exclusive, .noFollow], mode: 0o500, at: place.raw)
            try Files.copy(from: own, to: target.raw)
        }
        try Files.rename(aside, to: name, at: place.raw)
        return try Files.open(name, [.path, .noFollow], at: place.raw)
    }

    private static func inMemory(_ own: CInt) throws -> Descriptor {
        let file = try Files.memory("skiff-runtime", isSealable: true)
        try Files.copy(from: own, to: file.raw)
        try Files.seal(file.raw)
        return file
    }
}
