import HTTP
import Linux
import Model

/// A request within one repository's registry.
struct RegistryRequest {
    var method: String
    /// Below `/v2/`.
    var path: String
    /// An address that the registry itself gave (an upload's `Location`), instead of a path.
    var url: HTTPURL?
    var fields = HTTPFields()
    var body = HTTPRequest.Body.none

    init(_ method: String, _ path: String, fields: HTTPFields = HTTPFields(), body: HTTPRequest.Body = .none) {
        self.method = method
        self.path = path
        self.fields = fields
        self.body = body
    }
}

/// One piece of work with one repository: which endpoint answers, tokens, connections, patience.
public final class RegistrySession: Sendable {
    let domain: String
    /// `library/debian`
    let repository: String
    let settings: RegistrySettings
    let hosts: RegistryHosts
    private let scopes: [String]
    private let client: HTTPClient
    let tokens: RegistryTokens
    /// The last challenge that the registry itself made.
    let memoryOfChallenges = Monitor<AuthChallenge?>(nil)
    private let memory = Monitor(Memory())
    private let endpoints: [RegistryEndpoint]
    private let listener = Monitor<(@Sendable (String) -> Void)?>(nil)

    private struct Memory {
        var contexts: [TLSContext.ClientSettings: TLSContext] = [:]
        /// Places of endpoints that cannot be used, by their index, and why.
        var dead: Set<Int> = []
        /// The endpoint that answered.
        var answered: Set<Int> = []
    }

    /// - Parameters:
    ///   - actions: `pull`, or `pull,push`, which leaves mirrors out.
    ///   - mounts: other repositories that contents may be mounted from.
    public init(
        domain: String, repository: String, actions: String, mounts: [String] = [], settings: RegistrySettings,
        credential: RegistryCredential?
    ) throws {
        self.domain = domain
        self.repository = repository
        self.settings = settings
        let hosts = RegistryHosts(settings: settings)
        self.hosts = hosts
        let client = HTTPClient(
            proxies: settings.proxies, answerTimeout: 3 * settings.stallTimeout, idleTimeout: settings.stallTimeout)
        self.client = client
        endpoints = try hosts.endpoints(domain, mirrors: actions == "pull")
        scopes =
            repository.isEmpty
            ? [] : ["repository:\(repository):\(actions)"] + mounts.map { "repository:\($0):pull" }
        let memory = memory
        tokens = RegistryTokens(credential: credential, hosts: hosts) { request, verified, cancellation in
            let context = try Self.context(request.url, verified, hosts, memory)
            return try client.send(request, tls: context, cancellation: cancellation)
        }
    }

    private static func context(_ url: HTTPURL, _ verified: Bool, _ hosts: RegistryHosts, _ memory: Monitor<Memory>) throws
        -> TLSContext?
    {
        guard url.scheme == .https else { return nil }
        let settings = try hosts.tls(url, verified: verified)
        if let known = memory.update({ $0.contexts[settings] }) { return known }
        let made = try TLSContext(client: settings)
        return memory.update { memory in
            if let known = memory.contexts[settings] { return known }
            memory.contexts[settings] = made
            return made
        }
    }

    // MARK: Endpoints

    /// `tell` hears, in one line each, of mirrors that are not asked again and why. From any thread.
    public func onWarning(_ tell: @escaping @Sendable (String) -> Void) { listener.update { $0 = tell } }

    /// Runs `body` with the endpoints in their order until one can do it: a mirror may fail in any way, the registry itself only by
    /// not being there (then its next form is tried: without TLS where that is allowed).
    func withEndpoints<T>(_ body: (RegistryEndpoint) throws -> T) throws -> T {
        var failure: (any Error)?
        let dead = memory.update { $0.dead }
        for (index, endpoint) in endpoints.enumerated() where !dead.contains(index) {
            do {
                let result = try body(endpoint)
                memory.update { _ = $0.answered.insert(index) }
                return result
            } catch {
                if let fault = error as? WireFault, fault.kind == .cancelled { throw error }
                let isLast = index == endpoints.count - 1
                guard !isLast, endpoint.isMirror || isAbsent(error, index) else { throw error }
                // Without TLS on the same port nothing else is heard than that it is no TLS: the first words count then.
                failure = error
                if endpoint.isMirror, let fault = error as? Fault, fault.kind == .invalid {
                    giveUp(endpoint, because: fault.message)
                } else if !endpoint.isMirror || error is WireFault {
                    memory.update { _ = $0.dead.insert(index) }
                }
            }
        }
        throw failure ?? Fault(.unavailable, "no endpoint of the registry \(domain) answers")
    }

