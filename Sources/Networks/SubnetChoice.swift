import Linux
import Model

/// Picks a subnet that nothing on this host uses.
package struct SubnetChoice {
    /// Destinations that the host has routes for, without default routes.
    var routes: [IPv4Subnet] = []
    /// Networks of the host's addresses, also where no route shows them.
    var addresses: [IPv4Subnet] = []
    /// Single addresses that must stay reachable: name servers, gateways.
    var hosts: [IPv4Address] = []

    package init(routes: [IPv4Subnet] = [], addresses: [IPv4Subnet] = [], hosts: [IPv4Address] = []) {
        self.routes = routes
        self.addresses = addresses
        self.hosts = hosts
    }

    /// What the kernel has, the links with these indexes left out (our own bridge).
    init(_ socket: NetlinkSocket, except links: Set<Int32>, nameServers: [IPv4Address]) throws {
        let found = try socket.routes().filter { !links.contains($0.link) }
        // RTN_UNICAST and the kinds that refuse (blackhole 6 and up) were somebody's intent; local and broadcast follow from
        // addresses. The halves of the default route that VPNs set (0.0.0.0/1, 128.0.0.0/1) say nothing about a subnet.
        routes = found.filter { ($0.type == 1 || $0.type >= 6) && $0.destination.prefix > 1 }.map(\.destination)
        hosts = found.compactMap(\.gateway) + nameServers
        addresses = try socket.addresses().compactMap { info in
            guard !links.contains(info.link), case .v4(let address) = info.address else { return nil }
            return IPv4Subnet(address, prefix: info.prefix)
        }
    }

    /// What stands against a subnet, in words; nil where nothing does.
    package func objection(to subnet: IPv4Subnet) -> String? {
        if let route = routes.first(where: { $0.overlaps(subnet) }) { return "the host has a route to \(route)" }
        if let address = addresses.first(where: { $0.overlaps(subnet) }) { return "the host has an address in \(address)" }
        if let host = hosts.first(where: { subnet.contains($0) }) { return "the host uses \(host)" }
        return nil
    }

    /// The first subnet of a size within the pools that nothing uses.
    package func first(of pools: [IPv4Subnet], size prefix: UInt8) -> IPv4Subnet? {
        let taken = (routes + addresses).filter { $0.prefix > 0 } + hosts.map { IPv4Subnet($0, prefix: 32) }
        for pool in pools where pool.prefix <= prefix {
            let near = taken.filter { $0.overlaps(pool) }
            var next = UInt64(pool.network.number)
            while next <= UInt64(pool.broadcast.number) {
                let candidate = IPv4Subnet(IPv4Address(number: UInt32(next)), prefix: prefix)
                guard let obstacle = near.first(where: { $0.overlaps(candidate) }) else { return candidate }
                let step = max(UInt64(obstacle.broadcast.number), UInt64(candidate.broadcast.number)) + 1
                next = (step + candidate.count - 1) / candidate.count * candidate.count
            }
        }
        return nil
    }

    package func first(of pools: [IPv4Subnet]) throws -> IPv4Subnet {
        if let subnet = pools.first(where: { objection(to: $0) == nil }) { return subnet }
        throw Fault(
            .conflict,
            "no subnet is free for containers: \(pools.map(\.description).joined(separator: ", ")) all overlap with "
                + "routes or addresses of this host; name one in the configuration")
    }
}
