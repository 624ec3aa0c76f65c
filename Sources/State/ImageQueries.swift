import Model

/// An image's row.
public struct ImageRow: Sendable {
    public let id: Digest
    public let config: [UInt8]
    public let parent: Digest?
    public let manifest: Digest?
    public let created: Timestamp?
    public let size: Int64
    public let owner: Owner
    public let tagged: Timestamp?

    public init(
        id: Digest, config: [UInt8], parent: Digest?, manifest: Digest?, created: Timestamp?, size: Int64, owner: Owner,
        tagged: Timestamp?
    ) {
        self.id = id
        self.config = config
        self.parent = parent
        self.manifest = manifest
        self.created = created
        self.size = size
        self.owner = owner
        self.tagged = tagged
    }
}

/// A layer's row.
public struct LayerRow: Sendable {
    public let chainID: Digest
    public let diffID: Digest
    public let tree: String
    public let size: Int64

    public init(chainID: Digest, diffID: Digest, tree: String, size: Int64) {
        self.chainID = chainID
        self.diffID = diffID
        self.tree = tree
        self.size = size
    }
}

/// A content's row.
public struct BlobRow: Sendable {
    public let digest: Digest
    public let size: Int64
    public let mediaType: String
    public let diffID: Digest?
    /// Not nil: there is no file; the content is made again from this folder's recipe.
    public let tree: String?
    /// Not nil: there is no file; the content is fetched again from this repository.
    public let origin: String?

    /// There is a file with the content.
    public var hasFile: Bool { tree == nil && origin == nil }
    /// It is made from the folder's tar by a record of how that was compressed.
    public var hasRecord: Bool { tree != nil && diffID != digest }

    public init(
        digest: Digest, size: Int64, mediaType: String, diffID: Digest? = nil, tree: String? = nil, origin: String? = nil
    ) {
        self.digest = digest
        self.size = size
        self.mediaType = mediaType
        self.diffID = diffID
        self.tree = tree
        self.origin = origin
    }
}

extension Transaction {
    private static let imageColumns = "id, config, parent, manifest, created, size, owner, tagged"

    private static func image(_ row: borrowing Row) throws -> ImageRow {
        ImageRow(
            id: try row.digest(0), config: row.blob(1), parent: try row.optionalDigest(2),
            manifest: try row.optionalDigest(3), created: row.optionalTimestamp(4), size: row.integer(5),
            owner: Owner(uid: UInt32(truncatingIfNeeded: row.integer(6))), tagged: row.optionalTimestamp(7))
    }

    public func image(_ id: Digest) throws -> ImageRow? {
        try first("SELECT \(Self.imageColumns) FROM image WHERE id = ?", id, map: Self.image)
    }

    /// The newest first.
    public func images() throws -> [ImageRow] {
        try rows("SELECT \(Self.imageColumns) FROM image ORDER BY created DESC, id", map: Self.image)
    }

    /// Ids whose digits begin so; at most two, which is enough to know that the prefix is ambiguous.
    public func imageIDs(digits: String) throws -> [Digest] {
        // The digits are hexadecimal; "g" comes after all of them.
        try rows("SELECT id FROM image WHERE id >= ? AND id < ? LIMIT 2", "sha256:" + digits, "sha256:" + digits + "g") {
            try $0.digest(0)
        }
    }

    /// Replaces nothing: an image that is there stays as it is.
    public func insert(_ image: ImageRow, added: Timestamp) throws {
        try expectRoom()
        try run(
            "INSERT OR IGNORE INTO image (\(Self.imageColumns), added) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", image.id,
            image.config, image.parent, image.manifest, image.created, image.size, image.owner, image.tagged, added)
    }

    /// Forgets the image, its list of layers and contents. It must have no name and no holder.
    public func delete(image id: Digest) throws { try run("DELETE FROM image WHERE id = ?", id) }

    public func hasChildren(image id: Digest) throws -> Bool {
        try first("SELECT 1 FROM image WHERE parent = ?", id) { _ in true } ?? false
    }

    // MARK: Names

    public func imageID(tag name: String) throws -> Digest? {
        try first("SELECT image_id FROM image_tag WHERE name = ?", name) { try $0.digest(0) }
    }

    public func imageIDs(digestName name: String) throws -> [Digest] {
        try rows("SELECT image_id FROM image_digest WHERE name = ?", name) { try $0.digest(0) }
    }

    public func tags(ofImage id: Digest) throws -> [String] {
        try rows("SELECT name FROM image_tag WHERE image_id = ? ORDER BY name", id) { $0.text(0) }
    }

    public func digestNames(ofImage id: Digest) throws -> [String] {
        try rows("SELECT name FROM image_digest WHERE image_id = ? ORDER BY name", id) { $0.text(0) }
    }

    public func setTag(_ name: String, image id: Digest, at time: Timestamp) throws {
        try expectRoom()
        try run(
            "INSERT INTO image_tag VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET image_id = excluded.image_id", name, id)
        try run("UPDATE image SET tagged = ? WHERE id = ?", time, id)
    }

    public func addDigestName(_ name: String, image id: Digest) throws {
        try run("INSERT OR IGNORE INTO image_digest VALUES (?, ?)", name, id)
    }

    public func removeTag(_ name: String) throws { try run("DELETE FROM image_tag WHERE name = ?", name) }

    public func removeDigestName(_ name: String, image id: Digest) throws {
        try run("DELETE FROM image_digest WHERE name = ? AND image_id = ?", name, id)
    }

    public func holders(ofImage id: Digest) throws -> [ObjectID] {
        try rows("SELECT holder FROM image_hold WHERE image_id = ? ORDER BY holder", id) { try $0.objectID(0) }
    }

