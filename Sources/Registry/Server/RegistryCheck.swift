import Linux
import Model
import State

/// What `skiff registry check` found.
package struct RegistryFindings: Sendable {
    /// What is damaged, in words that name the thing and the way out.
    package var damages: [String] = []
    package var repaired = 0
    var blobs = 0
    var bytes: Int64 = 0
    var manifests = 0
    var uploads = 0
}

extension RegistryStore {
    /// Reads everything at rest and compares it with its digest.
    /// - Parameter repairs: damaged blobs lose their records and files, so that the next push or pull brings them anew; files
    ///   without a record go.
    package func check(repairs: Bool) throws -> RegistryFindings {
        var findings = RegistryFindings()
        let known = try rowsOfBlobs()
        for blob in known.values.sorted(by: { $0.digest < $1.digest }) {
            findings.blobs += 1
            findings.bytes += blob.size
            guard let damage = try damage(of: blob) else { continue }
            let names = try users(of: blob)
            findings.damages.append("blob \(blob.digest) \(damage); used by \(names)")
            if repairs {
                try forget(blob)
                findings.repaired += 1
            }
        }
        for file in try blobFiles() {
            if let digest = file.digest, known[digest] != nil { continue }
            findings.damages.append("file \(file.path) belongs to no record")
            if repairs {
                try removeTree(file.path)
                findings.repaired += 1
            }
        }
        try checkManifests(&findings, repairs)
        findings.uploads = try Files.names(root + "/uploads").count
        return findings
    }

    private func damage(of blob: StoredBlob) throws -> String? {
        guard let size = try fileSize(path(of: blob.digest)) else { return "has lost its file" }
        guard size == blob.size else { return "has \(size) bytes instead of \(blob.size)" }
        do {
            let found = try hash(ofFile: path(of: blob.digest), blob.digest.algorithm).finish()
            return found == blob.digest ? nil : "has another content"
        } catch let fault as KernelFault { return "cannot be read (\(fault.reason))" }
    }

    private func users(of blob: StoredBlob) throws -> String {
        let names = try database.read { transaction in
            try transaction.rows(
                """
                SELECT r.name FROM repository r JOIN blob_link l ON l.repository = r.id WHERE l.blob = ? ORDER BY r.name LIMIT 4
                """, blob.id
            ) { $0.text(0) }
        }
        return names.isEmpty ? "nobody" : names.joined(separator: ", ")
    }

    private func checkManifests(_ findings: inout RegistryFindings, _ repairs: Bool) throws {
        let ids = try database.read { try $0.rows("SELECT id FROM manifest ORDER BY id") { $0.integer(0) } }
        let isMirror =
            try database.read { try $0.first("SELECT 1 FROM setting WHERE name = 'mirror' AND value = '1'") { _ in true } }
            ?? false
        for id in ids {
            let row = try database.read { transaction in
                try transaction.first(
                    """
                    SELECT r.name, m.digest, m.content FROM manifest m JOIN repository r ON r.id = m.repository WHERE m.id = ?
                    """, id
                ) { (name: $0.text(0), digest: try transaction.registryDigest($0.text(1)), content: $0.blob(2)) }
            }
            guard let row else { continue }
            findings.manifests += 1
            if (try? IncomingManifest(row.content, mediaType: nil, wanted: row.digest)) == nil {
                findings.damages.append("manifest \(row.name)@\(row.digest) has another content: push it again")
                if repairs {
                    try database.write { try $0.run("DELETE FROM manifest WHERE id = ?", id) }
                    findings.repaired += 1
                }
                continue
            }
            if isMirror { continue }
            let missing = try database.read { transaction in
                try transaction.rows(
                    """
                    SELECT mb.digest FROM manifest_blob mb JOIN manifest m ON m.id = mb.manifest WHERE mb.manifest = ?
                    AND NOT EXISTS (SELECT 1 FROM blob b JOIN blob_link l ON l.blob = b.id
                        WHERE b.digest = mb.digest AND l.repository = m.repository)
                    """, id
                ) { $0.text(0) }
            }
            for digest in missing {
                findings.damages.append("manifest \(row.name)@\(row.digest) names \(digest), which is not here: push it again")
            }
        }
    }
}
