import Linux
import Model
import State
import Synchronization

/// Networks and the sandboxes on them: made ahead, handed out, published, connected, and forgotten.
///
/// Every method may be called from any task; kernel conversations happen on the service's own threads, in the network
/// namespace of the thread that made the service.
public final class SandboxService: Sendable {
    public let configuration: NetworksConfiguration
    /// The default network (docker's `bridge`).
    public let network: NetworkRecord
    public let networks = NetworkDirectory()
    /// The MTU that containers of the default network get.
    public let mtu: UInt32
    /// Nil where ports can be published and addresses translated; otherwise why not.
    public let firewallObstacle: String?

    let store: any NetworkStore
    let pool: SandboxPool
    let kernel: KernelThread
    let registry = SharedRegistry()
    let warn: @Sendable (String) -> Void
    let reaper: LinkReaper
    let ledger: ChainLedger
    let chains: ChainRunner
    /// Nil where the kernel has no nf_tables for bridges.
    let watchman: BridgeGuard?
    let detour: BridgeDetour
    let addressWatch: AddressWatch?
    /// Nil without a firewall of ours, or where the kernel does not tell of changes.
    private let watch: FirewallWatch?
    private let guardWatch: FirewallWatch?
    /// Nil where the kernel does not tell of routes.
    private let routeWatch: RouteWatch?

    /// Makes or finds bridges, sysctls, addresses and table. Call `restore` next, before `acquire`: until then the pool stays
    /// empty and the rules that an earlier engine left stay as they are.
    /// Warnings name what this machine lacks (read-only sysctls, no nf_tables) and what was changed on it (ip_forward).
    public init(configuration: NetworksConfiguration, store: any NetworkStore, warn: @escaping @Sendable (String) -> Void)
        throws
    {
        self.configuration = configuration
        self.store = store
        ledger = ChainLedger(store)
        chains = try ChainRunner()
        self.warn = warn
        detour = BridgeDetour(warn: warn)
        let directory = networks
        let bridge: NetworkStand
        reaper = try LinkReaper()
        watchman = Self.watchman(configuration, warn: warn)
        do { bridge = try Self.raiseAll(configuration, store, directory, watchman, reaper, warn: warn) } catch let fault
            as KernelFault
        {
            throw Fault(.system, "cannot set up bridge \(configuration.bridge)", cause: fault)
        }
        network = bridge.record
        mtu = bridge.standing.mtu
        HostSettings.enableForwarding(warn: warn)
        let rules = FirewallRules(
            table: configuration.table,
            networks: directory.all.filter { directory.stand($0.id) != nil }.compactMap { FirewallRules.Network($0) })
        var obstacle: String?
        do {
            guard configuration.managesFirewall else { throw Fault(.unsupported, "switched off by the configuration") }
            let firewall = try Firewall(rules, opensForwarding: configuration.opensForwarding, warn: warn)
            for bridge in rules.networks.map(\.bridge) { HostSettings.enableLoopbackPublishing(bridge, warn: warn) }
            let port = firewall.port
            let thread = try KernelThread(firewall)
            kernel = thread
            watch = try? FirewallWatch(rules.table, ownPort: port) {
                thread.mend($0) { Self.tell($0, table: configuration.table, warn: warn) }
            }
        } catch {
            let reason = "nf_tables is missing in this kernel, or refuses us (\(error))"
            warn("\(reason): containers reach this host and one another only, and no port can be published")
            obstacle = reason
            kernel = try KernelThread(nil)
            watch = nil
        }
        firewallObstacle = obstacle
        if let watchman {
            guardWatch = try? FirewallWatch(watchman.table, ownPort: watchman.port) { news in
                guard news.isLost else { return }
                Self.tell(Result { try watchman.mend() }, table: watchman.table.table, warn: warn)
            }
        } else {
            guardWatch = nil
        }
        routeWatch = try? RouteWatch(directory, warn: warn)
        addressWatch = try? AddressWatch(warn: warn) { [registry] network, address in
            registry.value.withLock { $0.owner(of: address, on: network) }
        }
        pool = try SandboxPool(
            bridge, configuration, watchman: watchman, detour: detour, addressWatch: addressWatch, warn: warn)
    }

