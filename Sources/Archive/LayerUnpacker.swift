import Linux
import Model

/// What unpacking a layer came to.
public struct UnpackedLayer: Sendable {
    public internal(set) var entries = 0
    /// Bytes of its files.
    public internal(set) var bytes: Int64 = 0
    /// Hard links to files that are not in this layer but may be in one below: paths from the root, cleaned.
    public internal(set) var foreignLinks: [(path: PathBytes, target: PathBytes)] = []
    /// Attributes and devices that could not be kept: a line each, at most a few.
    public internal(set) var warnings: [String] = []
}

/// Unpacks a layer's tar into a folder, as overlayfs wants it: whiteouts become devices 0/0, opaque folders get an attribute.
///
/// Nothing outside the folder is touched whatever the archive says: each path is resolved by the kernel with the folder as root
/// (openat2 RESOLVE_IN_ROOT), names are created and changed relative to the descriptor of their own folder, and permissions and
/// owners are set on descriptors or without following links (threats: CVE-2014-6407 … 2021-32760, 2021-41089, 2025-47290).
///
/// On a fault the folder is left half full; the caller removes it.
public final class LayerUnpacker {
    private let folders: FolderCache
    private let privilege: LayerPrivilege
    private let recipe: LayerRecipeWriter?
    private let attic: Attic?
    private var result = UnpackedLayer()
    private var pendingFolders: [PendingFolder] = []

    private struct PendingFolder {
        let path: PathBytes
        let mode: UInt32
        let attributes: [TarEntry.Attribute]
        let accessed: FileTime
        let modified: FileTime
    }

    /// - Parameters:
    ///   - root: the folder to fill, empty.
    ///   - recipe: told what is needed to make the archive again bit by bit.
    ///   - attic: where files go that the archive itself replaces by later ones, while the recipe needs them.
    public init(
        root: consuming Descriptor, privilege: LayerPrivilege = .root, recipe: LayerRecipeWriter? = nil, attic: Attic? = nil
    ) throws {
        self.folders = try FolderCache(root: root)
        self.privilege = privilege
        self.recipe = recipe
        self.attic = attic
    }

    /// Unpacks everything and reads the archive to its end.
    public func unpack(_ reader: TarReader) throws -> UnpackedLayer {
        while let entry = try reader.next() {
            do { try unpack(entry, reader) } catch let fault as KernelFault { throw Self.fault(entry, fault) }
            result.entries += 1
        }
        try finishFolders()
        return result
    }

    private static func fault(_ entry: TarEntry, _ fault: KernelFault) -> Fault {
        let name = entry.shownPath
        if fault.isDiskFull {
            return Fault(.unavailable, "no space left on the disk, while unpacking \"\(name)\"", subject: name)
        }
        return Fault(.invalid, "archive entry \"\(name)\": \(fault)", subject: name)
    }

    private static func refusal(_ entry: TarEntry, _ why: String) -> Fault {
        Fault(.invalid, "archive entry \"\(entry.shownPath)\": \(why)", subject: entry.shownPath)
    }

    // MARK: Entries

    private func unpack(_ entry: TarEntry, _ reader: TarReader) throws {
        if entry.kind == .other { return }
        guard var components = PathCleaning.components(entry.path) else {
            throw Self.refusal(entry, "it leads out of the archive's root")
        }
        guard let name = components.popLast() else {
            guard entry.kind == .directory else { throw Self.refusal(entry, "the root can only be a directory") }
            return try unpackRoot(entry)
        }
        let folder = try parent(components, entry)
        if name.starts(with: Whiteout.prefix) { return try whiteout(name, in: folder, entry) }
        switch entry.kind {
        case .directory: try directory(name, in: folder, entry)
        case .file: try file(name, in: folder, entry, reader)
        case .symlink:
            guard !entry.linkTarget.isEmpty else { throw Self.refusal(entry, "a symbolic link to nothing") }
            try replacing(name, in: folder) { try folder.descriptor.makeSymlink(name, to: entry.linkTarget) }
            try metadata(name, in: folder, entry)
        case .hardLink: try hardLink(name, in: folder, entry)
        case .character, .block, .fifo: try node(name, in: folder, entry)
        case .other: break
        }
    }

    private func parent(_ components: [PathBytes], _ entry: TarEntry) throws -> OpenFolder {
        do { return try folders.open(components, create: true) } catch let fault as KernelFault {
            guard !fault.isDiskFull else { throw fault }
            if fault.isExisting {
                throw Self.refusal(entry, "its folder is a symbolic link that leads nowhere inside the archive's root")
            }
            throw Self.refusal(entry, "its folder cannot be made: \(fault.reason.lowercasedFirst)")
        }
    }

