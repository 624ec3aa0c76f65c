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
        get("/system/df") { request in
            .json(DiskUsageDocument(usage: try await ready().system.diskUsage(types: Set(request.query.all("type")))))
        }
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

/// `GET /system/df` as all versions of the API have it, and what ours has beyond that under `Skiff`.
struct DiskUsageDocument: JSONWritable {
    let usage: DiskUsage

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            if usage.has("image") {
                writer.member("LayersSize", usage.layersSize)
                writer.member("Images", usage.images)
            }
            if usage.has("container") { writer.member("Containers", usage.containers) }
            if usage.has("volume") { writer.member("Volumes", usage.volumes) }
            if usage.has("build-cache") {
                writer.key("BuildCache")
                writer.array { _ in }
                writer.member("BuilderSize", 0)
            }
            if let census = usage.census {
                writer.key("Skiff")
                CensusDocument(census: census).write(to: &writer)
            }
        }
    }
}

/// Bytes below the data root by what they belong to; paths that belong to nothing.
struct CensusDocument: JSONWritable {
    let census: StorageCensus

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("Total", census.items.reduce(0) { $0 + $1.bytes })
            writer.key("Kinds")
            writer.object { writer in
                for kind in StorageCensus.kinds {
                    let items = census.items(kind)
                    writer.key(kind.rawValue)
                    writer.object { writer in
                        writer.member("Count", items.count)
                        writer.member("Bytes", items.reduce(0) { $0 + $1.bytes })
                    }
                }
            }
            writer.key("Unaccounted")
            writer.array { writer in
                for item in census.unaccounted.prefix(1000) {
                    writer.object { writer in
                        writer.member("Path", item.path)
                        writer.member("Bytes", item.bytes)
                        writer.member("Files", item.files)
                    }
                }
            }
        }
    }
}
