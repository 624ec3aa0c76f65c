import JSON

/// What a client shows a registry: the content of `X-Registry-Auth` (docker's AuthConfig), or of a line of its configuration.
/// It shows nothing of itself in logs.
public struct RegistryCredential: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible {
    public var username = ""
    public var password = ""
    /// OAuth2 refresh token, instead of a password.
    public var identityToken = ""
    /// Bearer token to be sent as it is.
    public var registryToken = ""
    /// Whom it is for, as the client wrote it: `https://index.docker.io/v1/`, `registry.example:5000`.
    public var serverAddress = ""

    public init() {}

    public init(username: String, password: String) {
        self.username = username
        self.password = password
    }

    /// Nothing to show.
    public var isEmpty: Bool { username.isEmpty && password.isEmpty && identityToken.isEmpty && registryToken.isEmpty }

    public var description: String { isEmpty ? "no credential" : "a credential of \(username.isEmpty ? "a token" : username)" }
    public var debugDescription: String { description }
}

extension RegistryCredential: JSONReadable {
    public init(from reader: inout JSONReader) throws {
        self.init()
        try reader.object { key, reader in
            switch key.lowercased() {
            case "username": username = try reader.value() ?? ""
            case "password": password = try reader.value() ?? ""
            case "identitytoken": identityToken = try reader.value() ?? ""
            case "registrytoken": registryToken = try reader.value() ?? ""
            case "serveraddress": serverAddress = try reader.value() ?? ""
            default: try reader.skip()
            }
        }
    }
}
