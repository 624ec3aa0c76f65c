import Linux
import Model

/// Sandboxes on the default bridge: made ahead, handed out, published, and forgotten.
///
/// Every method may be called from any task; kernel conversations happen on the service's own threads.
public final class SandboxService: Sendable {
    public let configuration: NetworksConfiguration

    /// Makes or finds bridge, sysctls and addresses, and starts filling the pool. Call `restore` next, before `acquire`.
    /// Warnings name what this machine lacks (read-only sysctls, no nf_tables) and what was changed on it (ip_forward).
    public init(configuration: NetworksConfiguration, store: any NetworkStore, warn: @escaping @Sendable (String) -> Void)
        throws
    {
        self.configuration = configuration
    }

    /// The default network (docker's `bridge`), for inspection.
    public var network: NetworkRecord { get throws { throw Fault(.unsupported, "networks are not there yet") } }

    /// Takes over the sandboxes of containers that live: their addresses are taken, their ports are published, in one
    /// transaction that also repairs or replaces the table. Anything else that the table held is gone afterwards.
    public func restore(_ records: [SandboxRecord]) async throws {}

    /// Success means: the namespace is ready (eth0 with address and default route, lo up), host ports are reserved and
    /// published, and the id is known until `release`. A fault leaves nothing behind.
    public func acquire(_ request: SandboxRequest) async throws -> SandboxLease {
        throw Fault(.unsupported, "networks are not there yet")
    }

    /// Unpublishes the ports and frees the address. The namespace dies when its last process and descriptor are gone.
    /// Unknown ids are fine: release may be repeated.
    public func release(_ id: ObjectID) async {}

    /// Counters of the sandbox's eth0; nil for an unknown id and for `none`.
    public func statistics(of id: ObjectID) async -> InterfaceStatistics? { nil }

    /// Ends the threads and drops what was prepared ahead. Bridge, rules and sandboxes in use stay.
    public func shutdown() async {}
}
