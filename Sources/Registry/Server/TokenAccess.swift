import HTTP
import JSON
import Linux
import Model

/// What a token's bearer may do, by a token that was found good (distribution, "Token Authentication Specification").
struct TokenClaims: Equatable {
    struct Access: Equatable {
        var type = ""
        var name = ""
        var actions: [String] = []
    }

    var issuer = ""
    var subject = ""
    var audience: [String] = []
    var expires: Int64?
    var notBefore: Int64?
    var access: [Access] = []

    init(_ bytes: [UInt8]) throws {
        var reader = try JSONReader(bytes, limits: JSONLimits(size: 64 << 10, depth: 16))
        try reader.object { name, reader in
            switch name {
            case "iss": issuer = try reader.string()
            case "sub": subject = reader.next == .string ? try reader.string() : ""
            case "aud": if reader.next == .array { audience = try reader.value() } else { audience = [try reader.string()] }
            case "exp": expires = try Self.time(&reader)
            case "nbf": notBefore = try Self.time(&reader)
            case "access": try readAccess(&reader)
            default: try reader.skip()
            }
        }
        try reader.end()
    }

    /// Seconds since 1970, perhaps with a fraction (RFC 7519, 2).
    private static func time(_ reader: inout JSONReader) throws -> Int64 {
        let number = try reader.double()
        guard number > -1e15, number < 1e15 else { throw reader.fault("no time") }
        return Int64(number)
    }

    private mutating func readAccess(_ reader: inout JSONReader) throws {
        if reader.null() { return }
        try reader.array { reader in
            var entry = Access()
            try reader.object { name, reader in
                switch name {
                case "type": entry.type = try reader.string()
                case "name": entry.name = try reader.string()
                case "actions": entry.actions = try reader.value()
                default: try reader.skip()
                }
            }
            access.append(entry)
        }
    }

    func allows(_ need: AccessNeed) -> Bool {
        switch need {
        case .repository(let name, let action):
            access.contains {
                $0.type == "repository" && $0.name == name.text
                    && ($0.actions.contains(action.rawValue) || $0.actions.contains("*"))
            }
        case .catalog: access.contains { $0.type == "registry" && $0.name == "catalog" && $0.actions.contains("*") }
        }
    }
}

/// Bearer tokens (JWT, RFC 7519) of an issuer that the owner named, signed by keys that the owner gave. What a token's own head
/// says of keys (`jwk`, `jku`, `x5c`, `x5u`) is never used, and `kid` only chooses among the owner's (CVE-2025-24976).
package final class TokenAccess: RegistryAccess {
    private let realm: String
    private let service: String
    private let issuer: String
    private let keys: [TokenKey]
    private let clock: @Sendable () -> Int64
    /// How far clocks may be apart, in seconds.
    static let leeway: Int64 = 60
    private static let longest = 32 << 10

    package init(
        realm: String, service: String, issuer: String, keys: [TokenKey],
        clock: @escaping @Sendable () -> Int64 = { Clock.realtime / 1_000_000_000 }
    ) {
        self.realm = realm
        self.service = service
        self.issuer = issuer
        self.keys = keys
        self.clock = clock
    }

    package func check(_ request: ServerRequest, needs: [AccessNeed]) throws {
        guard let field = request["authorization"] else { throw challenge(needs, nil) }
        let words = field.split(separator: " ", omittingEmptySubsequences: true)
        guard words.count == 2, words[0].lowercased() == "bearer", let claims = claims(String(words[1])) else {
            throw challenge(needs, "invalid_token")
        }
        guard needs.allSatisfy(claims.allows) else { throw challenge(needs, "insufficient_scope") }
    }

    /// The claims of a token that is good now; nil for any other.
    func claims(_ token: String) -> TokenClaims? {
        guard token.utf8.count <= Self.longest else { return nil }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let head = StrictBase64.decode(parts[0], .url), let body = StrictBase64.decode(parts[1], .url),
            let signature = StrictBase64.decode(parts[2], .url), let (algorithm, id) = try? Self.head(head)
        else { return nil }
        let signed = Array("\(parts[0]).\(parts[1])".utf8)
        var candidates = keys.filter { $0.algorithm.rawValue == algorithm }
        if let id, candidates.contains(where: { $0.id == id }) { candidates = candidates.filter { $0.id == id } }
        guard candidates.contains(where: { $0.verifies(signature, of: signed) }), let claims = try? TokenClaims(body) else {
            return nil
        }
        let now = clock()
        guard claims.issuer == issuer, claims.audience.contains(service), let expires = claims.expires,
            expires > now - Self.leeway, claims.notBefore.map({ $0 <= now + Self.leeway }) ?? true
        else { return nil }
        return claims
    }

    /// Algorithm and key id. A head that demands extensions to be understood is refused (RFC 7515, 4.1.11).
    private static func head(_ bytes: [UInt8]) throws -> (String, String?) {
        var algorithm = ""
        var id: String?
        var reader = try JSONReader(bytes, limits: JSONLimits(size: 32 << 10, depth: 16))
        try reader.object { name, reader in
            switch name {
            case "alg": algorithm = try reader.string()
            case "kid": id = try reader.string()
            case "crit", "b64": throw reader.fault("extensions are not understood")
            default: try reader.skip()
            }
        }
        try reader.end()
        return (algorithm, id)
    }

    private func challenge(_ needs: [AccessNeed], _ error: String?) -> DistributionFault {
        func quoted(_ text: String) -> String { "\"" + text.filter { $0 != "\"" && $0 != "\\" } + "\"" }
        var value = "Bearer realm=\(quoted(realm)),service=\(quoted(service))"
        let scope = Self.scope(needs)
        if !scope.isEmpty { value += ",scope=\(quoted(scope))" }
        if let error { value += ",error=\(quoted(error))" }
        return DistributionFault(
            401, .unauthorized, error == nil ? "authentication required" : "the token is not good for this: \(error ?? "")",
            fields: [.init("WWW-Authenticate", value)])
    }

    static func scope(_ needs: [AccessNeed]) -> String {
        var scopes: [(name: String, actions: [String])] = []
        for need in needs {
            switch need {
            case .catalog: scopes.append(("registry:catalog", ["*"]))
            case .repository(let name, let action):
                let resource = "repository:\(name)"
                if let index = scopes.firstIndex(where: { $0.name == resource }) {
                    scopes[index].actions.append(action.rawValue)
                } else {
                    scopes.append((resource, [action.rawValue]))
                }
            }
        }
        return scopes.map { "\($0.name):\($0.actions.joined(separator: ","))" }.joined(separator: " ")
    }
}
