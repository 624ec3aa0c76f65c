import Model
import State

extension SchemaPart {
    /// What a registry server keeps: a database of its own, apart from the engine's.
    ///
    /// A blob is a file that `blob` names. It may be read in a repository where `blob_link` says so, whoever else has it. Digests in
    /// `manifest_blob` and `manifest_child` are texts, since a mirror has manifests before it has what they name.
    static let registry = SchemaPart(
        name: "registry",
        steps: [
            """
            CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
            CREATE TABLE repository (
                id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);
            CREATE TABLE blob (
                id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, created INTEGER NOT NULL,
                durable INTEGER NOT NULL);
            CREATE TABLE blob_link (
                repository INTEGER NOT NULL REFERENCES repository (id), blob INTEGER NOT NULL REFERENCES blob (id),
                used INTEGER NOT NULL, PRIMARY KEY (repository, blob)) WITHOUT ROWID;
            CREATE INDEX blob_link_blob ON blob_link (blob);
            CREATE TABLE manifest (
                id INTEGER PRIMARY KEY, repository INTEGER NOT NULL REFERENCES repository (id), digest TEXT NOT NULL,
                media_type TEXT NOT NULL, artifact_type TEXT, subject TEXT, pushed INTEGER NOT NULL, used INTEGER NOT NULL,
                size INTEGER NOT NULL, annotations BLOB, content BLOB NOT NULL, UNIQUE (repository, digest));
            CREATE INDEX manifest_subject ON manifest (repository, subject, digest) WHERE subject IS NOT NULL;
            CREATE TABLE manifest_blob (
                manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE, digest TEXT NOT NULL,
                PRIMARY KEY (manifest, digest)) WITHOUT ROWID;
            CREATE INDEX manifest_blob_digest ON manifest_blob (digest);
            CREATE TABLE manifest_child (
                manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE, digest TEXT NOT NULL,
                PRIMARY KEY (manifest, digest)) WITHOUT ROWID;
            CREATE INDEX manifest_child_digest ON manifest_child (digest);
            CREATE TABLE tag (
                repository INTEGER NOT NULL REFERENCES repository (id), name TEXT NOT NULL,
                manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE, updated INTEGER NOT NULL,
                checked INTEGER NOT NULL, PRIMARY KEY (repository, name)) WITHOUT ROWID;
            CREATE INDEX tag_manifest ON tag (manifest);
            CREATE TABLE upload (
                id TEXT PRIMARY KEY, repository TEXT NOT NULL, started INTEGER NOT NULL, active INTEGER NOT NULL)
                WITHOUT ROWID;
            """
        ])
}

struct StoredBlob: Equatable, Sendable {
    let id: Int64
    let digest: Digest
    let size: Int64
    let isDurable: Bool
}

struct StoredManifest: Equatable, Sendable {
    let id: Int64
    let digest: Digest
    let mediaType: String
    let content: [UInt8]
    /// When a mirror last saw that the tag still means this; 0 for a manifest that was asked by digest.
    var checked = Timestamp(nanoseconds: 0)
}

/// What a referrers list says of a manifest.
struct Referrer: Equatable, Sendable {
    let digest: Digest
    let mediaType: String
    let size: Int64
    let artifactType: String
    /// A JSON object; empty where there are none.
    let annotations: [UInt8]
}

extension Transaction {
    func registryDigest(_ text: String) throws -> Digest {
        guard let digest = Digest(text) else {
            throw Fault(.system, "the registry's database holds \"\(text)\" where a digest belongs")
        }
        return digest
    }

    // MARK: Repositories

    func repositoryID(_ name: RepositoryName) throws -> Int64? {
        try first("SELECT id FROM repository WHERE name = ?", name.text) { $0.integer(0) }
    }

    func makeRepository(_ name: RepositoryName, now: Timestamp) throws -> Int64 {
        if let id = try repositoryID(name) { return id }
        try run("INSERT INTO repository (name, created) VALUES (?, ?)", name.text, now)
        return lastRowID
    }

    // MARK: Blobs

    private static let blobColumns = "b.id, b.digest, b.size, b.durable"

    private func storedBlob(_ row: Row) throws -> StoredBlob {
        StoredBlob(id: row.integer(0), digest: try registryDigest(row.text(1)), size: row.integer(2), isDurable: row.bool(3))
    }

    func registryBlob(_ digest: Digest) throws -> StoredBlob? {
        try first("SELECT \(Self.blobColumns) FROM blob b WHERE b.digest = ?", digest.description, map: storedBlob)
    }

