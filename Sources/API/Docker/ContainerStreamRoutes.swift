import Engine
import JSON
import Model

/// Content types of docker's streams. Before 1.42 clients were told raw-stream in both cases.
enum StreamType {
    static func of(multiplexed: Bool, _ version: APIVersion) -> String {
        multiplexed && version >= APIVersion(1, 42)
            ? "application/vnd.docker.multiplexed-stream" : "application/vnd.docker.raw-stream"
    }
}

extension Router<Route> {
    /// Containers: what goes on for a while.
    mutating func addContainerStreams(_ ready: @escaping Ready) {
        on("POST", "/containers/{id}/wait", disconnect: .cancels) { request in
            let condition = try Self.waitCondition(request)
            let pending = try await ready().containers.wait(request["id"], for: condition)
            // the head goes out now: clients start the container only when they know that the wait is in place
            return .stream("application/json") { out in try await out.write(line: try await pending.result()) }
        }
        get("/containers/{id}/logs") { request in
            let options = try LogsOptions(request.query)
            let logs = try await ready().containers.logs(request["id"], options)
            return .stream(StreamType.of(multiplexed: logs.isMultiplexed, request.version)) { out in
                for try await chunk in logs.chunks { try await out.write(chunk) }
            }
        }
        get("/containers/{id}/stats") { request in
            let isStream = request.query.bool("stream", default: true)
            let values = try await ready().containers.stats(
                request["id"], stream: isStream, oneShot: request.query.bool("one-shot"))
            return .stream("application/json") { out in
                for try await value in values { try await out.write(line: value) }
            }
        }
        get("/containers/{id}/export") { request in
            let tar = try await ready().containers.export(request["id"])
            return .stream("application/x-tar") { out in for try await chunk in tar { try await out.write(chunk) } }
        }
        on("POST", "/containers/{id}/attach", disconnect: .cancels, mayHijack: true) { request in
            let offer = try await ready().containers.attach(
                request["id"], AttachOptions(request.query), caller: request.caller)
            return .hijack(StreamType.of(multiplexed: offer.isMultiplexed, request.version)) { await offer.accept($0) }
        }
    }

    private static func waitCondition(_ request: Request) throws -> WaitCondition {
        guard let text = request.query.text("condition"), request.version >= APIVersion(1, 30) else { return .notRunning }
        guard let condition = WaitCondition(rawValue: text) else {
            throw Fault(.invalid, "invalid condition: \"\(text)\"")
        }
        return condition
    }
}

extension LogsOptions {
    init(_ query: Query) throws {
        self.init()
        stdout = query.bool("stdout")
        stderr = query.bool("stderr")
        guard stdout || stderr else { throw Fault(.invalid, "Bad parameters: you must choose at least one stream") }
        follow = query.bool("follow")
        timestamps = query.bool("timestamps")
        since = try query.moment("since")
        until = try query.moment("until")
        // anything that is no number means all of it, as in docker
        tail = query["tail"].flatMap { Int($0) }.flatMap { $0 < 0 ? nil : $0 }
    }
}

extension AttachOptions {
    init(_ query: Query) {
        self.init()
        stdin = query.bool("stdin")
        stdout = query.bool("stdout")
        stderr = query.bool("stderr")
        stream = query.bool("stream")
        logs = query.bool("logs")
        detachKeys = query.text("detachKeys")
    }
}
