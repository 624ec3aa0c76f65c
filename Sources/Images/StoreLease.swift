import Linux
import Model
import State

/// Holds layers and contents while work needs them: they are not collected, though the last image that has them is removed.
/// A lease of an engine that is gone ends when the next one starts.
public struct StoreLease: Sendable {
    public let id: ObjectID
    let purpose: String

    /// Belongs into the transaction that finds the layer: between finding and holding nobody may collect it.
    public func hold(_ layer: LayerRow, in transaction: Transaction) throws {
        try transaction.hold(layer: layer.chainID, lease: id)
    }

    /// The same for a content; what it is made from is held with it.
    public func hold(_ blob: BlobRow, in transaction: Transaction) throws {
        try transaction.hold(blob: blob.digest, lease: id)
    }

    /// Everything that an image is made of.
    public func hold(image id: Digest, in transaction: Transaction) throws {
        for layer in try transaction.layers(ofImage: id) { try hold(layer, in: transaction) }
        for blob in try transaction.blobs(ofImage: id) { try hold(blob, in: transaction) }
    }
}

extension ImageStore {
    /// Work that holds what it finds in the store until it is done. What became unused meanwhile is collected at its end.
    public func leased<T: Sendable>(_ purpose: String, _ body: (StoreLease) async throws -> T) async throws -> T {
        let lease = try openLease(purpose, id: .random())
        do {
            let result = try await body(lease)
            await close(lease)
            return result
        } catch {
            await close(lease)
            throw error
        }
    }

    /// Holds what images are made of; one that is not there any more holds nothing.
    public func hold(_ images: [Digest], _ lease: StoreLease) throws {
        try database.write { transaction in for id in images { try lease.hold(image: id, in: transaction) } }
    }

    func openLease(_ purpose: String, id: ObjectID) throws -> StoreLease {
        let row = LeaseRow(
            id: id, incarnation: incarnation, purpose: purpose, started: Timestamp(nanoseconds: Clock.realtime))
        try database.write { try $0.insert(row) }
        return StoreLease(id: id, purpose: purpose)
    }

    /// Never fails: a lease that cannot be ended (the disk is full) ends with the engine.
    func close(_ lease: StoreLease) async {
        guard let held = try? database.write({ try $0.delete(lease: lease.id) }), held else { return }
        try? await collect()
    }

    /// Removes layers and contents that no image has and no lease holds.
    func collect() async throws {
        try await gate.alone { [self] in
            let garbage = try database.write { try collectUnused($0).garbage }
            if garbage.isEmpty { return }
            // A power cut must not bring records back whose files are gone.
            try await database.sync()
            try await onThread { [self] in try discard(garbage) }
        }
    }

    /// Forgets what is unused; answers the layers and the folders and files to delete once the transaction is on the disk.
    func collectUnused(_ transaction: Transaction) throws -> (layers: [LayerRow], garbage: [String]) {
        let unused = try transaction.collectUnused()
        var garbage: [String] = []
        let trees = Set(unused.layers.map(\.tree) + unused.merges + unused.blobs.compactMap(\.tree))
        for tree in trees.sorted() where try !transaction.isUsed(layerTree: tree) {
            try transaction.forgetUsage(tree: tree)
            garbage.append(layout.layerFolder(tree))
        }
        for layer in unused.layers {
            let chain = layout.chains + "/" + layer.chainID.hex
            guard exists(chain) else { continue }
            try transaction.forgetUsage(tree: "chain-" + layer.chainID.hex)
            garbage.append(chain)
        }
        for blob in unused.blobs {
            if blob.hasFile { garbage.append(layout.blob(blob.digest)) }
            if blob.hasRecord { garbage.append(layout.blobRecord(blob.digest)) }
        }
        return (unused.layers, garbage)
    }
}