    /// The blob, where that repository has it, and when its link was last used.
    func linkedBlob(_ digest: Digest, in repository: RepositoryName) throws -> (blob: StoredBlob, used: Timestamp)? {
        try first(
            """
            SELECT \(Self.blobColumns), l.used FROM blob b JOIN blob_link l ON l.blob = b.id
            JOIN repository r ON r.id = l.repository WHERE b.digest = ? AND r.name = ?
            """, digest.description, repository.text
        ) { (try storedBlob($0), $0.timestamp(4)) }
    }

    func insertBlob(_ digest: Digest, size: Int64, durable: Bool, now: Timestamp) throws -> Int64 {
        try run(
            "INSERT INTO blob (digest, size, created, durable) VALUES (?, ?, ?, ?)", digest.description, size, now, durable)
        return lastRowID
    }

    func link(blob: Int64, to repository: Int64, now: Timestamp) throws {
        try run(
            """
            INSERT INTO blob_link VALUES (?, ?, ?) ON CONFLICT (repository, blob) DO UPDATE SET used = excluded.used
            """, repository, blob, now)
    }

    // MARK: Manifests

    private static let manifestColumns = "m.id, m.digest, m.media_type, m.content"

    private func storedManifest(_ row: Row) throws -> StoredManifest {
        StoredManifest(
            id: row.integer(0), digest: try registryDigest(row.text(1)), mediaType: row.text(2), content: row.blob(3))
    }

    func manifest(_ reference: ManifestReference, in repository: RepositoryName) throws -> StoredManifest? {
        switch reference {
        case .digest(let digest):
            return try first(
                """
                SELECT \(Self.manifestColumns) FROM manifest m JOIN repository r ON r.id = m.repository
                WHERE r.name = ? AND m.digest = ?
                """, repository.text, digest.description, map: storedManifest)
        case .tag(let tag):
            return try first(
                """
                SELECT \(Self.manifestColumns), t.checked FROM tag t JOIN manifest m ON m.id = t.manifest
                JOIN repository r ON r.id = t.repository WHERE r.name = ? AND t.name = ?
                """, repository.text, tag
            ) { row in
                var found = try storedManifest(row)
                found.checked = row.timestamp(4)
                return found
            }
        }
    }

    func hasManifest(_ digest: Digest, in repository: Int64) throws -> Bool {
        try first("SELECT 1 FROM manifest WHERE repository = ? AND digest = ?", repository, digest.description) { _ in true }
            ?? false
    }

    func setTag(_ tag: String, in repository: Int64, to manifest: Int64, now: Timestamp) throws {
        try run(
            """
            INSERT INTO tag VALUES (?, ?, ?, ?, ?) ON CONFLICT (repository, name)
            DO UPDATE SET manifest = excluded.manifest, updated = excluded.updated, checked = excluded.checked
            """, repository, tag, manifest, now, now)
    }

    func referrers(of subject: Digest, in repository: RepositoryName, after last: String, artifactType: String?, limit: Int)
        throws -> [Referrer]
    {
        try rows(
            """
            SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations FROM manifest m
            JOIN repository r ON r.id = m.repository
            WHERE r.name = ?1 AND m.subject = ?2 AND m.digest > ?3 AND (?4 IS NULL OR m.artifact_type = ?4)
            ORDER BY m.digest LIMIT ?5
            """, repository.text, subject.description, last, artifactType, limit
        ) { row in
            Referrer(
                digest: try registryDigest(row.text(0)), mediaType: row.text(1), size: row.integer(2),
                artifactType: row.text(3), annotations: row.blob(4))
        }
    }

    // MARK: Lists

    /// Tags behind `last` in the order of their bytes, at most `limit`.
    func tags(in repository: RepositoryName, after last: String, limit: Int) throws -> [String] {
        try rows(
            """
            SELECT t.name FROM tag t JOIN repository r ON r.id = t.repository
            WHERE r.name = ? AND t.name > ? ORDER BY t.name LIMIT ?
            """, repository.text, last, limit
        ) { $0.text(0) }
    }

    /// Repositories that have a manifest, behind `last`.
    func repositories(after last: String, limit: Int) throws -> [String] {
        try rows(
            """
            SELECT r.name FROM repository r WHERE r.name > ?
            AND EXISTS (SELECT 1 FROM manifest m WHERE m.repository = r.id) ORDER BY r.name LIMIT ?
            """, last, limit
        ) { $0.text(0) }
    }
}
