import Model
import Networks

extension ContainerService {
    /// - Parameter olderNetworks: with the members of NetworkSettings that the API had before 1.52, which know the default bridge only.
    public func inspect(_ reference: String, size: Bool = false, olderNetworks: Bool = false) async throws
        -> Docker.ContainerInspectResponse
    {
        let container = try core.registry.resolve(reference)
        let snapshot = container.snapshot
        let description = snapshot.description
        let folder = core.layout.container(snapshot.id)
        var response = Docker.ContainerInspectResponse()
        response.id = snapshot.id.text
        response.created = snapshot.created.description
        response.path = description.command.first ?? ""
        response.args = Array(description.command.dropFirst())
        response.state = Self.state(snapshot)
        response.image = snapshot.imageID
        response.resolvConfPath = folder + "/resolv.conf"
        response.hostnamePath = folder + "/hostname"
        response.hostsPath = folder + "/hosts"
        response.logPath = description.host.logConfig?.type == "none" ? "" : folder + "/log/json.log"
        response.name = "/" + snapshot.name
        response.restartCount = snapshot.status.restartCount
        response.driver = core.images.driver.name
        response.platform = "linux"
        response.mountLabel = ""
        response.processLabel = ""
        response.appArmorProfile = try await core.apparmor.settled().shown(
            SecurityOptions(description.host.securityOpt ?? []), privileged: description.host.privileged == true)
        response.execIDs = core.execs.ids(of: snapshot.id)
        response.hostConfig = description.host
        response.hostConfig?.links = description.host.links?.map { text in
            let (target, alias) = ContainerLink.parse(text)
            let name = (try? core.registry.resolve(target))?.snapshot.name ?? target
            return "/\(name):/\(snapshot.name)/\(alias)"
        }
        // What is in force where only the memory's limit was said. Not kept, so that an update may raise it.
        if let memory = description.host.memory, memory > 0, (description.host.memorySwap ?? 0) == 0 {
            response.hostConfig?.memorySwap = memory * 2
        }
        response.graphDriver = graphDriver(snapshot)
        response.mounts = Self.mountPoints(description)
        response.config = description.config
        response.networkSettings = networkSettings(snapshot)
        if olderNetworks { response.networkSettings?.addOlderMembers() }
        if size {
            response.sizeRw = Int(await core.writableSize(snapshot.id))
            let image = Digest(snapshot.imageID).flatMap { try? core.images.image($0) }
            response.sizeRootFs = (response.sizeRw ?? 0) + Int(image?.size ?? 0)
        }
        return response
    }

    static func state(_ snapshot: ContainerSnapshot) -> Docker.ContainerState {
        let status = snapshot.status
        var state = Docker.ContainerState()
        state.status = status.word
        state.paused = status.isPaused
        state.dead = false
        state.restarting = false
        state.running = status.running != nil
        state.pid = Int(status.running?.pid ?? 0)
        state.oomKilled = status.exited?.oomKilled ?? false
        state.exitCode = Int(status.exited?.exitCode ?? 0)
        state.error = status.exited?.error ?? ""
        state.startedAt = (status.running?.startedAt ?? status.exited?.startedAt)?.description ?? Timestamp.goZeroText
        state.finishedAt = Timestamp.goZeroText
        switch status.phase {
        case .exited(let exit): state.finishedAt = exit.finishedAt.description
        case .restarting(let exit, _):
            state.finishedAt = exit.finishedAt.description
            state.restarting = true
            // As docker shows it: a container between two runs counts as running.
            state.running = true
        default: break
        }
        state.health = snapshot.health?.docker
        return state
    }

    private func graphDriver(_ snapshot: ContainerSnapshot) -> Docker.DriverData {
        let folder = core.layout.container(snapshot.id)
        var driver = Docker.DriverData()
        driver.name = core.images.driver.name
        guard driver.name == "overlay2" else {
            driver.data = ["ID": snapshot.id.text, "RootDir": folder + "/root"]
            return driver
        }
        let layers = Digest(snapshot.imageID).flatMap { try? core.images.image($0) }?.layers ?? []
        driver.data = [
            "ID": snapshot.id.text, "LowerDir": layers.joined(separator: ":"), "MergedDir": "",
            "UpperDir": folder + "/upper", "WorkDir": folder + "/work",
        ]
        return driver
    }