    // MARK: Layers and contents

    private static let layerColumns = "layer.chain_id, layer.diff_id, layer.tree, layer.size"

    private static func layer(_ row: borrowing Row) throws -> LayerRow {
        LayerRow(
            chainID: try row.digest(0), diffID: try row.digest(1), tree: row.text(2), size: row.integer(3))
    }

    /// The image's layers, the lowest first.
    public func layers(ofImage id: Digest) throws -> [LayerRow] {
        try rows(
            "SELECT \(Self.layerColumns) FROM image_layer JOIN layer USING (chain_id) WHERE image_id = ? ORDER BY position", id,
            map: Self.layer)
    }

    public func layer(chain id: Digest) throws -> LayerRow? {
        try first("SELECT \(Self.layerColumns) FROM layer WHERE chain_id = ?", id, map: Self.layer)
    }

    /// A layer whose own content is this tar and does not depend on the layers below it.
    public func layer(diff id: Digest) throws -> LayerRow? {
        try first("SELECT \(Self.layerColumns) FROM layer WHERE diff_id = ? AND tree = ?", id, id.hex, map: Self.layer)
    }

    public func insert(_ layer: LayerRow) throws {
        try run(
            "INSERT OR IGNORE INTO layer (chain_id, diff_id, tree, size) VALUES (?, ?, ?, ?)", layer.chainID, layer.diffID,
            layer.tree, layer.size)
    }

    public func setLayer(_ chainID: Digest, position: Int, image id: Digest) throws {
        try run("INSERT OR IGNORE INTO image_layer VALUES (?, ?, ?)", id, position, chainID)
    }

    static let blobColumns = "blob.digest, blob.size, blob.media_type, blob.diff_id, blob.tree, blob.origin"

    static func blob(_ row: borrowing Row) throws -> BlobRow {
        BlobRow(
            digest: try row.digest(0), size: row.integer(1), mediaType: row.text(2), diffID: try row.optionalDigest(3),
            tree: row.optionalText(4), origin: row.optionalText(5))
    }

    public func blob(_ digest: Digest) throws -> BlobRow? {
        try first("SELECT \(Self.blobColumns) FROM blob WHERE digest = ?", digest, map: Self.blob)
    }

    /// A content that is this layer: its tar where there is one, else a compressed one.
    public func blob(layer diffID: Digest) throws -> BlobRow? {
        try first(
            "SELECT \(Self.blobColumns) FROM blob WHERE diff_id = ? ORDER BY digest = diff_id DESC, digest", diffID,
            map: Self.blob)
    }

    /// Every content of the image: manifest, configuration, layers.
    public func blobs(ofImage id: Digest) throws -> [BlobRow] {
        try rows(
            "SELECT \(Self.blobColumns) FROM image_blob JOIN blob USING (digest) WHERE image_id = ? ORDER BY digest", id,
            map: Self.blob)
    }

    public func insert(_ blob: BlobRow) throws {
        try run(
            "INSERT OR IGNORE INTO blob (digest, size, media_type, diff_id, tree) VALUES (?, ?, ?, ?, ?)", blob.digest,
            blob.size, blob.mediaType, blob.diffID, blob.tree)
    }

    public func addBlob(_ digest: Digest, toImage id: Digest) throws {
        try run("INSERT OR IGNORE INTO image_blob VALUES (?, ?)", id, digest)
    }

    /// Forgets layers and contents that no image has and no lease holds, and answers them with the folders of merged layers.
    public func collectUnused() throws -> (layers: [LayerRow], merges: [String], blobs: [BlobRow]) {
        let layers = try rows(
            "SELECT \(Self.layerColumns) FROM layer WHERE chain_id NOT IN (SELECT chain_id FROM image_layer) "
                + "AND chain_id NOT IN (SELECT chain_id FROM lease_layer)", map: Self.layer)
        var merges: [String] = []
        for layer in layers {
            if let tree = try mergedTree(chain: layer.chainID) { merges.append(tree) }
            try run("DELETE FROM layer WHERE chain_id = ?", layer.chainID)
        }
        let blobs = try rows(
            "SELECT \(Self.blobColumns) FROM blob WHERE digest NOT IN (SELECT digest FROM image_blob) "
                + "AND digest NOT IN (SELECT digest FROM lease_blob)", map: Self.blob)
        for blob in blobs { try run("DELETE FROM blob WHERE digest = ?", blob.digest) }
        return (layers, merges, blobs)
    }

    /// The folder that stands for this layer and all below it, if one was made.
    public func mergedTree(chain id: Digest) throws -> String? {
        try first("SELECT tree FROM layer_merge WHERE chain_id = ?", id) { $0.text(0) }
    }

    public func setMergedTree(_ tree: String, chain id: Digest) throws {
        try run("INSERT OR REPLACE INTO layer_merge VALUES (?, ?)", id, tree)
    }

    private static let trees =
        "SELECT tree FROM layer UNION SELECT tree FROM layer_merge UNION SELECT tree FROM blob WHERE tree IS NOT NULL"

    /// Folders that layers or contents need.
    public func layerTrees() throws -> Set<String> { Set(try rows(Self.trees) { $0.text(0) }) }

    public func isUsed(layerTree tree: String) throws -> Bool {
        try first("SELECT 1 FROM (\(Self.trees)) WHERE tree = ?", tree) { _ in true } ?? false
    }

    /// Contents that are files.
    public func blobFiles() throws -> Set<Digest> {
        Set(try rows("SELECT digest FROM blob WHERE tree IS NULL AND origin IS NULL") { try $0.digest(0) })
    }
}
