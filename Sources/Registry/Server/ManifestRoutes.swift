import HTTP
import JSON
import Model

extension RegistryService {
    func manifest(_ request: ServerRequest, _ name: RepositoryName, _ reference: ManifestReference) throws
        -> ServerResponse
    {
        switch request.method {
        case "GET", "HEAD": return try readManifest(request, name, reference)
        case "PUT": return try putManifest(request, name, reference)
        case "DELETE": return try deleteManifest(name, reference)
        default:
            try Self.allow(false, "GET, HEAD, PUT, DELETE")
            return ServerResponse(405)
        }
    }

    private func readManifest(_ request: ServerRequest, _ name: RepositoryName, _ reference: ManifestReference) throws
        -> ServerResponse
    {
        let stored = try store.database.read { try $0.manifest(reference, in: name) }
        let found: StoredManifest
        var warning: String?
        if let mirror {
            (found, warning) = try mirror.manifest(name, reference, stored)
        } else {
            guard let stored else { throw DistributionFault.manifestUnknown(reference.description) }
            found = stored
        }
        try store.noteUse(found)
        var fields: [ServerField] = [
            .init("Content-Type", found.mediaType), .init("Docker-Content-Digest", found.digest.description),
            .init("ETag", "\"\(found.digest)\""),
        ]
        if let warning { fields.append(.init("Warning", warning)) }
        if Self.matches(request["if-none-match"], found.digest) { return ServerResponse(304, fields) }
        return ServerResponse(200, fields, body: .bytes(found.content))
    }

    private func putManifest(_ request: ServerRequest, _ name: RepositoryName, _ reference: ManifestReference) throws
        -> ServerResponse
    {
        let content = try readAll(request.body, limit: store.limits.manifestSize)
        let mediaType = request["content-type"].map { field in
            let type = field.prefix { $0 != ";" }
            return HTTPFields.trimmed(type).lowercased()
        }
        var tag: String?
        var wanted: Digest?
        switch reference {
        case .tag(let name): tag = name
        case .digest(let digest): wanted = digest
        }
        let manifest = try IncomingManifest(content, mediaType: mediaType.flatMap { $0.isEmpty ? nil : $0 }, wanted: wanted)
        try store.put(manifest, tag: tag, in: name)
        var response = ServerResponse(
            201,
            [
                .init("Location", "/v2/\(name)/manifests/\(manifest.digest)"),
                .init("Docker-Content-Digest", manifest.digest.description),
            ])
        if let subject = manifest.subject { response.add("OCI-Subject", subject.description) }
        return response
    }

    private func readAll(_ body: any RequestBody, limit: Int) throws -> [UInt8] {
        let tooLarge = DistributionFault(413, .manifestInvalid, "manifests of more than \(limit) bytes are not taken here")
        if let length = body.length, length > limit { throw tooLarge }
        var content: [UInt8] = []
        content.reserveCapacity(Int(body.length ?? 8192))
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = try body.read(into: buffer)
            if count == 0 { return content }
            guard content.count + count <= limit else { throw tooLarge }
            content.append(contentsOf: buffer[..<count])
        }
    }

    private func deleteManifest(_ name: RepositoryName, _ reference: ManifestReference) throws -> ServerResponse {
        let done: Bool
        switch reference {
        case .digest(let digest): done = try store.deleteManifest(digest, in: name)
        case .tag(let tag): done = try store.deleteTag(tag, in: name)
        }
        guard done else { throw DistributionFault.manifestUnknown(reference.description) }
        return ServerResponse(202)
    }
}
