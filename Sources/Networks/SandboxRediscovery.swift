import Linux
import Model
import State

/// Reads a sandbox's record back from the kernel: its interface from the namespace of a process in it, its ports from the table.
enum SandboxRediscovery {
    private struct Interface {
        var address: IPv4Address
        var address6: IPv6Address?
        var mac: MACAddress
    }

    /// Nil when the process is gone or its network is none of ours. Called on the kernel thread, which comes back to its own
    /// namespace.
    static func record(
        _ id: ObjectID, pid: Int32, network: NetworkRecord, firewall: Firewall?, route: NetlinkSocket
    ) -> SandboxRecord? {
        guard
            let interface = try? interface(
                pid: pid, subnet: network.ipv4.first?.subnet.v4, subnet6: network.ipv6.first?.subnet.v6),
            let host = try? route.link(named: BridgeDriver.hostInterface(interface.address)), host.master != 0
        else { return nil }
        var endpoint = EndpointRecord(id: .random(), network: network.id, networkName: network.name)
        endpoint.interface = "eth0"
        endpoint.ipv4 = network.interface(interface.address)
        endpoint.ipv6 = interface.address6.flatMap { network.interface($0) }
        endpoint.mac = interface.mac
        endpoint.hostInterface = host.name
        let ports = (try? firewall?.publishedPorts()) ?? []
        let targets = endpoint.addresses
        return SandboxRecord(
            id: id, acquisition: .random(), endpoints: [endpoint],
            bindings: ports.filter { targets.contains($0.target) }.map(\.binding))
    }

    private static func interface(pid: Int32, subnet: IPv4Subnet?, subnet6: IPv6Subnet?) throws -> Interface? {
        guard let subnet else { return nil }
        let home = try NetNamespace.current()
        let namespace = try NetNamespace.open(pid: pid)
        defer { try? NetNamespace.enter(home.raw) }
        try NetNamespace.enter(namespace.raw)
        let socket = try NetlinkSocket(.route)
        guard let link = try socket.link(named: "eth0"), let mac = link.mac else { return nil }
        let addresses = try socket.addresses().filter { $0.link == link.index }.map(\.address)
        guard let address = addresses.compactMap(\.v4).first(where: { subnet.contains($0) }) else { return nil }
        let address6 = addresses.compactMap(\.v6).first { subnet6?.contains($0) == true }
        return Interface(address: address, address6: address6, mac: mac)
    }
}
