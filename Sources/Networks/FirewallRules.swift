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

/// The content of our nftables table, as messages. The table is one for all networks; networks and published ports are elements
/// of its sets and maps, so that adding one costs the same however many there are.
///
/// ```
/// prerouting raw    drop what pretends to be loopback
/// prerouting        the host's own policy for what it would let in (`HostPolicy`); then
/// prerouting nat    to an address of this host: published
/// output            the same policy, and the same redirection, for this host's own connections
/// forward           towards a bridge: answers, published ports, and its own containers; the rest is dropped
/// postrouting nat   segments no larger than the way; masquerade: from containers to elsewhere; from loopback; hairpin
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
    static let note = "skiff 3"

    /// The table's sets and maps.
    enum Name: String, CaseIterable {
        /// Published ports: where each leads. On every address of a family, and on one address.
        case any4 = "ports_any", any6 = "ports6_any", at4 = "ports_at", at6 = "ports6_at"
        /// Those of them that the host's policy is asked about.
        case guardAny = "guarded_any", guard4 = "guarded_at", guard6 = "guarded6_at"
        /// Ports of containers that are reached on the container's own address (gateway mode routed).
        case routed4 = "routed", routed6 = "routed6"
        case bridges
        /// Bridges without a way out or in.
        case isolated = "internal"
        /// Input and output interface between which containers talk.
        case paths
        /// Where a network's addresses are at home: its subnets, each with its bridge.
        case homes4 = "homes", homes6
        /// Bridges whose containers leave under the host's address.
        case masqueraded4 = "masqueraded", masqueraded6
        /// Bridges all of whose containers' ports are reached by who routes there.
        case unprotected4 = "unprotected", unprotected6
        /// Input interface and bridge.
        case trusted

        var id: UInt32 { UInt32((Name.allCases.firstIndex(of: self) ?? 0) + 1) }
    }

    package let table: TablesRequest
    var networks: [Network]
    /// Families with a table of their own beside ours, for rules of the host that only such a table can hold. It has the guards, too.
    var kept: [UInt8] = []

    /// NFPROTO_IPV4, NFPROTO_IPV6
    func table(of family: UInt8) -> TablesRequest {
        TablesRequest(table: table.table, family: family == 2 ? .ipv4 : .ipv6)
    }

    package init(table: String, networks: [Network]) {
        self.table = TablesRequest(table: table)
        self.networks = networks
    }

    /// One batch that puts the whole table in the place of whatever had its name.
    /// - Parameter stale: families of which a table of ours is there.
    package func replacement(
        ports: some Collection<PublishedPort>, policy: HostPolicy = HostPolicy(), stale: [UInt8] = []
    ) -> [NetlinkMessage] {
        if kept != policy.keptFamilies {
            var rules = self
            rules.kept = policy.keptFamilies
            return rules.replacement(ports: ports, policy: policy, stale: stale)
        }
        // Made, so that deleting cannot fail; deleted; made anew: one transaction.
        var messages = [table.create(note: Self.note), table.delete(), table.create(note: Self.note)]
        messages += stale.map { table(of: $0).delete() }
        for family in kept {
            messages.append(table(of: family).create(note: Self.note))
            messages += sets([.guardAny, family == 2 ? .guard4 : .guard6], in: table(of: family))
        }
        messages += sets(Name.allCases, in: table) + chains + earlyRules + redirectRules + forwardRules + leavingRules
        messages += add(networks: networks) + add(ports)
        return messages + self.messages(policy)
    }

    func messages(_ policy: HostPolicy) -> [NetlinkMessage] {
        func named(_ name: Name) -> (set: String, id: UInt32) { (name.rawValue, name.id) }
        return policy.messages(
            table, Dictionary(uniqueKeysWithValues: kept.map { ($0, table(of: $0)) }),
            HostPolicy.Guards(anywhere: named(.guardAny), at4: named(.guard4), at6: named(.guard6)))
    }

    /// How many rules the table has, whatever is published.
    var ruleCount: Int { (earlyRules + redirectRules + forwardRules + leavingRules).count }

    package func add(_ ports: some Collection<PublishedPort>) -> [NetlinkMessage] {
        grouped(ports.flatMap { elements(of: $0) }) { table.add($0, to: $1) }
            + kept.flatMap { family in grouped(guards(of: ports, family)) { table(of: family).add($0, to: $1) } }
    }

    package func remove(_ ports: some Collection<PublishedPort>) -> [NetlinkMessage] {
        grouped(ports.flatMap { elements(of: $0) }) { elements, set in
            table.remove(elements.map { TablesElement(key: $0.key, keyEnd: $0.keyEnd) }, from: set)
        } + kept.flatMap { family in grouped(guards(of: ports, family)) { table(of: family).remove($0, from: $1) } }
    }

    /// What the table of one family holds for published ports: the guards, without the family before a port.
    func guards(of ports: some Collection<PublishedPort>, _ family: UInt8) -> [(set: Name, element: TablesElement)] {
        ports.filter { ($0.target.v4 != nil) == (family == 2) }.flatMap { elements(of: $0) }.compactMap { set, element in
            switch set {
            case .guardAny: (set, TablesElement(key: Array(element.key.dropFirst(4))))
            case .guard4, .guard6: (set, element)
            default: nil
            }
        }
    }

    func add(networks: [Network]) -> [NetlinkMessage] {
        grouped(networks.flatMap { elements(of: $0) }) { table.add($0, to: $1) }
    }

    func remove(networks: [Network]) -> [NetlinkMessage] {
        grouped(networks.flatMap { elements(of: $0) }) { table.remove($0, from: $1) }
    }

    private func grouped(
        _ elements: [(set: Name, element: TablesElement)], _ message: ([TablesElement], String) -> [NetlinkMessage]
    ) -> [NetlinkMessage] {
        let sets = Dictionary(grouping: elements, by: \.set)
        return Name.allCases.flatMap { name in sets[name].map { message($0.map(\.element), name.rawValue) } ?? [] }
    }

    /// What the table's sets hold for a network.
    func elements(of network: Network) -> [(set: Name, element: TablesElement)] {
        let bridge = Self.name(network.bridge)
        var names: [(Name, [UInt8])] = [(.bridges, bridge)]
        if network.allowsNeighbours { names.append((.paths, bridge + bridge)) }
        if network.isInternal {
            names.append((.isolated, bridge))
        } else {
            for (mode, masqueraded, unprotected) in [
                (network.gatewayModeIPv4, Name.masqueraded4, Name.unprotected4),
                (network.gatewayModeIPv6, Name.masqueraded6, Name.unprotected6),
            ] {
                if network.masquerades, mode == .nat || mode == .natUnprotected { names.append((masqueraded, bridge)) }
                if mode == .natUnprotected { names.append((unprotected, bridge)) }
            }
            for interface in Set(network.trustedInterfaces) { names.append((.trusted, Self.name(interface) + bridge)) }
        }
        let homes = network.subnets.map { subnet in
            switch subnet {
            case .v4(let subnet):
                (
                    Name.homes4,
                    TablesElement(key: subnet.network.bytes + bridge, keyEnd: subnet.broadcast.bytes + bridge)
                )
            case .v6(let subnet):
                (Name.homes6, TablesElement(key: subnet.network.bytes + bridge, keyEnd: subnet.last.bytes + bridge))
            }
        }
        return names.map { ($0.0, TablesElement(key: $0.1)) } + homes
    }

    /// What the table's sets hold for a published port.
    func elements(of port: PublishedPort) -> [(set: Name, element: TablesElement)] {
        let network = port.network.flatMap { id in networks.first { $0.id == id } }
        let isV4 = port.target.v4 != nil
        if network?.isInternal == true { return [] }
        switch isV4 ? network?.gatewayModeIPv4 : network?.gatewayModeIPv6 {
        case .isolated?: return []
        case .routed?:
            let key = TablesElement.concatenate(
                port.target.bytes, [port.binding.proto.number], PublishedPort.bytes(port.binding.containerPort))
            return [(isV4 ? .routed4 : .routed6, TablesElement(key: key))]
        case .nat?, .natUnprotected?, nil: break
        }
        let element = port.element
        var elements: [(Name, TablesElement)]
        var guarded = element.key
        if port.isEverywhere {
            elements = [(isV4 ? .any4 : .any6, element)]
            guarded = [isV4 ? 2 : 10, 0, 0, 0] + element.key
        } else {
            elements = [(isV4 ? .at4 : .at6, element)]
        }
        if port.binding.exposure == .hostPolicy {
            elements.append((port.isEverywhere ? .guardAny : isV4 ? .guard4 : .guard6, TablesElement(key: guarded)))
        }
        return elements
    }

    private func sets(_ names: [Name], in table: TablesRequest) -> [NetlinkMessage] {
        let name = TablesKind.interface
        let pair = TablesKind.concatenation(.interface, .interface)
        let kinds: [Name: (key: TablesKind, value: TablesKind?)] = [
            .any4: (.concatenation(.proto, .port), .concatenation(.ipv4, .port)),
            .any6: (.concatenation(.proto, .port), .concatenation(.ipv6, .port)),
            .at4: (.concatenation(.ipv4, .proto, .port), .concatenation(.ipv4, .port)),
            .at6: (.concatenation(.ipv6, .proto, .port), .concatenation(.ipv6, .port)),
            .guardAny: (table.family == .inet ? .concatenation(.family, .proto, .port) : .concatenation(.proto, .port), nil),
            .guard4: (.concatenation(.ipv4, .proto, .port), nil),
            .guard6: (.concatenation(.ipv6, .proto, .port), nil), .routed4: (.concatenation(.ipv4, .proto, .port), nil),
            .routed6: (.concatenation(.ipv6, .proto, .port), nil), .bridges: (name, nil), .isolated: (name, nil),
            .paths: (pair, nil), .homes4: (.concatenation(.ipv4, .interface), nil),
            .homes6: (.concatenation(.ipv6, .interface), nil), .masqueraded4: (name, nil), .masqueraded6: (name, nil),
            .unprotected4: (name, nil), .unprotected6: (name, nil), .trusted: (pair, nil),
        ]
        return names.compactMap { set in
            let ranges: [UInt32] = set == .homes4 ? [4, 16] : set == .homes6 ? [16, 16] : []
            return kinds[set].map {
                table.create(set: set.rawValue, key: $0.key, value: $0.value, rangesOf: ranges, id: set.id)
            }
        }
    }

    private var chains: [NetlinkMessage] {
        [
            table.create(chain: "published"), table.create(chain: "inward"), table.create(chain: "unrouted"),
            table.create(chain: "home"),
            table.create(chain: "early", type: "filter", hook: .prerouting, priority: -300),
            table.create(chain: "prerouting", type: "nat", hook: .prerouting, priority: -100),
            table.create(chain: "output", type: "nat", hook: .output, priority: -100),
            table.create(chain: "forward", type: "filter", hook: .forward, priority: 0),
            table.create(chain: "postrouting", type: "nat", hook: .postrouting, priority: 100),
        ]
    }

    private static let isIPv4: [TablesExpression] = [.load(.family), .compare([2])]
    private static let isIPv6: [TablesExpression] = [.load(.family), .compare([10])]

    private static func lookup(_ name: Name, into destination: UInt32? = nil) -> TablesExpression {
        .lookup(name.rawValue, id: name.id, into: destination)
    }

    private static func connection(_ key: TablesExpression.Connection, _ bits: UInt32) -> [TablesExpression] {
        [.load(key), .mask(Self.native(bits)), .compare(Self.native(0), isEqual: false)]
    }

    private var earlyRules: [NetlinkMessage] {
        let fromElsewhere: [TablesExpression] = [.load(.inputName), .compare(Self.name("lo"), isEqual: false)]
        let fromBridge: [TablesExpression] = [.load(.inputName), Self.lookup(.bridges)]
        let loopback = IPv6Address.loopback.bytes
        func rule(_ expressions: [TablesExpression], _ comment: String) -> NetlinkMessage {
            table.append(expressions + [.verdict(.drop)], to: "early", comment: comment)
        }
        return [
            rule(
                fromElsewhere + Self.isIPv4 + [.load(.network, at: 16, size: 1), .compare([127])],
                "127.0.0.0/8 is reached from this host only"),
            rule(
                fromElsewhere + Self.isIPv6 + [.load(.network, at: 24, size: 16), .compare(loopback)],
                "::1 is reached from this host only"),
            rule(
                fromBridge + Self.isIPv4 + [.load(.network, at: 12, size: 1), .compare([127])], "no container is loopback"),
            rule(
                fromBridge + Self.isIPv6 + [.load(.network, at: 8, size: 16), .compare(loopback)], "no container is loopback"),
        ]
    }

    private var redirectRules: [NetlinkMessage] {
        // An RTN_LOCAL address as destination.
        let toThisHost: [TablesExpression] = [
            .loadDestinationKind(), .compare(Self.native(2)), .verdict(.jump("published")),
        ]
        // The port comes after protocol, or after address and protocol; the map's value is an address and, behind it, a port.
        func port(into register: UInt32) -> [TablesExpression] {
            [.load(.transport, into: register), .load(.transport, at: 2, size: 2, into: register + 1)]
        }
        func rule(_ expressions: [TablesExpression], _ comment: String) -> NetlinkMessage {
            table.append(expressions, to: "published", comment: comment)
        }
        return [
            table.append(toThisHost, to: "prerouting", comment: "from other hosts and from containers"),
            table.append(toThisHost, to: "output", comment: "from this host"),
            rule(
                Self.isIPv4 + [.load(.network, at: 16, size: 4)] + port(into: 9)
                    + [Self.lookup(.at4, into: 1), .redirect(address: 1, port: 9)], "ports on one address"),
            rule(
                Self.isIPv4 + port(into: 8) + [Self.lookup(.any4, into: 1), .redirect(address: 1, port: 9)],
                "ports on every address"),
            rule(
                Self.isIPv6 + [.load(.network, at: 24, size: 16)] + port(into: 12)
                    + [Self.lookup(.at6, into: 1), .redirect(address6: 1, port: 12)], "ports on one address"),
            rule(
                Self.isIPv6 + port(into: 8) + [Self.lookup(.any6, into: 1), .redirect(address6: 1, port: 12)],
                "ports on every address"),
        ]
    }

    private static let pair: [TablesExpression] = [.load(.inputName, into: 1), .load(.outputName, into: 2)]

    private var forwardRules: [NetlinkMessage] {
        func rule(_ expressions: [TablesExpression], _ verdict: TablesExpression.Verdict, _ chain: String, _ comment: String?)
            -> NetlinkMessage
        {
            table.append(expressions + [.verdict(verdict)], to: chain, comment: comment)
        }
        func own(_ set: Name, _ place: UInt32, _ size: UInt32) -> [TablesExpression] {
            let register = 8 + size / 4
            return [
                .load(.network, at: place, size: size), .load(.transport, into: register),
                .load(.transport, at: 2, size: 2, into: register + 1), Self.lookup(set),
            ]
        }
        let towards: [TablesExpression] = [.load(.outputName)]
        return [
            rule(Self.pair + [Self.lookup(.paths)], .accept, "forward", "containers of the same network"),
            rule([.load(.inputName), Self.lookup(.isolated)], .drop, "forward", "internal networks have no way out"),
            rule([.load(.outputName), Self.lookup(.isolated)], .drop, "forward", "and none in"),
            rule([.load(.outputName), Self.lookup(.bridges)], .jump("inward"), "forward", "towards containers"),
            // An invalid packet passes the forward hook without address translation and would show a private address outside.
            rule([.load(.inputName), Self.lookup(.bridges)] + Self.connection(.state, 1), .drop, "forward", nil),
            // NF_CT_STATE_BIT: established 2, related 4. IPS_DST_NAT 0x20.
            rule(Self.connection(.state, 6), .accept, "inward", "answers"),
            rule(Self.connection(.status, 0x20), .accept, "inward", "published ports"),
            rule([], .jump("unrouted"), "inward", nil),
            rule([], .drop, "inward", nil),
            rule(Self.isIPv4 + own(.routed4, 16, 4), .accept, "unrouted", "published ports of routed networks"),
            rule(Self.isIPv6 + own(.routed6, 24, 16), .accept, "unrouted", "published ports of routed networks"),
            rule(Self.isIPv4 + towards + [Self.lookup(.unprotected4)], .accept, "unrouted", "networks without protection"),
            rule(Self.isIPv6 + towards + [Self.lookup(.unprotected6)], .accept, "unrouted", "networks without protection"),
            rule(Self.pair + [Self.lookup(.trusted)], .accept, "unrouted", "trusted interfaces"),
        ]
    }

    /// `tcp option maxseg size set rt mtu`: lowers the segment size that a TCP packet with SYN announces to what the way to both ends
    /// can carry; never raises it.
    private static let clampSegments: [TablesExpression] = {
        var route = NetlinkWriter()
        // NFT_RT_TCPMSS
        route.attribute(2, big: UInt32(3))
        route.attribute(1, big: TablesExpression.firstRegister)
        var order = NetlinkWriter()
        order.attribute(1, big: TablesExpression.firstRegister)
        order.attribute(2, big: TablesExpression.firstRegister)
        // NFT_BYTEORDER_HTON of two bytes
        order.attribute(3, big: UInt32(1))
        order.attribute(4, big: UInt32(2))
        order.attribute(5, big: UInt32(2))
        var option = NetlinkWriter()
        option.attribute(7, big: TablesExpression.firstRegister)
        // TCPOPT_MSS, its two bytes from the third on, NFT_EXTHDR_OP_TCPOPT
        option.attribute(2, big: UInt8(2))
        option.attribute(3, big: UInt32(2))
        option.attribute(4, big: UInt32(2))
        option.attribute(6, big: UInt32(1))
        return [
            TablesExpression(name: "rt", content: route.bytes), TablesExpression(name: "byteorder", content: order.bytes),
            TablesExpression(name: "exthdr", content: option.bytes),
        ]
    }()

    private var leavingRules: [NetlinkMessage] {
        func rule(_ expressions: [TablesExpression], _ last: TablesExpression, _ chain: String, _ comment: String)
            -> NetlinkMessage
        {
            table.append(expressions + [last], to: chain, comment: comment)
        }
        // SYN without RST. Chains of type nat see the first packet of a connection only: this costs nothing after it.
        let isOpening: [TablesExpression] = [
            .load(.transport), .compare([6]), .load(.transport, at: 13, size: 1), .mask([6]), .compare([2]),
        ]
        func clamped(_ way: TablesExpression.Meta) -> NetlinkMessage {
            table.append(
                [.load(way), Self.lookup(.bridges)] + isOpening + Self.clampSegments, to: "postrouting",
                comment: "segments that tunnels can carry")
        }
        return [
            clamped(.inputName), clamped(.outputName),
            // Between our bridges addresses stay as they are.
            rule(
                [.load(.outputName), Self.lookup(.bridges)], .verdict(.goto("home")), "postrouting", "towards containers"),
            rule(
                Self.isIPv4 + [.load(.inputName), Self.lookup(.masqueraded4)], .masquerade, "postrouting", "from containers"),
            rule(
                Self.isIPv6 + [.load(.inputName), Self.lookup(.masqueraded6)], .masquerade, "postrouting", "from containers"),
            rule(
                Self.isIPv4 + [.load(.network, at: 12, size: 1), .compare([127])], .masquerade, "home",
                "from 127.0.0.1 to a published port"),
            rule(
                Self.isIPv6 + [.load(.network, at: 8, size: 16), .compare(IPv6Address.loopback.bytes)], .masquerade, "home",
                "from ::1 to a published port"),
            // By address and not by input interface, which a packet has none of that br_netfilter brings back to its bridge.
            rule(
                Self.isIPv4 + Self.connection(.status, 0x20)
                    + [.load(.network, at: 12, size: 4), .load(.outputName, into: 9), Self.lookup(.homes4)],
                .masquerade, "home", "from a container to its neighbour's published port"),
            rule(
                Self.isIPv6 + Self.connection(.status, 0x20)
                    + [.load(.network, at: 8, size: 16), .load(.outputName, into: 2), Self.lookup(.homes6)],
                .masquerade, "home", "from a container to its neighbour's published port"),
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
        if isEverywhere { return TablesElement(key: TablesElement.concatenate(proto, port), value: value) }
        return TablesElement(key: TablesElement.concatenate(binding.hostAddress.bytes, proto, port), value: value)
    }

    static func bytes(_ port: UInt16) -> [UInt8] { [UInt8(port >> 8), UInt8(port & 0xFF)] }

    /// What an element of one of the port maps says; nil where it is none of ours.
    package init?(_ element: TablesElement, isEverywhere: Bool) {
        guard let value = element.value, value.count == 8 || value.count == 20 else { return nil }
        let size = value.count - 4
        let any = [UInt8](repeating: 0, count: size)
        let key = isEverywhere ? any + element.key : element.key
        guard key.count == size + 8, let target = IPAddress(bytes: value[..<size]),
            let address = IPAddress(bytes: key[..<size]),
            let proto = PortProtocol(number: key[size])
        else { return nil }
        self.init(
            binding: PortBinding(
                hostAddress: address, hostPort: UInt16(key[size + 4]) << 8 | UInt16(key[size + 5]),
                containerPort: UInt16(value[size]) << 8 | UInt16(value[size + 1]), proto: proto),
            target: target)
    }
}
