import HTTP
import Linux
import Model

extension RegistryService {
    func blob(_ request: ServerRequest, _ name: RepositoryName, _ digest: Digest) throws -> ServerResponse {
        switch request.method {
        case "GET", "HEAD":
            if let found = try store.openBlob(digest, in: name) {
                return Self.content(request, digest, found.file, size: found.size)
            }
            if let mirror { return try mirror.blob(request, name, digest) }
            throw DistributionFault.blobUnknown(digest.description)
        case "DELETE":
            guard try store.removeLink(digest, in: name) else { throw DistributionFault.blobUnknown(digest.description) }
            return ServerResponse(202)
        default:
            try Self.allow(false, "GET, HEAD, DELETE")
            return ServerResponse(405)
        }
    }

    static func blobFields(_ digest: Digest) -> [ServerField] {
        [
            .init("Content-Type", "application/octet-stream"), .init("Docker-Content-Digest", digest.description),
            .init("ETag", "\"\(digest)\""), .init("Accept-Ranges", "bytes"),
            // a content never changes under its digest; who may see it is asked each time
            .init("Cache-Control", "private, max-age=31536000, immutable"),
        ]
    }

    static func matches(_ field: String?, _ digest: Digest) -> Bool {
        guard let field else { return false }
        return field.split(separator: ",").contains { part in
            var tag = part.drop { $0 == " " || $0 == "\t" }
            while tag.last == " " || tag.last == "\t" { tag.removeLast() }
            if tag.hasPrefix("W/") { tag = tag.dropFirst(2) }
            return tag == "*" || tag == "\"\(digest)\"" || tag == "\(digest)"
        }
    }

    static func content(_ request: ServerRequest, _ digest: Digest, _ file: SharedDescriptor, size: Int64) -> ServerResponse {
        let fields = blobFields(digest)
        if matches(request["if-none-match"], digest) { return ServerResponse(304, fields) }
        let wanted = wantedRange(request, digest, size: size)
        switch wanted {
        case .whole: return ServerResponse(200, fields, body: .file(file, offset: 0, count: size))
        case .part(let range):
            var response = ServerResponse(
                206, fields, body: .file(file, offset: range.lowerBound, count: Int64(range.count)))
            response.add("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)")
            return response
        case .unsatisfiable: return unsatisfiable(size)
        }
    }

    /// With `If-Range` the range counts only for the content that the client has the rest of (RFC 9110, 13.1.5).
    static func wantedRange(_ request: ServerRequest, _ digest: Digest, size: Int64) -> WantedRange {
        if let condition = request["if-range"], !matches(condition, digest) { return .whole }
        return WantedRange(request["range"], size: size)
    }

    static func unsatisfiable(_ size: Int64) -> ServerResponse {
        DistributionFault(
            416, .rangeInvalid, "the range lies outside the \(size) bytes of the blob",
            fields: [.init("Content-Range", "bytes */\(size)")]
        ).response
    }

    // MARK: Uploads

    private static func digest(_ query: RegistryQuery) throws -> Digest? {
        guard let text = query["digest"] else { return nil }
        guard let digest = Digest(text) else { throw DistributionFault.digestInvalid(text) }
        return digest
    }

    private static func range(_ request: ServerRequest) throws -> ChunkRange? {
        guard let field = request["content-range"] else { return nil }
        guard let range = ChunkRange(field) else {
            throw DistributionFault(
                400, .blobUploadInvalid, "Content-Range must be first-last, both inclusive",
                detail: ("Content-Range", String(field.prefix(100))))
        }
        return range
    }

    private static func created(_ name: RepositoryName, _ digest: Digest) -> ServerResponse {
        ServerResponse(
            201, [.init("Location", "/v2/\(name)/blobs/\(digest)"), .init("Docker-Content-Digest", digest.description)])
    }

    /// POST: a mount, a whole blob at once, or the beginning of an upload.
    func beginUpload(_ request: ServerRequest, _ name: RepositoryName, _ query: RegistryQuery) throws -> ServerResponse {
        if let text = query["mount"] {
            guard let digest = Digest(text) else { throw DistributionFault.digestInvalid(text) }
            if let source = query["from"].flatMap(RepositoryName.init), try store.mount(digest, from: source, to: name) {
                return Self.created(name, digest)
            }
        } else if let digest = try Self.digest(query) {
            let session = try store.beginUpload(name)
            do { try store.finish(session, body: request.body, range: nil, digest: digest) } catch {
                try? store.cancel(session)
                throw error
            }
            return Self.created(name, digest)
        }
        let session = try store.beginUpload(name)
        return ServerResponse(202, UploadAnswer.fields(session, size: 0))
    }

    func upload(_ request: ServerRequest, _ name: RepositoryName, _ id: String, _ query: RegistryQuery) throws
        -> ServerResponse
    {
        let session = try store.upload(id, in: name)
        switch request.method {
        case "GET", "HEAD":
            return ServerResponse(204, UploadAnswer.fields(session, size: try store.uploadedSize(session)))
        case "PATCH":
            let size = try store.append(request.body, range: try Self.range(request), to: session)
            return ServerResponse(202, UploadAnswer.fields(session, size: size))
        case "PUT":
            guard let digest = try Self.digest(query) else { throw DistributionFault.digestInvalid("") }
            try store.finish(session, body: request.body, range: try Self.range(request), digest: digest)
            return Self.created(name, digest)
        case "DELETE":
            try store.cancel(session)
            return ServerResponse(204)
        default:
            try Self.allow(false, "GET, HEAD, PATCH, PUT, DELETE")
            return ServerResponse(405)
        }
    }
}