    static func mountPoints(_ description: ContainerDescription) -> [Docker.MountPoint] {
        description.mounts.compactMap { mount in
            // Docker lists those of `--tmpfs` in HostConfig alone.
            if mount.kind == .tmpfs, !mount.fromMounts { return nil }
            var point = Docker.MountPoint()
            point.type = mount.kind.rawValue
            point.name = mount.name
            point.source = mount.source
            point.destination = mount.destination
            if mount.kind == .volume { point.driver = "local" }
            point.mode = mount.mode
            point.rw = !mount.readOnly
            point.propagation = mount.kind == .bind ? (mount.propagation.isEmpty ? "rprivate" : mount.propagation) : ""
            return point
        }
    }

    func networkSettings(_ snapshot: ContainerSnapshot) -> Docker.NetworkSettings {
        var settings = Docker.NetworkSettings()
        let sandbox = snapshot.sandbox
        settings.sandboxID = sandbox?.id.text ?? ""
        // a path that leads to the namespace, for nsenter(1) and CNI
        settings.sandboxKey = sandbox == nil ? "" : snapshot.status.running.map { "/proc/\($0.pid)/ns/net" } ?? ""
        var ports: [String: [Docker.PortBinding]?] = [:]
        if sandbox != nil {
            for key in (snapshot.description.config.exposedPorts ?? [:]).keys { ports[key] = .some(nil) }
        }
        for binding in sandbox?.bindings ?? [] {
            var shown = Docker.PortBinding()
            shown.hostIp = binding.hostAddress.description
            shown.hostPort = String(binding.hostPort)
            let key = "\(binding.containerPort)/\(binding.proto.rawValue)"
            ports[key] = ((ports[key] ?? nil) ?? []) + [shown]
        }
        settings.ports = ports
        settings.networks = networks(snapshot)
        return settings
    }

    /// The endpoints as inspect and list show them.
    func networks(_ snapshot: ContainerSnapshot) -> [String: Docker.EndpointSettings] {
        var networks: [String: Docker.EndpointSettings] = [:]
        for (name, wish) in snapshot.description.endpoints {
            let record = try? core.sandboxes.networks.resolve(name)
            let attached = record.flatMap { core.endpoint(of: snapshot, on: $0) }
            networks[name] = Self.endpoint(
                wish, attached, network: record?.id, names: snapshot.dnsNames(on: name, aliases: wish.aliases ?? []))
        }
        return networks
    }

    private static func endpoint(
        _ wish: Docker.EndpointSettings, _ attached: EndpointRecord?, network: ObjectID?, names: [String]
    ) -> Docker.EndpointSettings {
        var endpoint = Docker.EndpointSettings()
        endpoint.ipamConfig = wish.ipamConfig
        endpoint.links = wish.links
        endpoint.aliases = wish.aliases
        endpoint.driverOpts = wish.driverOpts
        endpoint.gwPriority = wish.gwPriority ?? 0
        // The unspecified one stands for the link itself.
        func shown(_ gateway: IPAddress?) -> String { gateway.flatMap { $0.isUnspecified ? nil : $0.description } ?? "" }
        endpoint.networkID = network?.text ?? ""
        endpoint.endpointID = attached?.id.text ?? ""
        endpoint.gateway = shown((attached?.ipv4?.gateway).map { .v4($0) })
        endpoint.ipAddress = attached?.ipv4?.address.description ?? ""
        endpoint.ipPrefixLen = Int(attached?.ipv4?.prefix ?? 0)
        endpoint.iPv6Gateway = shown((attached?.ipv6?.gateway).map { .v6($0) })
        endpoint.globalIPv6Address = attached?.ipv6?.address.description ?? ""
        endpoint.globalIPv6PrefixLen = Int(attached?.ipv6?.prefix ?? 0)
        // Where it does not run, the one that was asked for.
        endpoint.macAddress = attached?.mac?.description ?? wish.macAddress ?? ""
        endpoint.dnsNames = names.isEmpty ? nil : names
        return endpoint
    }