    private func unpackRoot(_ entry: TarEntry) throws {
        let root = folders.root
        if privilege == .root { try root.descriptor.changeOwner(uid: entry.uid, gid: entry.gid) }
        try later(root.path, entry)
    }

    private func directory(_ name: PathBytes, in folder: OpenFolder, _ entry: TarEntry) throws {
        do { try folder.descriptor.makeDirectory(name, permissions: 0o700) } catch let fault as KernelFault
            where fault.isExisting
        {
            guard let existing = try folder.descriptor.status(of: name) else { throw fault }
            if existing.kind != .directory {
                try clear(name, in: folder)
                try folder.descriptor.makeDirectory(name, permissions: 0o700)
                // What a layer below has there was whited out, and stays so.
                if existing.isWhiteout { try markOpaque(name, in: folder) }
            }
        }
        if privilege == .root { try folder.descriptor.changeOwner(of: name, uid: entry.uid, gid: entry.gid) }
        try later(folder.path(of: name), entry)
    }

    private func file(_ name: PathBytes, in folder: OpenFolder, _ entry: TarEntry, _ reader: TarReader) throws {
        let file = try newFile(name, in: folder)
        try recipe?.file(folder.path(of: name), entry)
        try reader.writeContent(of: entry, to: file)
        result.bytes += entry.size
        if privilege == .root { try file.changeOwner(uid: entry.uid, gid: entry.gid) }
        try file.changeMode(entry.mode)
        for attribute in try attributes(entry) {
            try keep(attribute.name) { try file.setAttribute(attribute.name, attribute.value) }
        }
        try file.setTimes(accessed: entry.accessed ?? entry.modified, modified: entry.modified)
        // Large files start for the disk at once, so that the sync at the end has less to wait for.
        if entry.size >= 256 << 10 { file.beginWriteback() }
    }

    private func newFile(_ name: PathBytes, in folder: OpenFolder) throws -> Descriptor {
        do {
            return try folder.descriptor.open(child: name, [.write, .create, .exclusive], permissions: 0o600)
        } catch let fault as KernelFault where fault.isExisting {
            try clear(name, in: folder)
            return try folder.descriptor.open(child: name, [.write, .create, .exclusive], permissions: 0o600)
        }
    }

    private func hardLink(_ name: PathBytes, in folder: OpenFolder, _ entry: TarEntry) throws {
        guard var components = PathCleaning.components(entry.linkTarget), let target = components.popLast() else {
            throw Self.refusal(entry, "a hard link to \"\(TarEntry.shown(entry.linkTarget))\", out of the archive's root")
        }
        let path = folder.path(of: name)
        let source: OpenFolder
        do { source = try folders.open(components, create: false) } catch let fault as KernelFault where fault.isMissing {
            return foreign(path, components + [target])
        }
        if source.path(of: target) == path { return }
        do {
            try replacing(name, in: folder) { try folder.descriptor.link(name, to: source.descriptor, target) }
        } catch let fault as KernelFault where fault.isMissing {
            foreign(path, components + [target])
        } catch let fault as KernelFault where fault.errno == KernelFault.notPermitted {
            throw Self.refusal(entry, "a hard link to a directory")
        }
    }

    private func foreign(_ path: PathBytes, _ target: [PathBytes]) {
        result.foreignLinks.append((path, Array(target.joined(separator: [0x2F]))))
    }

    private func node(_ name: PathBytes, in folder: OpenFolder, _ entry: TarEntry) throws {
        let kind: FileStatus.Kind =
            switch entry.kind {
            case .character: .character
            case .block: .block
            default: .fifo
            }
        if privilege == .user, kind != .fifo { return warn("device \(entry.shownPath) left out: only root makes devices") }
        try replacing(name, in: folder) {
            try folder.descriptor.makeNode(
                name, kind, permissions: entry.mode & 0o777, major: entry.deviceMajor, minor: entry.deviceMinor)
        }
        try metadata(name, in: folder, entry)
        // mknod(2) is subject to the umask
        try folder.descriptor.changeMode(of: name, entry.mode)
    }

    /// Owner, attributes and times of something that cannot or shall not be opened.
    private func metadata(_ name: PathBytes, in folder: OpenFolder, _ entry: TarEntry) throws {
        if privilege == .root { try folder.descriptor.changeOwner(of: name, uid: entry.uid, gid: entry.gid) }
        for attribute in try attributes(entry) {
            try keep(attribute.name) { try folder.descriptor.setAttribute(of: name, attribute.name, attribute.value) }
        }
        try folder.descriptor.setTimes(
            of: name, accessed: entry.accessed ?? entry.modified, modified: entry.modified)
    }

    // MARK: Whiteouts (image-spec layer.md, "Whiteouts")

