import Images
import Linux
import Model
import State

/// Everything below the data root, each thing with the one record that it belongs to.
public struct StorageCensus: Sendable {
    public typealias Kind = StoredItem.Kind
    public static var kinds: [Kind] { Kind.allCases }

    public let items: [StoredItem]

    public func items(_ kind: Kind) -> [StoredItem] { items.filter { $0.kind == kind } }
    public func bytes(_ kinds: Kind...) -> Int64 {
        items.reduce(0) { $0 + (kinds.contains($1.kind) ? $1.bytes : 0) }
    }

    /// What `du --apparent-size` says of `blobs` and `layers`, less what no record names.
    public var imageBytes: Int64 {
        items.reduce(0) { sum, item in
            let isImage = ["blobs", "layers", "chains"].contains { item.path.hasPrefix($0) }
            return sum + (isImage && item.kind != .unaccounted ? item.bytes : 0)
        }
    }

    public var unaccounted: [StoredItem] { items(.unaccounted) }
}

extension EngineCore {
    /// Looks twice where something seems to have no record: it may have been made or removed between two looks.
    func census() async throws -> StorageCensus {
        let first = try await censusOnce()
        if first.unaccounted.isEmpty { return first }
        try await Task.sleep(for: .milliseconds(100))
        let before = Set(first.unaccounted.map(\.path))
        let second = try await censusOnce()
        return StorageCensus(items: second.items.filter { $0.kind != .unaccounted || before.contains($0.path) })
    }

    private func censusOnce() async throws -> StorageCensus {
        let stored = try await images.census()
        let rest = try await background.run { [self] in try DataRootWalk(self).items() }
        return StorageCensus(items: stored + rest)
    }
}

/// The data root without the images' folders.
private struct DataRootWalk {
    private let core: EngineCore
    private let containers: Set<String>
    private let volumes: Set<String>
    private let garbage: Set<String>

    init(_ core: EngineCore) throws {
        self.core = core
        (containers, volumes, garbage) = try core.database.read { transaction in
            (
                Set(try transaction.containers().map(\.id.text)), Set(try transaction.volumes().map(\.name)),
                Set(try transaction.garbage())
            )
        }
    }

    func items() throws -> [StoredItem] {
        let root = try Descriptor.open(core.layout.dataRoot, [.read, .directory])
        var items = [StoredItem(.house, "", owner: "skiff", bytes: try root.status().size)]
        for name in try root.names() {
            guard let status = try root.status(of: name) else { continue }
            let text = String(decoding: name, as: UTF8.self)
            switch text {
            case "blobs", "layers", "chains", "tmp": continue
            case DiskReserve.name, DiskReserve.name + ".new":
                items.append(StoredItem(.house, text, owner: "reserve", bytes: status.size))
            case "lock": items.append(StoredItem(.house, text, owner: "lock", bytes: status.size))
            case "skiff.db", "skiff.db-wal", "skiff.db-shm", "skiff.db-journal":
                items.append(StoredItem(.database, text, owner: text, bytes: status.size))
            case "containers": items += try children(name, .container, known: containers, in: root)
            case "volumes": items += try children(name, .volume, known: volumes, in: root)
            // A file system of its own has one of these (ext4).
            case "lost+found": items.append(StoredItem(.house, text, owner: "file system", bytes: status.size))
            default: items.append(try item(.unaccounted, text, name, in: root))
            }
        }
        return items
    }

    private func children(
        _ name: PathBytes, _ kind: StoredItem.Kind, known: Set<String>, in root: borrowing Descriptor
    ) throws -> [StoredItem] {
        let folder = try root.open(child: name, [.read, .directory])
        let place = String(decoding: name, as: UTF8.self)
        var items = [StoredItem(.house, place, owner: "skiff", bytes: try folder.status().size)]
        for child in try folder.names() {
            let text = String(decoding: child, as: UTF8.self)
            let path = place + "/" + text
            let isGarbage = garbage.contains(core.layout.dataRoot + "/" + path)
            var item = try item(
                known.contains(text) ? kind : isGarbage ? .deleting : .unaccounted, path, child, in: folder)
            item.owner = text
            items.append(item)
        }
        return items
    }

    private func item(
        _ kind: StoredItem.Kind, _ path: String, _ name: PathBytes, in folder: borrowing Descriptor
    ) throws -> StoredItem {
        var usage = TreeUsage()
        try usage.add(name, in: folder)
        return StoredItem(kind, path, bytes: usage.bytes, files: usage.files)
    }
}