    /// A mirror that broke off in the midst of a content, or sent another, is not asked again.
    func giveUp(_ endpoint: RegistryEndpoint, because reason: String) {
        guard let index = endpoints.firstIndex(of: endpoint), memory.update({ $0.dead.insert(index).inserted }) else { return }
        warn(endpoint, reason)
    }

    /// The mirrors that have answered are not asked again. False when there are none.
    func giveUpMirrors(because reason: String) -> Bool {
        let found = memory.update { memory in
            let found = endpoints.indices.filter {
                endpoints[$0].isMirror && memory.answered.contains($0) && !memory.dead.contains($0)
            }
            memory.dead.formUnion(found)
            return found
        }
        for index in found { warn(endpoints[index], reason) }
        return !found.isEmpty
    }

    private func warn(_ mirror: RegistryEndpoint, _ reason: String) {
        let place = "\(mirror.url.scheme.rawValue)://\(mirror.url.authority)"
        listener.update { $0 }?("the mirror \(place) is not asked again: \(RegistryRefusal.printable(reason))")
    }

    private func isAbsent(_ error: any Error, _ index: Int) -> Bool {
        guard let fault = error as? WireFault, !memory.update({ $0.answered.contains(index) }) else { return false }
        switch fault.kind {
        case .tls, .cut, .unreachable, .timedOut, .unanswered, .unknownHost, .malformed: return true
        case .tooLarge, .tooSlow, .cancelled: return false
        }
    }

    // MARK: Sending

    /// Sends to an endpoint: answers challenges, follows redirects (without the credential when they lead to another host).
    /// - Throws: `RegistryBusy` for statuses that pass (429, 5xx), a refusal for 401 when there is nothing more to show.
    func send(_ request: RegistryRequest, _ endpoint: RegistryEndpoint, _ cancellation: WireCancellation?) throws -> HTTPAnswer
    {
        var url = request.url ?? endpoint.url(request.path)
        if request.url != nil { try checkTarget(url, from: endpoint.url, endpoint) }
        var method = request.method
        var rounds = 0
        var hops = 0
        while true {
            let isOwn = url.hasSameOrigin(as: endpoint.url)
            var sent = HTTPRequest(method, url, fields: request.fields, body: request.body)
            if isOwn { sent.fields["Authorization"] = tokens.authorization(endpoint, scopes) }
            let verified = isOwn ? !endpoint.isUnverified : !isUnverified(url)
            let context = try Self.context(url, verified, hosts, memory)
            let answer = try client.send(sent, tls: context, cancellation: cancellation)
            switch answer.status {
            case 401 where isOwn:
                let challenges = AuthChallenge.parse(answer.head.fields.all("WWW-Authenticate"))
                guard rounds < 2, !challenges.isEmpty else { throw RegistryRefusal(answer) }
                let refusal = rounds == 1 ? RegistryRefusal(answer) : nil
                answer.discard()
                rounds += 1
                memoryOfChallenges.update { $0 = challenges.first { $0.scheme == "bearer" } ?? challenges.first }
                // Once for a first token, once more in case that one was too old.
                if rounds == 2, let refusal, sent.fields["Authorization"]?.hasPrefix("Basic ") == true { throw refusal }
                try tokens.answer(challenges, endpoint, scopes, cancellation)
                if case .stream = request.body { throw RegistryBusy(status: 401, wait: 0) }
            case 401: throw RegistryRefusal(answer)
            case 301, 302, 303, 307, 308:
                hops += 1
                guard ["GET", "HEAD"].contains(method), hops <= 10, let place = answer["Location"] else {
                    throw RegistryRefusal(answer)
                }
                guard let next = url.resolving(place) else {
                    throw Fault(
                        .invalid,
                        "the registry \(domain) redirects to \"\(RegistryRefusal.printable(place))\", which is no http or https URL"
                    )
                }
                answer.discard()
                try checkTarget(next, from: url, endpoint)
                if answer.status == 303, method != "HEAD" { method = "GET" }
                url = next
            case 408, 425, 429, 500, 502, 503, 504: throw RegistryBusy(answer)
            default: return answer
            }
        }
    }