    // MARK: Lists

    /// Newest first.
    public func list(_ options: ContainerListOptions) async throws -> [Docker.ContainerSummary] {
        let filters = options.filters
        try filters.validate([
            "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
            "publish", "since", "status", "volume",
        ])
        for word in filters.get("status") {
            guard ["created", "running", "paused", "restarting", "removing", "exited", "dead"].contains(word) else {
                throw Fault(.invalid, "invalid filter 'status=\(word)'")
            }
        }
        for word in filters.get("exited") where Int(word) == nil {
            throw Fault(.invalid, "invalid filter 'exited=\(word)': strconv.Atoi: parsing \"\(word)\": invalid syntax")
        }
        let limit = options.limit.flatMap { $0 > 0 ? $0 : nil }
        let all =
            options.all || limit != nil || filters.contains("status") || filters.contains("exited")
            || filters.contains("before") || filters.contains("since")
        let border = try ListBorder(filters, core.registry)
        let ancestors = Set(filters.get("ancestor").compactMap { try? core.images.resolve($0).id.description })
        if filters.contains("ancestor"), ancestors.isEmpty { return [] }
        var snapshots = core.registry.all.map(\.snapshot)
        snapshots.sort { ($0.created, $0.id.text) > ($1.created, $1.id.text) }
        var summaries: [Docker.ContainerSummary] = []
        for snapshot in snapshots {
            if let limit, summaries.count >= limit { break }
            if !all, snapshot.status.running == nil, !Self.isRestarting(snapshot) { continue }
            if filters.contains("ancestor"), !ancestors.contains(snapshot.imageID) { continue }
            guard border.admits(snapshot), keep(snapshot, filters) else { continue }
            var summary = summary(snapshot)
            if options.size {
                summary.sizeRw = Int(await core.writableSize(snapshot.id))
                let image = Digest(snapshot.imageID).flatMap { try? core.images.image($0) }
                summary.sizeRootFs = (summary.sizeRw ?? 0) + Int(image?.size ?? 0)
            }
            summaries.append(summary)
        }
        return summaries
    }

    private static func isRestarting(_ snapshot: ContainerSnapshot) -> Bool {
        if case .restarting = snapshot.status.phase { true } else { false }
    }

    private func keep(_ snapshot: ContainerSnapshot, _ filters: Filters) -> Bool {
        let description = snapshot.description
        guard filters.matches("status", exactly: snapshot.status.word) else { return false }
        guard filters.matches("label", in: description.config.labels ?? [:]) else { return false }
        if filters.contains("id"), !filters.get("id").contains(where: { snapshot.id.text.hasPrefix($0) }) { return false }
        if filters.contains("name"), !filters.get("name").contains(where: { NamePattern.matches($0, "/" + snapshot.name) }) {
            return false
        }
        if filters.contains("exited") {
            guard case .exited(let exit) = snapshot.status.phase, filters.contains("exited", String(exit.exitCode)) else {
                return false
            }
        }
        if filters.contains("health") {
            guard filters.contains("health", snapshot.health?.word.rawValue ?? "none") else { return false }
        }
        if filters.contains("network") {
            let networks = networks(snapshot)
            let isOn = filters.get("network").contains { wanted in
                networks[wanted] != nil
                    || (!wanted.isEmpty && networks.values.contains { $0.networkID?.hasPrefix(wanted) ?? false })
            }
            guard isOn else { return false }
        }
        if filters.contains("volume") {
            let places = description.mounts.flatMap { [$0.name ?? "", $0.destination, $0.source] }
            guard filters.get("volume").contains(where: { places.contains($0) }) else { return false }
        }
        if filters.contains("publish") {
            let ports = (snapshot.sandbox?.bindings ?? []).flatMap {
                ["\($0.hostPort)", "\($0.hostPort)/\($0.proto.rawValue)"]
            }
            guard filters.get("publish").contains(where: { ports.contains($0) }) else { return false }
        }
        if filters.contains("expose") {
            let ports = (description.config.exposedPorts ?? [:]).keys
            guard filters.get("expose").contains(where: { ports.contains($0) || ports.contains($0 + "/tcp") }) else {
                return false
            }
        }
        if filters.contains("is-task"), filters.contains("is-task", "true") { return false }
        return true
    }

