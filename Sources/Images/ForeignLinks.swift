import Archive
import Linux
import Model
import State

/// Hard links of a layer to files that only a layer below has: the file is copied up, as the kernel would have done it.
struct ForeignLinks {
    let layout: Layout
    /// The lowest first.
    let below: [LayerRow]

    func resolve(_ layer: BuiltLayer) throws {
        if layer.foreignLinks.isEmpty { return }
        let root = try Descriptor.open(layer.folder + "/diff", [.read, .directory])
        for link in layer.foreignLinks {
            let name = String(decoding: link.path, as: UTF8.self)
            let target = String(decoding: link.target, as: UTF8.self)
            do {
                try copyUp(link.target, into: root)
                let source = try Located(link.target, in: root, create: false)
                let place = try Located(link.path, in: root, create: true)
                try place.folder.removeTree(place.name)
                try place.folder.link(place.name, to: source.folder, source.name)
            } catch let fault as KernelFault {
                if fault.isDiskFull { throw imageFault(fault) }
                throw Fault(
                    .invalid,
                    "archive entry \"\(name)\": a hard link to \"\(target)\", which is neither in its layer nor below",
                    subject: name)
            }
        }
    }

    private func copyUp(_ path: PathBytes, into root: borrowing Descriptor) throws {
        let place = try Located(path, in: root, create: true)
        if try place.folder.status(of: place.name) != nil { return }
        for row in below.reversed() {
            let tree = try Descriptor.open(layout.layerDiff(row.tree), [.read, .directory])
            switch try find(path, in: tree) {
            case .absent: continue
            case .hidden: throw KernelFault("linkat", errno: 2)
            case .present:
                let source = try Located(path, in: tree, create: false)
                return try FileCopy.copy(source.name, from: source.folder, to: place.folder)
            }
        }
        throw KernelFault("linkat", errno: 2)
    }

    private enum Found { case absent, hidden, present }

    private func find(_ path: PathBytes, in tree: borrowing Descriptor) throws -> Found {
        var prefix: PathBytes = []
        let parts = path.split(separator: 0x2F)
        for (index, part) in parts.enumerated() {
            let folder = try tree.open(inRoot: prefix, [.read, .directory], followSymlinks: false)
            let opaque = try folder.attribute(Array("trusted.overlay.opaque".utf8)) == Array("y".utf8)
            guard let status = try folder.status(of: Array(part)) else { return opaque ? .hidden : .absent }
            if status.isWhiteout { return .hidden }
            if index == parts.count - 1 { return .present }
            guard status.kind == .directory else { return .hidden }
            prefix += (prefix.isEmpty ? [] : [0x2F]) + part
        }
        return .absent
    }
}

/// A name in its open folder, reached without following links.
private final class Located {
    let folder: Descriptor
    let name: PathBytes

    init(_ path: PathBytes, in root: borrowing Descriptor, create: Bool) throws {
        var parts = path.split(separator: 0x2F).map(Array.init)
        guard let name = parts.popLast() else { throw KernelFault("openat2", errno: 2) }
        var folder = try root.open(inRoot: [], [.read, .directory])
        for part in parts {
            if create, try folder.status(of: part) == nil { try folder.makeDirectory(part, permissions: 0o755) }
            folder = try folder.open(child: part, [.read, .directory])
        }
        self.folder = folder
        self.name = name
    }
}
