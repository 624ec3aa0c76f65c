import Linux
import Model

/// Reads single files of a root file system from its layers, without mounting anything.
///
/// Everything in the layers may have been made by somebody hostile: names are looked up one by one below each layer's own
/// descriptor, never through a symbolic link; links are followed here, within the stack, a bounded number of times.
package struct LayerStack {
    /// Topmost first; the container's upper folder is the first where there is one.
    package let layers: [String]

    package init(layers: [String]) { self.layers = layers }

    private static let linkLimit = 16

    /// A regular file's content, nil where the path leads to none.
    /// - Throws: EFBIG beyond the limit.
    package func file(_ path: String, limit: Int) throws -> [UInt8]? {
        var rest = Array(path.split(separator: "/").map { String($0) }.reversed())
        var done: [String] = []
        var links = 0
        while let name = rest.popLast() {
            if name == "." { continue }
            if name == ".." {
                _ = done.popLast()
                continue
            }
            guard let found = try find(done + [name]) else { return nil }
            switch found.status.kind {
            case .symlink:
                links += 1
                guard links <= Self.linkLimit else { return nil }
                let target = String(decoding: try found.folder.symlinkTarget(Array(name.utf8)), as: UTF8.self)
                if target.hasPrefix("/") { done = [] }
                rest.append(contentsOf: target.split(separator: "/").map { String($0) }.reversed())
            case .directory: done.append(name)
            case .regular where rest.isEmpty:
                // Not blocking: somebody may have put a FIFO there meanwhile.
                let file = try found.folder.open(child: Array(name.utf8), [.read, .nonBlocking])
                guard try file.status().kind == .regular else { return nil }
                return try file.readAll(limit: limit, path)
            default: return nil
            }
        }
        return nil
    }

    private struct Found: ~Copyable {
        let folder: Descriptor
        let status: FileStatus
    }

    /// The topmost layer's entry for a path whose folders are real folders.
    private func find(_ names: [String]) throws -> Found? {
        for layer in layers {
            guard var folder = try? Descriptor.open(layer, [.path, .directory]) else { continue }
            var opaque = false
            for (index, name) in names.enumerated() {
                let bytes = Array(name.utf8)
                guard let status = try folder.status(of: bytes) else { break }
                if status.isWhiteout { return nil }
                if index == names.count - 1 { return Found(folder: folder, status: status) }
                // A file where lower layers have a folder hides them.
                guard status.kind == .directory else { return nil }
                folder = try folder.open(child: bytes, [.read, .directory])
                if try folder.attribute(Array("trusted.overlay.opaque".utf8)) == Array("y".utf8) { opaque = true }
            }
            if opaque { return nil }
        }
        return nil
    }
}
