import Archive
import Linux
import Model
import State

/// An image that is complete in a workshop and in the store's layers, and has no record yet.
struct NewImage: Sendable {
    var configBytes: [UInt8]
    var config: ImageConfig
    var id: Digest
    /// The lowest first.
    var layers: [NewLayer]
    /// The manifest as it came; nil makes one.
    var manifest: NewManifest?
    var tags: [Reference] = []
    /// Names with a digest.
    var digests: [Reference] = []
    /// Contents that were received under `blobs/partial` and end with this.
    var partials: [Digest] = []
    var parent: Digest?

    init(configBytes: [UInt8], layers: [NewLayer]) throws {
        self.configBytes = configBytes
        self.config = try ImageConfig.read(configBytes)
        self.id = try ContentHash.digest(of: configBytes)
        self.layers = layers
    }
}

/// A layer of a new image.
struct NewLayer: Sendable {
    enum Place: Sendable {
        /// Unpacked in a workshop.
        case built(BuiltLayer)
        /// In the store already.
        case stored(LayerRow)

        var diffID: Digest {
            switch self {
            case .built(let layer): layer.diffID
            case .stored(let row): row.diffID
            }
        }
    }

    var place: Place
    /// The content that a manifest names.
    var blob: NewBlob?

    var diffID: Digest { place.diffID }
    var size: Int64 {
        switch place {
        case .built(let layer): layer.size
        case .stored(let row): row.size
        }
    }
}

/// A content in a workshop.
struct NewBlob: Sendable {
    var digest: Digest
    var size: Int64
    var mediaType: String
    /// Nil: it is in the store already, or the layer's tar. A tar's file goes when the layer has its record.
    var file: String?
    /// Of a layer.
    var diffID: Digest?

    /// The layer's tar, which the recipe makes again.
    var isPlain: Bool { digest == diffID }
}

struct NewManifest: Sendable {
    var digest: Digest
    var bytes: [UInt8]
    var mediaType: String
}

extension Digest {
    /// The chain id of a layer on top of a chain (image-spec config.md, "Layer ChainID").
    static func chain(_ below: Digest?, _ diffID: Digest) throws -> Digest {
        guard let below else { return diffID }
        return try ContentHash.digest(of: Array("\(below) \(diffID)".utf8))
    }
}

extension ImageStore {
    /// Puts images into the store: files to their places, one sync, one transaction. All of them or none.
    func store(_ images: [NewImage], workshop: Workshop, caller: Caller) async throws {
        try await gate.alone { [self] in
            let plans = try await onThread { [self] in
                var plans: [ImagePlan] = []
                for image in images { plans.append(try place(image, workshop)) }
                StoreCrashPoint.placed.reach()
                let root = try Descriptor.open(layout.dataRoot, [.read, .directory])
                TransferCrashPoint.pullPlaced.reach()
                do { try root.syncFileSystem() } catch { throw imageFault(error, "cannot write the image to the disk") }
                StoreCrashPoint.synced.reach()
                return plans
            }
            try await database.write(.durable) { transaction in
                for plan in plans { try record(plan, transaction, caller) }
            }
            StoreCrashPoint.recorded.reach()
            let tars = plans.flatMap(\.image.layers).compactMap { $0.blob.flatMap { $0.isPlain ? $0.file : nil } }
            if !tars.isEmpty { try await onThread { for tar in tars { removeFolder(tar) } } }
        }
    }

    /// What is to be recorded.
    private struct ImagePlan: Sendable {
        var image: NewImage
        var manifest: NewManifest
        var layers: [LayerRow] = []
        var merged: (chain: Digest, tree: String)?
        var blobs: [BlobRow] = []
    }

    static let removedMeanwhile = "a layer of the image was removed meanwhile; try again"

    private func place(_ image: NewImage, _ workshop: Workshop) throws -> ImagePlan {
        var below: Digest?
        var layers: [LayerRow] = []
        var blobs: [BlobRow] = []
        for layer in image.layers {
            let chainID = try Digest.chain(below, layer.diffID)
            let row = try place(layer, chainID, below: layers)
            layers.append(row)
            StoreCrashPoint.layerPlaced.reach()
            if let blob = layer.blob {
                if !blob.isPlain { try place(blob) }
                blobs.append(
                    BlobRow(
                        digest: blob.digest, size: blob.size, mediaType: blob.mediaType, diffID: layer.diffID,
                        tree: blob.isPlain ? row.tree : nil))
            }
            below = chainID
        }
        let manifest = try image.manifest ?? makeManifest(image, layers)
        if image.manifest == nil || image.layers.contains(where: { $0.blob == nil }) {
            for (layer, row) in zip(image.layers, layers) where layer.blob == nil {
                blobs.append(try content(layer, row))
            }
        }
        blobs.append(BlobRow(digest: image.id, size: Int64(image.configBytes.count), mediaType: MediaType.ociConfig))
        try writeBlob(image.id, image.configBytes, workshop)
        blobs.append(BlobRow(digest: manifest.digest, size: Int64(manifest.bytes.count), mediaType: manifest.mediaType))
        try writeBlob(manifest.digest, manifest.bytes, workshop)
        var plan = ImagePlan(image: image, manifest: manifest, layers: layers, blobs: blobs)
        plan.merged = try merge(layers, workshop)
        return plan
    }

