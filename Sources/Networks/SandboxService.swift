import Linux
import Model
import State
import Synchronization

/// Sandboxes on the default bridge: made ahead, handed out, published, and forgotten.
///
/// Every method may be called from any task; kernel conversations happen on the service's own threads, in the network
/// namespace of the thread that made the service.
public final class SandboxService: Sendable {
    public let configuration: NetworksConfiguration
    /// The default network (docker's `bridge`).
    public let network: NetworkRecord
    public let networks: NetworkDirectory
    /// The MTU that containers get.
    public let mtu: UInt32
    /// Nil where ports can be published and addresses translated; otherwise why not.
    public let firewallObstacle: String?

    let store: any NetworkStore
    private let pool: SandboxPool
    private let kernel: KernelThread
    /// Nil without a firewall of ours, or where the kernel does not tell of changes.
    private let watch: FirewallWatch?
    private let registry = SharedRegistry()

    /// Makes or finds bridge, sysctls, addresses and table. Call `restore` next, before `acquire`: until then the pool stays
    /// empty and the rules that an earlier engine left stay as they are.
    /// Warnings name what this machine lacks (read-only sysctls, no nf_tables) and what was changed on it (ip_forward).
    public init(configuration: NetworksConfiguration, store: any NetworkStore, warn: @escaping @Sendable (String) -> Void)
        throws
    {
        self.configuration = configuration
        self.store = store
        let nameServers = ResolverFiles.hostNameServers()
        let bridge = try Self.named("cannot set up bridge \(configuration.bridge)") {
            try BridgeNetwork.ensure(configuration, store: store, nameServers: nameServers, warn: warn)
        }
        network = bridge.record
        mtu = bridge.mtu
        BridgeNetwork.enableForwarding(warn: warn)
        let rules = FirewallRules(
            table: configuration.table,
            networks: [bridge.record].compactMap { FirewallRules.Network($0) })
        var obstacle: String?
        do {
            guard configuration.managesFirewall else { throw Fault(.unsupported, "switched off by the configuration") }
            let firewall = try Firewall(rules)
            BridgeNetwork.enableLoopbackPublishing(configuration.bridge, warn: warn)
            if let obstacle = firewall.foreignObstacle() { warn(obstacle) }
            let port = firewall.port
            let thread = try KernelThread(firewall)
            kernel = thread
            watch = try? FirewallWatch(rules.table, ownPort: port) {
                thread.mend { Self.tell($0, table: configuration.table, warn: warn) }
            }
        } catch {
            let reason = "nf_tables is missing in this kernel, or refuses us (\(error))"
            warn("\(reason): containers reach this host and one another only, and no port can be published")
            obstacle = reason
            kernel = try KernelThread(nil)
            watch = nil
        }
        firewallObstacle = obstacle
        networks = NetworkDirectory(try store.networks() + [bridge.record] + NetworkRecord.predefined)
        pool = try SandboxPool(bridge, configuration, warn: warn)
    }

    private static func tell(_ mended: Result<Bool, any Error>, table: String, warn: @Sendable (String) -> Void) {
        switch mended {
        case .success(false): return
        case .success(true):
            warn("table \(table) of nf_tables, or a part of it, was removed by another program: it has been put back")
        case .failure(let error):
            warn("table \(table) of nf_tables was removed by another program and cannot be put back: \(error)")
        }
    }

    private static func named<T>(_ words: String, _ body: () throws -> T) throws -> T {
        do { return try body() } catch let fault as KernelFault { throw Fault(.system, words, cause: fault) }
    }

    /// Takes over the sandboxes of containers that live: their addresses are taken, their ports are published, in one
    /// transaction that also repairs or replaces the table. Anything else that the table held is gone afterwards.
    public func restore(_ records: [SandboxRecord]) async throws {
        let ports = registry.value.withLock { registry in
            for record in records { registry.insert(record) }
            return registry.sandboxes.values.flatMap { $0.publishedPorts }
        }
        pool.restore(records.flatMap(\.endpoints).compactMap(\.ipv4?.address))
        try await kernel.replace(ports)
        pool.fill()
    }

    /// Success means: the namespace is ready (eth0 with address and default route, lo up), host ports are reserved and
    /// published, and the id is known until `release`. A fault leaves nothing behind. An id that is known already gets a new
    /// sandbox; the old one's ports are unpublished.
    public func acquire(_ request: SandboxRequest) async throws -> SandboxLease {
        await release(request.id)
        guard let wish = request.attachments.first else { return try await acquireBare(request) }
        if let other = request.attachments.first(where: { $0.network != network.id }) {
            throw Fault(
                .unsupported, "networks of the user's own are not supported by this engine yet", subject: other.network.text)
        }
        let isSpecial = wish.ipv4 != nil || wish.mac != nil
        let sandbox =
            isSpecial ? try await pool.take(address: wish.ipv4, mac: wish.mac) : try await pool.take(.bridge)
        guard let interface = sandbox.interface else { throw Fault(.system, "a bridged sandbox has no interface") }
        var endpoint = EndpointRecord(id: .random(), network: network.id, networkName: network.name)
        endpoint.interface = "eth0"
        endpoint.ipv4 = network.interface(interface.address)
        endpoint.mac = interface.mac
        endpoint.hostInterface = interface.name
        endpoint.aliases = wish.aliases
        endpoint.dnsNames = wish.dnsNames
        endpoint.gatewayPriority = wish.gatewayPriority
        endpoint.sysctls = wish.sysctls
        do {
            let record = SandboxRecord(id: request.id, acquisition: .random(), endpoints: [endpoint])
            return try await publish(request, record, sandbox)
        } catch {
            if isSpecial { pool.free(interface.address) } else { pool.giveBack(sandbox) }
            throw error
        }
    }

