import Linux
import Model

/// One request of a group that runs side by side.
public struct ParallelCall: Sendable {
    public let method: String
    public let path: String
    public let query: Query
    public let body: RequestBody

    public init(_ method: String, _ path: String, _ query: Query = Query(), body: RequestBody = .none) {
        self.method = method
        self.path = path
        self.query = query
        self.body = body
    }
}

extension EngineClient {
    /// Sends the requests on up to `width` connections at a time. `done` is called in the order of the requests, as early as possible.
    public func parallel(
        _ calls: [ParallelCall], width: Int = 50, done: (_ index: Int, _ result: Result<[UInt8], any Error>) -> Void
    ) throws {
        if calls.count == 1 {
            done(0, Result { try call(calls[0].method, calls[0].path, calls[0].query, body: calls[0].body) })
            return
        }
        var results: [Result<[UInt8], any Error>?] = Array(repeating: nil, count: calls.count)
        var running: [(index: Int, connection: HTTPConnection)] = []
        var next = 0
        var reported = 0
        while reported < calls.count {
            while next < calls.count, running.count < width {
                let call = calls[next]
                do {
                    let connection = try begin(call.method, call.path, call.query, body: call.body)
                    running.append((next, connection))
                } catch { results[next] = .failure(error) }
                next += 1
            }
            if !running.isEmpty {
                let wanted = running.map { (fd: $0.connection.descriptor, interest: StreamCalls.Interest.read) }
                guard let ready = try StreamCalls.wait(wanted, milliseconds: -1) else { continue }
                for (position, readiness) in ready.enumerated().reversed() where readiness.readable {
                    let (index, connection) = running.remove(at: position)
                    results[index] = Result { try finish(connection) }
                }
            }
            while reported < calls.count, let result = results[reported] {
                done(reported, result)
                reported += 1
            }
        }
    }
}
