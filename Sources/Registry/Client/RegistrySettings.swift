import HTTP
import Model

/// How registries are reached; from the engine's configuration.
public struct RegistrySettings: Sendable, Equatable {
    /// Hosts (`registry.example:5000`, or `registry.example` for every port) and networks (`10.0.0.0/8`) that are spoken to
    /// without TLS, or with a certificate that nobody verified. Loopback addresses and `localhost` always are.
    public var insecure: [String] = []
    /// URLs that are asked first, in their order, by the registry that they mirror: `docker.io`, `ghcr.io`.
    public var mirrors: [String: [String]] = [:]
    /// Folders with a folder per host (`HOST:PORT` or `HOST`): `*.crt` are authorities, `*.cert` with `*.key` is our certificate.
    public var certificateFolders = ["/etc/skiff/certs.d", "/etc/docker/certs.d", "/etc/containers/certs.d"]
    /// Layers that are fetched at the same time.
    public var downloads = 4
    /// Layers that are pushed at the same time.
    public var uploads = 5
    /// Attempts for one content beyond the first before a transfer is given up.
    public var retries = 5
    /// Milliseconds without a byte after which a connection that has begun to answer counts as stalled.
    public var stallTimeout = 10_000
    public var proxies = ProxySettings.environment
    /// Compression of layers that have no compressed form yet.
    public var compression = LayerCompression.gzip

    public init() {}
}

/// What a layer is compressed with for a push.
public enum LayerCompression: String, Sendable, CaseIterable { case gzip, zstd }
