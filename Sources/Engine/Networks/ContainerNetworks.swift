import Linux
import Model
import Networks
import State

/// A container's networks: which it is to be on, and coming and going while it runs.
extension Container {
    func connect(to reference: String, _ wish: Docker.EndpointSettings) async throws {
        try await queue.run { try await self.connectNow(reference, wish) }
    }

    func disconnect(from reference: String, force: Bool) async throws {
        try await queue.run { try await self.disconnectNow(reference, force: force) }
    }

    private func connectNow(_ reference: String, _ wish: Docker.EndpointSettings) async throws {
        guard !removed else { throw Fault(.notFound, "No such container: \(id)", subject: id.text) }
        let description = board.snapshot.description
        if case .container = description.network { throw Self.shared }
        let network = try core.sandboxes.networks.resolve(reference)
        if let fault = EndpointWishes.fault(wish, on: network, named: reference) { throw Fault(.invalid, fault) }
        // Of a container that runs, the sandbox has the truth: an engine that died between the two steps of a change has left a
        // wish without an endpoint, which is fulfilled now.
        let isThere =
            status.running.map { $0.sandbox?.endpoint(on: network.id) != nil } ?? (description.endpoints[network.name] != nil)
        if isThere {
            guard status.running != nil else { return }
            throw Fault(
                .forbidden, "endpoint with name \(board.snapshot.name) already exists in network \(network.name)",
                subject: network.name)
        }
        try Self.checkCompany(network, description)
        guard let run = status.running else { return try remember(network.name, wish) }
        let joined = try namespace(of: run)
        var request = EndpointWishes.attachment(wish, network: network)
        request.dnsNames = board.snapshot.dnsNames(on: network.name, aliases: request.aliases)
        request.withoutIPv6 = description.switchesIPv6Off
        let record = try await core.sandboxes.connect(id, namespace: joined.raw, request)
        try remember(network.name, wish)
        status.replaceSandbox(record)
        publish()
        await namesChanged(record)
        core.tell("connect", network, container: id)
    }

    private func disconnectNow(_ reference: String, force: Bool) async throws {
        guard !removed else { throw Fault(.notFound, "No such container: \(id)", subject: id.text) }
        let network = try? core.sandboxes.networks.resolve(reference)
        guard let run = status.running else {
            let name = network?.name ?? reference
            guard board.snapshot.description.endpoints[name] != nil else {
                throw Fault(.system, "container \(id) is not connected to the network \(name)", subject: name)
            }
            return try remember(name, nil)
        }
        guard let network else { throw Fault(.notFound, "network \(reference) not found", subject: reference) }
        if board.snapshot.description.network == .host, network.driver == .host {
            throw Fault(
                .invalid, "container cannot be disconnected from host network or connected to host network ",
                subject: network.name)
        }
        guard let endpoint = run.sandbox?.endpoint(on: network.id) else {
            // Taken down by an engine that died before it forgot the wish.
            if board.snapshot.description.endpoints[network.name] != nil { return try remember(network.name, nil) }
            throw Fault(.system, "container \(id) is not connected to network \(network.name)", subject: network.name)
        }
        if network.driver != .null {
            let joined = try namespace(of: run)
            status.replaceSandbox(try await core.sandboxes.disconnect(id, namespace: joined.raw, from: network.id))
        } else if var sandbox = run.sandbox {
            sandbox.endpoints.removeAll { $0.id == endpoint.id }
            status.replaceSandbox(sandbox)
        }
        try remember(network.name, nil)
        publish()
        if let sandbox = status.running?.sandbox { await namesChanged(sandbox) }
        core.tell("disconnect", network, container: id)
    }

    /// Names follow the networks. The container is on them in any case, so a fault is only told.
    private func namesChanged(_ sandbox: SandboxRecord) async {
        let snapshot = board.snapshot
        let description = snapshot.description
        let files = ContainerFiles(
            folder: core.layout.container(id), hostname: "", domain: "", options: Self.resolverOptions(description.host),
            sharesHost: false)
        let asksNames = core.names.serves(sandbox)
        do {
            if asksNames { try await core.names.changed(sandbox, snapshot) }
            try await core.pool.run { try files.rewriteResolv(asksNames: asksNames, sandbox) }
            if !asksNames { core.names.leave(id) }
        } catch {
            core.log.warning("names of container \(id.short): \(Fault(error))")
        }
    }

    private static let shared = Fault(
        .invalid, "container sharing network namespace with another container or host cannot be connected to any other network")

