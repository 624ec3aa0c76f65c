import Model
import NIOCore

/// One request and its answer on a connection. Belongs to the connection's event loop.
final class Exchange {
    enum Sent {
        case nothing
        /// The head is out; pieces follow, each with its length before it, or bare up to the end of the connection.
        case head(isChunked: Bool)
        case all
    }

    let head: RequestHead
    let route: Route
    let resolution: Resolution
    let pipe: BodyPipe?
    var collected: [UInt8] = []
    var sent = Sent.nothing
    var keepsAlive: Bool
    var task: Task<Void, Never>?

    init(head: RequestHead, resolution: Resolution, pipe: BodyPipe?) {
        self.head = head
        self.resolution = resolution
        self.route = resolution.route
        self.pipe = pipe
        self.keepsAlive = head.keepsAlive
    }

    func request(_ caller: Caller) -> Request {
        Request(
            head: head, version: resolution.version, parameters: resolution.parameters, query: resolution.query,
            caller: caller, body: collected, stream: pipe)
    }
}

/// What a request's head leads to.
struct Resolution {
    let route: Route
    let version: APIVersion
    let parameters: [String: String]
    let query: Query

    /// Finds the route; a head that leads nowhere gets a route that answers why.
    static func of(_ head: RequestHead, _ router: Router<Route>) -> Resolution {
        do {
            let target = try RequestTarget(head.target)
            guard let match = router.match(head.method, target.segments) else { return refusal(.notFound) }
            return Resolution(
                route: match.target, version: target.version, parameters: match.parameters,
                query: try Query(target.queryText))
        } catch {
            return refusal(Answer(error))
        }
    }

    private static func refusal(_ answer: Answer) -> Resolution {
        let route = Route(
            body: .collect(limit: Route.jsonLimit), disconnect: .continues, mayHijack: false, handler: .inline { _ in answer })
        return Resolution(route: route, version: .newest, parameters: [:], query: Query())
    }
}
