import Archive
import Linux
import Model
import State

extension ImageStore {
    /// For an image with more layers than the kernel stacks: one folder that stands for the lowest ones. Files are hard links to
    /// those of the layers, so that it costs names and no content.
    func merge(_ layers: [LayerRow], _ workshop: Workshop) throws -> (chain: Digest, tree: String)? {
        guard layers.count > Self.maximumStack else { return nil }
        let lower = layers[...(layers.count - Self.maximumStack)]
        guard let top = lower.last else { return nil }
        if let known = try database.read({ try $0.mergedTree(chain: top.chainID) }) { return (top.chainID, known) }
        let tree = "merged-" + top.chainID.hex
        let folder = workshop.file("merged-" + top.chainID.short)
        try merge(lower, into: folder)
        try discard([layout.layerFolder(tree)])
        try moveFolder(folder, to: layout.layerFolder(tree))
        return (top.chainID, tree)
    }

    /// Makes a folder with what overlayfs shows of these layers, the lowest first.
    func merge(_ layers: ArraySlice<LayerRow>, into folder: String) throws {
        try Descriptor.makeDirectories(folder + "/diff", permissions: 0o755)
        let root = try Descriptor.open(folder + "/diff", [.read, .directory])
        for layer in layers {
            let source = try Descriptor.open(layout.layerDiff(layer.tree), [.read, .directory])
            try LayerMerge(.links).apply(source, to: root)
        }
    }
}

/// Lays one layer's folder over another's, as overlayfs would show the two.
final class LayerMerge {
    enum Files {
        /// Further names of the layer's own files.
        case links
        /// Files of their own; several names of one file stay that.
        case copies
    }

    private struct Inode: Hashable {
        let device: UInt64
        let number: UInt64
    }

    private let files: Files
    /// Where the copy of a file is that has several names: the folder and its name.
    private var copies: [Inode: (folder: SharedDescriptor, name: PathBytes)] = [:]

    init(_ files: Files) { self.files = files }

    func apply(_ source: borrowing Descriptor, to target: borrowing Descriptor) throws {
        try lay(source, target)
        copies = [:]
    }

    private func lay(_ source: borrowing Descriptor, _ target: borrowing Descriptor) throws {
        let status = try source.status()
        try target.changeOwner(uid: status.uid, gid: status.gid)
        try target.changeMode(status.mode)
        for name in try source.names() { try lay(name, source, target) }
        try target.setTimes(accessed: status.modified, modified: status.modified)
    }

    private func lay(_ name: PathBytes, _ source: borrowing Descriptor, _ target: borrowing Descriptor) throws {
        guard let status = try source.status(of: name) else { return }
        if status.isWhiteout { return try target.removeTree(name) }
        guard status.kind == .directory else {
            try target.removeTree(name)
            switch files {
            case .links: return try target.link(name, to: source, name)
            case .copies: return try copy(name, status, source, target)
            }
        }
        let opaque = try source.attribute(of: name, Array("trusted.overlay.opaque".utf8)) == Array("y".utf8)
        if try opaque || target.status(of: name)?.kind != .directory { try target.removeTree(name) }
        if try target.status(of: name) == nil { try target.makeDirectory(name, permissions: 0o700) }
        for attribute in try source.attributeNames(of: name) where !attribute.starts(with: "trusted.overlay.".utf8) {
            guard let value = try source.attribute(of: name, attribute) else { continue }
            try target.setAttribute(of: name, attribute, value)
        }
        let below = try source.open(child: name, [.read, .directory])
        let above = try target.open(child: name, [.read, .directory])
        try lay(below, above)
    }

    private func copy(
        _ name: PathBytes, _ status: FileStatus, _ source: borrowing Descriptor, _ target: borrowing Descriptor
    ) throws {
        let inode = Inode(device: status.device, number: status.inode)
        if status.links > 1, let known = copies[inode] {
            let folder = try Descriptor.duplicate(of: known.folder.raw)
            return try target.link(name, to: folder, known.name)
        }
        try FileCopy.copy(name, from: source, to: target)
        // Descriptors are few: files with several names are as well.
        guard status.links > 1, copies.count < 4096 else { return }
        copies[inode] = (SharedDescriptor(try Descriptor.duplicate(of: target.raw)), name)
    }
}
