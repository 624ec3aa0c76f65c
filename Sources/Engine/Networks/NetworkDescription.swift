import Model
import Networks

/// A network as clients see it.
package struct NetworkDescription {
    let record: NetworkRecord
    /// The bridge's and the containers' MTU where the network does not say one.
    let mtu: UInt32
    /// Addresses of it that somebody uses who does not have them from the engine.
    let claims: [AddressClaim]

    package init(record: NetworkRecord, mtu: UInt32, claims: [AddressClaim] = []) {
        self.record = record
        self.mtu = mtu
        self.claims = claims
    }

    package var summary: Docker.NetworkSummary {
        var summary = Docker.NetworkSummary()
        summary.name = record.name
        summary.id = record.id.text
        summary.created = record.created.description
        summary.scope = "local"
        summary.driver = record.driver.word
        summary.enableIPv4 = record.enablesIPv4
        summary.enableIPv6 = record.enablesIPv6
        summary.ipam = ipam
        summary.internal = record.isInternal
        summary.attachable = record.isAttachable
        summary.ingress = false
        summary.configOnly = record.isConfiguration
        summary.configFrom = configFrom
        summary.options = options
        summary.labels = record.labels
        return summary
    }

    package func inspect(_ endpoints: [String: Docker.EndpointResource]) -> Docker.NetworkInspect {
        let summary = self.summary
        var inspect = Docker.NetworkInspect()
        inspect.name = summary.name
        inspect.id = summary.id
        inspect.created = summary.created
        inspect.scope = summary.scope
        inspect.driver = summary.driver
        inspect.enableIPv4 = summary.enableIPv4
        inspect.enableIPv6 = summary.enableIPv6
        inspect.ipam = summary.ipam
        inspect.internal = summary.internal
        inspect.attachable = summary.attachable
        inspect.ingress = summary.ingress
        inspect.configOnly = summary.configOnly
        inspect.configFrom = summary.configFrom
        inspect.options = summary.options.map { options in
            let told = claims.map { (NetworkOptions.conflict + $0.address.description, $0.mac.description) }
            return options.merging(told) { $1 }
        }
        inspect.labels = summary.labels
        inspect.containers = endpoints
        return inspect
    }

    private var configFrom: Docker.ConfigReference {
        var reference = Docker.ConfigReference()
        reference.network = record.configurationSource ?? ""
        return reference
    }

    private var ipam: Docker.IPAM {
        var ipam = Docker.IPAM()
        ipam.driver = "default"
        ipam.options = record.ipamOptions
        ipam.config = (record.ipv4 + record.ipv6).map { range in
            var config = Docker.IPAMConfig()
            config.subnet = range.subnet.description
            config.ipRange = range.range?.description
            config.gateway = range.gateway?.description
            if !range.auxiliary.isEmpty { config.auxiliaryAddresses = range.auxiliary.mapValues(\.description) }
            return config
        }
        return ipam
    }

    /// As they were given; those of docker's default bridge as dockerd fills them in.
    private var options: [String: String] {
        guard let bridge = record.bridge, bridge.isDefault else { return record.options }
        return record.options.merging([
            NetworkOptions.defaultBridge: "true", NetworkOptions.icc: String(bridge.allowsNeighbours),
            NetworkOptions.masquerade: String(bridge.masquerades),
            NetworkOptions.hostBinding: (bridge.hostBindingIPv4 ?? .any).description, NetworkOptions.bridgeName: bridge.bridge,
            NetworkOptions.mtu: String(record.mtu ?? mtu),
        ]) { $1 }
    }

    /// How full its subnets are (API 1.52's Status). IPv6 has more addresses than can be counted: both figures saturate.
    package func status(_ endpoints: [EndpointRecord]) -> Docker.NetworkStatus {
        var subnets: [String: Docker.SubnetStatus] = [:]
        for range in record.ipv4 + record.ipv6 { subnets[range.subnet.description] = Self.status(range, endpoints) }
        var ipam = Docker.IPAMStatus()
        ipam.subnets = subnets
        var status = Docker.NetworkStatus()
        status.ipam = ipam
        return status
    }

    private static func status(_ range: AddressRange, _ endpoints: [EndpointRecord]) -> Docker.SubnetStatus {
        var taken = Set(endpoints.flatMap(\.addresses).filter { range.subnet.contains($0) })
        if let gateway = range.gateway { taken.insert(gateway) }
        taken.formUnion(range.auxiliary.values.filter { range.subnet.contains($0) })
        // the network's own address, and IPv4's broadcast address
        switch range.subnet {
        case .v4(let subnet) where subnet.prefix < 31:
            taken.insert(.v4(subnet.network))
            taken.insert(.v4(subnet.broadcast))
        case .v4: break
        case .v6(let subnet): taken.insert(.v6(subnet.network))
        }
        let pool = range.range ?? range.subnet
        let inside = UInt64(taken.filter { pool.contains($0) }.count)
        var status = Docker.SubnetStatus()
        status.iPsInUse = UInt64(taken.count)
        status.dynamicIPsAvailable = size(pool).subtractingReportingOverflow(inside).partialValue
        return status
    }

    /// Addresses in a block, saturating.
    private static func size(_ block: IPSubnet) -> UInt64 {
        switch block {
        case .v4(let subnet): subnet.count
        case .v6(let subnet): subnet.prefix > 64 ? 1 << UInt64(128 - subnet.prefix) : .max
        }
    }

    // MARK: Filters

    static let filterKeys: Set<String> = ["dangling", "driver", "id", "label", "name", "scope", "type"]

    /// - Throws: `invalid` in dockerd's words.
    package static func validate(_ filters: Filters) throws {
        try filters.validate(filterKeys)
        for type in filters.get("type") where type != "custom" && type != "builtin" {
            throw Fault(.invalid, "invalid filter: 'type'='\(type)'", subject: type)
        }
        _ = try dangling(filters)
    }

    private static func dangling(_ filters: Filters) throws -> Bool? {
        do { return try filters.bool("dangling") } catch {
            throw Fault(
                .invalid, "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
                subject: "dangling")
        }
    }

    /// - Parameter isUsed: a container that runs is on it.
    package func matches(_ filters: Filters, isUsed: Bool) throws -> Bool {
        guard filters.matches("driver", exactly: record.driver.word), filters.matches("scope", exactly: "local"),
            filters.matches("type", exactly: record.isPredefined ? "builtin" : "custom"),
            filters.matches("label", in: record.labels)
        else { return false }
        if filters.contains("name"), !filters.get("name").contains(where: { NamePattern.matches($0, "/" + record.name) }) {
            return false
        }
        if filters.contains("id"), !filters.get("id").contains(where: { record.id.text.contains(part: $0) }) { return false }
        guard let dangling = try Self.dangling(filters) else { return true }
        return dangling == (!record.isPredefined && !isUsed)
    }
}

extension String {
    fileprivate func contains(part: String) -> Bool {
        let part = Array(part.utf8)
        let whole = Array(utf8)
        guard part.count <= whole.count else { return false }
        return (0...(whole.count - part.count)).contains { whole[$0...].starts(with: part) }
    }
}
