import Archive
import JSON
import Linux
import Model
import State

/// A manifest that a client wants to store, read and checked as a document.
struct IncomingManifest {
    let content: [UInt8]
    let digest: Digest
    let mediaType: String
    let document: ManifestDocument

    /// - Parameters:
    ///   - wanted: the digest in the path; the content must have it.
    ///   - mediaType: what Content-Type says, without parameters.
    init(_ content: [UInt8], mediaType: String?, wanted: Digest?) throws {
        self.content = content
        digest = try ContentHash.digest(of: content, wanted?.algorithm ?? .sha256)
        if let wanted, wanted != digest {
            throw DistributionFault(
                400, .digestInvalid, "provided digest did not match uploaded content", detail: ("digest", "\(wanted)"))
        }
        if let mediaType, !MediaType.isManifest(mediaType), !MediaType.isIndex(mediaType) {
            throw DistributionFault(
                400, .manifestInvalid, "manifests of the type \(mediaType.prefix(100)) are not taken here",
                detail: ("mediaType", String(mediaType.prefix(100))))
        }
        do { document = try ManifestDocument(content, mediaType: mediaType) } catch let fault as Fault {
            throw DistributionFault(400, .manifestInvalid, fault.message)
        }
        switch document {
        case .manifest(let manifest): self.mediaType = manifest.mediaType
        case .index(let index): self.mediaType = index.mediaType
        }
    }

    /// Blobs that must be there: all but those that licences keep elsewhere.
    var blobs: [ContentDescriptor] {
        guard case .manifest(let manifest) = document else { return [] }
        return [manifest.config] + manifest.layers.filter { !Self.isForeign($0) }
    }

    var children: [ContentDescriptor] {
        guard case .index(let index) = document else { return [] }
        return index.manifests
    }

    var subject: Digest? {
        switch document {
        case .manifest(let manifest): manifest.subject?.digest
        case .index(let index): index.subject?.digest
        }
    }

    /// What a referrers list shows (distribution-spec, "Listing Referrers"): the configuration's type where there is no other.
    var artifactType: String {
        switch document {
        case .manifest(let manifest): manifest.artifactType ?? manifest.config.mediaType
        case .index(let index): index.artifactType ?? ""
        }
    }

    var annotations: [String: String] {
        switch document {
        case .manifest(let manifest): manifest.annotations
        case .index(let index): index.annotations
        }
    }

    private static func isForeign(_ layer: ContentDescriptor) -> Bool {
        !layer.urls.isEmpty
            && (layer.mediaType.contains(".foreign.") || layer.mediaType.contains(".nondistributable."))
    }
}

extension RegistryStore {
    /// Stores a manifest, and the tag that means it. Success means that both survive power loss, with every blob that it names.
    func put(_ manifest: IncomingManifest, tag: String?, in repository: RepositoryName) throws {
        try makeDurable(manifest, in: repository)
        let now = now
        try database.write { transaction in
            let id = try transaction.makeRepository(repository, now: now)
            try Self.check(manifest, in: id, transaction)
            try Self.store(manifest, tag: tag, in: id, now: now, transaction)
        }
        try syncDatabase()
    }

    /// As `put`, for a mirror: what the manifest names may come later.
    func putMirrored(_ manifest: IncomingManifest, tag: String?, in repository: RepositoryName) throws {
        let now = now
        try database.write { transaction in
            let id = try transaction.makeRepository(repository, now: now)
            try Self.store(manifest, tag: tag, in: id, now: now, transaction)
        }
    }

    private static func check(_ manifest: IncomingManifest, in repository: Int64, _ transaction: Transaction) throws {
        for blob in manifest.blobs {
            let size = try transaction.first(
                """
                SELECT b.size FROM blob b JOIN blob_link l ON l.blob = b.id WHERE b.digest = ? AND l.repository = ?
                """, blob.digest.description, repository
            ) { $0.integer(0) }
            guard let size else {
                throw DistributionFault(
                    404, .manifestBlobUnknown, "the manifest names a blob that is not here: push it first",
                    detail: ("digest", "\(blob.digest)"))
            }
            guard size == blob.size else {
                throw DistributionFault(
                    400, .sizeInvalid, "the manifest says \(blob.size) bytes of a blob that has \(size)",
                    detail: ("digest", "\(blob.digest)"))
            }
        }
        for child in manifest.children where try !transaction.hasManifest(child.digest, in: repository) {
            throw DistributionFault(
                404, .manifestBlobUnknown, "the index names a manifest that is not here: push it first",
                detail: ("digest", "\(child.digest)"))
        }
    }

