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
            try LayerMerge.apply(source, to: root)
        }
    }
}

/// Lays one layer's folder over another's, as overlayfs would show the two.
enum LayerMerge {
    static func apply(_ source: borrowing Descriptor, to target: borrowing Descriptor) throws {
        let status = try source.status()
        try target.changeOwner(uid: status.uid, gid: status.gid)
        try target.changeMode(status.mode)
        for name in try source.names() { try apply(name, from: source, to: target) }
        try target.setTimes(accessed: status.modified, modified: status.modified)
    }

    private static func apply(_ name: PathBytes, from source: borrowing Descriptor, to target: borrowing Descriptor) throws {
        guard let status = try source.status(of: name) else { return }
        if status.isWhiteout { return try target.removeTree(name) }
        guard status.kind == .directory else {
            try target.removeTree(name)
            return try target.link(name, to: source, name)
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
        try apply(below, to: above)
    }
}
