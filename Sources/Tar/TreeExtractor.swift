import Linux
import Model

/// How an archive is unpacked into a tree that is there already.
public struct ExtractionRules: Sendable {
    public enum Owner: Sendable, Equatable {
        case asArchived
        case fixed(uid: UInt32, gid: UInt32)
        /// Whoever unpacks.
        case caller
    }

    public var owner = Owner.asArchived
    /// A folder is not replaced by something else, nor something else by a folder (docker's noOverwriteDirNonDir).
    public var keepsKinds = false
    /// The folder's name in messages.
    public var place = "/"

    public init() {}
}

/// Unpacks a plain archive (`cp`) into a folder that may be in use, even by somebody hostile who changes it meanwhile.
///
/// Nothing outside the folder is read or written: every path is resolved by the kernel with the folder as root (openat2
/// RESOLVE_IN_ROOT, no magic links), names are made and changed relative to the descriptor of their own folder without following
/// links, and what exists is never opened for writing: it is replaced (CVE-2018-15664, CVE-2026-41568).
public final class TreeExtractor {
    private let root: Descriptor
    private let rules: ExtractionRules
    private var last: Place?
    private var folders: [(path: [PathBytes], entry: TarEntry)] = []
    private static let limitOfRetries = 8

    /// An open folder.
    private final class Place {
        let path: [PathBytes]
        let folder: Descriptor
        init(_ path: [PathBytes], _ folder: consuming Descriptor) {
            self.path = path
            self.folder = folder
        }
    }

    public init(root: consuming Descriptor, _ rules: ExtractionRules = ExtractionRules()) {
        self.root = root
        self.rules = rules
    }

    /// Unpacks everything and reads the archive to its end. On a fault what was unpacked stays.
    /// - Parameter rename: changes an entry's path, or a hard link's target, before it is looked at.
    public func extract(_ reader: TarReader, rename: (PathBytes) -> PathBytes = { $0 }) throws {
        while var entry = try reader.next() {
            entry.path = rename(entry.path)
            if entry.kind == .hardLink { entry.linkTarget = rename(entry.linkTarget) }
            do { try extract(entry, reader) } catch let fault as KernelFault { throw Self.fault(entry, fault) }
        }
        last = nil
        for (path, entry) in folders.reversed() {
            do { try finish(path, entry) } catch let fault as KernelFault where fault.isMissing || fault.isNotDirectory {
                // Something else has been put there meanwhile.
                continue
            } catch let fault as KernelFault { throw Self.fault(entry, fault) }
        }
    }

    private static func fault(_ entry: TarEntry, _ fault: KernelFault) -> Fault {
        let name = entry.shownPath
        if fault.isDiskFull {
            return Fault(.unavailable, "no space left on the disk, while unpacking \"\(name)\"", subject: name)
        }
        return Fault(.system, "\(name): \(fault.reason.lowercasedFirst) (\(fault.call))", subject: name, cause: fault)
    }

    private func refusal(_ entry: TarEntry, _ why: String) -> Fault {
        Fault(.invalid, "archive entry \"\(entry.shownPath)\": \(why)", subject: entry.shownPath)
    }

    private func shown(_ path: [PathBytes]) -> String {
        let start = rules.place.hasSuffix("/") ? rules.place : rules.place + "/"
        return start + TarEntry.shown(PathBytes(path.joined(separator: [0x2F])))
    }

    // MARK: Entries

    private func extract(_ entry: TarEntry, _ reader: TarReader) throws {
        if entry.kind == .other { return }
        guard let path = PathCleaning.components(entry.path) else {
            throw refusal(entry, "it leads out of the folder that is unpacked into")
        }
        guard let name = path.last else {
            guard entry.kind == .directory else { throw refusal(entry, "the root can only be a directory") }
            return
        }
        let place = try open(Array(path.dropLast()))
        if try clear(name, path, in: place.folder, entry) == false {
            try make(name, in: place.folder, entry, reader)
        }
        switch entry.kind {
        case .directory: folders.append((path, entry))
        case .file, .hardLink, .other: break
        case .symlink, .character, .block, .fifo: try metadata(name, in: place.folder, entry)
        }
    }

    private func make(_ name: PathBytes, in folder: borrowing Descriptor, _ entry: TarEntry, _ reader: TarReader) throws {
        switch entry.kind {
        case .directory: try folder.makeDirectory(name, permissions: 0o700)
        case .file: try file(name, in: folder, entry, reader)
        case .symlink:
            guard !entry.linkTarget.isEmpty else { throw refusal(entry, "a symbolic link to nothing") }
            try folder.makeSymlink(name, to: entry.linkTarget)
        case .hardLink: try hardLink(name, in: folder, entry)
        case .character, .block, .fifo:
            let kind: FileStatus.Kind =
                entry.kind == .character ? .character : entry.kind == .block ? .block : .fifo
            try folder.makeNode(
                name, kind, permissions: entry.mode & 0o777, major: entry.deviceMajor, minor: entry.deviceMinor)
        case .other: break
        }
    }

