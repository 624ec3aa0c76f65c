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
            """
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
}
