import Engine
import JSON
import Model

extension Router<Route> {
    mutating func addVolumes(_ ready: @escaping Ready) {
        get("/volumes") { request in .json(try await ready().volumes.list(try request.query.filters())) }
        post("/volumes/create") { request in
            let wish: Docker.VolumeCreateRequest = try request.json()
            return .json(try await ready().volumes.create(wish, caller: request.caller), status: 201)
        }
        post("/volumes/prune") { request in
            .json(try await ready().volumes.prune(try request.query.filters(), caller: request.caller))
        }
        get("/volumes/{name}") { request in .json(try await ready().volumes.inspect(request["name"])) }
        delete("/volumes/{name}") { request in
            try await ready().volumes.remove(
                request["name"], force: request.query.bool("force"), caller: request.caller)
            return .empty()
        }
    }
}
