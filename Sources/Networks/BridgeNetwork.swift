import Linux
import Model
import State

/// A bridge that stands: link, address, sysctls.
struct BridgeNetwork: Sendable {
    let record: NetworkRecord
    let name: String
    let subnet: IPv4Subnet
    let gateway: IPv4Address
    let index: Int32
    let mtu: UInt32

    /// Finds or makes everything; repeatable, also over what a killed engine left.
    static func ensure(
        _ configuration: NetworksConfiguration, store: any NetworkStore, nameServers: [IPv4Address],
        warn: (String) -> Void
    ) throws -> BridgeNetwork {
        guard (1...15).contains(configuration.bridge.utf8.count), !configuration.bridge.contains("/") else {
            throw Fault(.invalid, "bridge name \"\(configuration.bridge)\" is not 1 to 15 bytes without slash")
        }
        let socket = try NetlinkSocket(.route)
        var link = try socket.link(named: configuration.bridge)
        if let link, link.kind != "bridge" {
            throw Fault(
                .conflict, "link \(link.name) exists and is no bridge; remove it or configure another bridge name",
                subject: link.name)
        }
        let record = try self.record(configuration, store, socket, link, nameServers, warn)
        guard let range = record.ipv4.first, let subnet = range.subnet.v4, let gateway = range.gateway?.v4 else {
            throw Fault(.system, "the default network has no IPv4 addresses", subject: record.name)
        }
        let mtu = try configuration.mtu ?? defaultMTU(socket)
        if link == nil {
            try socket.transact([
                RouteRequest.createBridge(configuration.bridge, mac: MACAddress(of: gateway), mtu: mtu)
            ])
            link = try socket.link(named: configuration.bridge)
        }
        guard let link else { throw Fault(.system, "bridge \(configuration.bridge) vanished while it was set up") }
        settle(configuration.bridge, warn: warn)
        try socket.transact([
            RouteRequest.add(address: gateway, prefix: subnet.prefix, link: link.index),
            RouteRequest.set(configuration.bridge, isUp: true, mtu: mtu),
        ])
        return BridgeNetwork(
            record: record, name: configuration.bridge, subnet: subnet, gateway: gateway, index: link.index, mtu: mtu)
    }

    private static func record(
        _ configuration: NetworksConfiguration, _ store: any NetworkStore, _ socket: NetlinkSocket, _ link: LinkInfo?,
        _ nameServers: [IPv4Address], _ warn: (String) -> Void
    ) throws -> NetworkRecord {
        let choice = try SubnetChoice(socket, except: link.map { [$0.index] } ?? [], nameServers: nameServers)
        let stored = try store.networks().first { $0.name == "bridge" }
        let storedSubnet = stored?.ipv4.first?.subnet.v4
        if let stored, let storedSubnet, stored.bridge?.bridge == configuration.bridge,
            configuration.subnet.map({ $0 == storedSubnet }) ?? true
        {
            if let objection = choice.objection(to: storedSubnet) {
                warn(
                    "the default network \(storedSubnet) overlaps: \(objection); configure another subnet to get out of its way"
                )
            }
            return stored
        }
        let subnet = try configuration.subnet ?? adopted(socket, link) ?? choice.first(of: configuration.pools)
        guard subnet.prefix <= 29 else {
            throw Fault(.invalid, "subnet \(subnet) is too small: at least a /29 is needed", subject: subnet.description)
        }
        if let given = configuration.subnet, let objection = choice.objection(to: given) {
            throw Fault(.conflict, "subnet \(given) cannot be used: \(objection)", subject: given.description)
        }
        var settings = BridgeSettings(bridge: configuration.bridge)
        settings.isDefault = true
        var record = NetworkRecord(
            id: stored?.id ?? .random(), name: "bridge", created: stored?.created ?? NetClock.now, driver: .bridge(settings))
        record.ipv4 = [AddressRange(subnet: .v4(subnet), gateway: .v4(subnet.gateway))]
        try store.save(record)
        return record
    }

    /// The subnet that an existing bridge has, when our record of it is lost: containers may still live in it.
    private static func adopted(_ socket: NetlinkSocket, _ link: LinkInfo?) throws -> IPv4Subnet? {
        guard let link else { return nil }
        for info in try socket.addresses() where info.link == link.index && info.prefix <= 29 {
            guard case .v4(let address) = info.address else { continue }
            let subnet = IPv4Subnet(address, prefix: info.prefix)
            if subnet.gateway == address { return subnet }
        }
        return nil
    }

    /// No larger than what leaves the host: a path that silently drops larger packets is the commonest complaint behind VPNs
    /// and clouds.
    private static func defaultMTU(_ socket: NetlinkSocket) throws -> UInt32 {
        let best = try socket.routes().filter { $0.destination.prefix == 0 && $0.type == 1 && $0.table == 254 }
            .min { $0.metric < $1.metric }
        guard let best, let link = try socket.links().first(where: { $0.index == best.link }), link.mtu >= 576 else {
            return 1500
        }
        return min(1500, link.mtu)
    }

    /// The bridge's own sysctls, before it goes up. IPv6 is off on it: containers have none yet, and none of them shall play
    /// router for the host (CVE-2020-10749).
    private static func settle(_ bridge: String, warn: (String) -> Void) {
        let settings = [
            ("ipv6/conf/\(bridge)/accept_ra", "0"), ("ipv6/conf/\(bridge)/disable_ipv6", "1"),
            // A packet from a container whose source is not routed to the bridge is dropped.
            ("ipv4/conf/\(bridge)/rp_filter", "1"),
        ]
        for (key, value) in settings where (try? NetSysctl.read(key)) ?? value != value {
            do { try NetSysctl.write(key, value) } catch { warn("cannot set net/\(key) to \(value): \(error)") }
        }
    }

    /// Lets packets pass between containers and the world. Says what it changed, or that it could not.
    static func enableForwarding(warn: (String) -> Void) {
        do {
            guard try NetSysctl.read("ipv4/ip_forward") == "0" else { return }
            try NetSysctl.write("ipv4/ip_forward", "1")
            warn("switched on IPv4 forwarding (net.ipv4.ip_forward=1) so that containers reach other networks")
        } catch {
            warn(
                "net.ipv4.ip_forward is off and cannot be changed (\(error)): containers reach this host only; "
                    + "set it to 1 on the host")
        }
    }

    /// Lets connections to 127.0.0.1 be redirected to containers. Only with our table in place: its first chain drops what
    /// comes to 127.0.0.0/8 from outside, and from containers, which this setting alone would let in (CVE-2020-8558).
    static func enableLoopbackPublishing(_ bridge: String, warn: (String) -> Void) {
        let key = "ipv4/conf/\(bridge)/route_localnet"
        guard (try? NetSysctl.read(key)) != "1" else { return }
        do {
            try NetSysctl.write(key, "1")
        } catch {
            warn("cannot set net/\(key) to 1 (\(error)): ports published on 127.0.0.1 do not answer")
        }
    }
}