    /// Makes room for an entry; true where a folder is there that the entry's folder is merged with.
    private func clear(_ name: PathBytes, _ path: [PathBytes], in folder: borrowing Descriptor, _ entry: TarEntry) throws
        -> Bool
    {
        for _ in 0..<Self.limitOfRetries {
            guard let status = try folder.status(of: name) else { return false }
            let isFolder = status.kind == .directory
            if isFolder, entry.kind == .directory { return true }
            if rules.keepsKinds, isFolder {
                throw Fault(
                    .conflict, "cannot overwrite directory \"\(shown(path))\" with non-directory \"\(rules.place)\"")
            }
            if rules.keepsKinds, entry.kind == .directory {
                throw Fault(
                    .conflict, "cannot overwrite non-directory \"\(shown(path))\" with directory \"\(rules.place)\"")
            }
            try folder.removeTree(name)
        }
        throw refusal(entry, "something is put into its place again and again")
    }

    private func file(_ name: PathBytes, in folder: borrowing Descriptor, _ entry: TarEntry, _ reader: TarReader) throws {
        let file = try folder.open(child: name, [.write, .create, .exclusive], permissions: 0o600)
        try reader.writeContent(of: entry, to: file)
        switch rules.owner {
        case .asArchived: try file.changeOwner(uid: entry.uid, gid: entry.gid)
        case .fixed(let uid, let gid): try file.changeOwner(uid: uid, gid: gid)
        case .caller: break
        }
        try file.changeMode(entry.mode)
        for attribute in attributes(entry) { try keep { try file.setAttribute(attribute.name, attribute.value) } }
        try file.setTimes(accessed: entry.accessed ?? entry.modified, modified: entry.modified)
    }

    private func hardLink(_ name: PathBytes, in folder: borrowing Descriptor, _ entry: TarEntry) throws {
        guard let target = PathCleaning.components(entry.linkTarget), let last = target.last else {
            throw refusal(entry, "a hard link to \"\(TarEntry.shown(entry.linkTarget))\", out of the folder")
        }
        let source = try resolve(Array(target.dropLast()), create: false)
        try folder.link(name, to: source, last)
    }

    // MARK: Folders

    /// Opens a folder, and makes it where it is missing; it is kept, as neighbours in an archive mostly share theirs.
    private func open(_ path: [PathBytes]) throws -> Place {
        if let last, last.path == path { return last }
        let place = Place(path, try resolve(path, create: true))
        last = place
        return place
    }

    private func resolve(_ path: [PathBytes], create: Bool) throws -> Descriptor {
        if path.isEmpty { return try root.open(inRoot: [], [.read, .directory]) }
        do { return try root.open(inRoot: PathBytes(path.joined(separator: [0x2F])), [.read, .directory]) } catch let fault
            as KernelFault where fault.isMissing && create
        {
            guard let name = path.last else { throw fault }
            let parent = try resolve(Array(path.dropLast()), create: true)
            try parent.makeDirectory(name, permissions: 0o755)
            let made = try parent.open(child: name, [.read, .directory])
            try made.changeMode(0o755)
            return made
        }
    }

    /// Owner, mode, attributes and times of a folder, when nothing more is put into it.
    private func finish(_ path: [PathBytes], _ entry: TarEntry) throws {
        guard let name = path.last else { return }
        let parent = try resolve(Array(path.dropLast()), create: false)
        let folder = try parent.open(child: name, [.read, .directory])
        switch rules.owner {
        case .asArchived: try folder.changeOwner(uid: entry.uid, gid: entry.gid)
        case .fixed(let uid, let gid): try folder.changeOwner(uid: uid, gid: gid)
        case .caller: break
        }
        try folder.changeMode(entry.mode)
        for attribute in attributes(entry) { try keep { try folder.setAttribute(attribute.name, attribute.value) } }
        try folder.setTimes(accessed: entry.accessed ?? entry.modified, modified: entry.modified)
    }

    /// Owner, attributes and times of something that cannot or shall not be opened.
    private func metadata(_ name: PathBytes, in folder: borrowing Descriptor, _ entry: TarEntry) throws {
        switch rules.owner {
        case .asArchived: try folder.changeOwner(of: name, uid: entry.uid, gid: entry.gid)
        case .fixed(let uid, let gid): try folder.changeOwner(of: name, uid: uid, gid: gid)
        case .caller: break
        }
        if entry.kind != .symlink {
            // mknod(2) is subject to the umask
            try folder.changeMode(of: name, entry.mode)
        }
        for attribute in attributes(entry) {
            try keep { try folder.setAttribute(of: name, attribute.name, attribute.value) }
        }
        try folder.setTimes(of: name, accessed: entry.accessed ?? entry.modified, modified: entry.modified)
    }

    /// Overlayfs's own marks are not an archive's to set.
    private func attributes(_ entry: TarEntry) -> [TarEntry.Attribute] {
        var list = entry.attributes.filter { !Whiteout.isOverlayAttribute($0.name) }
        if let text = entry.accessACL, let attribute = try? PosixACL.attribute(access: text) { list.append(attribute) }
        if let text = entry.defaultACL, let attribute = try? PosixACL.attribute(default: text) { list.append(attribute) }
        return list
    }

    /// An attribute that this file system or user cannot have is left out, as with docker.
    private func keep(_ set: () throws -> Void) throws {
        do { try set() } catch let fault as KernelFault where fault.isUnsupportedAttribute {}
    }
}
