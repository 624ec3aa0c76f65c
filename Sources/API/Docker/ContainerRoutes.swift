import Engine
import JSON
import Model

extension Router<Route> {
    /// Containers: what is answered at once.
    mutating func addContainers(_ ready: @escaping Ready) {
        get("/containers/json") { request in
            var options = ContainerListOptions()
            options.all = request.query.bool("all")
            options.limit = try request.query.integer("limit")
            options.size = request.query.bool("size")
            options.filters = try request.query.filters()
            return .json(try await ready().containers.list(options))
        }
        get("/containers/{id...}/json") { request in
            .json(
                try await ready().containers.inspect(
                    request["id"], size: request.query.bool("size"), olderNetworks: request.version < APIVersion(1, 52)))
        }
        get("/containers/{id}/top") { request in
            .json(try await ready().containers.top(request["id"], arguments: request.query.text("ps_args")))
        }
        get("/containers/{id}/changes") { request in
            .json(try await ready().containers.changes(request["id"]))
        }
        post("/containers/create") { request in
            let created = try await ready().containers.create(
                try request.json(), name: request.query.text("name"), platform: request.query.text("platform"),
                caller: request.caller)
            return .json(created, status: 201)
        }
        post("/containers/prune") { request in
            .json(try await ready().containers.prune(try request.query.filters(), caller: request.caller))
        }
        post("/containers/{id}/update") { request in
            .json(try await ready().containers.update(request["id"], try request.json(), caller: request.caller))
        }
        // A link has a slash in its name
        delete("/containers/{id...}") { request in
            var options = ContainerRemoveOptions()
            options.force = request.query.bool("force")
            options.volumes = request.query.bool("v")
            options.link = request.query.bool("link")
            try await ready().containers.remove(request["id"], options, caller: request.caller)
            return .empty()
        }
        post("/commit") { request in
            let container = try request.query.required("container")
            return .json(
                try await ready().containers.commit(container, try CommitOptions(request), caller: request.caller), status: 201)
        }
        addContainerFiles(ready)
        addContainerLife(ready)
        addContainerVerbs(ready)
    }

    private mutating func addContainerLife(_ ready: @escaping Ready) {
        post("/containers/{id}/start") { request in
            try await ready().containers.start(request["id"], caller: request.caller)
            return .empty()
        }
        post("/containers/{id}/stop") { request in
            try await ready().containers.stop(
                request["id"], signal: request.query.text("signal"), timeout: try request.query.integer("t"),
                caller: request.caller)
            return .empty()
        }
        post("/containers/{id}/restart") { request in
            try await ready().containers.restart(
                request["id"], signal: request.query.text("signal"), timeout: try request.query.integer("t"),
                caller: request.caller)
            return .empty()
        }
        post("/containers/{id}/kill") { request in
            try await ready().containers.kill(request["id"], signal: request.query.text("signal"), caller: request.caller)
            return .empty()
        }
    }

    private mutating func addContainerVerbs(_ ready: @escaping Ready) {
        post("/containers/{id}/pause") { request in
            try await ready().containers.pause(request["id"], caller: request.caller)
            return .empty()
        }
        post("/containers/{id}/unpause") { request in
            try await ready().containers.unpause(request["id"], caller: request.caller)
            return .empty()
        }
        post("/containers/{id}/rename") { request in
            try await ready().containers.rename(request["id"], to: request.query["name"] ?? "", caller: request.caller)
            return .empty()
        }
        post("/containers/{id}/resize") { request in
            let size = try TerminalSize(request.query)
            try await ready().containers.resize(
                request["id"], width: size.width, height: size.height, caller: request.caller)
            return .empty(200)
        }
    }
}

extension CommitOptions {
    fileprivate init(_ request: Request) throws {
        self.init()
        repository = request.query.text("repo")
        tag = request.query.text("tag")
        comment = request.query["comment"] ?? ""
        author = request.query["author"] ?? ""
        pause = request.query.bool("pause", default: true)
        changes = request.query.lines("changes")
        config = try request.jsonIfAny()
    }
}

/// `h` and `w` of a resize request.
struct TerminalSize {
    let width: Int
    let height: Int

    init(_ query: Query) throws {
        func side(_ key: String, _ word: String) throws -> Int {
            let text = query[key] ?? ""
            guard let value = UInt32(text) else {
                let isNumber = !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
                throw Fault(
                    .invalid, "invalid resize \(word) \"\(text)\": \(isNumber ? "value out of range" : "invalid syntax")")
            }
            // the kernel's winsize has 16 bits for each
            return Int(min(value, 65535))
        }
        height = try side("h", "height")
        width = try side("w", "width")
    }
}

extension Query {
    func required(_ key: String) throws -> String {
        guard let value = text(key) else { throw Fault(.invalid, "the parameter '\(key)' is missing") }
        return value
    }

    /// Every line of every value of the parameter.
    func lines(_ key: String) -> [String] { all(key).flatMap { $0.split(separator: "\n").map(String.init) } }
}
