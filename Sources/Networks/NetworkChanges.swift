import Linux
import Model
import Synchronization

extension SandboxService {
    // MARK: Networks

    /// Success means: the network's links and rules are there, and its record survives a power cut. A fault leaves nothing behind.
    /// - Throws: `conflict` when the name is taken, `forbidden` when an address range is (docker's status), `invalid` for wishes
    ///   that do not fit.
    public func create(_ spec: NetworkSpec, by caller: Caller) async throws -> NetworkRecord {
        let configuration = configuration
        let globalID = HostSettings.hasIPv6 ? try store.globalID() : nil
        let host = try await kernel.perform { socket in
            (
                choice: try SubnetChoice(socket, except: [], nameServers: ResolverFiles.hostNameServers()),
                links: Set(try socket.links().map(\.name))
            )
        }
        let record = try networks.insert { existing in
            let plan = NetworkPlan(
                spec, existing: existing, choice: host.choice, configuration: configuration, globalID: globalID,
                links: host.links)
            return try plan.record(owner: caller.owner, now: NetClock.now)
        }
        do {
            try store.save(record)
            NetworkStep.createRecorded.reach()
            try await raise(record)
            NetworkStep.createRaised.reach()
            try await store.sync()
            return record
        } catch {
            await lower(record)
            try? store.delete(network: record.id)
            networks.remove(record.id)
            throw error
        }
    }

    private func raise(_ record: NetworkRecord) async throws {
        guard let driver = record.driver.driver else { return }
        let mtu = configuration.mtu
        let warn = warn
        let watchman = watchman
        let standing = try await named("cannot set up network \(record.name)") { [kernel] in
            try await kernel.perform { socket in
                let host = try HostLinks(socket, mtu: mtu)
                let standing = try driver.raise(record, host, warn: warn)
                HostSettings.prepare(record, host, warn: warn)
                try watchman?.protect(standing, host)
                return standing
            }
        }
        if let network = FirewallRules.Network(record) {
            try await kernel.change { Firewall.Change(addNetworks: [network]) }
        }
        networks.setStand(NetworkStand(standing, driver))
    }

    private func lower(_ record: NetworkRecord) async {
        guard let driver = record.driver.driver else { return }
        try? await kernel.change { Firewall.Change(removeNetworks: [record.id]) }
        watchman?.release(record.id)
        if sharesParent(record) { return }
        let rest = try? await kernel.perform { try driver.lower(record, HostLinks($0)) }
        if let link = rest ?? nil { reaper.delete(link) }
    }

    /// Another network hangs on the same link of the host, so that this one has nothing of its own there.
    private func sharesParent(_ record: NetworkRecord) -> Bool {
        record.parent.map { parent in networks.all.contains { $0.id != record.id && $0.parent == parent } } ?? false
    }

    /// Success means: name, addresses and links are free again.
    /// - Throws: `forbidden` for the predefined ones, and while sandboxes are attached (docker's status).
    public func remove(_ id: ObjectID, by caller: Caller) async throws {
        guard let record = networks[id] else { throw Fault(.notFound, "network \(id) not found", subject: id.text) }
        if record.isPredefined {
            throw Fault(
                .forbidden, "\(record.name) is a pre-defined network and cannot be removed", subject: record.name)
        }
        if let stand = networks.stand(id), !stand.close() { throw active(record) }
        do {
            if let driver = record.driver.driver {
                try await kernel.change { Firewall.Change(removeNetworks: [id]) }
                if !sharesParent(record) {
                    let rest = try await named("cannot remove network \(record.name)") { [kernel] in
                        try await kernel.perform { try driver.lower(record, HostLinks($0)) }
                    }
                    if let rest { reaper.delete(rest) }
                }
                watchman?.release(id)
            }
            NetworkStep.removeLowered.reach()
            try store.delete(network: id)
        } catch {
            networks.stand(id)?.reopen()
            throw error
        }
        networks.remove(id)
        NetworkStep.removeRecorded.reach()
        try await store.sync()
    }

    private func active(_ record: NetworkRecord) -> Fault {
        let endpoints = records.compactMap { sandbox in sandbox.endpoint(on: record.id) }
        let words = endpoints.map { "name:\"\($0.dnsNames.first ?? "")\" id:\"\($0.id.short)\"" }.joined(separator: ", ")
        return Fault(
            .forbidden,
            "error while removing network: network \(record.name) id \(record.id) has active endpoints (\(words))",
            subject: record.name)
    }

    // MARK: Sandboxes

