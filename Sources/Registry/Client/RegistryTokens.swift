import HTTP
import JSON
import Linux
import Model

/// What is shown to one registry, for one piece of work. Tokens stay in memory and go with it.
final class RegistryTokens: Sendable {
    private struct Token {
        var value: String
        /// Monotonic nanoseconds.
        var expires: Int64
    }

    private struct State {
        var tokens: [String: Token] = [:]
        /// `Basic …` by the endpoint's place.
        var basic: [String: String] = [:]
    }

    private let state = Monitor(State())
    private let credential: RegistryCredential?
    private let hosts: RegistryHosts
    /// Sends without redirects.
    private let exchange: @Sendable (HTTPRequest, _ verified: Bool, WireCancellation?) throws -> HTTPAnswer

    init(
        credential: RegistryCredential?, hosts: RegistryHosts,
        exchange: @escaping @Sendable (HTTPRequest, Bool, WireCancellation?) throws -> HTTPAnswer
    ) {
        self.credential = credential.flatMap { $0.isEmpty ? nil : $0 }
        self.hosts = hosts
        self.exchange = exchange
    }

    private static func key(_ endpoint: RegistryEndpoint, _ scopes: [String]) -> String {
        "\(endpoint.url.scheme.rawValue)://\(endpoint.url.authority) " + scopes.sorted().joined(separator: " ")
    }

    /// The `Authorization` for a request to that endpoint, where one is known.
    func authorization(_ endpoint: RegistryEndpoint, _ scopes: [String]) -> String? {
        if let credential, !credential.registryToken.isEmpty, !endpoint.isMirror { return "Bearer " + credential.registryToken }
        let now = Clock.monotonic
        return state.update { state in
            if let token = state.tokens[Self.key(endpoint, scopes)], token.expires > now { return "Bearer " + token.value }
            return state.basic[Self.key(endpoint, [])]
        }
    }

    /// Answers a challenge, so that `authorization` knows something new.
    /// - Throws: a refusal (401) when there is nothing else to show.
    func answer(
        _ challenges: [AuthChallenge], _ endpoint: RegistryEndpoint, _ scopes: [String], _ cancellation: WireCancellation?
    ) throws {
        if let bearer = challenges.first(where: { $0.scheme == "bearer" && $0.parameters["realm"] != nil }) {
            let token = try fetchToken(bearer, endpoint, scopes, cancellation)
            state.update { $0.tokens[Self.key(endpoint, scopes)] = token }
            return
        }
        guard challenges.contains(where: { $0.scheme == "basic" }) else {
            throw RegistryRefusal(
                status: 401, code: "UNAUTHORIZED", message: "the registry asks for no kind of credential that is known")
        }
        guard let credential, !credential.username.isEmpty, !endpoint.isMirror else {
            throw RegistryRefusal(status: 401, message: "no basic auth credentials")
        }
        let value = "Basic " + Base64Text.encode(Array("\(credential.username):\(credential.password)".utf8))
        let isNew = state.update { state in
            defer { state.basic[Self.key(endpoint, [])] = value }
            return state.basic[Self.key(endpoint, [])] != value
        }
        guard isNew else { throw RegistryRefusal(status: 401, message: "incorrect username or password") }
    }

    /// A token that a login proves, with the refresh token where the server gives one.
    func identityToken(_ challenge: AuthChallenge, _ endpoint: RegistryEndpoint, _ cancellation: WireCancellation?) throws
        -> String
    {
        let (url, isShown) = try realm(challenge, endpoint)
        guard isShown, let credential, !credential.username.isEmpty else { return "" }
        var request = HTTPRequest("GET", query(url, challenge, []).adding("offline_token", "true").adding("client_id", "skiff"))
        request.fields["Authorization"] = basic(credential)
        return try tokens(try exchange(request, isVerified(url, endpoint), cancellation)).refresh
    }

    private func basic(_ credential: RegistryCredential) -> String {
        "Basic " + Base64Text.encode(Array("\(credential.username):\(credential.password)".utf8))
    }

    // MARK: Tokens

