import Archive
import HTTP
import Linux
import Model
import State

/// An upload in progress: its running hash, so that a push in one stream is hashed once, as it comes.
///
/// Unchecked: `hash` is touched only by the one request that `isBusy`, which a monitor guards, lets in.
final class UploadSession: @unchecked Sendable {
    let id: String
    let repository: RepositoryName
    private let isBusy = Monitor(false)
    var hash = ContentHash(.sha256)

    init(id: String, repository: RepositoryName) {
        self.id = id
        self.repository = repository
    }

    func exclusively<T>(_ body: () throws -> T) throws -> T {
        let isMine = isBusy.update { busy in
            defer { busy = true }
            return !busy
        }
        guard isMine else {
            throw DistributionFault(
                409, .blobUploadInvalid, "another request writes to this upload at the moment", detail: ("upload", id))
        }
        defer { isBusy.update { $0 = false } }
        return try body()
    }
}

extension RegistryStore {
    /// Bytes that a request moves at a time.
    static let bufferSize = 256 << 10

    // MARK: Beginning and end

    func beginUpload(_ repository: RepositoryName) throws -> UploadSession {
        let session = UploadSession(id: RandomBytes.hex(16), repository: repository)
        let now = now
        let limit = limits.uploads
        try database.write { transaction in
            let open = try transaction.first("SELECT COUNT(*) FROM upload") { $0.int(0) } ?? 0
            guard open < limit else {
                throw DistributionFault(429, .tooManyRequests, "\(open) uploads are open already; finish or cancel some first")
            }
            try transaction.run("INSERT INTO upload VALUES (?, ?, ?, ?)", session.id, repository.text, now, now)
        }
        do { _ = try Files.open(uploadPath(session.id), [.writeOnly, .create, .exclusive], mode: 0o600) } catch {
            _ = try? database.write { try $0.run("DELETE FROM upload WHERE id = ?", session.id) }
            throw error
        }
        sessions.withLock { $0[session.id] = session }
        return session
    }

    /// The upload of that id. Throws `BLOB_UPLOAD_UNKNOWN`, also where it belongs to another repository.
    func upload(_ id: String, in repository: RepositoryName) throws -> UploadSession {
        if let session = sessions.withLock({ $0[id] }) {
            guard session.repository == repository else { throw DistributionFault.uploadUnknown(id) }
            return session
        }
        let owner = try database.read { try $0.first("SELECT repository FROM upload WHERE id = ?", id) { $0.text(0) } }
        guard owner == repository.text else { throw DistributionFault.uploadUnknown(id) }
        return sessions.withLock { sessions in
            if let session = sessions[id] { return session }
            let session = UploadSession(id: id, repository: repository)
            sessions[id] = session
            return session
        }
    }

    /// Bytes that the upload has so far.
    func uploadedSize(_ session: UploadSession) throws -> Int64 {
        guard let size = try fileSize(uploadPath(session.id)) else { throw DistributionFault.uploadUnknown(session.id) }
        return size
    }

    func cancel(_ session: UploadSession) throws {
        try session.exclusively { try discard(session) }
    }

    private func discard(_ session: UploadSession) throws {
        _ = sessions.withLock { $0.removeValue(forKey: session.id) }
        try database.write { try $0.run("DELETE FROM upload WHERE id = ?", session.id) }
        try Files.remove(uploadPath(session.id))
    }

    // MARK: Bytes

    /// Appends a body to the upload. What came before an error stays, so that the client can go on from there.
    /// - Parameter range: where the client says that the bytes belong.
    /// - Returns: the size with them.
    func append(_ body: any RequestBody, range: ChunkRange?, to session: UploadSession) throws -> Int64 {
        try session.exclusively { try appendAlone(body, range: range, to: session) }
    }

