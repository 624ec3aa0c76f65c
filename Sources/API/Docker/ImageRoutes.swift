import Engine
import JSON
import Model

extension Router<Route> {
    mutating func addImages(_ ready: @escaping Ready) {
        get("/images/json") { request in
            var filters = try request.query.filters()
            // `filter` is the form of clients before 1.28: a reference
            if let reference = request.query.text("filter") { filters.values["reference", default: []].append(reference) }
            return .json(
                try await ready().images.list(
                    all: request.query.bool("all"), filters: filters, manifests: request.query.bool("manifests")))
        }
        get("/images/{name...}/json") { request in
            let images = try await ready().images
            try await images.expect(request["name"], try Self.platforms(request.query.all("platform")))
            return .json(try await images.inspect(request["name"]))
        }
        get("/images/{name...}/history") { request in
            let images = try await ready().images
            try await images.expect(request["name"], try Self.platforms(request.query.all("platform")))
            return .json(try await images.history(request["name"]))
        }
        post("/images/{name...}/tag") { request in
            try await ready().images.tag(
                request["name"], repository: try request.query.required("repo"), tag: request.query.text("tag"),
                caller: request.caller)
            return .empty(201)
        }
        delete("/images/{name...}") { request in
            let images = try await ready().images
            try await images.expect(request["name"], try Self.platforms(request.query.all("platforms")))
            return .json(
                try await images.remove(
                    request["name"], force: request.query.bool("force"), noPrune: request.query.bool("noprune"),
                    caller: request.caller))
        }
        post("/images/prune") { request in
            .json(try await ready().images.prune(try request.query.filters(), caller: request.caller))
        }
        addImageStreams(ready)
        addRegistries(ready)
    }

    private mutating func addImageStreams(_ ready: @escaping Ready) {
        on("POST", "/images/create", body: .stream, disconnect: .cancels) { request in
            let images = try await ready().images
            if let image = request.query.text("fromImage") {
                let progress = try await images.pull(try Self.pull(request, image), caller: request.caller)
                return .stream("application/json") { try await $0.writeMessages(progress) }
            }
            let source = try request.query.required("fromSrc")
            guard source == "-", let body = request.stream?.body else {
                throw Fault(
                    .unsupported,
                    "importing from \(source) is not built yet: fetch the file and use `import FILE` or `import -`")
            }
            let progress = try await images.importRootfs(
                body, reference: Self.reference(request.query), message: request.query["message"] ?? "",
                changes: request.query.lines("changes"), platform: request.query.text("platform"), caller: request.caller)
            return .stream("application/json") { try await $0.writeMessages(progress) }
        }
        on("POST", "/images/load", body: .stream) { request in
            guard let body = request.stream?.body else { throw Fault(.invalid, "the request has no body") }
            let progress = try await ready().images.load(
                body, quiet: request.query.bool("quiet"), platform: try Self.platform(request.query.text("platform")),
                caller: request.caller)
            return .stream("application/json") { try await $0.writeMessages(progress) }
        }
        get("/images/get") { request in
            let names = request.query.all("names").flatMap { $0.split(separator: ",").map(String.init) }
            let tar = try await ready().images.save(names, platform: try Self.platform(request.query.text("platform")))
            return .stream("application/x-tar") { out in for try await chunk in tar { try await out.write(chunk) } }
        }
        get("/images/{name...}/get") { request in
            let tar = try await ready().images.save(
                [request["name"]], platform: try Self.platform(request.query.text("platform")))
            return .stream("application/x-tar") { out in for try await chunk in tar { try await out.write(chunk) } }
        }
    }

    private static func platforms(_ texts: [String]) throws -> [String] {
        try texts.compactMap { try platform($0) }.filter { !$0.isEmpty }
    }

    private static func reference(_ query: Query) -> String? {
        guard let repository = query.text("repo") else { return nil }
        return query.text("tag").map { "\(repository):\($0)" } ?? repository
    }
}