    func summary(_ snapshot: ContainerSnapshot) -> Docker.ContainerSummary {
        let description = snapshot.description
        var summary = Docker.ContainerSummary()
        summary.id = snapshot.id.text
        summary.names = ["/" + snapshot.name]
        summary.image = description.imageName
        summary.imageID = snapshot.imageID
        summary.command = Self.commandText(description.command)
        summary.created = Int(snapshot.created.seconds)
        summary.ports = ports(snapshot)
        summary.labels = description.config.labels ?? [:]
        summary.state = snapshot.status.word
        summary.status = StatusText.text(snapshot.status, health: snapshot.health, now: wallClock())
        var host = Docker.ContainerSummaryHostConfig()
        host.networkMode = description.host.networkMode ?? "bridge"
        summary.hostConfig = host
        var settings = Docker.ContainerSummaryNetworkSettings()
        settings.networks = networks(snapshot)
        summary.networkSettings = settings
        summary.mounts = Self.mountPoints(description)
        if let health = snapshot.health {
            var shown = Docker.ContainerSummaryHealth()
            shown.status = health.word.rawValue
            shown.failingStreak = health.failingStreak
            summary.health = shown
        }
        return summary
    }

    /// Words with spaces in single quotes, as docker shows them.
    private static func commandText(_ words: [String]) -> String {
        guard let first = words.first else { return "" }
        let rest = words.dropFirst().map { word in
            word.contains(" ") || word.isEmpty
                ? "'"
                    + word.split(separator: "'", omittingEmptySubsequences: false)
                    .joined(separator: "\\'") + "'" : word
        }
        return ([first] + rest).joined(separator: " ")
    }

    private func ports(_ snapshot: ContainerSnapshot) -> [Docker.PortSummary] {
        guard snapshot.status.running != nil else { return [] }
        var ports: [Docker.PortSummary] = []
        var bound = Set<String>()
        for binding in snapshot.sandbox?.bindings ?? [] {
            var port = Docker.PortSummary()
            port.ip = binding.hostAddress.description
            port.privatePort = Int(binding.containerPort)
            port.publicPort = Int(binding.hostPort)
            port.type = binding.proto.rawValue
            bound.insert("\(binding.containerPort)/\(binding.proto.rawValue)")
            ports.append(port)
        }
        for key in (snapshot.description.config.exposedPorts ?? [:]).keys.sorted() where !bound.contains(key) {
            let parts = key.split(separator: "/")
            guard let number = parts.first.flatMap({ Int($0) }) else { continue }
            var port = Docker.PortSummary()
            port.privatePort = number
            port.type = parts.count > 1 ? String(parts[1]) : "tcp"
            ports.append(port)
        }
        return ports
    }
}

extension Docker.NetworkSettings {
    fileprivate mutating func addOlderMembers() {
        let endpoint = networks?["bridge"]
        bridge = ""
        hairpinMode = false
        linkLocalIPv6Address = ""
        linkLocalIPv6PrefixLen = 0
        endpointID = endpoint?.endpointID ?? ""
        gateway = endpoint?.gateway ?? ""
        globalIPv6Address = endpoint?.globalIPv6Address ?? ""
        globalIPv6PrefixLen = endpoint?.globalIPv6PrefixLen ?? 0
        ipAddress = endpoint?.ipAddress ?? ""
        ipPrefixLen = endpoint?.ipPrefixLen ?? 0
        iPv6Gateway = endpoint?.iPv6Gateway ?? ""
        macAddress = endpoint?.macAddress ?? ""
    }
}

