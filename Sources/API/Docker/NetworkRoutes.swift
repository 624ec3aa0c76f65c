import Engine
import JSON
import Model

extension Router<Route> {
    mutating func addNetworks(_ ready: @escaping Ready) {
        get("/networks") { request in .json(try await ready().networks.list(try request.query.filters())) }
        post("/networks/create") { request in
            let wish: Docker.NetworkCreateRequest = try request.jsonIfAny() ?? Docker.NetworkCreateRequest()
            return .json(try await ready().networks.create(wish, caller: request.caller), status: 201)
        }
        post("/networks/prune") { request in
            .json(try await ready().networks.prune(try request.query.filters(), caller: request.caller))
        }
        get("/networks/{id}") { request in
            // Only swarm services have more to tell; a wrong value is refused all the same.
            if let text = request.query.text("verbose"), !Self.booleans.contains(text) {
                throw Fault(
                    .invalid, "invalid value for verbose: \(text): strconv.ParseBool: parsing \"\(text)\": invalid syntax")
            }
            return .json(try await ready().networks.inspect(request["id"], scope: request.query.text("scope")))
        }
        delete("/networks/{id}") { request in
            try await ready().networks.remove(request["id"], caller: request.caller)
            return .empty()
        }
        post("/networks/{id}/connect") { request in
            let wish: Docker.NetworkConnectRequest = try request.json()
            try await ready().networks.connect(request["id"], wish, caller: request.caller)
            return .empty(200)
        }
        post("/networks/{id}/disconnect") { request in
            let wish: Docker.NetworkDisconnectRequest = try request.json()
            try await ready().networks.disconnect(request["id"], wish, caller: request.caller)
            return .empty(200)
        }
    }

    /// Go's words for true and false.
    private static var booleans: Set<String> {
        ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"]
    }
}