    private func whiteout(_ name: PathBytes, in folder: OpenFolder, _ entry: TarEntry) throws {
        if name == Whiteout.opaque { return try markOpaque(folder.descriptor) }
        // .wh..wh.aufs, .wh..wh.plnk and the like: aufs's own files
        if name.starts(with: Whiteout.metaPrefix) { return }
        let hidden = PathBytes(name.dropFirst(Whiteout.prefix.count))
        guard !hidden.isEmpty, hidden != [0x2E], hidden != [0x2E, 0x2E] else {
            throw Self.refusal(entry, "a whiteout of nothing")
        }
        // A whiteout concerns the layers below; what this layer itself has under that name stays.
        if let existing = try folder.descriptor.status(of: hidden) {
            if existing.kind == .directory { try markOpaque(hidden, in: folder) }
            return
        }
        try folder.descriptor.makeNode(hidden, .character, permissions: 0)
    }

    private func markOpaque(_ name: PathBytes, in folder: OpenFolder) throws {
        try folder.descriptor.setAttribute(of: name, Whiteout.opaqueAttribute(privilege), Whiteout.opaqueValue)
    }

    private func markOpaque(_ folder: borrowing Descriptor) throws {
        try folder.setAttribute(Whiteout.opaqueAttribute(privilege), Whiteout.opaqueValue)
    }

    // MARK: Attributes

    private func attributes(_ entry: TarEntry) throws -> [TarEntry.Attribute] {
        var list = entry.attributes.filter { attribute in
            // Overlayfs's own marks are ours to set: a redirect would show files of other layers.
            if Whiteout.isOverlayAttribute(attribute.name) {
                warn("attribute \(TarEntry.shown(attribute.name)) of \(entry.shownPath) left out")
                return false
            }
            return true
        }
        do {
            if let text = entry.accessACL { list.append(try PosixACL.attribute(access: text)) }
            if let text = entry.defaultACL { list.append(try PosixACL.attribute(default: text)) }
        } catch { throw Self.refusal(entry, "its ACL is malformed") }
        return list
    }

    /// An attribute that this file system or user cannot have is a warning, as in docker.
    private func keep(_ name: PathBytes, _ set: () throws -> Void) throws {
        do { try set() } catch let fault as KernelFault where fault.isUnsupportedAttribute {
            warn("attribute \(TarEntry.shown(name)) left out: \(fault.reason.lowercasedFirst)")
        }
    }

    private func warn(_ line: String) {
        if result.warnings.count < 20 { result.warnings.append(line) }
    }

    // MARK: Replacing

    /// Makes something under a name; what was there before goes.
    private func replacing(_ name: PathBytes, in folder: OpenFolder, _ make: () throws -> Void) throws {
        do { try make() } catch let fault as KernelFault where fault.isExisting {
            try clear(name, in: folder)
            try make()
        }
    }

    private func clear(_ name: PathBytes, in folder: OpenFolder) throws {
        folders.forget()
        guard let attic, let recipe, try folder.descriptor.status(of: name)?.isWhiteout != true else {
            return try folder.descriptor.removeTree(name)
        }
        let place = try attic.take(name, from: folder.descriptor)
        recipe.moved(folder.path(of: name), to: place)
    }

    // MARK: Folders at the end

    /// A folder's permissions, attributes and times are set when nothing more is put into it: what is made in a folder with a
    /// default ACL inherits it.
    private func later(_ path: PathBytes, _ entry: TarEntry) throws {
        pendingFolders.append(
            PendingFolder(
                path: path, mode: entry.mode, attributes: try attributes(entry), accessed: entry.accessed ?? entry.modified,
                modified: entry.modified))
    }

    private func finishFolders() throws {
        // The last entry of a folder counts; children come before their parents, which may lock them away.
        var last: [PathBytes: PendingFolder] = [:]
        for pending in pendingFolders { last[pending.path] = pending }
        for pending in last.values.sorted(by: { $0.path.count > $1.path.count }) {
            do {
                let folder = try folders.root.descriptor.open(
                    inRoot: pending.path, [.read, .directory, .noFollow], followSymlinks: false)
                try folder.changeMode(pending.mode)
                for attribute in pending.attributes {
                    try keep(attribute.name) { try folder.setAttribute(attribute.name, attribute.value) }
                }
                try folder.setTimes(accessed: pending.accessed, modified: pending.modified)
            } catch let fault as KernelFault where fault.isMissing || fault.isNotDirectory {
                // A later entry put something else there.
                continue
            } catch let fault as KernelFault {
                let name = TarEntry.shown(pending.path)
                throw Fault(.system, "archive entry \"\(name)\": \(fault)", subject: name)
            }
        }
        pendingFolders = []
    }
}