    /// Where tokens come from, and whether the person's credential may be shown there.
    ///
    /// A registry may name any host for its tokens, and docker sends the password there. Here, a registry that was reached over
    /// verified TLS names whom it likes, as long as that is https too: it could have asked for the password itself. Where somebody
    /// between could have written the challenge (http, unverified TLS), only the registry's own host gets to see the
    /// password (CVE-2020-15157, CVE-2019-10214, CVE-2026-33540).
    private func realm(_ challenge: AuthChallenge, _ endpoint: RegistryEndpoint) throws -> (HTTPURL, isShown: Bool) {
        let text = challenge.parameters["realm"] ?? ""
        guard let url = HTTPURL(text) ?? endpoint.url.resolving(text) else {
            throw Fault(
                .invalid,
                "the registry \(endpoint.url.authority) names \"\(RegistryRefusal.printable(text))\" as the place for tokens, which is no URL"
            )
        }
        let isOwnHost = url.host == endpoint.url.host
        let isNear = HTTPURL.isLoopback(url.host) && HTTPURL.isLoopback(endpoint.url.host)
        if url.scheme == .http {
            guard endpoint.url.scheme == .http || (endpoint.allowsInsecure && (isOwnHost || isNear)) else {
                throw Fault(
                    .forbidden,
                    "the registry \(endpoint.url.authority) sends us to \(url.scheme.rawValue)://\(url.authority) for a token: "
                        + "that is not encrypted, so it is refused", subject: endpoint.url.authority)
            }
            guard isOwnHost || isNear || hosts.isInsecure(host: url.host, port: url.port) else {
                throw Fault(
                    .forbidden,
                    "the registry \(endpoint.url.authority) sends us to http://\(url.authority) for a token: name that host in "
                        + "insecure-registries if it is right", subject: endpoint.url.authority)
            }
        }
        if HTTPURL.isLoopback(url.host), !HTTPURL.isLoopback(endpoint.url.host) {
            throw Fault(
                .forbidden,
                "the registry \(endpoint.url.authority) sends us to this machine's own \(url.authority) for a token",
                subject: endpoint.url.authority)
        }
        let isTrusted = endpoint.url.scheme == .https && !endpoint.isUnverified
        return (url, !endpoint.isMirror && (isOwnHost || isNear || (isTrusted && url.scheme == .https)))
    }

    private func isVerified(_ url: HTTPURL, _ endpoint: RegistryEndpoint) -> Bool {
        !(endpoint.isUnverified && url.host == endpoint.url.host) && !hosts.isInsecure(host: url.host, port: url.port)
    }

    private func query(_ realm: HTTPURL, _ challenge: AuthChallenge, _ scopes: [String]) -> HTTPURL {
        var url = realm
        if let service = challenge.parameters["service"] { url = url.adding("service", service) }
        for scope in scopes { url = url.adding("scope", scope) }
        return url
    }

    private func fetchToken(
        _ challenge: AuthChallenge, _ endpoint: RegistryEndpoint, _ scopes: [String], _ cancellation: WireCancellation?
    ) throws -> Token {
        let (url, isShown) = try realm(challenge, endpoint)
        let wanted = scopes.isEmpty ? (challenge.parameters["scope"].map { [$0] } ?? []) : scopes
        let shown = isShown ? credential : nil
        let verified = isVerified(url, endpoint)
        if let shown, !shown.identityToken.isEmpty {
            var form = "grant_type=refresh_token&client_id=skiff&refresh_token=" + HTTPURL.encoded(shown.identityToken)
            form += "&service=" + HTTPURL.encoded(challenge.parameters["service"] ?? "")
            if !wanted.isEmpty { form += "&scope=" + HTTPURL.encoded(wanted.joined(separator: " ")) }
            var request = HTTPRequest("POST", url, body: .bytes(Array(form.utf8)))
            request.fields["Content-Type"] = "application/x-www-form-urlencoded"
            let answer = try exchange(request, verified, cancellation)
            // Servers without OAuth2's form; the person has a name and a password as well then.
            guard [404, 405].contains(answer.status), !shown.username.isEmpty, !shown.password.isEmpty else {
                return try tokens(answer).token
            }
            answer.discard()
        }
        var request = HTTPRequest("GET", query(url, challenge, wanted))
        if let shown, !shown.username.isEmpty {
            request.url = request.url.adding("account", shown.username)
            request.fields["Authorization"] = basic(shown)
        }
        return try tokens(try exchange(request, verified, cancellation)).token
    }

    private func tokens(_ answer: HTTPAnswer) throws -> (token: Token, refresh: String) {
        if answer.status == 429 || answer.status >= 500 { throw RegistryBusy(answer) }
        guard answer.status == 200 else {
            let refusal = RegistryRefusal(answer)
            // docker's words for a wrong password
            if refusal.status == 401 {
                throw RegistryRefusal(
                    status: 401, message: refusal.message.isEmpty ? "incorrect username or password" : refusal.message)
            }
            throw refusal
        }
        let bytes = try answer.readAll(limit: 256 << 10)
        guard let document = try? TokenDocument(json: bytes, limits: JSONLimits(size: 256 << 10, depth: 16)),
            !document.token.isEmpty
        else { throw RegistryRefusal(status: 401, message: "authorization server did not include a token in the response") }
        // A minute when it does not say, as the specification has it; something is taken off for the way.
        let seconds = Int64(min(max(document.seconds, 60), 3600)) - 10
        return (Token(value: document.token, expires: Clock.monotonic + seconds * 1_000_000_000), document.refresh)
    }

    private struct TokenDocument: JSONReadable {
        var token = ""
        var refresh = ""
        var seconds = 60

        init(from reader: inout JSONReader) throws {
            var access = ""
            try reader.object { key, reader in
                switch key {
                case "token": token = try reader.value() ?? ""
                case "access_token": access = try reader.value() ?? ""
                case "refresh_token": refresh = try reader.value() ?? ""
                // Some say 300.0; any number is taken, none is believed beyond a day.
                case "expires_in": seconds = Int(max(0, min(try reader.double(), 86_400)))
                default: try reader.skip()
                }
            }
            if token.isEmpty { token = access }
        }
    }
}
