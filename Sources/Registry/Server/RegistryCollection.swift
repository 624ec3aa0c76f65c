import Linux
import Model
import State

/// What one collection has removed.
package struct CollectedCounts: Equatable, Sendable {
    package var blobs = 0
    package var bytes: Int64 = 0
    package var manifests = 0
    package var uploads = 0
    package init() {}
    package var isEmpty: Bool { self == CollectedCounts() }
}

extension RegistryStore {
    /// Removes what nobody has a claim on any more, while requests are served.
    ///
    /// A blob stays as long as a manifest of the repository names it, or somebody was told within the grace that it is there
    /// (by an upload's end, a mount, HEAD or GET). The claims are weighed in the same transaction that takes the row away; a
    /// manifest that comes later finds the blob missing and says so to its client, instead of naming a blob that goes.
    /// - Parameter mirrorAge: of a mirror: what was not used for so long goes, named by a manifest or not.
    @discardableResult
    package func collect(deletesUntagged: Bool = false, mirrorAge: Timestamp? = nil) throws -> CollectedCounts {
        var counts = CollectedCounts()
        counts.uploads = try expireUploads()
        if let mirrorAge {
            counts.manifests = try expireMirrored(mirrorAge)
        } else if deletesUntagged {
            counts.manifests = try removeUntagged()
        }
        while true {
            let (blobs, bytes) = try collectBlobs(mirrorAge: mirrorAge)
            counts.blobs += blobs
            counts.bytes += bytes
            if blobs == 0 { break }
        }
        try emptyTrash()
        try database.write { transaction in
            try transaction.run(
                """
                DELETE FROM repository WHERE NOT EXISTS (SELECT 1 FROM manifest m WHERE m.repository = repository.id)
                AND NOT EXISTS (SELECT 1 FROM blob_link l WHERE l.repository = repository.id)
                """)
        }
        return counts
    }

    private func before(_ age: Timestamp) -> Timestamp { Timestamp(nanoseconds: now.nanoseconds - age.nanoseconds) }

    /// At most some hundred blobs at a time: a push waits no longer than that takes.
    private func collectBlobs(mirrorAge: Timestamp?) throws -> (Int, Int64) {
        let old = before(limits.grace)
        return try names.withLock { _ in
            let gone = try database.write { transaction -> [StoredBlob] in
                if let mirrorAge {
                    try transaction.run("DELETE FROM blob_link WHERE used < ?", before(mirrorAge))
                }
                try transaction.run(
                    """
                    DELETE FROM blob_link WHERE used < ? AND NOT EXISTS (
                        SELECT 1 FROM blob b JOIN manifest_blob mb ON mb.digest = b.digest JOIN manifest m ON m.id = mb.manifest
                        WHERE b.id = blob_link.blob AND m.repository = blob_link.repository)
                    """, old)
                let gone = try transaction.rows(
                    """
                    SELECT b.id, b.digest, b.size, b.durable FROM blob b
                    WHERE NOT EXISTS (SELECT 1 FROM blob_link l WHERE l.blob = b.id) LIMIT 256
                    """
                ) { row in
                    StoredBlob(
                        id: row.integer(0), digest: try transaction.registryDigest(row.text(1)), size: row.integer(2),
                        isDurable: row.bool(3))
                }
                for blob in gone { try transaction.run("DELETE FROM blob WHERE id = ?", blob.id) }
                return gone
            }
            for blob in gone {
                // aside first: removing a large file takes long on some file systems, and pushes wait meanwhile
                do { try FileCalls.rename(path(of: blob.digest), root + "/trash/" + RandomBytes.hex(8)) } catch let fault
                    as KernelFault where fault.isMissing
                {}
            }
            return (gone.count, gone.reduce(0) { $0 + $1.size })
        }
    }

    private func expireUploads() throws -> Int {
        let old = before(limits.uploadRest)
        let stale = try database.read { transaction in
            try transaction.rows("SELECT id, repository FROM upload WHERE active < ?", old) { ($0.text(0), $0.text(1)) }
        }
        var count = 0
        for (id, repository) in stale {
            guard let name = RepositoryName(repository), let session = try? upload(id, in: name) else { continue }
            // one that is being written to at this moment is not stale
            if (try? cancel(session)) != nil { count += 1 }
        }
        return count
    }

    /// Manifests that no tag, no index and no subject keeps, and that were pushed before the grace.
    private func removeUntagged() throws -> Int {
        let old = before(limits.grace)
        var total = 0
        while true {
            let count = try database.write { transaction in
                try transaction.run(
                    """
                    DELETE FROM manifest WHERE pushed < ?
                    AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.manifest = manifest.id)
                    AND NOT EXISTS (SELECT 1 FROM manifest_child c JOIN manifest p ON p.id = c.manifest
                        WHERE c.digest = manifest.digest AND p.repository = manifest.repository)
                    AND (subject IS NULL OR NOT EXISTS (SELECT 1 FROM manifest s
                        WHERE s.repository = manifest.repository AND s.digest = manifest.subject))
                    """, old)
            }
            total += count
            if count == 0 { return total }
        }
    }

    private func expireMirrored(_ age: Timestamp) throws -> Int {
        let old = before(age)
        return try database.write { try $0.run("DELETE FROM manifest WHERE used < ?", old) }
    }
}