    /// Which networks do not go together, in dockerd's words.
    private static func checkCompany(_ network: NetworkRecord, _ description: ContainerDescription) throws {
        if description.network == .host { throw shared }
        if network.driver == .host {
            throw Fault(
                .invalid, "cannot connect container to host network - container must be created in host network mode",
                subject: network.name)
        }
        if network.isConfiguration {
            throw Fault(
                .forbidden, "network \(network.name) is a configuration-only network: containers cannot be connected to it",
                subject: network.name)
        }
        let others = description.endpoints.keys.filter { $0 != network.name }
        if !others.isEmpty, network.driver == .null || others.contains("none") {
            throw Fault(
                .invalid,
                "container cannot be connected to multiple networks with one of the networks in private (none) mode",
                subject: network.name)
        }
    }

    /// Enters or forgets a network among those that the container is to be on.
    private func remember(_ network: String, _ wish: Docker.EndpointSettings?) throws {
        var description = board.snapshot.description
        description.endpoints[network] = wish
        let bytes = description.json
        try core.database.write { [id] in try $0.setConfig(bytes, ofContainer: id) }
        board.update { [description] in $0.description = description }
    }

    /// Endpoints that plugin chains have made for a container that has outlived its engine.
    func adoptChains() async {
        guard let run = status.running, let sandbox = run.sandbox, sandbox.endpoints.contains(where: { $0.chain != nil }),
            let space = try? namespace(of: run)
        else { return }
        await core.sandboxes.adoptChains(of: sandbox, namespace: space.raw)
        withExtendedLifetime(space) {}
    }

    private func namespace(of run: RunningContainer) throws -> HeldDescriptor {
        do {
            let space = try Descriptor.open("/proc/\(run.pid)/ns/net", .read)
            // The pid may have gone to another process before the open.
            guard processLives(pid: run.pid, startTicks: run.startTicks) else { throw KernelFault("open", errno: 3) }
            return HeldDescriptor(space)
        } catch { throw notRunning }
    }

    /// What the container is to have from the networks when it starts; nil where it has no network namespace of its own.
    nonisolated func sandboxRequest(_ snapshot: ContainerSnapshot) throws -> SandboxRequest? {
        let description = snapshot.description
        switch description.network {
        case .host, .container: return nil
        case .none, .bridge, .named: break
        }
        var request = SandboxRequest(id: id, name: snapshot.name)
        guard description.config.networkDisabled != true else { return request }
        for name in description.networkNames {
            let network: NetworkRecord
            do { network = try core.sandboxes.networks.resolve(name) } catch {
                throw Fault(error).prefixed("failed to set up container networking")
            }
            if network.driver == .null { continue }
            try Self.checkCompany(network, description)
            let wish = description.endpoints[name] ?? Docker.EndpointSettings()
            if let fault = EndpointWishes.fault(wish, on: network, named: name) {
                throw Fault(.invalid, "failed to set up container networking: \(fault)", subject: name)
            }
            var attachment = EndpointWishes.attachment(wish, network: network)
            attachment.dnsNames = snapshot.dnsNames(on: network.name, aliases: attachment.aliases)
            attachment.withoutIPv6 = description.switchesIPv6Off
            request.attachments.append(attachment)
        }
        if !request.attachments.isEmpty { request.ports = try PortWishes.requests(description) }
        return request
    }

    /// Tells everybody that the container came to its networks, or left them.
    nonisolated func tellNetworks(_ action: String, _ sandbox: SandboxRecord?) {
        for endpoint in sandbox?.endpoints ?? [] {
            guard let network = core.sandboxes.networks[endpoint.network] else { continue }
            core.tell(action, network, container: id)
        }
    }
}

extension ContainerSnapshot {
    /// The names by which neighbours on the network find the container; none where names are not resolved.
    func dnsNames(on network: String, aliases: [String]) -> [String] {
        guard EndpointWishes.isUserDefined(network) else { return [] }
        return EndpointWishes.names(
            container: name, id: id, hostname: description.config.hostname, aliases: aliases)
    }
}

extension ContainerStatus {
    /// The same run with other networks.
    mutating func replaceSandbox(_ sandbox: SandboxRecord) {
        switch phase {
        case .running(var run):
            run.sandbox = sandbox
            phase = .running(run)
        case .paused(var run):
            run.sandbox = sandbox
            phase = .paused(run)
        case .created, .restarting, .exited: break
        }
    }
}

extension ContainerDescription {
    /// Its network namespace will have no IPv6 addresses, so that published ports would lead nowhere.
    fileprivate var switchesIPv6Off: Bool { host.sysctls?["net.ipv6.conf.all.disable_ipv6"] == "1" }
}
