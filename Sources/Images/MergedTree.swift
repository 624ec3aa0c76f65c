import Linux
import Model

/// What a folder must look like that stands for several layers: hard links to the layers' files under the folders that they make
/// together (`LayerMerge`).
struct MergedTree {
    /// Folders of the layers, the lowest first.
    let layers: [String]

    private enum Expected {
        case file(FileStatus)
        /// Which of the layers make the folder together.
        case folder([Int])
    }

    /// The first thing in which the folder differs; nil when it is as it must be.
    func difference(_ merged: String) throws -> String? {
        try difference(try Descriptor.open(merged, [.read, .directory]), Array(layers.indices), [])
    }

    private func difference(_ folder: borrowing Descriptor, _ makers: [Int], _ place: [PathBytes]) throws -> String? {
        if let top = makers.last {
            let wanted = try self.folder(top, place).status()
            let found = try folder.status()
            guard wanted.mode == found.mode, wanted.uid == found.uid, wanted.gid == found.gid else {
                return "\(Self.text(place)) has another owner or mode"
            }
        }
        let expected = try children(makers, place)
        for name in try folder.names() where expected[name] == nil { return "\(Self.text(place + [name])) is too much" }
        for (name, what) in expected.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            let path = place + [name]
            guard let found = try folder.status(of: name) else { return "\(Self.text(path)) is missing" }
            switch what {
            case .file(let wanted):
                guard found.inode == wanted.inode, found.device == wanted.device else {
                    return "\(Self.text(path)) is not the layer's"
                }
            case .folder(let below):
                guard found.kind == .directory else { return "\(Self.text(path)) is no folder" }
                let inner = try folder.open(child: name, [.read, .directory])
                if let inside = try difference(inner, below, path) { return inside }
            }
        }
        return nil
    }

    /// Opened one after the other: hundreds of layers must not take hundreds of descriptors for each folder.
    private func folder(_ layer: Int, _ place: [PathBytes]) throws -> Descriptor {
        var folder = try Descriptor.open(layers[layer], [.read, .directory])
        for name in place { folder = try folder.open(child: name, [.read, .directory]) }
        return folder
    }

    private func children(_ makers: [Int], _ place: [PathBytes]) throws -> [PathBytes: Expected] {
        var expected: [PathBytes: Expected] = [:]
        for layer in makers {
            let folder = try folder(layer, place)
            for name in try folder.names() {
                guard let status = try folder.status(of: name) else { continue }
                if status.isWhiteout {
                    expected[name] = nil
                } else if status.kind != .directory {
                    expected[name] = .file(status)
                } else if case .folder(let below)? = expected[name],
                    try folder.attribute(of: name, Array("trusted.overlay.opaque".utf8)) != Array("y".utf8)
                {
                    expected[name] = .folder(below + [layer])
                } else {
                    expected[name] = .folder([layer])
                }
            }
        }
        return expected
    }

    private static func text(_ place: [PathBytes]) -> String {
        "/" + place.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/")
    }
}
