import Linux
import Model

/// Networks on a bridge of this host: the sandbox has one end of a veth pair, the bridge the other.
struct BridgeDriver: NetworkDriver {
    /// Links of one group can be deleted in one request, and are known as ours ("skif" as a number).
    static let group: UInt32 = 0x736B_6966

    func raise(_ record: NetworkRecord, _ host: HostLinks, warn: (String) -> Void) throws -> StandingNetwork {
        guard let settings = record.bridge else { throw Fault(.system, "network \(record.name) is no bridge network") }
        let name = settings.bridge
        var link = try host.link(name)
        if let link, link.kind != "bridge" {
            throw Fault(
                .conflict, "link \(link.name) exists and is no bridge; remove it or configure another bridge name",
                subject: link.name)
        }
        let mtu = record.mtu ?? host.mtu
        if link == nil {
            try host.socket.transact([
                RouteRequest.createBridge(name, mac: Self.mac(record), mtu: mtu, isUp: false)
            ])
            link = try host.socket.link(named: name)
        }
        guard let link else { throw Fault(.system, "bridge \(name) vanished while it was set up", subject: name) }
        settle(name, hasIPv6: hasGateway6(record, settings), warn: warn)
        var messages: [NetlinkMessage] = []
        if settings.gatewayModeIPv4 != .isolated, !settings.inhibitsIPv4 {
            for range in record.ipv4 {
                guard let gateway = range.gateway?.v4 else { continue }
                messages.append(RouteRequest.add(address: gateway, prefix: range.subnet.prefix, link: link.index))
            }
        }
        if hasGateway6(record, settings) {
            for range in record.ipv6 {
                guard let gateway = range.gateway?.v6 else { continue }
                messages.append(RouteRequest.add(address: gateway, prefix: range.subnet.prefix, link: link.index))
            }
        }
        messages.append(RouteRequest.set(name, isUp: true, mtu: settings.isForeign && record.mtu == nil ? nil : mtu))
        try host.socket.transact(messages)
        if hasGateway6(record, settings) {
            // Only for ports that are published on ::1: without it these alone are silent.
            for case let fault? in try host.socket.results([RouteRequest.loopback6(by: link.index)]) {
                warn("ports published on ::1 do not answer from network \(record.name): \(fault)")
            }
        }
        return StandingNetwork(record: record, index: link.index, mtu: mtu)
    }

    private func hasGateway6(_ record: NetworkRecord, _ settings: BridgeSettings) -> Bool {
        !record.ipv6.isEmpty && settings.gatewayModeIPv6 != .isolated
    }

    /// Of its own, so that it does not follow its ports', and the same after a restart.
    private static func mac(_ record: NetworkRecord) -> MACAddress {
        if let gateway = record.ipv4.first?.gateway?.v4 { return MACAddress(of: gateway) }
        return MACAddress(of: record.ipv6.first?.subnet.v6?.network ?? .any)
    }

    /// The bridge's own sysctls, before it goes up. No container shall play router for the host (CVE-2020-10749).
    private func settle(_ bridge: String, hasIPv6: Bool, warn: (String) -> Void) {
        var settings = [
            ("ipv6/conf/\(bridge)/accept_ra", "0"),
            // The engine gives addresses out once; nobody waits a second for the kernel to ask around. Before the next one, by
            // which a bridge that is up gets its link-local address.
            ("ipv6/conf/\(bridge)/accept_dad", "0"), ("ipv6/conf/\(bridge)/disable_ipv6", hasIPv6 ? "0" : "1"),
            // A packet from a container whose source is not routed to the bridge is dropped.
            ("ipv4/conf/\(bridge)/rp_filter", "1"),
        ]
        if !hasIPv6 { settings.remove(at: 1) }
        for (key, value) in settings {
            // A kernel without IPv6 has no such file.
            guard let found = try? NetSysctl.read(key), found != value else { continue }
            do { try NetSysctl.write(key, value) } catch { warn("cannot set net/\(key) to \(value): \(error)") }
        }
    }

    func lower(_ record: NetworkRecord, _ host: HostLinks) throws -> Int32? {
        guard let settings = record.bridge, let link = try host.link(settings.bridge), link.kind == "bridge" else { return nil }
        let addresses = (record.ipv4 + record.ipv6).compactMap { range in range.gateway.map { ($0, range.subnet.prefix) } }
        if !settings.isForeign { return try LinkReaper.bury(link, addresses: addresses, host.socket) }
        let messages = addresses.map { RouteRequest.remove(address: $0.0, prefix: $0.1, link: link.index) }
        for case let fault? in try host.socket.results(messages) where !fault.isNoSuchEntry && !fault.isNoSuchDevice {
            throw fault
        }
        return nil
    }

    /// One address, one name: while a dying sandbox still has its link, the kernel refuses the name (EEXIST), so that an address
    /// never has two owners, whatever our records say.
    func named(_ endpoint: EndpointRecord, on network: StandingNetwork) -> EndpointRecord {
        var endpoint = endpoint
        if let address = endpoint.ipv4?.address {
            endpoint.hostInterface = Self.hostInterface(address)
            endpoint.mac = endpoint.mac ?? MACAddress(of: address)
        } else if let address = endpoint.ipv6?.address {
            endpoint.hostInterface = "vet6" + Self.digits(address.digest)
            endpoint.mac = endpoint.mac ?? MACAddress(of: address)
        } else {
            var generator = SystemRandomNumberGenerator()
            let number = UInt32.random(in: 0 ... .max, using: &generator)
            endpoint.hostInterface = "vetn" + Self.digits(number)
            endpoint.mac = endpoint.mac ?? MACAddress(of: IPv4Address(number: number))
        }
        return endpoint
    }

    static func hostInterface(_ address: IPv4Address) -> String { "veth" + digits(address.number) }

    private static func digits(_ number: UInt32) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    func attachment(_ endpoint: EndpointRecord, to network: StandingNetwork, namespace: CInt) -> [NetlinkMessage] {
        guard let name = endpoint.hostInterface, let mac = endpoint.mac else { return [] }
        return [
            VethRequest(
                name: name, master: network.index, mtu: network.mtu, group: Self.group, peerName: endpoint.interface,
                peerMAC: mac, namespace: namespace
            ).message,
            // A container that connects to its own published port: where bridged packets pass the firewall
            // (bridge-nf-call-iptables), the bridge itself sends them back. Isolated: neighbours that shall not meet.
            RouteRequest.set(
                port: name,
                RouteRequest.PortSettings(hairpin: true, isolated: network.record.bridge?.allowsNeighbours == false)),
        ]
    }
}

extension IPv6Address {
    /// FNV-1a of its bytes.
    var digest: UInt32 { bytes.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 } }
}

extension MACAddress {
    /// The locally administered one that belongs to a container which has IPv6 alone.
    init(of address: IPv6Address) { self.init(of: IPv4Address(number: address.digest)) }
}
