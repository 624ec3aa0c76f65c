import Engine
import Model

extension Router<Route> {
    /// Files of containers: `cp`.
    mutating func addContainerFiles(_ ready: @escaping Ready) {
        on("HEAD", "/containers/{id}/archive", disconnect: .cancels) { request in
            let path = try Self.archivePath(request)
            let stat = try await ready().containers.pathStat(request["id"], path)
            return Answer(status: 200, fields: [(PathStat.header, stat.encoded)])
        }
        get("/containers/{id}/archive") { request in
            let path = try Self.archivePath(request)
            let (stat, tar) = try await ready().containers.archive(request["id"], path)
            return Answer(
                status: 200, contentType: "application/x-tar", fields: [(PathStat.header, stat.encoded)],
                body: .stream { out in for try await chunk in tar { try await out.write(chunk) } })
        }
        on("PUT", "/containers/{id}/archive", body: .stream) { request in
            let path = try Self.archivePath(request)
            guard let body = request.stream?.body else { throw Fault(.invalid, "the request has no body") }
            var options = ExtractOptions()
            options.keepsKinds = request.query.bool("noOverwriteDirNonDir")
            options.ownedByUser = request.query.bool("copyUIDGID")
            try await ready().containers.extract(request["id"], path, options, body, caller: request.caller)
            return .empty(200)
        }
    }

    private static func archivePath(_ request: Request) throws -> String {
        guard let path = request.query.text("path") else { throw Fault(.invalid, "bad parameter: path cannot be empty") }
        guard !path.utf8.contains(0), path.utf8.count <= 4096 else { throw Fault(.invalid, "bad parameter: path is malformed") }
        return path
    }
}
