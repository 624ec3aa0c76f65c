import Archive
import Linux
import Model
import State

extension ImageStore {
    /// From where contents are fetched again; nil (at first): from nowhere.
    public func setRefetch(_ refetch: Refetch?) {
        self.refetch.withLock { $0 = refetch }
        unfetchable.withLock { $0 = [] }
    }

    /// Mends what a check has found, as far as it can be done here, and says in each damage what was done. What cannot be mended stays as
    /// it is: nothing is deleted that cannot be made again.
    /// - Parameters:
    ///   - refetch: how contents are fetched, with the credentials of whoever asked; nil is the engine's own way, without any.
    ///   - isBusy: whether a running container needs one of these images; a layer under it is not exchanged.
    public func repair(
        _ found: CheckedStore, refetch: Refetch? = nil, isBusy: @escaping @Sendable ([Digest]) -> String?,
        progress: @escaping @Sendable (CheckProgress) -> Void = { _ in }
    ) async -> [StoreDamage] {
        var damages = found.damages
        for index in damages.indices {
            let damage = damages[index]
            guard let plan = found.plans[damage.subject + damage.path] else { continue }
            progress(CheckProgress(what: "repairing \(damage.subject)", done: Int64(index), total: Int64(damages.count)))
            do { damages[index].repair = try await carryOut(plan, damage, refetch, isBusy) } catch {
                damages[index].remedy += " (not repaired: \(Fault(error)))"
            }
        }
        return damages
    }

    private func carryOut(
        _ plan: RepairPlan, _ damage: StoreDamage, _ refetch: Refetch?, _ isBusy: @escaping @Sendable ([Digest]) -> String?
    ) async throws -> String {
        if damage.kind == .layer, let name = isBusy(damage.images) {
            throw Fault(.conflict, "container \(name) runs on it; stop it first", subject: name)
        }
        switch plan {
        case .writeConfig(let id):
            try await replaceFile(of: id) { workshop in
                guard let row = try self.database.read({ try $0.image(id) }) else { throw Self.missing(id.description) }
                try workshop.write("content", row.config)
            }
            return "written again from the state file"
        case .makeFromTree(let blob, let tree):
            try await gate.alone { [self] in
                try await database.write(.durable) { try $0.setTree(tree, ofBlob: blob.digest) }
                try await onThread { [self] in try discard([layout.blob(blob.digest)]) }
            }
            return "dropped; it is made from the unpacked layer when it is needed"
        case .unpack(let blob):
            try await unpackAgain(blob)
            return "unpacked again from content \(blob.digest.short)"
        case .fetch(let blob):
            try await fetchAgain(blob, refetch)
            guard damage.kind == .layer else { return "fetched again" }
            try await unpackAgain(blob)
            return "fetched again and unpacked"
        case .merge(let chainID):
            try await mergeAgain(chainID)
            return "merged again"
        }
    }

    /// A new file for a content, whose digest is verified before it goes to its place.
    private func replaceFile(of digest: Digest, _ write: @escaping @Sendable (Workshop) throws -> Void) async throws {
        try await inWorkshop("repair") { workshop in
            try await onThread {
                try write(workshop)
                let source = HashingSource(
                    DescriptorSource(try Descriptor.open(workshop.file("content"), [.read])), digest.algorithm)
                try source.copy(to: NullSink())
                let found = try source.hash.finish()
                guard found == digest else {
                    throw Fault(.system, "what was to replace \(digest) has the digest \(found)", subject: digest.description)
                }
            }
            try await gate.alone { [self] in
                try await onThread { [self] in
                    // Replaces the damaged file at once (rename(2)).
                    try moveFolder(workshop.file("content"), to: layout.blob(digest))
                    try Descriptor.open(layout.dataRoot, [.read, .directory]).syncFileSystem()
                }
            }
        }
    }

    private func fetchAgain(_ blob: BlobRow, _ refetch: Refetch?) async throws {
        try await replaceFile(of: blob.digest) { [self] in try fetch(blob, to: $0, by: refetch) }
        if blob.hasFile { return }
        try await gate.alone { [self] in
            try await database.write(.durable) { try $0.setTree(nil, ofBlob: blob.digest) }
            try await onThread { [self] in try discard([layout.blobRecord(blob.digest)]) }
        }
    }

