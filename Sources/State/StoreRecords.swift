import Model

extension SchemaPart {
    /// Who holds what of the store while work is under way, and what layers take on the disk.
    public static let storage = SchemaPart(
        name: "storage",
        steps: [
            """
            -- Work in progress that needs contents and layers. Of engines that are gone: ended at the next start.
            CREATE TABLE lease (
                id TEXT PRIMARY KEY,
                incarnation TEXT NOT NULL,
                purpose TEXT NOT NULL,
                started INTEGER NOT NULL
            ) WITHOUT ROWID;
            CREATE TABLE lease_layer (
                lease TEXT NOT NULL REFERENCES lease(id) ON DELETE CASCADE,
                chain_id TEXT NOT NULL,
                PRIMARY KEY (lease, chain_id)
            ) WITHOUT ROWID;
            CREATE INDEX lease_layer_chain ON lease_layer(chain_id);
            CREATE TABLE lease_blob (
                lease TEXT NOT NULL REFERENCES lease(id) ON DELETE CASCADE,
                digest TEXT NOT NULL,
                PRIMARY KEY (lease, digest)
            ) WITHOUT ROWID;
            CREATE INDEX lease_blob_digest ON lease_blob(digest);
            -- Measured once: a layer's folder does not change.
            CREATE TABLE tree_usage (
                tree TEXT PRIMARY KEY,
                bytes INTEGER NOT NULL,
                files INTEGER NOT NULL
            ) WITHOUT ROWID;
            """,
            """
            -- Contents that cannot be made again from their layers, by the version of the judge.
            CREATE TABLE blob_verdict (
                digest TEXT PRIMARY KEY REFERENCES blob(digest) ON DELETE CASCADE,
                version INTEGER NOT NULL,
                reason TEXT NOT NULL
            ) WITHOUT ROWID;
            """,
        ])
}

/// Work in progress that holds a part of the store.
public struct LeaseRow: Sendable {
    public let id: ObjectID
    /// Which run of an engine it belongs to.
    public let incarnation: ObjectID
    /// `pull`, `load`, `save` …
    public let purpose: String
    public let started: Timestamp

    public init(id: ObjectID, incarnation: ObjectID, purpose: String, started: Timestamp) {
        self.id = id
        self.incarnation = incarnation
        self.purpose = purpose
        self.started = started
    }
}

extension Transaction {
    public func insert(_ lease: LeaseRow) throws {
        try run("INSERT INTO lease VALUES (?, ?, ?, ?)", lease.id, lease.incarnation, lease.purpose, lease.started)
    }

    public func leases() throws -> [LeaseRow] {
        try rows("SELECT id, incarnation, purpose, started FROM lease ORDER BY started, id") {
            LeaseRow(
                id: try $0.objectID(0), incarnation: try $0.objectID(1), purpose: $0.text(2), started: $0.timestamp(3))
        }
    }

    /// Neither the layer nor its folder is collected before the lease ends. Belongs into the transaction that found the layer.
    public func hold(layer chainID: Digest, lease: ObjectID) throws {
        try run("INSERT OR IGNORE INTO lease_layer VALUES (?, ?)", lease, chainID)
    }

    /// Neither the content nor what it is made from is collected before the lease ends.
    public func hold(blob digest: Digest, lease: ObjectID) throws {
        try run("INSERT OR IGNORE INTO lease_blob VALUES (?, ?)", lease, digest)
    }

    /// True when the lease held something, which may now be unused.
    public func delete(lease id: ObjectID) throws -> Bool {
        let held =
            try first(
                "SELECT 1 FROM lease_layer WHERE lease = ? UNION ALL SELECT 1 FROM lease_blob WHERE lease = ?", id, id
            ) { _ in true } ?? false
        try run("DELETE FROM lease WHERE id = ?", id)
        return held
    }

    /// Ends what engines held that are gone.
    public func deleteLeases(butOf incarnation: ObjectID) throws {
        try run("DELETE FROM lease WHERE incarnation <> ?", incarnation)
    }

    /// From now on the content has no file of its own; nil gives it one.
    public func setTree(_ tree: String?, ofBlob digest: Digest) throws {
        try run("UPDATE blob SET tree = ?, origin = NULL WHERE digest = ?", tree, digest)
    }

    /// From now on the content has no file and is in that repository.
    public func setOrigin(_ repository: String, ofBlob digest: Digest) throws {
        try run("UPDATE blob SET tree = NULL, origin = ? WHERE digest = ?", repository, digest)
    }

    // MARK: Contents of which one form would do

    /// Compressed layers that have a file, the largest first.
    public func compressedFiles() throws -> [BlobRow] {
        try rows(
            "SELECT \(Self.blobColumns) FROM blob WHERE tree IS NULL AND origin IS NULL AND diff_id IS NOT NULL "
                + "AND diff_id <> digest ORDER BY size DESC, digest", map: Self.blob)
    }

