import Linux
import Model

/// A published port and where it leads.
package struct PublishedPort: Sendable, Hashable {
    package var binding: PortBinding
    package var target: IPAddress
    /// Where the target is; nil where the port was read back from the kernel, which does not know.
    package var network: ObjectID?

    package init(binding: PortBinding, target: IPAddress, network: ObjectID? = nil) {
        self.binding = binding
        self.target = target
        self.network = network
    }
}

/// The content of our nftables table, as messages. The table is one for all networks; a network is an element of its sets,
/// a published port is one element of a map, so that adding either costs the same however many there are.
///
/// ```
/// prerouting raw   drop what pretends to be loopback
/// prerouting nat   to an address of this host: jump published
/// output nat       the same for this host's own connections
/// forward          towards a bridge: answers, published ports, and its own containers; the rest is dropped
/// postrouting nat  masquerade: from a subnet to elsewhere; from loopback; hairpin
/// ```
package struct FirewallRules: Sendable {
    package struct Network: Sendable, Hashable {
        package var id: ObjectID
        package var bridge: String
        package var subnets: [IPSubnet]
        package var isInternal = false
        /// Containers of this network reach one another.
        package var allowsNeighbours = true
        package var masquerades = true
        package var gatewayModeIPv4 = GatewayMode.nat
        package var gatewayModeIPv6 = GatewayMode.nat
        package var trustedInterfaces: [String] = []

        package init(id: ObjectID, bridge: String, subnets: [IPSubnet]) {
            self.id = id
            self.bridge = bridge
            self.subnets = subnets
        }

        /// Nil for a network without a bridge.
        package init?(_ record: NetworkRecord) {
            guard let settings = record.bridge else { return nil }
            self.init(id: record.id, bridge: settings.bridge, subnets: record.subnets)
            isInternal = record.isInternal
            allowsNeighbours = settings.allowsNeighbours
            masquerades = settings.masquerades
            gatewayModeIPv4 = settings.gatewayModeIPv4
            gatewayModeIPv6 = settings.gatewayModeIPv6
            trustedInterfaces = settings.trustedInterfaces
        }
    }

    /// Kept with the table; another version's table is replaced.
    static let note = "skiff 1"
    static let bridges = "bridges"
    static let paths = "paths"
    static let portsAny = "ports_any"
    static let portsAt = "ports_at"

    package let table: TablesRequest
    var networks: [Network]

    package init(table: String, networks: [Network]) {
        self.table = TablesRequest(table: table)
        self.networks = networks
    }

    /// One batch that puts the whole table in the place of whatever had its name.
    package func replacement(ports: some Collection<PublishedPort>) -> [NetlinkMessage] {
        // Made, so that deleting cannot fail; deleted; made anew: one transaction.
        var messages = [table.create(note: Self.note), table.delete(), table.create(note: Self.note)]
        messages +=
            sets + chains + earlyRules + redirectRules + forwardRules
            + networks.flatMap { network in
                network.subnets.compactMap(\.v4).flatMap { masqueradeRules(network, $0) }
            }
        messages += table.add(networks.map { TablesElement(key: Self.name($0.bridge)) }, to: Self.bridges)
        messages += table.add(
            networks.filter(\.allowsNeighbours).map { TablesElement(key: Self.name($0.bridge) + Self.name($0.bridge)) },
            to: Self.paths)
        return messages + add(ports)
    }

    /// How many rules the table has, whatever is published.
    var ruleCount: Int { replacement(ports: []).count { TablesRequest.isRule($0) } }

    package func add(_ ports: some Collection<PublishedPort>) -> [NetlinkMessage] {
        let ports = ports.filter { $0.target.v4 != nil }
        return table.add(ports.filter { $0.isEverywhere }.map { $0.element }, to: Self.portsAny)
            + table.add(ports.filter { !$0.isEverywhere }.map { $0.element }, to: Self.portsAt)
    }

    package func remove(_ ports: some Collection<PublishedPort>) -> [NetlinkMessage] {
        func keys(_ isEverywhere: Bool) -> [TablesElement] {
            ports.filter { $0.target.v4 != nil && $0.isEverywhere == isEverywhere }.map { TablesElement(key: $0.element.key) }
        }
        return table.remove(keys(true), from: Self.portsAny) + table.remove(keys(false), from: Self.portsAt)
    }

    private var sets: [NetlinkMessage] {
        let target = TablesKind.concatenation(.ipv4, .port)
        return [
            table.create(set: Self.bridges, key: .interface, id: 1),
            table.create(set: Self.paths, key: .concatenation(.interface, .interface), id: 2),
            table.create(set: Self.portsAny, key: .concatenation(.proto, .port), value: target, id: 3),
            table.create(set: Self.portsAt, key: .concatenation(.ipv4, .proto, .port), value: target, id: 4),
        ]
    }

    private var chains: [NetlinkMessage] {
        [
            table.create(chain: "published"), table.create(chain: "inward"),
            table.create(chain: "early", type: "filter", hook: .prerouting, priority: -300),
            table.create(chain: "prerouting", type: "nat", hook: .prerouting, priority: -100),
            table.create(chain: "output", type: "nat", hook: .output, priority: -100),
            table.create(chain: "forward", type: "filter", hook: .forward, priority: 0),
            table.create(chain: "postrouting", type: "nat", hook: .postrouting, priority: 100),
        ]
    }

    private var earlyRules: [NetlinkMessage] {
        let isIPv4: [TablesExpression] = [.load(.family), .compare([2])]
        return [
            table.append(
                [.load(.inputName), .compare(Self.name("lo"), isEqual: false)] + isIPv4
                    + [.load(.network, at: 16, size: 1), .compare([127]), .verdict(.drop)],
                to: "early", comment: "127.0.0.0/8 is reached from this host only"),
            table.append(
                [.load(.inputName), .lookup(Self.bridges, id: 1)] + isIPv4
                    + [.load(.network, at: 12, size: 1), .compare([127]), .verdict(.drop)],
                to: "early", comment: "no container is loopback"),
        ]
    }

    private var redirectRules: [NetlinkMessage] {
        let isIPv4: [TablesExpression] = [.load(.family), .compare([2])]
        // An RTN_LOCAL address as destination.
        let toThisHost =
            isIPv4 + [.loadDestinationKind(), .compare(Self.native(2)), .verdict(.jump("published"))]
        return [
            table.append(toThisHost, to: "prerouting", comment: "from other hosts and from containers"),
            table.append(toThisHost, to: "output", comment: "from this host"),
            table.append(
                isIPv4 + [
                    .load(.network, at: 16, size: 4), .load(.transport, into: 9), .load(.transport, at: 2, size: 2, into: 10),
                    .lookup(Self.portsAt, id: 4, into: 1), .redirect(address: 1, port: 9),
                ], to: "published", comment: "ports on one address"),
            table.append(
                [
                    .load(.transport), .load(.transport, at: 2, size: 2, into: 9), .lookup(Self.portsAny, id: 3, into: 1),
                    .redirect(address: 1, port: 9),
                ], to: "published", comment: "ports on every address"),
        ]
    }

    private var forwardRules: [NetlinkMessage] {
        func connection(_ key: TablesExpression.Connection, _ bits: UInt32) -> [TablesExpression] {
            [.load(key), .mask(Self.native(bits)), .compare(Self.native(0), isEqual: false)]
        }
        return [
            table.append(
                [.load(.outputName), .lookup(Self.bridges, id: 1), .verdict(.jump("inward"))], to: "forward",
                comment: "towards containers"),
            // An invalid packet passes the forward hook without address translation and would show a private address outside.
            table.append(
                [.load(.inputName), .lookup(Self.bridges, id: 1)] + connection(.state, 1) + [.verdict(.drop)],
                to: "forward"),
            // NF_CT_STATE_BIT: established 2, related 4. IPS_DST_NAT 0x20.
            table.append(connection(.state, 6) + [.verdict(.accept)], to: "inward", comment: "answers"),
            table.append(connection(.status, 0x20) + [.verdict(.accept)], to: "inward", comment: "published ports"),
            table.append(
                [.load(.inputName, into: 1), .load(.outputName, into: 2), .lookup(Self.paths, id: 2), .verdict(.accept)],
                to: "inward", comment: "containers of the same network"),
            table.append([.verdict(.drop)], to: "inward"),
        ]
    }

    private func masqueradeRules(_ network: Network, _ subnet: IPv4Subnet) -> [NetlinkMessage] {
        let isIPv4: [TablesExpression] = [.load(.family), .compare([2])]
        let toBridge: [TablesExpression] = [.load(.outputName), .compare(Self.name(network.bridge))]
        let elsewhere: [TablesExpression] = [.load(.outputName), .compare(Self.name(network.bridge), isEqual: false)]
        let fromSubnet: [TablesExpression] = [
            .load(.network, at: 12, size: 4), .mask(subnet.mask.bytes), .compare(subnet.network.bytes),
        ]
        let inward = [
            table.append(
                toBridge + isIPv4 + [.load(.network, at: 12, size: 1), .compare([127]), .masquerade],
                to: "postrouting", comment: "from 127.0.0.1 to a published port"),
            table.append(
                toBridge + isIPv4 + fromSubnet
                    + [
                        .load(.status, into: 1), .mask(Self.native(0x20)), .compare(Self.native(0), isEqual: false),
                        .masquerade,
                    ],
                to: "postrouting", comment: "from a container to its neighbour's published port"),
        ]
        guard network.masquerades, !network.isInternal else { return inward }
        return inward + [
            table.append(elsewhere + isIPv4 + fromSubnet + [.masquerade], to: "postrouting", comment: "from containers")
        ]
    }

    /// An interface's name as the kernel compares it: 16 bytes.
    static func name(_ interface: String) -> [UInt8] {
        let bytes = Array(interface.utf8.prefix(15))
        return bytes + [UInt8](repeating: 0, count: 16 - bytes.count)
    }

    private static func native(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
}

extension PublishedPort {
    /// Published on every address of the host.
    var isEverywhere: Bool { binding.hostAddress.isUnspecified }

    package var element: TablesElement {
        let port = Self.bytes(binding.hostPort)
        let proto: [UInt8] = [binding.proto.number]
        let value = TablesElement.concatenate(target.bytes, Self.bytes(binding.containerPort))
        if case .v4(let address) = binding.hostAddress, address != .any {
            return TablesElement(key: TablesElement.concatenate(address.bytes, proto, port), value: value)
        }
        return TablesElement(key: TablesElement.concatenate(proto, port), value: value)
    }

    private static func bytes(_ port: UInt16) -> [UInt8] { [UInt8(port >> 8), UInt8(port & 0xFF)] }
}
