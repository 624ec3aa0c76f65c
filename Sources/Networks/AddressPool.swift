import Model

/// Addresses of one subnet, handed out in turns: a freed one comes again only after all others, so that a neighbour's stale
/// cache entry, or a packet still under way, does not meet its next owner.
package struct AddressPool: Sendable {
    package let subnet: IPv4Subnet
    private var used: Set<IPv4Address>
    private var last: IPv4Address

    /// The network's own address, the broadcast address and the gateway are never handed out.
    package init(subnet: IPv4Subnet, gateway: IPv4Address) {
        self.subnet = subnet
        self.used = [gateway]
        self.last = subnet.network
    }

    /// The next free one after the one handed out last.
    package mutating func take() throws -> IPv4Address {
        for _ in 0..<min(subnet.count, UInt64(used.count) + 3) {
            var candidate = IPv4Address(number: last.number &+ 1)
            if !subnet.contains(candidate) || candidate >= subnet.broadcast {
                candidate = IPv4Address(number: subnet.network.number &+ 1)
            }
            last = candidate
            guard candidate < subnet.broadcast else { break }
            if used.insert(candidate).inserted { return candidate }
        }
        throw Fault(.unavailable, "no free address is left in \(subnet)", subject: subnet.description)
    }

    /// A certain one.
    package mutating func take(_ address: IPv4Address) throws {
        guard subnet.contains(address), address != subnet.network, address != subnet.broadcast else {
            throw Fault(.invalid, "address \(address) is not in \(subnet)", subject: address.description)
        }
        guard used.insert(address).inserted else {
            throw Fault(.conflict, "Address already in use: \(address)", subject: address.description)
        }
    }

    /// Marks one as used, free or not; what follows is handed out after it.
    package mutating func restore(_ address: IPv4Address) {
        guard subnet.contains(address) else { return }
        used.insert(address)
        last = max(last, address)
    }

    package mutating func free(_ address: IPv4Address) { used.remove(address) }

    package var usedCount: Int { used.count - 1 }
}
