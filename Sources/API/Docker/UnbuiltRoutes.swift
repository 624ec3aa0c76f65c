import Model

extension Router<Route> {
    /// Routes that docker clients know and that this version does not serve: they say so, instead of "page not found".
    mutating func addUnbuilt() {
        let unbuilt: [(method: String, pattern: String, text: String)] = [
            ("POST", "/build", "building images is not built yet: use import, load, bootstrap or commit"),
            ("POST", "/swarm/init", "swarms are not built yet"), ("POST", "/swarm/join", "swarms are not built yet"),
            ("GET", "/containers/{id}/attach/ws", "attaching over a web socket is not built yet: use attach"),
        ]
        // `system prune` goes through these: there is nothing to remove
        post("/build/prune") { _ in .json(bytes: Array(#"{"CachesDeleted":null,"SpaceReclaimed":0}"#.utf8)) }
        // Machines on their own are no swarm: what asks whether this is one is answered as dockerd does.
        get("/plugins") { _ in .json(bytes: Array("[]".utf8)) }
        let manager =
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and "
            + "try again."
        for kind in ["swarm", "nodes", "services", "tasks", "secrets", "configs"] {
            get("/" + kind) { _ in throw Fault(.unavailable, manager) }
            if kind != "swarm" { get("/\(kind)/{id}") { _ in throw Fault(.unavailable, manager) } }
        }
        for route in unbuilt {
            on(route.method, route.pattern, body: .stream) { _ in throw Fault(.unsupported, route.text) }
        }
    }
}