    /// Moves a layer to its place, or finds it there.
    private func place(_ layer: NewLayer, _ chainID: Digest, below: [LayerRow]) throws -> LayerRow {
        if let known = try database.read({ try $0.layer(chain: chainID) }) { return known }
        switch layer.place {
        case .stored(let row):
            guard exists(layout.layerDiff(row.tree)) else {
                throw Fault(.unavailable, Self.removedMeanwhile)
            }
            return LayerRow(chainID: chainID, diffID: row.diffID, tree: row.tree, size: row.size)
        case .built(let built):
            // A layer with links to files of layers below is only right on top of those.
            let tree = built.foreignLinks.isEmpty ? built.diffID.hex : chainID.hex
            let row = LayerRow(chainID: chainID, diffID: built.diffID, tree: tree, size: built.size)
            if exists(layout.layerFolder(tree)) {
                if try database.read({ try $0.isUsed(layerTree: tree) }) || !exists(built.folder) { return row }
                try discard([layout.layerFolder(tree)])
            }
            // Another pull had it, brought it to its place, and its image is removed.
            guard exists(built.folder) else { throw Fault(.unavailable, Self.removedMeanwhile) }
            try ForeignLinks(layout: layout, below: below).resolve(built)
            try moveFolder(built.folder, to: layout.layerFolder(tree))
            return row
        }
    }

    private func place(_ blob: NewBlob) throws {
        // It is here in another form, and a file would belong to nobody.
        if let file = blob.file, let known = try database.read({ try $0.blob(blob.digest) }), !known.hasFile {
            return removeFolder(file)
        }
        guard let file = blob.file, exists(file) else {
            // Another image of the same archive may have brought it to its place just now.
            if blob.file != nil, exists(layout.blob(blob.digest)) { return }
            guard try database.read({ try $0.blob(blob.digest) }) != nil else {
                throw Fault(.unavailable, Self.removedMeanwhile)
            }
            return
        }
        try moveFolder(file, to: layout.blob(blob.digest))
    }

    private func writeBlob(_ digest: Digest, _ bytes: [UInt8], _ workshop: Workshop) throws {
        if exists(layout.blob(digest)) { return }
        let name = "blob-" + ObjectID.random().short
        try workshop.write(name, bytes)
        try moveFolder(workshop.file(name), to: layout.blob(digest))
    }

    /// The layer as a content: what is known of it, or its uncompressed tar, which is not kept, since the recipe makes it again.
    private func content(_ layer: NewLayer, _ row: LayerRow) throws -> BlobRow {
        if let known = try database.read({ try $0.blob(layer: row.diffID) }) { return known }
        guard case .built(let built) = layer.place else {
            throw Fault(.system, "the tar of a stored layer has no record", subject: row.diffID.description)
        }
        return BlobRow(
            digest: row.diffID, size: built.tarSize, mediaType: MediaType.ociLayer, diffID: row.diffID, tree: row.tree)
    }

    private func makeManifest(_ image: NewImage, _ layers: [LayerRow]) throws -> NewManifest {
        let config = ContentDescriptor(
            mediaType: MediaType.ociConfig, digest: image.id, size: Int64(image.configBytes.count))
        let descriptors = try zip(image.layers, layers).map { layer, row in
            if let blob = layer.blob {
                return ContentDescriptor(mediaType: blob.mediaType, digest: blob.digest, size: blob.size)
            }
            let blob = try content(layer, row)
            return ContentDescriptor(mediaType: blob.mediaType, digest: blob.digest, size: blob.size)
        }
        let bytes = ImageManifest(config: config, layers: descriptors).json
        return NewManifest(digest: try ContentHash.digest(of: bytes), bytes: bytes, mediaType: MediaType.ociManifest)
    }

    private func record(_ plan: ImagePlan, _ transaction: borrowing Transaction, _ caller: Caller) throws {
        let image = plan.image
        let now = Timestamp(nanoseconds: Clock.realtime)
        for layer in plan.layers { try transaction.insert(layer) }
        if let merged = plan.merged { try transaction.setMergedTree(merged.tree, chain: merged.chain) }
        for blob in plan.blobs { try transaction.insert(blob) }
        let size = plan.layers.reduce(0) { $0 + $1.size }
        try transaction.insert(
            ImageRow(
                id: image.id, config: image.configBytes, parent: image.parent, manifest: plan.manifest.digest,
                created: image.config.created, size: size, owner: caller.owner, tagged: nil), added: now)
        for (position, layer) in plan.layers.enumerated() {
            try transaction.setLayer(layer.chainID, position: position, image: image.id)
        }
        for blob in plan.blobs { try transaction.addBlob(blob.digest, toImage: image.id) }
        for tag in image.tags { try transaction.setTag(tag.description, image: image.id, at: now) }
        for name in image.digests { try transaction.addDigestName(name.description, image: image.id) }
        for digest in image.partials { try transaction.deletePartial(digest) }
    }
}
