import Model

/// Named folders that outlive containers.
public final class VolumeService: Sendable {
    /// Makes the volume, or answers the one that has the name already.
    public func create(_ request: Docker.VolumeCreateRequest, caller: Caller) async throws -> Docker.Volume {
        throw Fault(.unsupported, "not yet")
    }

    public func list(_ filters: Filters = Filters()) async throws -> Docker.VolumeListResponse {
        throw Fault(.unsupported, "not yet")
    }

    /// - Throws: `notFound` (`get x: no such volume`).
    public func inspect(_ name: String) async throws -> Docker.Volume { throw Fault(.unsupported, "not yet") }

    /// - Parameter force: an unknown volume is fine.
    /// - Throws: `conflict` (`remove x: volume is in use - [id]`).
    public func remove(_ name: String, force: Bool, caller: Caller) async throws { throw Fault(.unsupported, "not yet") }

    public func prune(_ filters: Filters, caller: Caller) async throws -> Docker.VolumePruneResponse {
        throw Fault(.unsupported, "not yet")
    }
}