    private func appendAlone(_ body: any RequestBody, range: ChunkRange?, to session: UploadSession) throws -> Int64 {
        var size = try uploadedSize(session)
        if let range {
            if let length = body.length, length != range.count {
                throw DistributionFault(
                    400, .sizeInvalid, "Content-Range names \(range.count) bytes but Content-Length is \(length)")
            }
            guard range.first == size else { throw DistributionFault.gap(session, size) }
        }
        if let length = body.length { try checkSize(size + length) }
        let file = try Files.open(uploadPath(session.id), [.writeOnly, .append])
        if session.hash.count != size { session.hash = try hash(ofFile: uploadPath(session.id), .sha256) }
        let start = size
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.bufferSize, alignment: 64)
        defer { buffer.deallocate() }
        defer { touch(session) }
        while true {
            let count = try body.read(into: buffer)
            if count == 0 { break }
            if let range, size - start + Int64(count) > range.count {
                throw DistributionFault(400, .sizeInvalid, "the body is longer than Content-Range says")
            }
            try checkSize(size + Int64(count))
            let part = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            do { try file.writeAll(part) } catch {
                // how much of it was written is not known: the hash begins anew from the file
                session.hash = ContentHash(.sha256)
                throw error
            }
            session.hash.update(part)
            size += Int64(count)
        }
        if let range, size - start != range.count {
            throw DistributionFault(400, .sizeInvalid, "the body is shorter than Content-Range says")
        }
        return size
    }

    private func checkSize(_ size: Int64) throws {
        guard let limit = limits.uploadSize, size > limit else { return }
        throw DistributionFault(413, .sizeInvalid, "blobs of more than \(limit) bytes are not taken here (--max-blob-size)")
    }

    private func touch(_ session: UploadSession) {
        let now = now
        _ = try? database.write { try $0.run("UPDATE upload SET active = ? WHERE id = ?", now, session.id) }
    }

    /// Takes the last part, checks the whole and makes it a blob of the repository. A wrong digest ends the upload.
    func finish(_ session: UploadSession, body: any RequestBody, range: ChunkRange?, digest: Digest) throws {
        try session.exclusively {
            let size = try appendAlone(body, range: range, to: session)
            let found =
                digest.algorithm == .sha256
                ? try session.hash.finish() : try hash(ofFile: uploadPath(session.id), digest.algorithm).finish()
            guard found == digest else {
                try discard(session)
                throw DistributionFault(
                    400, .digestInvalid, "provided digest did not match uploaded content", detail: ("digest", "\(digest)"))
            }
            let path = uploadPath(session.id)
            do { try Files.open(path, .readOnly).beginWriteback() }
            do { try commit(file: path, digest: digest, size: size, to: session.repository, upload: session.id) } catch {
                // the hash is spent: it begins anew from the file when the client tries again
                session.hash = ContentHash(.sha256)
                throw error
            }
            _ = sessions.withLock { $0.removeValue(forKey: session.id) }
        }
    }

    func hash(ofFile path: String, _ algorithm: Digest.Algorithm) throws -> ContentHash {
        let file = try Files.open(path, .readOnly)
        let hash = ContentHash(algorithm)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.bufferSize, alignment: 64)
        defer { buffer.deallocate() }
        while true {
            let count = try file.read(into: buffer)
            if count == 0 { return hash }
            hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }
}

extension DistributionFault {
    /// The answer to a chunk that does not follow what is there: where the upload stands (distribution-spec, "Pushing a blob in
    /// chunks").
    static func gap(_ session: UploadSession, _ size: Int64) -> DistributionFault {
        DistributionFault(
            416, .rangeInvalid, "the chunk does not follow the \(size) bytes that are here", detail: ("upload", session.id),
            fields: UploadAnswer.fields(session, size: size))
    }
}

/// Fields that tell where an upload stands.
enum UploadAnswer {
    static func fields(_ session: UploadSession, size: Int64) -> [ServerField] {
        [
            .init("Location", "/v2/\(session.repository)/blobs/uploads/\(session.id)"),
            .init("Range", "0-\(max(0, size - 1))"), .init("Docker-Upload-UUID", session.id),
        ]
    }
}
