import Archive
import Linux
import Model

/// Paths in a container's root, which its processes may change at any moment: every one is resolved by the kernel with that root
/// as the end of all ways up. Blocking.
struct ContainerTree {
    /// The container as the client named it, for messages.
    let container: String

    private static let linkLimit = 40

    // MARK: Looking

    /// Docker's rules: the path itself is not followed, unless it ends in a slash or a dot.
    func stat(_ path: String, shown: String, in root: borrowing Descriptor) throws -> PathStat {
        do {
            var stat = PathStat()
            stat.name = CopyPath.base(path)
            let status = try status(path, in: root)
            stat.size = status.size
            stat.mode = Self.mode(status)
            stat.modified = Timestamp(nanoseconds: status.modified.seconds * 1_000_000_000 + status.modified.nanoseconds)
            if status.kind == .symlink { stat.linkTarget = try linkTarget(path, in: root) }
            return stat
        } catch let fault as KernelFault { throw explain(fault, shown) }
    }

    private func status(_ path: String, in root: borrowing Descriptor) throws -> FileStatus {
        let base = CopyPath.base(path)
        if CopyPath.endsInSlash(path) || base == "." || base == ".." {
            return try root.open(inRoot: Array(path.utf8), .path).status()
        }
        let parent = try root.open(inRoot: Array(("/" + Self.parent(path)).utf8), [.path, .directory])
        guard let status = try parent.status(of: Array(base.utf8)) else { throw KernelFault("fstatat", errno: 2, path) }
        return status
    }

    /// The path up to its last component, not cleaned: `..` behind a link means what the kernel says.
    private static func parent(_ path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    /// Where a link leads in the end; what is missing there is taken as it is written.
    private func linkTarget(_ path: String, in root: borrowing Descriptor) throws -> String {
        var path = path
        for _ in 0..<Self.linkLimit {
            let base = CopyPath.base(path)
            let parent: Descriptor
            do { parent = try root.open(inRoot: Array(("/" + Self.parent(path)).utf8), [.path, .directory]) } catch {
                return CopyPath.clean("/" + path)
            }
            let folder = String(decoding: try parent.kernelPath(), as: UTF8.self)
            guard try parent.status(of: Array(base.utf8))?.kind == .symlink else { return CopyPath.join(folder, base) }
            let target = String(decoding: try parent.symlinkTarget(Array(base.utf8)), as: UTF8.self)
            path = target.hasPrefix("/") ? target : folder + "/" + target
            while path.hasSuffix("/"), path.count > 1 { path.removeLast() }
            if ["/", ".", ".."].contains(CopyPath.base(path)) { return CopyPath.clean(path) }
        }
        throw KernelFault("openat2", errno: 40, path)
    }

    /// Go's os.FileMode.
    private static func mode(_ status: FileStatus) -> UInt32 {
        let permissions = PathStat.permissions(status.mode)
        switch status.kind {
        case .regular: return permissions
        case .directory: return permissions | PathStat.Mode.folder
        case .symlink: return permissions | PathStat.Mode.link
        case .character: return permissions | PathStat.Mode.device | PathStat.Mode.character
        case .block: return permissions | PathStat.Mode.device
        case .fifo: return permissions | PathStat.Mode.pipe
        case .socket: return permissions | PathStat.Mode.socket
        case .unknown: return permissions | PathStat.Mode.irregular
        }
    }

    func explain(_ fault: KernelFault, _ path: String) -> Fault {
        if fault.isMissingFile {
            return Fault(.notFound, "Could not find the file \(path) in container \(container)", subject: path)
        }
        return Fault(.invalid, "\(path): \(fault.reason.lowercased())", subject: path)
    }

    // MARK: Out

    /// Writes what stands at the path as a tar: a folder with its content under its own name, anything else alone.
    func archive(_ path: String, isFolder: Bool, in root: borrowing Descriptor, to sink: any ByteSink) throws {
        let archiver = TreeArchiver(sink, .tree)
        archiver.wholeSeconds = true
        archiver.enters = Self.isStorage
        do {
            if isFolder {
                let folder = try root.open(inRoot: Array(path.utf8), [.read, .directory])
                try archiver.add(folder: folder, as: Array(CopyPath.base(path).utf8))
            } else {
                let name = Array(CopyPath.base(path).utf8)
                let parent = try root.open(inRoot: Array(Self.parent(path).utf8), [.read, .directory])
                try archiver.add(name, in: parent, as: name)
            }
            try archiver.finish()
        } catch let fault as KernelFault { throw explain(fault, path) }
    }

    /// The kernel's own file systems and /dev are no files of anybody's: their folders are archived as empty.
    private static func isStorage(_ folder: CInt) throws -> Bool {
        guard Mounts.isRoot(folder) else { return true }
        let kind = try Files.fileSystem(of: folder)
        if FileSystemMagic.kernelsOwn.contains(kind) { return false }
        return try kind != FileSystemMagic.tmpfs || Files.readLink("/proc/self/fd/\(folder)") != "/dev"
    }

    // MARK: In

    /// Unpacks an archive into a folder of the container.
    func extract(
        _ source: any ByteSource, into path: String, _ rules: ExtractionRules, _ mounts: [String], in root: borrowing Descriptor
    )
        throws
    {
        var rules = rules
        rules.place = CopyPath.join("/", path)
        let folder: Descriptor
        do { folder = try root.open(inRoot: Array(rules.place.utf8), [.read, .directory]) } catch let fault as KernelFault {
            if fault.isNoFolder {
                throw Fault(.invalid, "extraction point is not a directory", subject: path)
            }
            throw explain(fault, path)
        }
        // ST_RDONLY
        if try Files.mountFlags(of: folder.raw) & 1 != 0 {
            let place = String(decoding: try folder.kernelPath(), as: UTF8.self)
            let isVolume = mounts.contains { place == $0 || place.hasPrefix($0 + "/") }
            throw Fault(
                .forbidden, isVolume ? "mounted volume is marked read-only" : "container rootfs is marked read-only",
                subject: path)
        }
        try TreeExtractor(root: folder, rules).extract(TarReader(Decompressor(source)))
    }
}
