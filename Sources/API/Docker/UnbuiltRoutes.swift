import Model

extension Router<Route> {
    /// Routes that docker clients know and that this version does not serve: they say so, instead of "page not found".
    mutating func addUnbuilt() {
        let unbuilt: [(method: String, pattern: String, text: String)] = [
            ("POST", "/build", "building images is not built yet: use import, load, bootstrap or commit"),
            ("GET", "/containers/{id}/attach/ws", "attaching over a web socket is not built yet: use attach"),
        ]
        // `system prune` goes through these: there is nothing to remove
        post("/build/prune") { _ in .json(bytes: Array(#"{"CachesDeleted":null,"SpaceReclaimed":0}"#.utf8)) }
        for route in unbuilt {
            on(route.method, route.pattern, body: .stream) { _ in throw Fault(.unsupported, route.text) }
        }
    }
}
