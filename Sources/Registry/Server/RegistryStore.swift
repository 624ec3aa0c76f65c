import Archive
import Linux
import Model
import State
import Synchronization

/// What the registry server keeps below its root: blobs as plain files by their digest, everything else in one SQLite file.
///
///     registry.lock       the holder's pid
///     registry.db         repositories, manifests, tags, links, uploads
///     blobs/sha256/ab/…   one file for each row of `blob`
///     uploads/…           one file for each row of `upload`, named by an id of our own
///     trash/…             files that no row names any more, on their way out
///
/// A file gets its final name and its row under `names`, and loses them under it, so that a blob that is being pushed again while
/// it is collected either stays or is stored anew. A row is written after its file and removed before it: what a SIGKILL leaves
/// is at worst a file without a row, which the next start removes.
package final class RegistryStore: Sendable {
    package let root: String
    let database: Database
    let log: RegistryLog
    private let lock: FileLock
    /// Held while a file below `blobs` and its row change together.
    let names = Mutex(())
    let sessions = Mutex<[String: UploadSession]>([:])
    let limits: RegistryLimits

    /// Opens or makes the folder and mends what a kill left.
    /// - Throws: `conflict` with the holder's pid when another server has it.
    package init(root: String, limits: RegistryLimits = RegistryLimits(), log: RegistryLog = RegistryLog(.text)) throws {
        self.root = root
        self.limits = limits
        self.log = log
        do {
            try Descriptor.makeDirectories(root, permissions: 0o755)
            for folder in ["blobs", "uploads", "trash"] { try Files.makeFolder(root + "/" + folder, mode: 0o700) }
            var holder: CInt = 0
            guard let lock = try FileLock.take(root + "/registry.lock", holder: &holder) else {
                throw Fault(
                    .conflict,
                    "another registry server (process \(holder)) uses \(root); stop it first, or give this one another --root",
                    subject: root)
            }
            self.lock = lock
        } catch let fault as KernelFault { throw Fault(.system, "cannot use \(root)", subject: root, cause: fault) }
        database = try Database(path: root + "/registry.db", schema: [.registry])
    }

    var now: Timestamp { Timestamp(nanoseconds: KernelClock.realtime) }

    /// A mirror's folder and a registry's own are not mixed: what one keeps the other would collect.
    func note(isMirror: Bool) throws {
        let wanted = isMirror ? "1" : "0"
        let known = try database.write { transaction in
            try transaction.run("INSERT OR IGNORE INTO setting VALUES ('mirror', ?)", wanted)
            return try transaction.first("SELECT value FROM setting WHERE name = 'mirror'") { $0.text(0) }
        }
        guard known == wanted else {
            throw Fault(
                .conflict,
                isMirror
                    ? "\(root) holds a registry's own images: give the mirror another --root"
                    : "\(root) holds a mirror's images: give the registry another --root, or name its --mirror", subject: root)
        }
    }

    // MARK: Files

    package func path(of digest: Digest) -> String { folder(of: digest) + "/" + digest.hex }
    func folder(of digest: Digest) -> String { "\(root)/blobs/\(digest.algorithm.rawValue)/\(digest.hex.prefix(2))" }
    func uploadPath(_ id: String) -> String { root + "/uploads/" + id }

    /// The file's size; nil where there is none.
    func fileSize(_ path: String) throws -> Int64? {
        do { return Int64(try Files.status(path).size) } catch let fault as KernelFault where fault.isMissing { return nil }
    }

    /// Moves a finished file to its place. Under `names`.
    private func place(_ source: String, as digest: Digest) throws {
        do { try FileCalls.rename(source, path(of: digest)) } catch let fault as KernelFault where fault.isMissing {
            try Files.makeFolder("\(root)/blobs/\(digest.algorithm.rawValue)", mode: 0o700)
            try Files.makeFolder(folder(of: digest), mode: 0o700)
            try FileCalls.rename(source, path(of: digest))
        }
    }

    // MARK: Blobs

    /// A blob for reading, where that repository has it. Renews its grace.
    func openBlob(_ digest: Digest, in repository: RepositoryName) throws -> (file: SharedDescriptor, size: Int64)? {
        guard let found = try database.read({ try $0.linkedBlob(digest, in: repository) }) else { return nil }
        do {
            let file = SharedDescriptor(try Files.open(path(of: digest), .readOnly))
            let size = Int64(try Files.status(of: file.raw).size)
            guard size == found.blob.size else {
                log.error("blob \(digest) has \(size) bytes instead of \(found.blob.size): run `skiff registry check --repair`")
                return nil
            }
            try renew(found.blob, used: found.used, in: repository)
            return (file, size)
        } catch let fault as KernelFault where fault.isMissing {
            log.error("blob \(digest) has lost its file: run `skiff registry check --repair`, or push it again")
            return nil
        }
    }

    /// Whoever was told that a blob is there has the time of grace to name it in a manifest.
    private func renew(_ blob: StoredBlob, used: Timestamp, in repository: RepositoryName) throws {
        let now = now
        guard now.nanoseconds - used.nanoseconds > limits.grace.nanoseconds / 8 else { return }
        try database.write { transaction in
            guard let id = try transaction.repositoryID(repository) else { return }
            try transaction.run(
                "UPDATE blob_link SET used = ? WHERE repository = ? AND blob = ?", now, id, blob.id)
        }
    }

    /// Stores a file, whose content has that digest, as a blob of the repository. The file moves or goes.
    /// Success means that the blob survives SIGKILL; power loss it survives when a manifest names it.
    func commit(file: String, digest: Digest, size: Int64, to repository: RepositoryName, upload: String?) throws {
        try names.withLock { _ in
            let known = try database.read { try $0.registryBlob(digest) }
            // A whole file that is on the disk already is not replaced by one that may not be.
            let keeps = try known.map { try $0.size == size && fileSize(path(of: digest)) == size } ?? false
            if keeps { try Files.remove(file) } else { try place(file, as: digest) }
            let now = now
            try database.write { transaction in
                let id = try transaction.makeRepository(repository, now: now)
                let blob: Int64
                if let known = try transaction.registryBlob(digest) {
                    blob = known.id
                    if !keeps { try transaction.run("UPDATE blob SET durable = 0, size = ? WHERE id = ?", size, blob) }
                } else {
                    blob = try transaction.insertBlob(digest, size: size, durable: false, now: now)
                }
                try transaction.link(blob: blob, to: id, now: now)
                if let upload { try transaction.run("DELETE FROM upload WHERE id = ?", upload) }
            }
        }
    }

    /// Gives a repository what another one has. False where that one does not have it.
    func mount(_ digest: Digest, from source: RepositoryName, to repository: RepositoryName) throws -> Bool {
        let now = now
        return try names.withLock { _ in
            guard let found = try database.read({ try $0.linkedBlob(digest, in: source) }),
                try fileSize(path(of: digest)) == found.blob.size
            else { return false }
            try database.write { transaction in
                let id = try transaction.makeRepository(repository, now: now)
                try transaction.link(blob: found.blob.id, to: id, now: now)
            }
            return true
        }
    }

    /// The repository has the blob no more, at once; the file goes with the next collection, if nobody else has it.
    func removeLink(_ digest: Digest, in repository: RepositoryName) throws -> Bool {
        try database.write { transaction in
            try transaction.run(
                """
                DELETE FROM blob_link WHERE repository = (SELECT id FROM repository WHERE name = ?)
                AND blob = (SELECT id FROM blob WHERE digest = ?)
                """, repository.text, digest.description) > 0
        }
    }

    /// Everything committed so far survives power loss when this returns.
    func syncDatabase() throws { try database.syncBlocking() }
}

/// Bounds of what clients may do.
package struct RegistryLimits: Sendable {
    /// How long a blob that no manifest names stays after somebody was told that it is there.
    package var grace = Timestamp(seconds: 3600)
    /// How long an upload may rest.
    package var uploadRest = Timestamp(seconds: 24 * 3600)
    /// Bytes of one blob; nil: as the disk allows.
    package var uploadSize: Int64?
    /// Bytes of a manifest (distribution-spec, "Pushing Manifests": at least 4 MiB).
    var manifestSize = 4 << 20
    /// Uploads that may be open at one time.
    package var uploads = 4096
    /// Names on one page of a list, at most, and where the client names no number.
    package var page = 1000

    package init() {}
}

extension KernelFault {
    var isMissing: Bool { FileCalls.isMissing(self) }
}
