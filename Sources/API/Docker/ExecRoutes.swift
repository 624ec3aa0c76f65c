import Engine
import JSON
import Model

extension Router<Route> {
    mutating func addExecs(_ ready: @escaping Ready) {
        post("/containers/{id}/exec") { request in
            let config: Docker.ExecConfig = try request.json()
            guard let command = config.cmd, !command.isEmpty else { throw Fault(.invalid, "No exec command specified") }
            return .json(
                try await ready().execs.create(container: request["id"], config, caller: request.caller), status: 201)
        }
        on("POST", "/exec/{id}/start", mayHijack: true) { request in
            let config: Docker.ExecStartConfig = try request.jsonIfAny() ?? Docker.ExecStartConfig()
            let execs = try await ready().execs
            if config.detach ?? false {
                try await execs.start(request["id"], config, caller: request.caller)
                return .empty(200)
            }
            let offer = try await execs.startAttached(request["id"], config, caller: request.caller)
            return .hijack(StreamType.of(multiplexed: offer.isMultiplexed, request.version)) { await offer.accept($0) }
        }
        post("/exec/{id}/resize") { request in
            let size = try TerminalSize(request.query)
            try await ready().execs.resize(request["id"], width: size.width, height: size.height, caller: request.caller)
            return .empty(200)
        }
        get("/exec/{id}/json") { request in .json(try await ready().execs.inspect(request["id"])) }
    }
}