    private func acquireBare(_ request: SandboxRequest) async throws -> SandboxLease {
        let sandbox = try await pool.take(.none)
        var record = SandboxRecord(id: request.id, acquisition: .random())
        if let none = networks.named("none") {
            record.endpoints = [EndpointRecord(id: .random(), network: none.id, networkName: none.name)]
        }
        return try lease(record, sandbox, [])
    }

    /// A record of an earlier version names its networks only.
    public func completed(_ record: SandboxRecord) -> SandboxRecord {
        var record = record
        for index in record.endpoints.indices where record.endpoints[index].network == .zero {
            guard let network = networks.named(record.endpoints[index].networkName) else { continue }
            record.endpoints[index].network = network.id
        }
        return record
    }

    private func publish(_ request: SandboxRequest, _ record: SandboxRecord, _ sandbox: PreparedSandbox) async throws
        -> SandboxLease
    {
        guard !request.ports.isEmpty, let endpoint = record.primary, let address = endpoint.ipv4?.address else {
            return try lease(record, sandbox, [])
        }
        do {
            if let firewallObstacle { throw Fault(.unsupported, "cannot publish ports: \(firewallObstacle)") }
            let ports = HostPorts()
            do {
                try await kernel.change { [registry] in
                    try ports.reserve(request.ports, target: .v4(address)) { key in
                        registry.value.withLock { $0.owners[key] != nil }
                    }
                    var record = record
                    record.bindings = ports.bindings
                    let stale = registry.value.withLock { [record] in $0.takeOver(record) }
                    return Firewall.Change(remove: stale, add: record.publishedPorts)
                }
            } catch let fault as KernelFault {
                throw Fault(.system, "cannot publish ports", cause: fault)
            }
            var record = record
            record.bindings = ports.bindings
            return try lease(record, sandbox, ports.release())
        } catch {
            registry.value.withLock { _ = $0.remove(record.id) }
            throw Fault(error).prefixed(
                "failed to set up container networking: driver failed programming external connectivity on endpoint "
                    + "\(request.name) (\(endpoint.id))")
        }
    }

    private func lease(_ record: SandboxRecord, _ sandbox: PreparedSandbox, _ reserved: [CInt]) throws -> SandboxLease {
        registry.value.withLock { $0.insert(record) }
        return SandboxLease(record: record, sandbox: sandbox, reserved: reserved)
    }

    /// Unpublishes the ports and frees the address. The namespace dies when its last process and descriptor are gone.
    /// Unknown ids are fine: release may be repeated.
    public func release(_ id: ObjectID) async {
        if let record = registry.value.withLock({ $0.remove(id) }) { await forget(record) }
    }

    /// Releases this one acquisition: if the id has acquired another sandbox meanwhile, nothing happens.
    public func release(_ record: SandboxRecord) async {
        let isLast = registry.value.withLock { registry in
            guard registry.sandboxes[record.id]?.acquisition == record.acquisition else { return false }
            registry.remove(record.id)
            return true
        }
        if isLast { await forget(record) }
    }

    private func forget(_ record: SandboxRecord) async {
        if !record.bindings.isEmpty {
            // A fault leaves elements that the next change, or the next start, removes with the table.
            try? await kernel.change { Firewall.Change(remove: record.publishedPorts) }
        }
        for address in record.endpoints.compactMap(\.ipv4?.address) { pool.free(address) }
    }

    /// The record of a sandbox in use.
    public func record(of id: ObjectID) -> SandboxRecord? { registry.value.withLock { $0.sandboxes[id] } }

    /// The record of a living process's sandbox, read back from the kernel: for a container whose record was lost between
    /// its start and the moment that would have been written down. Call it before `restore`, which forgets unknown ports.
    /// Nil when the process is gone or its network is none of ours.
    public func rediscover(_ id: ObjectID, pid: Int32) async -> SandboxRecord? {
        await kernel.rediscover(id, pid: pid, network: network)
    }

    /// Every sandbox in use.
    public var records: [SandboxRecord] { registry.value.withLock { Array($0.sandboxes.values) } }

    /// Counters of the sandbox's eth0; nil for an unknown id and for `none`.
    public func statistics(of id: ObjectID) async -> InterfaceStatistics? {
        guard let link = registry.value.withLock({ $0.sandboxes[id]?.endpoints.first?.hostInterface }) else { return nil }
        return await kernel.statistics(of: link).map { InterfaceStatistics(hostEnd: $0) }
    }

    /// Ends the threads and drops what was prepared ahead. Bridge, rules and sandboxes in use stay.
    public func shutdown() async {
        pool.close()
        watch?.close()
        await kernel.close()
    }
}

extension SandboxRecord {
    var publishedPorts: [PublishedPort] {
        bindings.compactMap { binding in
            let endpoint = gatewayIPv4 ?? endpoints.first
            guard let endpoint, let address = endpoint.ipv4?.address else { return nil }
            return PublishedPort(binding: binding, target: .v4(address), network: endpoint.network)
        }
    }
}

extension InterfaceStatistics {
    /// What the host's end received, the container sent.
    init(hostEnd: LinkStatistics) {
        self.init()
        receivedBytes = hostEnd.sentBytes
        receivedPackets = hostEnd.sentPackets
        receivedErrors = hostEnd.sentErrors
        receivedDropped = hostEnd.sentDropped
        sentBytes = hostEnd.receivedBytes
        sentPackets = hostEnd.receivedPackets
        sentErrors = hostEnd.receivedErrors
        sentDropped = hostEnd.receivedDropped
    }
}