    private static func store(
        _ manifest: IncomingManifest, tag: String?, in repository: Int64, now: Timestamp, _ transaction: Transaction
    ) throws {
        let digest = manifest.digest.description
        try transaction.run(
            """
            INSERT INTO manifest
            (repository, digest, media_type, artifact_type, subject, pushed, used, size, annotations, content)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (repository, digest) DO UPDATE SET pushed = excluded.pushed, used = excluded.used,
            media_type = excluded.media_type
            """, repository, digest, manifest.mediaType, manifest.artifactType, manifest.subject?.description, now, now,
            manifest.content.count, manifest.annotations.isEmpty ? nil : manifest.annotations.json, manifest.content)
        guard
            let id = try transaction.first(
                "SELECT id FROM manifest WHERE repository = ? AND digest = ?", repository, digest, map: { $0.integer(0) })
        else { throw Fault(.system, "the manifest that was stored is not there") }
        for blob in manifest.blobs {
            try transaction.run("INSERT OR IGNORE INTO manifest_blob VALUES (?, ?)", id, blob.digest.description)
        }
        for child in manifest.children {
            try transaction.run("INSERT OR IGNORE INTO manifest_child VALUES (?, ?)", id, child.digest.description)
        }
        if let tag { try transaction.setTag(tag, in: repository, to: id, now: now) }
    }

    /// Brings the blobs that a manifest names to the disk. Those of other manifests are there already.
    private func makeDurable(_ manifest: IncomingManifest, in repository: RepositoryName) throws {
        let fresh = try database.read { transaction in
            try manifest.blobs.compactMap { descriptor in
                try transaction.linkedBlob(descriptor.digest, in: repository)?.blob
            }
        }.filter { !$0.isDurable }
        guard !fresh.isEmpty else { return }
        do {
            if fresh.count > 4 {
                try Files.open(root, [.readOnly, .directory]).syncFileSystem()
            } else {
                for blob in fresh {
                    try Files.open(path(of: blob.digest), .readOnly).sync()
                    try Files.open(folder(of: blob.digest), [.readOnly, .directory]).sync()
                }
            }
        } catch let fault as KernelFault where fault.isMissing { return }
        try database.write { transaction in
            for blob in fresh { try transaction.run("UPDATE blob SET durable = 1 WHERE id = ?", blob.id) }
        }
    }

    /// Notes that a manifest was asked for, at most once an eighth of the grace: what a mirror keeps is what is used.
    func noteUse(_ manifest: StoredManifest) throws {
        let now = now
        let old = Timestamp(nanoseconds: now.nanoseconds - limits.grace.nanoseconds / 8)
        let isOld = try database.read {
            try $0.first("SELECT 1 FROM manifest WHERE id = ? AND used < ?", manifest.id, old) { _ in true } ?? false
        }
        if isOld { try database.write { try $0.run("UPDATE manifest SET used = ? WHERE id = ?", now, manifest.id) } }
    }

    /// The manifest goes with all its tags; its blobs go with a later collection, if nothing else names them.
    func deleteManifest(_ digest: Digest, in repository: RepositoryName) throws -> Bool {
        let done = try database.write { transaction in
            guard let id = try transaction.repositoryID(repository) else { return false }
            return try transaction.run("DELETE FROM manifest WHERE repository = ? AND digest = ?", id, digest.description) > 0
        }
        if done { try syncDatabase() }
        return done
    }

    func deleteTag(_ tag: String, in repository: RepositoryName) throws -> Bool {
        let done = try database.write { transaction in
            guard let id = try transaction.repositoryID(repository) else { return false }
            return try transaction.run("DELETE FROM tag WHERE repository = ? AND name = ?", id, tag) > 0
        }
        if done { try syncDatabase() }
        return done
    }
}