/// `before` and `since` of a list.
private struct ListBorder {
    private var before: Timestamp?
    private var since: Timestamp?

    init(_ filters: Filters, _ registry: ContainerRegistry) throws {
        before = try filters.get("before").first.map { try registry.resolve($0).snapshot.created }
        since = try filters.get("since").first.map { try registry.resolve($0).snapshot.created }
    }

    func admits(_ snapshot: ContainerSnapshot) -> Bool {
        if let before, snapshot.created >= before { return false }
        if let since, snapshot.created <= since { return false }
        return true
    }
}

/// The name filter is a regular expression in docker; here `^`, `$`, `.` and `.*` are understood, the rest is text.
package enum NamePattern {
    package static func matches(_ pattern: String, _ name: String) -> Bool {
        var pattern = Substring(pattern)
        let anchored = pattern.hasPrefix("^")
        if anchored { pattern = pattern.dropFirst() }
        let ended = pattern.hasSuffix("$")
        if ended { pattern = pattern.dropLast() }
        // With and without the slash, as docker tries them.
        for text in [name, String(name.dropFirst())] {
            let bytes = Array(text.utf8)
            let starts = anchored ? [0] : Array(0...bytes.count)
            for start in starts where match(Array(pattern.utf8)[...], bytes[start...], ended) { return true }
        }
        return false
    }

    private static func match(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>, _ ended: Bool) -> Bool {
        guard let first = pattern.first else { return !ended || text.isEmpty }
        let rest = pattern.dropFirst()
        let dot = UInt8(ascii: ".")
        if rest.first == UInt8(ascii: "*") {
            let after = rest.dropFirst()
            var text = text
            while true {
                if match(after, text, ended) { return true }
                guard let next = text.first, first == dot || next == first else { return false }
                text = text.dropFirst()
            }
        }
        if first == UInt8(ascii: "\\"), let literal = rest.first {
            guard text.first == literal else { return false }
            return match(rest.dropFirst(), text.dropFirst(), ended)
        }
        guard let next = text.first, first == dot || next == first else { return false }
        return match(rest, text.dropFirst(), ended)
    }
}

/// Docker's sentences for `ps`.
package enum StatusText {
    package static func text(_ status: ContainerStatus, health: HealthState?, now: Timestamp) -> String {
        switch status.phase {
        case .created: return "Created"
        case .running(let run):
            let up = "Up " + span(from: run.startedAt, to: now)
            switch health?.word {
            case .starting: return up + " (health: starting)"
            case .some(let word): return up + " (\(word.rawValue))"
            case nil: return up
            }
        case .paused(let run): return "Up " + span(from: run.startedAt, to: now) + " (Paused)"
        case .restarting(let exit, _):
            return "Restarting (\(exit.exitCode)) \(span(from: exit.finishedAt, to: now)) ago"
        case .exited(let exit): return "Exited (\(exit.exitCode)) \(span(from: exit.finishedAt, to: now)) ago"
        }
    }

    /// go-units' HumanDuration.
    package static func span(from: Timestamp, to: Timestamp) -> String {
        let seconds = max(0, (to.nanoseconds - from.nanoseconds) / 1_000_000_000)
        let minutes = seconds / 60
        let hours = (seconds + 1800) / 3600
        switch true {
        case seconds < 1: return "Less than a second"
        case seconds == 1: return "1 second"
        case seconds < 60: return "\(seconds) seconds"
        case minutes == 1: return "About a minute"
        case minutes < 60: return "\(minutes) minutes"
        case hours == 1: return "About an hour"
        case hours < 48: return "\(hours) hours"
        case hours < 24 * 7 * 2: return "\(hours / 24) days"
        case hours < 24 * 30 * 2: return "\(hours / 24 / 7) weeks"
        case hours < 24 * 365 * 2: return "\(hours / 24 / 30) months"
        default: return "\(hours / 24 / 365) years"
        }
    }
}