    private static func watchman(_ configuration: NetworksConfiguration, warn: (String) -> Void) -> BridgeGuard? {
        guard configuration.managesFirewall else { return nil }
        do { return try BridgeGuard(table: configuration.table) } catch {
            warn(
                "nf_tables for bridges is missing in this kernel, or refuses us (\(error)): a container with CAP_NET_RAW can pose "
                    + "as its neighbour")
            return nil
        }
    }

    /// Enters all networks and makes or finds their links. A network of the user's own that cannot be is kept, with the reason
    /// why nothing can be attached to it. Answers the default network.
    private static func raiseAll(
        _ configuration: NetworksConfiguration, _ store: any NetworkStore, _ networks: NetworkDirectory,
        _ watchman: BridgeGuard?,
        _ reaper: LinkReaper, warn: (String) -> Void
    ) throws -> NetworkStand {
        let socket = try NetlinkSocket(.route)
        let record = try DefaultNetwork(
            configuration: configuration, store: store, socket: socket, hasIPv6: HostSettings.hasIPv6
        ).record(nameServers: ResolverFiles.hostNameServers(), warn: warn)
        let host = try HostLinks(socket, mtu: configuration.mtu, dump: true)
        // What an earlier engine had no time to delete.
        for link in try socket.links() where link.group == LinkReaper.group { reaper.delete(link.index) }
        let driver = BridgeDriver()
        let stand = NetworkStand(try driver.raise(record, host, warn: warn), driver)
        networks.insert(record, stand)
        try watchman?.protect(stand.standing, HostLinks(socket))
        HostSettings.prepareForwarding6(record, host, warn: warn)
        for record in NetworkRecord.predefined { networks.insert(record) }
        for record in try store.networks() where record.id != stand.id {
            guard let driver = record.driver.driver else {
                networks.insert(record)
                continue
            }
            do {
                let standing = try driver.raise(record, host, warn: warn)
                networks.insert(record, NetworkStand(standing, driver))
                try watchman?.protect(standing, HostLinks(socket))
                HostSettings.prepare(record, host, warn: warn)
            } catch {
                warn("network \(record.name) cannot be set up: \(Fault(error))")
                networks.insert(
                    record,
                    obstacle: Fault(
                        .unavailable, "network \(record.name) could not be set up", subject: record.name, cause: error))
            }
        }
        return stand
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

    func named<T>(_ words: String, _ body: () async throws -> T) async throws -> T {
        do { return try await body() } catch let fault as KernelFault { throw Fault(.system, words, cause: fault) }
    }

    /// Takes over the sandboxes of containers that live: their addresses are taken, their ports are published, in one
    /// transaction that also repairs or replaces the table. Anything else that the table held is gone afterwards.
    /// - Parameter isComplete: no other sandboxes live than these; links on our bridges that none of them names are then deleted.
    /// - Returns: the records that are other than they were, because a link of theirs is gone.
    @discardableResult
    public func restore(_ records: [SandboxRecord], isComplete: Bool = false) async throws -> [SandboxRecord] {
        let found = try await kernel.perform { try $0.links() }
        let records = records.map { $0.without(linksOutside: Set(found.map(\.name))) }
        let changed = records.filter(\.isChanged).map(\.record)
        try await restore(records.map(\.record))
        if isComplete {
            await sweep(found)
            sweepChains()
        }
        pool.fill()
        return changed
    }

    /// Deletes what an engine that died left of a sandbox: the ends of pairs that nobody has.
    private func sweep(_ links: [LinkInfo]) async {
        let bridges = Set(networks.all.compactMap { networks.stand($0.id)?.standing.index })
        let known = Set(records.flatMap(\.endpoints).compactMap(\.hostInterface))
        let orphans = links.filter {
            $0.kind == "veth" && $0.group == BridgeDriver.group && bridges.contains($0.master) && !known.contains($0.name)
        }
        if orphans.isEmpty { return }
        try? await kernel.perform { socket in
            _ = try socket.results(orphans.map { RouteRequest.delete(link: $0.index) })
        }
    }

    private func restore(_ records: [SandboxRecord]) async throws {
        let ports = registry.value.withLock { registry in
            for record in records { registry.insert(record) }
            return registry.sandboxes.values.flatMap { $0.publishedPorts }
        }
        for endpoint in records.flatMap(\.endpoints) where endpoint.chain != nil {
            _ = try? networks.resolve(endpoint.networkName)
        }
        for endpoint in records.flatMap(\.endpoints) { networks.stand(endpoint.network)?.restore(endpoint) }
        do { try watchman?.admit(all: records.flatMap(\.endpoints)) } catch {
            warn("the neighbours of living containers cannot be protected from them: \(error)")
        }
        await leadAll(records)
        try await kernel.replace(ports)
    }

    /// Success means: the namespace is ready (interfaces with addresses and default route, lo up), host ports are reserved and
    /// published, and the id is known until `release`. A fault leaves nothing behind. An id that is known already gets a new
    /// sandbox; the old one's ports are unpublished.
    public func acquire(_ request: SandboxRequest) async throws -> SandboxLease {
        await release(request.id)
        var draft = SandboxDraft()
        do {
            let sandbox = try await assemble(request, &draft)
            var record = SandboxRecord(id: request.id, acquisition: .random(), endpoints: draft.record)
            guard let ports = draft.chainPorts else { return try await publish(request, record, sandbox) }
            record.bindings = ports.bindings
            let stale = registry.value.withLock { [record] in $0.takeOver(record) }
            if !stale.isEmpty { try? await kernel.change { Firewall.Change(remove: stale) } }
            return try lease(record, sandbox, ports.release())
        } catch {
            for (endpoint, stand) in draft.endpoints {
                stand.free(endpoint)
                if let chain = endpoint.chain, draft.chained.contains(endpoint.id) {
                    await removeByChain(chain, interface: endpoint.interface, of: request.id)
                }
            }
            for stand in draft.entered { stand.leave() }
            throw error
        }
    }

    /// What an acquisition has taken so far.
    private struct SandboxDraft {
        var entered: [NetworkStand] = []
        var endpoints: [(EndpointRecord, NetworkStand)] = []
        /// Endpoints that a plugin chain has made.
        var chained: Set<ObjectID> = []
        /// Host ports that a chain publishes.
        var chainPorts: HostPorts?
        /// Of the network without links.
        var bare: EndpointRecord?

        var record: [EndpointRecord] { bare.map { [$0] } ?? endpoints.map { $0.0 } }
    }

    private func assemble(_ request: SandboxRequest, _ draft: inout SandboxDraft) async throws -> PreparedSandbox {
        guard let first = request.attachments.first else {
            draft.bare = networks.named("none").map { EndpointRecord(id: .random(), network: $0.id, networkName: $0.name) }
            return try await pool.take(.none)
        }
        for attachment in request.attachments { draft.entered.append(try networks.enter(attachment.network)) }
        var sandbox: PreparedSandbox?
        if first.network == network.id, first.isPlain {
            sandbox = try await pool.take(.bridge)
        } else if first.network == network.id, let address = first.ipv4, first.isPlain(but: address) {
            sandbox = pool.takePrepared(address)
        }
        if var endpoint = sandbox?.endpoint {
            endpoint.adopt(first)
            draft.endpoints.append((endpoint, draft.entered[0]))
        }
        var further: [(EndpointRecord, NetworkStand)] = []
        for (attachment, stand) in zip(request.attachments, draft.entered).dropFirst(draft.endpoints.count) {
            var endpoint = try stand.endpoint(attachment)
            addressWatch?.look(stand, endpoint)
            if endpoint.interface.isEmpty {
                let others = SandboxRecord(id: request.id, acquisition: request.id, endpoints: draft.record)
                endpoint.interface = others.freeInterface(stand.record)
            }
            draft.endpoints.append((endpoint, stand))
            if endpoint.chain == nil { further.append((endpoint, stand)) }
        }
        if draft.endpoints.count == 1, let sandbox { return sandbox }
        let base: PreparedSandbox
        if let sandbox { base = sandbox } else { base = try await pool.take(.none) }
        let route = SandboxMaker.DefaultRoute(
            SandboxRecord(id: request.id, acquisition: request.id, endpoints: draft.record))
        let links = further
        if let first = links.first {
            try await named("cannot connect to network \(first.1.record.name)") { [pool] in
                try await pool.visit { try $0.attach(links, to: base.namespace.raw, route: route) }
            }
        }
        for index in draft.endpoints.indices {
            guard let chain = draft.endpoints[index].0.chain else { continue }
            if index == 0 { draft.chainPorts = try await holdPorts(request, for: chain) }
            draft.endpoints[index].0 = try await addByChain(
                draft.endpoints[index].0, chain, ports: index == 0 ? draft.chainPorts?.bindings ?? [] : [],
                to: base.namespace.raw, of: request.id)
            draft.chained.insert(draft.endpoints[index].0.id)
        }
        // Plugins make default routes as they like
        if !draft.chained.isEmpty, draft.endpoints.count > 1 {
            try await reroute(
                SandboxRecord(id: request.id, acquisition: request.id, endpoints: draft.record), base.namespace.raw)
        }
        return base
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
        guard !request.ports.isEmpty, let endpoint = record.primary else { return try lease(record, sandbox, []) }
        let targets = portTargets(of: record)
        guard targets.v4 != nil || targets.v6 != nil else { return try lease(record, sandbox, []) }
        do {
            if let firewallObstacle { throw Fault(.unsupported, "cannot publish ports: \(firewallObstacle)") }
            let ports = HostPorts()
            do {
                try await kernel.change { [registry] in
                    try ports.reserve(request.ports, targets: targets) { key in
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
            await leadLoopback(of: record)
            return try lease(record, sandbox, ports.release())
        } catch {
            registry.value.withLock { _ = $0.remove(record.id) }
            throw Self.unpublished(error, request.name, endpoint.id)
        }
    }

    /// In dockerd's words.
    static func unpublished(_ error: any Error, _ name: String, _ endpoint: ObjectID?) -> Fault {
        Fault(error).prefixed(
            "failed to set up container networking: driver failed programming external connectivity on endpoint "
                + name + (endpoint.map { " (\($0))" } ?? ""))
    }

    private func lease(_ record: SandboxRecord, _ sandbox: PreparedSandbox, _ reserved: [CInt]) throws -> SandboxLease {
        registry.value.withLock { $0.insert(record) }
        return SandboxLease(record: record, sandbox: sandbox, reserved: reserved)
    }

    /// Unpublishes the ports and frees the address. The namespace dies when its last process and descriptor are gone.
    /// Unknown ids are fine: release may be repeated.
    public func release(_ id: ObjectID) async {
        let record = registry.value.withLock { registry in
            let record = registry.remove(id)
            if let record { ledger.ending(record.chainPlaces) }
            return record
        }
        if let record { await forget(record) }
    }

    /// Releases this one acquisition: if the id has acquired another sandbox meanwhile, nothing happens.
    public func release(_ record: SandboxRecord) async {
        let isLast = registry.value.withLock { registry in
            guard registry.sandboxes[record.id]?.acquisition == record.acquisition else { return false }
            registry.remove(record.id)
            ledger.ending(record.chainPlaces)
            return true
        }
        if isLast { await forget(record) }
    }

    private func forget(_ record: SandboxRecord) async {
        if !record.bindings.isEmpty {
            // A fault leaves elements that the next change, or the next start, removes with the table.
            try? await kernel.change { Firewall.Change(remove: record.publishedPorts) }
        }
        watchman?.forget(record.endpoints)
        for endpoint in record.endpoints {
            if let chain = endpoint.chain { await removeByChain(chain, interface: endpoint.interface, of: record.id) }
        }
        ledger.ended(record.chainPlaces)
        for endpoint in record.endpoints {
            guard let stand = networks.stand(endpoint.network) else { continue }
            stand.free(endpoint)
            stand.leave()
        }
    }

    /// The record of a sandbox in use.
    public func record(of id: ObjectID) -> SandboxRecord? { registry.value.withLock { $0.sandboxes[id] } }

    /// The record of a living process's sandbox, read back from the kernel: for a container whose record was lost between
    /// its start and the moment that would have been written down. Call it before `restore`, which forgets unknown ports.
    /// Nil when the process is gone or its network is none of ours.
    public func rediscover(_ id: ObjectID, pid: Int32) async -> SandboxRecord? {
        await kernel.rediscover(id, pid: pid, network: network)
    }

    /// Who reaches each published port, and which rule decides, by the host's rules as they are now.
    public func auditPorts() async throws -> [PortAudit] {
        do {
            let audits = try await kernel.audit()
            guard let obstacle = detour.obstacle else { return audits }
            return audits.map { audit in
                guard audit.binding.hostAddress == .v6(.loopback) else { return audit }
                var audit = audit
                audit.host = PortAudit.Side(gates: [], reason: obstacle, reach: .nobody)
                return audit
            }
        } catch let fault as KernelFault {
            throw Fault(.system, "cannot read the host's rules", cause: fault)
        }
    }

    /// Chains of other programs that drop by default what is forwarded, and what was done about each.
    public func forwarding() async -> [ForwardDefault] { await kernel.forwarding() }

    /// Routes of the host's that overlap a network, in words.
    public func overlappingRoutes() async -> [String] {
        let networks = networks
        return (try? await kernel.perform { try RouteWatch.overlaps(networks, $0).map(\.text) }) ?? []
    }

    /// Every sandbox in use.
    public var records: [SandboxRecord] { registry.value.withLock { Array($0.sandboxes.values) } }

    /// Counters of the sandbox's interfaces that have an end on this host, by their names in the sandbox.
    public func statistics(of id: ObjectID) async -> [String: ContainerStats.Interface] {
        var found: [String: ContainerStats.Interface] = [:]
        for endpoint in record(of: id)?.endpoints ?? [] {
            guard let link = endpoint.hostInterface, let counters = await kernel.statistics(of: link) else { continue }
            found[endpoint.interface] = ContainerStats.Interface(hostEnd: counters)
        }
        return found
    }

    /// Ends the threads and drops what was prepared ahead. Bridge, rules and sandboxes in use stay.
    public func shutdown() async {
        pool.close()
        addressWatch?.close()
        watch?.close()
        guardWatch?.close()
        routeWatch?.close()
        reaper.close()
        await kernel.close()
    }
}

extension AttachmentRequest {
    /// Nothing is wished that a prepared sandbox does not have.
    fileprivate var isPlain: Bool {
        ipv4 == nil && ipv6 == nil && mac == nil && interface == nil && sysctls.isEmpty && !withoutIPv6
    }

    fileprivate func isPlain(but address: IPv4Address) -> Bool {
        var other = self
        other.ipv4 = nil
        return other.isPlain && (mac == nil || mac == MACAddress(of: address))
    }
}

extension SandboxRecord {
    /// Endpoints whose host's end is gone are no more: somebody deleted it, or an engine died while it disconnected them.
    fileprivate func without(linksOutside links: Set<String>) -> (record: SandboxRecord, isChanged: Bool) {
        var record = self
        record.endpoints.removeAll { endpoint in endpoint.hostInterface.map { !links.contains($0) } ?? false }
        return (record, record.endpoints.count != endpoints.count)
    }
}

extension ContainerStats.Interface {
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
