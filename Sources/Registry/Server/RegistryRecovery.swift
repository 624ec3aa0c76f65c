import HTTP
import Linux
import Model
import State

extension RegistryStore {
    /// Brings files and rows together after a kill or a power cut, before the first request. What has no row goes; what has a row
    /// and no file is named in the log and stays unanswered until somebody pushes it again.
    package func recover() throws {
        try emptyTrash()
        try recoverUploads()
        let known = try rowsOfBlobs()
        try removeStrangers(known)
        try verifyAfterPowerLoss(known)
        for blob in known.values where try fileSize(path(of: blob.digest)) != blob.size {
            log.error("blob \(blob.digest) has lost its file: push it again, or run `skiff registry check --repair`")
        }
    }

    func rowsOfBlobs() throws -> [Digest: StoredBlob] {
        let rows = try database.read { transaction in
            try transaction.rows("SELECT id, digest, size, durable FROM blob") { row in
                StoredBlob(
                    id: row.integer(0), digest: try transaction.registryDigest(row.text(1)), size: row.integer(2),
                    isDurable: row.bool(3))
            }
        }
        return Dictionary(uniqueKeysWithValues: rows.map { ($0.digest, $0) })
    }

    func emptyTrash() throws {
        for name in try Files.names(root + "/trash") { try removeTree(root + "/trash/" + name) }
    }

    private func recoverUploads() throws {
        let rows = Set(try database.read { try $0.rows("SELECT id FROM upload") { $0.text(0) } })
        let files = Set(try Files.names(root + "/uploads"))
        for name in files.subtracting(rows) { try removeTree(root + "/uploads/" + name) }
        let lost = rows.subtracting(files)
        try database.write { transaction in
            for id in lost { try transaction.run("DELETE FROM upload WHERE id = ?", id) }
        }
    }

    /// Every file below `blobs`, with the digest that its place stands for; nil where it is no place of a blob.
    func blobFiles() throws -> [(path: String, digest: Digest?)] {
        var files: [(path: String, digest: Digest?)] = []
        for algorithm in try Files.names(root + "/blobs") {
            let top = root + "/blobs/" + algorithm
            guard let kind = Digest.Algorithm(rawValue: algorithm) else {
                files.append((top, nil))
                continue
            }
            for shard in try Files.names(top) {
                for name in try Files.names(top + "/" + shard) {
                    let digest = Digest(kind, hex: name)
                    files.append((top + "/" + shard + "/" + name, digest.flatMap { $0.hex.hasPrefix(shard) ? $0 : nil }))
                }
            }
        }
        return files
    }

    private func removeStrangers(_ known: [Digest: StoredBlob]) throws {
        var removed = 0
        for file in try blobFiles() {
            if let digest = file.digest, known[digest] != nil { continue }
            try removeTree(file.path)
            removed += 1
        }
        if removed > 0 { log.info("\(removed) files that no record names were removed") }
    }

    /// After a reboot the blobs that no manifest had brought to the disk yet are hashed; what is not whole goes.
    private func verifyAfterPowerLoss(_ known: [Digest: StoredBlob]) throws {
        let boot = HTTPFields.trimmed(
            String(decoding: try Files.read("/proc/sys/kernel/random/boot_id", limit: 128), as: UTF8.self))
        let last = try database.read { try $0.first("SELECT value FROM setting WHERE name = 'boot'") { $0.text(0) } }
        if last == boot { return }
        if last != nil {
            for blob in known.values where !blob.isDurable {
                if try fileSize(path(of: blob.digest)) == blob.size,
                    try hash(ofFile: path(of: blob.digest), blob.digest.algorithm).finish() == blob.digest
                {
                    continue
                }
                log.warning("blob \(blob.digest) was being stored when the power went: it is gone")
                try forget(blob)
            }
        }
        try database.write { transaction in
            try transaction.run(
                "INSERT INTO setting VALUES ('boot', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", boot)
        }
    }

    /// Removes a blob, its links and its file.
    func forget(_ blob: StoredBlob) throws {
        try names.withLock { _ in
            try database.write { transaction in
                try transaction.run("DELETE FROM blob_link WHERE blob = ?", blob.id)
                try transaction.run("DELETE FROM blob WHERE id = ?", blob.id)
            }
            try Files.remove(path(of: blob.digest))
        }
    }
}