    /// Why contents cannot be made again, as this version of the judge found.
    public func verdicts(version: Int) throws -> [Digest: String] {
        let found = try rows("SELECT digest, reason FROM blob_verdict WHERE version = ?", version) {
            (try $0.digest(0), $0.text(1))
        }
        return Dictionary(found) { first, _ in first }
    }

    public func setVerdict(_ reason: String, version: Int, ofBlob digest: Digest) throws {
        guard try blob(digest) != nil else { return }
        try run("INSERT OR REPLACE INTO blob_verdict VALUES (?, ?, ?)", digest, version, reason)
    }

    /// Contents that are made with a record.
    public func recordedBlobs() throws -> Set<Digest> {
        Set(try rows("SELECT digest FROM blob WHERE tree IS NOT NULL AND diff_id <> digest") { try $0.digest(0) })
    }

    /// A folder with the layer, whatever lies below it.
    public func tree(diff id: Digest) throws -> String? {
        try first("SELECT tree FROM layer WHERE diff_id = ? ORDER BY tree = ? DESC", id, id.hex) { $0.text(0) }
    }

    /// Work of others holds the content.
    public func isHeld(blob digest: Digest, butBy lease: ObjectID) throws -> Bool {
        try first("SELECT 1 FROM lease_blob WHERE digest = ? AND lease <> ?", digest, lease) { _ in true } ?? false
    }

    // MARK: What folders take

    public func treeUsage() throws -> [String: (bytes: Int64, files: Int)] {
        let found = try rows("SELECT tree, bytes, files FROM tree_usage") { ($0.text(0), ($0.integer(1), $0.int(2))) }
        return Dictionary(found) { first, _ in first }
    }

    public func setUsage(tree: String, bytes: Int64, files: Int) throws {
        try run("INSERT OR REPLACE INTO tree_usage VALUES (?, ?, ?)", tree, bytes, files)
    }

    public func forgetUsage(tree: String) throws { try run("DELETE FROM tree_usage WHERE tree = ?", tree) }

    /// Bytes of the layers of each image (`sha256:…`) that other images have too.
    public func sharedSizes() throws -> [String: Int64] {
        let rows = try rows(
            "SELECT image_id, SUM(size) FROM image_layer JOIN layer USING (chain_id) WHERE chain_id IN "
                + "(SELECT chain_id FROM image_layer GROUP BY chain_id HAVING COUNT(DISTINCT image_id) > 1) GROUP BY image_id"
        ) { ($0.text(0), $0.integer(1)) }
        return Dictionary(rows) { first, _ in first }
    }

    /// Bytes of the image's contents, whatever form they are kept in.
    public func contentSize(ofImage id: Digest) throws -> Int64 {
        try first("SELECT COALESCE(SUM(size), 0) FROM image_blob JOIN blob USING (digest) WHERE image_id = ?", id) {
            $0.integer(0)
        }
            ?? 0
    }

    // MARK: Everything of a kind, for accounts and checks

    public func layers() throws -> [LayerRow] {
        try rows("SELECT chain_id, diff_id, tree, size FROM layer ORDER BY chain_id") {
            LayerRow(chainID: try $0.digest(0), diffID: try $0.digest(1), tree: $0.text(2), size: $0.integer(3))
        }
    }

    public func blobs() throws -> [BlobRow] {
        try rows("SELECT \(Self.blobColumns) FROM blob ORDER BY digest", map: Self.blob)
    }

    /// Folders that stand for several layers, by the topmost layer's chain id.
    public func mergedTrees() throws -> [(chainID: Digest, tree: String)] {
        try rows("SELECT chain_id, tree FROM layer_merge ORDER BY chain_id") { (try $0.digest(0), $0.text(1)) }
    }

    public func images(withLayer chainID: Digest) throws -> [Digest] {
        try rows("SELECT image_id FROM image_layer WHERE chain_id = ? ORDER BY image_id", chainID) { try $0.digest(0) }
    }

    public func images(withBlob digest: Digest) throws -> [Digest] {
        try rows("SELECT image_id FROM image_blob WHERE digest = ? ORDER BY image_id", digest) { try $0.digest(0) }
    }

    /// SQLite's own judgement of the file (PRAGMA integrity_check, foreign_key_check): empty when it is sound.
    public func integrityProblems() throws -> [String] {
        let pages = try rows("PRAGMA integrity_check(20)") { $0.text(0) }.filter { $0 != "ok" }
        let keys = try rows("PRAGMA foreign_key_check") {
            "a row of \($0.text(0)) refers to a row of \($0.text(2)) that is gone"
        }
        return pages + keys.prefix(20)
    }
}