    private func isUnverified(_ url: HTTPURL) -> Bool { hosts.isInsecure(host: url.host, port: url.port) }

    /// A registry does not lead us from TLS to plain text, nor to this machine's own ports unless it is on this machine.
    private func checkTarget(_ next: HTTPURL, from url: HTTPURL, _ endpoint: RegistryEndpoint) throws {
        if next.hasSameOrigin(as: endpoint.url) { return }
        if HTTPURL.isLoopback(next.host), !HTTPURL.isLoopback(endpoint.url.host) {
            throw Fault(
                .forbidden, "the registry \(domain) redirects to this machine's own \(next.authority): refused", subject: domain
            )
        }
        guard next.scheme == .http else { return }
        guard url.scheme == .http, next.host == endpoint.url.host || hosts.isInsecure(host: next.host, port: next.port) else {
            throw Fault(
                .forbidden,
                "the registry \(domain) redirects to http://\(next.authority), which is not encrypted: refused", subject: domain
            )
        }
    }

    /// Sends to the first endpoint that can do it, with patience.
    func request(_ request: RegistryRequest, _ cancellation: WireCancellation?) throws -> HTTPAnswer {
        try withEndpoints { endpoint in
            try patiently(cancellation, endpoint) { try send(request, endpoint, cancellation) }
        }
    }

    // MARK: Patience

    /// Repeats what may pass: busy statuses, cuts, stalls. Waits twice as long each time, and as long as the registry asks for.
    func patiently<T>(_ cancellation: WireCancellation?, _ endpoint: RegistryEndpoint? = nil, _ body: () throws -> T) throws
        -> T
    {
        var patience = Patience(settings, cancellation)
        while true {
            do { return try body() } catch {
                // There is somebody else to ask.
                if let endpoint, endpoint.isMirror { throw error }
                // A first contact that fails is told at once: a wrong name should not take a minute.
                if let endpoint, let fault = error as? WireFault, fault.kind != .timedOut {
                    let known = endpoints.firstIndex(of: endpoint).map { index in memory.update { $0.answered.contains(index) }
                    }
                    if known != true { throw error }
                }
                try patience.wait(after: error)
            }
        }
    }
}

/// How long to wait before something is tried again, and whether at all.
struct Patience {
    private let settings: RegistrySettings
    private let cancellation: WireCancellation?
    private var attempts = 0
    /// What a registry may ask for at most.
    private static let longest = 60_000

    init(_ settings: RegistrySettings, _ cancellation: WireCancellation?) {
        self.settings = settings
        self.cancellation = cancellation
    }

    /// Something worked.
    mutating func reset() { attempts = 0 }

    /// Returns when it is time to try again; throws the error when it will not pass or was tried often enough.
    mutating func wait(after error: any Error) throws {
        var asked: Int?
        switch error {
        case let busy as RegistryBusy: asked = busy.wait
        // Each of these has cost the whole time of a stall already.
        case let fault as WireFault where fault.kind == .timedOut: guard attempts < 2 else { throw error }
        case let fault as WireFault where [.cut, .unreachable, .unknownHost].contains(fault.kind): break
        default: throw error
        }
        guard attempts < settings.retries else { throw error }
        if let asked, asked > Self.longest { throw error }
        attempts += 1
        let backoff = min(250 << attempts, 10_000)
        let jittered = backoff / 2 + Int.random(in: 0...(backoff / 2))
        try (cancellation ?? WireCancellation()).sleep(milliseconds: asked.map { $0 + Int.random(in: 0...100) } ?? jittered)
    }
}

extension RegistryBusy {
    /// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).
    init(_ answer: HTTPAnswer) {
        let text = answer["Retry-After"] ?? ""
        let until = HTTPDate.seconds(text).map { $0 - Clock.realtime / 1_000_000_000 }
        let seconds = (Int64(text) ?? until).map { max(0, min($0, 1_000_000)) }
        self.init(status: answer.status, wait: seconds.map { Int($0) * 1000 })
        answer.discard()
    }
}
