import Linux
import Model
import State

/// Reads a sandbox's record back from the kernel: its interface from the namespace of a process in it, its ports from the table.
enum SandboxRediscovery {
    /// Nil when the process is gone or its network is none of ours. Called on the kernel thread, which comes back to its own
    /// namespace.
    static func record(
        _ id: ObjectID, pid: Int32, network: NetworkRecord, firewall: Firewall?, route: NetlinkSocket
    ) -> SandboxRecord? {
        guard let interface = try? interface(pid: pid, subnet: network.subnet),
            let host = try? route.link(named: SandboxMaker.hostInterface(interface.address)), host.master != 0
        else { return nil }
        var record = SandboxRecord(id: id, network: network.name, endpoint: .random())
        record.address = interface.address
        record.prefix = network.subnet.prefix
        record.gateway = network.gateway
        record.mac = interface.mac
        record.hostInterface = host.name
        record.bindings = (try? firewall?.publishedPorts())?.filter { $0.target == interface.address }.map(\.binding) ?? []
        return record
    }

    private static func interface(pid: Int32, subnet: IPv4Subnet) throws -> PreparedSandbox.Interface? {
        let home = try NetNamespace.current()
        let namespace = try NetNamespace.open(pid: pid)
        defer { try? NetNamespace.enter(home.raw) }
        try NetNamespace.enter(namespace.raw)
        let socket = try NetlinkSocket(.route)
        guard let link = try socket.link(named: "eth0"), let mac = link.mac else { return nil }
        for info in try socket.addresses() where info.link == link.index {
            guard case .v4(let address) = info.address, subnet.contains(address) else { continue }
            return PreparedSandbox.Interface(name: link.name, address: address, mac: mac)
        }
        return nil
    }
}

extension PublishedPort {
    /// What an element of one of the port maps says; nil where it is none of ours.
    package init?(_ element: TablesElement, isEverywhere: Bool) {
        let key = isEverywhere ? [0, 0, 0, 0] + element.key : element.key
        guard key.count == 12, let value = element.value, value.count == 8, let target = IPv4Address(bytes: value[0..<4]),
            let address = IPv4Address(bytes: key[0..<4]), [6, 17].contains(key[4])
        else { return nil }
        self.init(
            binding: PortBinding(
                hostAddress: .v4(address), hostPort: UInt16(key[8]) << 8 | UInt16(key[9]),
                containerPort: UInt16(value[4]) << 8 | UInt16(value[5]), proto: key[4] == 6 ? .tcp : .udp),
            target: target)
    }
}