    /// Attaches a living sandbox to one more network: the interface is there, with address and routes, when this returns.
    /// - Parameter namespace: borrowed; the sandbox's network namespace.
    /// - Throws: `forbidden` when it is attached already (docker's status).
    public func connect(_ sandbox: ObjectID, namespace: CInt, _ request: AttachmentRequest) async throws -> SandboxRecord {
        guard let before = record(of: sandbox) else {
            throw Fault(.notFound, "sandbox \(sandbox) not found", subject: sandbox.text)
        }
        let stand = try networks.enter(request.network)
        do {
            if before.endpoint(on: request.network) != nil {
                throw Fault(
                    .forbidden,
                    "endpoint with name \(request.dnsNames.first ?? sandbox.short) already exists in network \(stand.record.name)",
                    subject: stand.record.name)
            }
            var endpoint = try stand.endpoint(request)
            addressWatch?.look(stand, endpoint)
            do {
                if endpoint.interface.isEmpty { endpoint.interface = before.freeInterface(stand.record) }
                var after = before
                after.endpoints.removeAll { networks[$0.network]?.driver == .null }
                after.endpoints.append(endpoint)
                if let chain = endpoint.chain { return try await connect(endpoint, chain, namespace, before, after) }
                let route = SandboxMaker.DefaultRoute(after)
                let attached = endpoint
                try await named("cannot connect to network \(stand.record.name)") { [pool] in
                    try await pool.visit { try $0.attach([(attached, stand)], to: namespace, route: route) }
                }
                NetworkStep.connectAttached.reach()
                try await change(before, after)
                return after
            } catch {
                stand.free(endpoint)
                throw error
            }
        } catch {
            stand.leave()
            throw error
        }
    }

    /// The same, by a plugin chain. Ports that are published stay where they are.
    private func connect(
        _ endpoint: EndpointRecord, _ chain: String, _ namespace: CInt, _ before: SandboxRecord, _ planned: SandboxRecord
    ) async throws -> SandboxRecord {
        var after = planned
        let made = try await addByChain(endpoint, chain, to: namespace, of: before.id)
        after.endpoints.removeAll { $0.id == made.id }
        after.endpoints.append(made)
        do {
            NetworkStep.connectAttached.reach()
            try await reroute(after, namespace)
            try await change(before, after)
        } catch {
            await removeByChain(chain, interface: made.interface, of: before.id)
            try? await reroute(before, namespace)
            throw error
        }
        return after
    }

    func reroute(_ record: SandboxRecord, _ namespace: CInt) async throws {
        try await named("cannot set the default routes of sandbox \(record.id.short)") { [pool] in
            try await pool.visit { try $0.reroute(record, in: namespace) }
        }
    }

    /// Takes a living sandbox out of a network: interface, address and the ports that led there are gone when this returns.
    /// - Throws: `forbidden` when it is not attached (docker's status).
    public func disconnect(_ sandbox: ObjectID, namespace: CInt, from network: ObjectID) async throws -> SandboxRecord {
        guard let before = record(of: sandbox), let endpoint = before.endpoint(on: network) else {
            throw Fault(
                .forbidden, "container \(sandbox) is not connected to network \(networks[network]?.name ?? network.short)",
                subject: network.text)
        }
        var after = before
        after.endpoints.removeAll { $0.network == network }
        try await change(before, after)
        do {
            let rest = after
            if let chain = endpoint.chain {
                // What a plugin keeps is told, and tried again when the engine starts; the link is gone in any case
                await removeByChain(chain, interface: endpoint.interface, of: sandbox)
            }
            try await named("cannot disconnect from network \(endpoint.networkName)") { [pool] in
                try await pool.visit { try $0.detach(endpoint, from: namespace, rest: rest) }
            }
        } catch {
            try? await change(after, before)
            throw error
        }
        NetworkStep.disconnectDetached.reach()
        watchman?.forget([endpoint])
        if let stand = networks.stand(network) {
            stand.free(endpoint)
            stand.leave()
        }
        return after
    }

    /// Enters the new record; ports follow their endpoint.
    private func change(_ before: SandboxRecord, _ after: SandboxRecord) async throws {
        let old = Set(before.publishedPorts)
        let new = Set(after.publishedPorts)
        if old != new {
            let change = Firewall.Change(remove: Array(old.subtracting(new)), add: Array(new.subtracting(old)))
            try await kernel.change { change }
            await leadLoopback(of: after)
        }
        registry.value.withLock { registry in
            registry.remove(before.id)
            registry.insert(after)
        }
    }
}

extension SandboxRecord {
    /// The first number that no interface has.
    func freeInterface(_ network: NetworkRecord) -> String {
        let taken = Set(endpoints.map(\.interface))
        var number = 0
        while taken.contains(network.interfaceName(number)) { number += 1 }
        return network.interfaceName(number)
    }
}

extension HostSettings {
    /// What a network's packets need of the host besides its links.
    static func prepare(_ record: NetworkRecord, _ host: HostLinks, warn: (String) -> Void) {
        guard let bridge = record.bridge?.bridge else { return }
        enableLoopbackPublishing(bridge, warn: warn)
        prepareForwarding6(record, host, warn: warn)
    }

    static func prepareForwarding6(_ record: NetworkRecord, _ host: HostLinks, warn: (String) -> Void) {
        if !record.ipv6.isEmpty, !record.isInternal {
            enableForwarding6({ try host.socket.links().map(\.name) }, warn: warn)
        }
    }
}

/// Named places at which a test lets the engine die, as `CrashPoint` of the engine: `SKIFFD_CRASH_AT=network.create.recorded`.
package enum NetworkStep: String, CaseIterable {
    case createRecorded = "network.create.recorded"
    case createRaised = "network.create.raised"
    case removeLowered = "network.remove.lowered"
    case removeRecorded = "network.remove.recorded"
    case connectAttached = "network.connect.attached"
    case disconnectDetached = "network.disconnect.detached"

    private static let wanted = environmentVariable("SKIFFD_CRASH_AT")

    func reach() { if let wanted = Self.wanted, wanted == rawValue { killThisProcess() } }
}
