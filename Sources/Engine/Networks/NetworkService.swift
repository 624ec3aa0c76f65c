import Model
import Networks

/// The networks that there are: `bridge`, `host` and `none`.
public final class NetworkService: Sendable {
    private let core: EngineCore

    init(_ core: EngineCore) { self.core = core }

    static func id(of name: String, _ sandboxes: SandboxService) -> String { sandboxes.networks.named(name)?.id.text ?? "" }

    /// - Throws: as `SandboxService.create`.
    public func create(_ spec: NetworkSpec, by caller: Caller) async throws -> NetworkRecord {
        try await core.sandboxes.create(spec, by: caller)
    }

    /// - Throws: `notFound`, and as `SandboxService.remove`.
    public func remove(_ reference: String, by caller: Caller) async throws {
        try await core.sandboxes.remove(core.sandboxes.networks.resolve(reference).id, by: caller)
    }

    private struct Shown {
        var name: String
        var driver: String
        var ipam: Docker.IPAM
        var options: [String: String] = [:]
    }

    private var all: [Shown] {
        let network = core.sandboxes.network
        var range = Docker.IPAMConfig()
        range.subnet = network.ipv4.first?.subnet.description
        range.gateway = network.ipv4.first?.gateway?.description
        func ipam(_ config: [Docker.IPAMConfig]) -> Docker.IPAM {
            var ipam = Docker.IPAM()
            ipam.driver = "default"
            ipam.options = nil
            ipam.config = config
            return ipam
        }
        let options = [
            "com.docker.network.bridge.default_bridge": "true", "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            "com.docker.network.bridge.name": core.configuration.networks.bridge,
            "com.docker.network.driver.mtu": String(core.sandboxes.mtu),
        ]
        return [
            Shown(name: "bridge", driver: "bridge", ipam: ipam([range]), options: options),
            Shown(name: "host", driver: "host", ipam: ipam([])), Shown(name: "none", driver: "null", ipam: ipam([])),
        ]
    }

    public func list(_ filters: Filters = Filters()) async throws -> [Docker.NetworkSummary] {
        try filters.validate(["dangling", "driver", "id", "label", "name", "scope", "type"])
        return all.compactMap { network in
            let id = Self.id(of: network.name, core.sandboxes)
            guard filters.matches("driver", exactly: network.driver), filters.matches("scope", exactly: "local"),
                filters.matches("type", exactly: "builtin"), filters.matches("label", in: [:]),
                !filters.contains("name") || filters.get("name").contains(where: { network.name.contains($0) }),
                !filters.contains("id") || filters.get("id").contains(where: { id.hasPrefix($0) }),
                !filters.contains("dangling", "true")
            else { return nil }
            var summary = Docker.NetworkSummary()
            summary.name = network.name
            summary.id = id
            summary.created = core.sandboxes.network.created.description
            summary.scope = "local"
            summary.driver = network.driver
            summary.enableIPv4 = true
            summary.enableIPv6 = false
            summary.ipam = network.ipam
            summary.internal = false
            summary.attachable = false
            summary.ingress = false
            summary.configOnly = false
            summary.configFrom = Docker.ConfigReference()
            summary.configFrom?.network = ""
            summary.options = network.options
            summary.labels = [:]
            return summary
        }
    }

    /// - Throws: `notFound` (`network x not found`).
    public func inspect(_ reference: String) async throws -> Docker.NetworkInspect {
        let found = all.filter { $0.name == reference || Self.id(of: $0.name, core.sandboxes) == reference }
        let prefixed = all.filter { !reference.isEmpty && Self.id(of: $0.name, core.sandboxes).hasPrefix(reference) }
        guard let network = found.first ?? (prefixed.count == 1 ? prefixed.first : nil) else {
            throw Fault(.notFound, "network \(reference) not found", subject: reference)
        }
        var inspect = Docker.NetworkInspect()
        inspect.name = network.name
        inspect.id = Self.id(of: network.name, core.sandboxes)
        inspect.created = core.sandboxes.network.created.description
        inspect.scope = "local"
        inspect.driver = network.driver
        inspect.enableIPv4 = true
        inspect.enableIPv6 = false
        inspect.ipam = network.ipam
        inspect.internal = false
        inspect.attachable = false
        inspect.ingress = false
        inspect.configOnly = false
        inspect.configFrom = Docker.ConfigReference()
        inspect.configFrom?.network = ""
        inspect.options = network.options
        inspect.labels = [:]
        inspect.containers = endpoints(network.name)
        return inspect
    }

    private func endpoints(_ network: String) -> [String: Docker.EndpointResource] {
        var endpoints: [String: Docker.EndpointResource] = [:]
        for snapshot in core.registry.all.map(\.snapshot) {
            guard let attached = snapshot.sandbox?.endpoints.first(where: { $0.networkName == network }) else { continue }
            var endpoint = Docker.EndpointResource()
            endpoint.name = snapshot.name
            endpoint.endpointID = attached.id.text
            endpoint.macAddress = attached.mac?.description ?? ""
            endpoint.iPv4Address = attached.ipv4.map { "\($0.address)/\($0.prefix)" } ?? ""
            endpoint.iPv6Address = ""
            endpoints[snapshot.id.text] = endpoint
        }
        return endpoints
    }
}
