import Linux
import Model
import State

/// One thing below the data root and the record that it belongs to.
public struct StoredItem: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case database, blob, partialBlob
        /// How a content is made from its layer.
        case blobRecord
        case layer, mergedLayer
        /// What a storage driver has made of a chain of layers.
        case chain
        case container, volume
        /// Work in progress of this engine.
        case temporary
        /// Forgotten already, its files are being removed.
        case deleting
        /// The folders that hold all this, the lock and other files of the engine's own.
        case house
        /// No record names it.
        case unaccounted
    }

    public var kind: Kind
    /// Relative to the data root.
    public var path: String
    /// Digest, id, name, or what the work is.
    public var owner: String
    /// As it appears (du --apparent-size), files with several names once.
    public var bytes: Int64
    public var files: Int

    public init(_ kind: Kind, _ path: String, owner: String = "", bytes: Int64, files: Int = 1) {
        self.kind = kind
        self.path = path
        self.owner = owner
        self.bytes = bytes
        self.files = files
    }
}

extension ImageStore {
    /// Everything below `blobs`, `layers` and `tmp`, each with its record. What layers take is measured once and then known.
    public func census() async throws -> [StoredItem] {
        try await gate.alone { [self] in try await onThread { [self] in try StoreWalk(self).items() } }
    }

    /// Bytes on the disk that removing these files and folders of the store frees.
    func freed(by paths: [String]) -> Int64 {
        var usage = TreeUsage()
        for path in paths { try? usage.add(path: path) }
        return usage.freed
    }
}

/// One walk over the store's folders. Nothing is opened but folders: a lock on the database would go with a closed descriptor.
private struct StoreWalk {
    private let store: ImageStore
    private let layout: Layout
    private let blobs: Set<Digest>
    private let partials: Set<Digest>
    private let records: Set<Digest>
    private let trees: Set<String>
    private let usage: [String: (bytes: Int64, files: Int)]
    private let merged: Set<String>
    private let chains: Set<String>

    init(_ store: ImageStore) throws {
        self.store = store
        layout = store.layout
        let known = try store.database.read { transaction in
            (
                blobs: try transaction.blobFiles(), partials: try transaction.partials(),
                records: try transaction.recordedBlobs(),
                trees: try transaction.layerTrees(), usage: try transaction.treeUsage(),
                merged: try transaction.mergedTrees(), layers: try transaction.layers()
            )
        }
        blobs = known.blobs
        partials = Set(known.partials.map(\.digest))
        records = known.records
        trees = known.trees
        usage = known.usage
        merged = Set(known.merged.map(\.tree))
        chains = Set(known.layers.map(\.chainID.hex))
    }

    func items() throws -> [StoredItem] { try blobItems() + layerItems() + chainItems() + temporaryItems() }

    private func folder(_ path: String) throws -> Descriptor { try Descriptor.open(path, [.read, .directory]) }

    private func house(_ path: String, _ folder: borrowing Descriptor) throws -> StoredItem {
        StoredItem(.house, path, owner: "skiff", bytes: try folder.status().size)
    }

    private func blobItems() throws -> [StoredItem] {
        let top = try folder(layout.blobs)
        var items = [try house("blobs", top)]
        for name in try top.names() {
            let text = String(decoding: name, as: UTF8.self)
            let path = "blobs/" + text
            switch text {
            case "sha256", "sha512", "partial", "records":
                let inner = try top.open(child: name, [.read, .directory])
                items.append(try house(path, inner))
                for file in try inner.names() {
                    guard let status = try inner.status(of: file) else { continue }
                    items.append(try blobItem(path, String(decoding: file, as: UTF8.self), status))
                }
            default: items.append(try unknown(path, name, in: top))
            }
        }
        return items
    }

    private func blobItem(_ folder: String, _ name: String, _ status: FileStatus) throws -> StoredItem {
        let path = folder + "/" + name
        let (kind, known, digest): (StoredItem.Kind, Set<Digest>, Digest?) =
            switch folder {
            case "blobs/partial": (.partialBlob, partials, Digest(fileName: name))
            case "blobs/records": (.blobRecord, records, Digest(fileName: name))
            default: (.blob, blobs, Digest(folder.dropFirst(6) + ":" + name))
            }
        if status.kind == .regular, let digest, known.contains(digest) {
            return StoredItem(kind, path, owner: digest.description, bytes: status.size)
        }
        guard status.kind == .directory else { return StoredItem(.unaccounted, path, bytes: status.size) }
        var usage = TreeUsage()
        try usage.add(path: layout.dataRoot + "/" + path)
        return StoredItem(.unaccounted, path, bytes: usage.bytes, files: usage.files)
    }

    private func layerItems() throws -> [StoredItem] {
        let top = try folder(layout.layers)
        var items = [try house("layers", top)]
        for name in try top.names() {
            let tree = String(decoding: name, as: UTF8.self)
            guard trees.contains(tree) else {
                items.append(try unknown("layers/" + tree, name, in: top))
                continue
            }
            let (bytes, files) = try usage[tree] ?? measure(tree, name, in: top)
            items.append(
                StoredItem(
                    merged.contains(tree) ? .mergedLayer : .layer, "layers/" + tree, owner: tree, bytes: bytes, files: files))
        }
        return items
    }

    private func chainItems() throws -> [StoredItem] {
        guard exists(layout.chains) else { return [] }
        let top = try folder(layout.chains)
        var items = [try house("chains", top)]
        for name in try top.names() {
            let hex = String(decoding: name, as: UTF8.self)
            let key = "chain-" + hex
            guard chains.contains(hex) else {
                items.append(try unknown("chains/" + hex, name, in: top))
                continue
            }
            if let (bytes, files) = usage[key] {
                items.append(StoredItem(.chain, "chains/" + hex, owner: hex, bytes: bytes, files: files))
                continue
            }
            var found = TreeUsage()
            try found.add(name, in: top)
            try store.database.write { try $0.setUsage(tree: key, bytes: found.bytes, files: found.files) }
            items.append(StoredItem(.chain, "chains/" + hex, owner: hex, bytes: found.bytes, files: found.files))
        }
        return items
    }

    private func measure(_ tree: String, _ name: PathBytes, in top: borrowing Descriptor) throws -> (Int64, Int) {
        var found = TreeUsage()
        try found.add(name, in: top)
        // The files of merged layers are other names of the layers' own files.
        let bytes = merged.contains(tree) ? found.freed : found.bytes
        let files = found.files
        try store.database.write { transaction in
            guard try transaction.isUsed(layerTree: tree) else { return }
            try transaction.setUsage(tree: tree, bytes: bytes, files: files)
        }
        return (bytes, files)
    }

    private func temporaryItems() throws -> [StoredItem] {
        let top = try folder(layout.temporary)
        var items = [try house("tmp", top)]
        for name in try top.names() {
            let text = String(decoding: name, as: UTF8.self)
            var item = try unknown("tmp/" + text, name, in: top)
            let isDrivers = store.driver.workshops.contains(text)
            if let purpose = store.workshops.withLock({ $0[text] }) ?? (isDrivers ? store.driver.name : nil) {
                item.kind = purpose == "removal" ? .deleting : .temporary
                item.owner = purpose
            }
            items.append(item)
        }
        return items
    }

    private func unknown(_ path: String, _ name: PathBytes, in folder: borrowing Descriptor) throws -> StoredItem {
        var usage = TreeUsage()
        // Work goes on in temporary folders: what vanishes while it is counted is gone.
        try usage.add(name, in: folder)
        return StoredItem(.unaccounted, path, bytes: usage.bytes, files: usage.files)
    }
}
