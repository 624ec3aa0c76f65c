import Linux
import Model
import State

/// Reads a sandbox's record back from the kernel: its interface from the namespace of a process in it, its ports from the table.
enum SandboxRediscovery {
    private struct Interface {
        var address: IPv4Address
        var mac: MACAddress
    }

    /// Nil when the process is gone or its network is none of ours. Called on the kernel thread, which comes back to its own
    /// namespace.
    static func record(
        _ id: ObjectID, pid: Int32, network: NetworkRecord, firewall: Firewall?, route: NetlinkSocket
    ) -> SandboxRecord? {
        guard let interface = try? interface(pid: pid, subnet: network.ipv4.first?.subnet.v4),
            let host = try? route.link(named: BridgeDriver.hostInterface(interface.address)), host.master != 0
        else { return nil }
        var endpoint = EndpointRecord(id: .random(), network: network.id, networkName: network.name)
        endpoint.interface = "eth0"
        endpoint.ipv4 = network.interface(interface.address)
        endpoint.mac = interface.mac
        endpoint.hostInterface = host.name
        let ports = (try? firewall?.publishedPorts()) ?? []
        return SandboxRecord(
            id: id, acquisition: .random(), endpoints: [endpoint],
            bindings: ports.filter { $0.target == .v4(interface.address) }.map(\.binding))
    }

    private static func interface(pid: Int32, subnet: IPv4Subnet?) throws -> Interface? {
        guard let subnet else { return nil }
        let home = try NetNamespace.current()
        let namespace = try NetNamespace.open(pid: pid)
        defer { try? NetNamespace.enter(home.raw) }
        try NetNamespace.enter(namespace.raw)
        let socket = try NetlinkSocket(.route)
        guard let link = try socket.link(named: "eth0"), let mac = link.mac else { return nil }
        for info in try socket.addresses() where info.link == link.index {
            guard case .v4(let address) = info.address, subnet.contains(address) else { continue }
            return Interface(address: address, mac: mac)
        }
        return nil
    }
}
