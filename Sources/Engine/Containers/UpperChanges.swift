import Archive
import Linux
import Model

/// What a container has changed of its image: the overlay's upper folder compared with the layers below.
struct UpperChanges {
    private enum Kind: Int {
        case modified = 0
        case added = 1
        case deleted = 2
    }

    /// The image's layers, topmost first.
    let layers: [String]

    /// Files that the engine puts or mounts there itself, and folders whose content is mounted.
    private static let own: Set<String> = [
        "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev", "/proc", "/sys", "/.dockerenv",
    ]

    init(layers: [String]) { self.layers = layers }

    /// Sorted by path, parents before their children, as docker lists them.
    func list(_ upper: borrowing Descriptor) throws -> [Docker.FilesystemChange] {
        var walk = Walk(layers: try layers.map { HeldDescriptor(try Descriptor.open($0, [.read, .directory])) })
        try walk.folder(upper, path: "", isNew: false)
        return walk.changes
    }

    private struct Walk {
        let layers: [HeldDescriptor]
        var changes: [Docker.FilesystemChange] = []

        mutating func folder(_ folder: borrowing Descriptor, path: String, isNew: Bool) throws {
            for name in try folder.names().sorted(by: { $0.lexicographicallyPrecedes($1) }) {
                guard let status = try folder.status(of: name) else { continue }
                let full = path + "/" + String(decoding: name, as: UTF8.self)
                if UpperChanges.own.contains(full) { continue }
                if status.isWhiteout {
                    if !isNew, exists(full) { note(full, .deleted) }
                    continue
                }
                let isAddition = isNew || !exists(full)
                let index = changes.count
                note(full, isAddition ? .added : .modified)
                guard status.kind == .directory else { continue }
                let child = try folder.open(child: name, [.read, .directory])
                try self.folder(child, path: full, isNew: isAddition)
                guard changes.count == index + 1, !isAddition else { continue }
                // A folder that was only copied up, or in which the engine has mounted, is no change of the container's.
                if full == "/etc" || isSame(status, find(full)) { changes.removeLast() }
            }
        }

        private mutating func note(_ path: String, _ kind: Kind) {
            var change = Docker.FilesystemChange()
            change.path = path
            change.kind = kind.rawValue
            changes.append(change)
        }

        private func isSame(_ upper: FileStatus, _ lower: FileStatus?) -> Bool {
            guard let lower else { return false }
            return upper.mode == lower.mode && upper.uid == lower.uid && upper.gid == lower.gid
                && upper.modified == lower.modified
        }

        private func exists(_ path: String) -> Bool { find(path) != nil }

        /// What the layers together have at the path: the topmost that says so decides.
        private func find(_ path: String) -> FileStatus? {
            let parts = path.split(separator: "/").map { Array($0.utf8) }
            for layer in layers {
                switch look(layer, parts) {
                case .there(let status): return status
                case .hidden: return nil
                case .silent: continue
                }
            }
            return nil
        }

        private enum Look {
            case there(FileStatus)
            case hidden
            case silent
        }

        private func look(_ layer: HeldDescriptor, _ parts: [[UInt8]]) -> Look {
            (try? layer.borrow { root in try Walk.look(root, parts[...]) }) ?? .silent
        }

        private static func look(_ folder: borrowing Descriptor, _ parts: ArraySlice<[UInt8]>) throws -> Look {
            guard let name = parts.first else { return .silent }
            guard let status = try folder.status(of: name) else {
                let mark = try? folder.attribute(Array("trusted.overlay.opaque".utf8))
                return mark == [UInt8(ascii: "y")] ? .hidden : .silent
            }
            if status.isWhiteout { return .hidden }
            if parts.count == 1 { return .there(status) }
            // a file or a link in place of a folder hides what is below it
            guard status.kind == .directory else { return .hidden }
            let child = try folder.open(child: name, [.read, .directory])
            return try look(child, parts.dropFirst())
        }
    }
}
