import Engine
import JSON
import Model

extension Router<Route> {
    mutating func addNetworks(_ ready: @escaping Ready) {
        get("/networks") { request in .json(try await ready().networks.list(try request.query.filters())) }
        get("/networks/{id}") { request in .json(try await ready().networks.inspect(request["id"])) }
    }
}
