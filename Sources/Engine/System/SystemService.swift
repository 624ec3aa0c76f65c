import Model

/// The engine about itself.
public final class SystemService: Sendable {
    public func version() async -> Docker.SystemVersion { Docker.SystemVersion() }
    public func info() async throws -> Docker.SystemInfo { throw Fault(.unsupported, "not yet") }
    /// `GET /system/df`: images, containers, volumes with their sizes.
    public func diskUsage() async throws -> DiskUsage { throw Fault(.unsupported, "not yet") }
}

public struct DiskUsage: Sendable {
    /// Bytes of all layers.
    public var layersSize: Int64 = 0
    public var images: [Docker.ImageSummary] = []
    public var containers: [Docker.ContainerSummary] = []
    public var volumes: [Docker.Volume] = []
    public init() {}
}