    /// Builds the layer's folders anew from a compressed content, and puts them in the place of the old ones.
    private func unpackAgain(_ blob: BlobRow) async throws {
        guard let diffID = blob.diffID else { throw Fault(.system, "\(blob.digest) is no layer") }
        let rows = try database.read { transaction in
            try transaction.layers().filter { $0.diffID == diffID }.map { row in
                let image = try transaction.images(withLayer: row.chainID).first
                let below = try image.map { try transaction.layers(ofImage: $0) } ?? []
                return (row: row, below: Array(below.prefix { $0.chainID != row.chainID }))
            }
        }
        var done: Set<String> = []
        for (row, below) in rows where done.insert(row.tree).inserted {
            try await inWorkshop("repair") { workshop in
                try await onThread { [self] in
                    let file = DescriptorSource(try Descriptor.open(layout.blob(blob.digest), [.read]))
                    let built = try LayerBuilder(privilege: privilege).build(file, folder: workshop.file("layer"))
                    guard built.diffID == diffID else {
                        throw Fault(.system, "content \(blob.digest) does not unpack to layer \(diffID)")
                    }
                    try ForeignLinks(layout: layout, below: below).resolve(built)
                }
                try await gate.alone { [self] in try await exchange(row.tree, with: workshop.file("layer")) }
            }
        }
        // Merged folders are made of the old folder's files.
        let chains = try database.read { transaction in
            try transaction.mergedTrees().map(\.chainID).filter { chainID in
                guard let image = try transaction.images(withLayer: chainID).first else { return false }
                let stack = try transaction.layers(ofImage: image)
                guard let top = stack.firstIndex(where: { $0.chainID == chainID }) else { return false }
                return stack[...top].contains { done.contains($0.tree) }
            }
        }
        for chainID in chains { try await mergeAgain(chainID) }
    }

    private func mergeAgain(_ chainID: Digest) async throws {
        let (stack, tree) = try database.read { transaction in
            (
                try transaction.images(withLayer: chainID).first.map { try transaction.layers(ofImage: $0) } ?? [],
                try transaction.mergedTree(chain: chainID)
            )
        }
        guard let tree, let top = stack.firstIndex(where: { $0.chainID == chainID }) else {
            throw Fault(.notFound, "no image has the merged layers \(chainID.short) any more")
        }
        try await inWorkshop("repair") { workshop in
            try await onThread { [self] in try merge(stack[...top], into: workshop.file("layer")) }
            try await gate.alone { [self] in try await exchange(tree, with: workshop.file("layer")) }
        }
    }

    /// A new folder in the place of an old one, which is deleted.
    private func exchange(_ tree: String, with folder: String) async throws {
        try await onThread { [self] in
            guard try database.read({ try $0.isUsed(layerTree: tree) }) else { return }
            try discard([layout.layerFolder(tree)])
            try moveFolder(folder, to: layout.layerFolder(tree))
            try Descriptor.open(layout.dataRoot, [.read, .directory]).syncFileSystem()
            try database.write { try $0.forgetUsage(tree: tree) }
        }
    }

    /// Removes paths of the store that no record names (`StoredItem.unaccounted`), where they look as this store makes them. Answers
    /// those that were removed.
    public func removeLeftovers(_ items: [StoredItem]) async throws -> [StoredItem] {
        try await gate.alone { [self] in
            let (trees, blobs, records) = try database.read {
                (try $0.layerTrees(), try $0.blobFiles(), try $0.recordedBlobs())
            }
            let ours = items.filter { item in
                let parts = item.path.split(separator: "/").map(String.init)
                guard item.kind == .unaccounted, let name = parts.last, exists(layout.dataRoot + "/" + item.path) else {
                    return false
                }
                switch (parts.count, parts[0]) {
                case (2, "chains"): return Digest(.sha256, hex: name) != nil
                case (2, "layers"): return Layout.isLayerTree(name) && !trees.contains(name)
                case (2, "tmp"):
                    return name.hasPrefix(Workshop.prefix) && workshops.withLock { $0[name] } == nil
                        && !driver.workshops.contains(name)
                case (3, "blobs") where parts[1] == "partial": return Digest(fileName: name) != nil
                case (3, "blobs") where parts[1] == "records":
                    return Digest(fileName: name).map { !records.contains($0) } ?? false
                case (3, "blobs"): return Digest(parts[1] + ":" + name).map { !blobs.contains($0) } ?? false
                default: return false
                }
            }
            let paths = ours.map { layout.dataRoot + "/" + $0.path }
            try await onThread { [self] in try discard(paths) }
            return ours
        }
    }
}

/// Passes on at most so many bytes; more is a fault.
final class LimitedSink: ByteSink {
    private let sink: any ByteSink
    private var left: Int64

    init(_ sink: any ByteSink, limit: Int64) {
        self.sink = sink
        left = limit
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        left -= Int64(bytes.count)
        guard left >= 0 else { throw Fault(.invalid, "the content is longer than its descriptor says") }
        try sink.write(bytes)
    }
}
