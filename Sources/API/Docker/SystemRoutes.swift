import Engine
import JSON
import Model

extension Router<Route> {
    mutating func addSystem(_ ready: @escaping Ready) {
        for method in ["GET", "HEAD"] {
            inline(method, "/_ping") { _ in
                Answer(
                    status: 200, contentType: "text/plain; charset=utf-8",
                    fields: [
                        // 1: the client builds with the classic endpoint, whose answer says what there is (2 would be BuildKit)
                        ("Builder-Version", "1"), ("Swarm", "inactive"),
                        ("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache"),
                    ],
                    body: method == "GET" ? .bytes(Array("OK".utf8)) : .empty)
            }
        }
        get("/version") { _ in .json(try await ready().system.version()) }
        get("/info") { _ in .json(try await ready().system.info()) }
        get("/system/df") { _ in .json(DiskUsageDocument(usage: try await ready().system.diskUsage())) }
        get("/events") { request in
            var options = EventsOptions()
            options.since = try request.query.moment("since")
            options.until = try request.query.moment("until")
            options.filters = try request.query.filters()
            let events = try await ready().events.stream(options)
            return .stream("application/json") { out in
                for try await event in events { try await out.write(line: event) }
            }
        }
    }
}

/// `GET /system/df` as all versions of the API have it.
struct DiskUsageDocument: JSONWritable {
    let usage: DiskUsage

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("LayersSize", usage.layersSize)
            writer.member("Images", usage.images)
            writer.member("Containers", usage.containers)
            writer.member("Volumes", usage.volumes)
            writer.key("BuildCache")
            writer.array { _ in }
            writer.member("BuilderSize", 0)
        }
    }
}
