import Model

extension SchemaPart {
    /// Contents of which a part has been received. The file is `blobs/partial/<algorithm>-<hex>`; a row comes before its file and
    /// goes after it.
    public static let pulls = SchemaPart(
        name: "pulls",
        steps: [
            """
            CREATE TABLE blob_partial (
                digest TEXT PRIMARY KEY,
                -- bytes of the whole content
                size INTEGER NOT NULL,
                media_type TEXT NOT NULL,
                -- when somebody last wanted it
                used INTEGER NOT NULL
            ) WITHOUT ROWID;
            """,
            """
            -- What a layer's tar becomes when it is compressed for a push.
            CREATE TABLE layer_form (
                diff_id TEXT NOT NULL,
                form TEXT NOT NULL,
                digest TEXT NOT NULL,
                size INTEGER NOT NULL,
                media_type TEXT NOT NULL,
                PRIMARY KEY (diff_id, form)
            ) WITHOUT ROWID;
            -- Where a content has been seen: hints for mounting it into another repository of the same registry.
            CREATE TABLE content_place (
                digest TEXT NOT NULL,
                domain TEXT NOT NULL,
                repository TEXT NOT NULL,
                seen INTEGER NOT NULL,
                PRIMARY KEY (digest, domain, repository)
            ) WITHOUT ROWID;
            """,
        ])
}

/// A content that is to be received.
public struct PartialBlobRow: Sendable {
    public let digest: Digest
    public let size: Int64
    public let mediaType: String
    public let used: Timestamp

    public init(digest: Digest, size: Int64, mediaType: String, used: Timestamp) {
        self.digest = digest
        self.size = size
        self.mediaType = mediaType
        self.used = used
    }
}

extension Transaction {
    public func setPartial(_ row: PartialBlobRow) throws {
        try expectRoom()
        try run(
            "INSERT INTO blob_partial VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET used = excluded.used", row.digest,
            row.size, row.mediaType, row.used)
    }

    public func deletePartial(_ digest: Digest) throws { try run("DELETE FROM blob_partial WHERE digest = ?", digest) }

    /// The longest unused first.
    public func partials() throws -> [PartialBlobRow] {
        try rows("SELECT digest, size, media_type, used FROM blob_partial ORDER BY used, digest") { row in
            PartialBlobRow(
                digest: try row.digest(0), size: row.integer(1), mediaType: row.text(2), used: row.timestamp(3))
        }
    }

    // MARK: Hints for pushes

    public func layerForm(_ diffID: Digest, _ form: String) throws -> ContentDescriptor? {
        try first("SELECT digest, size, media_type FROM layer_form WHERE diff_id = ? AND form = ?", diffID, form) { row in
            ContentDescriptor(mediaType: row.text(2), digest: try row.digest(0), size: row.integer(1))
        }
    }

    public func setLayerForm(_ descriptor: ContentDescriptor, _ diffID: Digest, _ form: String) throws {
        try run(
            "INSERT OR REPLACE INTO layer_form VALUES (?, ?, ?, ?, ?)", diffID, form, descriptor.digest, descriptor.size,
            descriptor.mediaType)
    }

    public func contentPlaces(_ digest: Digest, domain: String) throws -> [String] {
        try rows(
            "SELECT repository FROM content_place WHERE digest = ? AND domain = ? ORDER BY seen DESC LIMIT 4", digest, domain
        ) { $0.text(0) }
    }

    /// Repositories with their registry, the last one that was seen first.
    public func contentPlaces(_ digest: Digest) throws -> [String] {
        try rows("SELECT domain || '/' || repository FROM content_place WHERE digest = ? ORDER BY seen DESC LIMIT 4", digest) {
            $0.text(0)
        }
    }

    public func setContentPlace(_ digest: Digest, domain: String, repository: String, at time: Timestamp) throws {
        try run(
            "INSERT INTO content_place VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET seen = excluded.seen", digest, domain,
            repository, time)
    }

    /// Forgets hints about what is not here any more.
    public func forgetUselessHints() throws {
        try run("DELETE FROM layer_form WHERE diff_id NOT IN (SELECT diff_id FROM layer)")
        try run(
            """
            DELETE FROM content_place WHERE digest NOT IN (SELECT digest FROM blob) \
            AND digest NOT IN (SELECT digest FROM layer_form)
            """)
    }
}
