import Model

/// Addresses of one subnet, handed out in turns: a freed one comes again only after all others, so that a neighbour's stale
/// cache entry, or a packet still under way, does not meet its next owner.
package struct AddressPool: Sendable {
    package let subnet: IPv4Subnet
    private let first: UInt32
    private let final: UInt32
    private let reserved: Set<IPv4Address>
    private var used: Set<IPv4Address> = []
    private var avoided: Set<IPv4Address> = []
    private var last: UInt32

    /// The network's own address and the broadcast address (RFC 3021 has neither in a /31), the gateway and the reserved ones are
    /// never handed out. Addresses without a wish come from `range`.
    package init(
        subnet: IPv4Subnet, range: IPv4Subnet? = nil, gateway: IPv4Address?, reserved: some Sequence<IPv4Address> = []
    ) {
        self.subnet = subnet
        let edge: UInt32 = subnet.prefix > 30 ? 0 : 1
        first = max(subnet.network.number + edge, range?.network.number ?? 0)
        final = min(subnet.broadcast.number - edge, range?.broadcast.number ?? .max)
        self.reserved = Set(reserved).union(gateway.map { [$0] } ?? [])
        last = final
    }

    /// The next free one after the one handed out last.
    package mutating func take() throws -> IPv4Address {
        guard first <= final else { throw exhausted }
        for _ in 0..<min(UInt64(final - first) + 1, UInt64(used.count + reserved.count + avoided.count) + 1) {
            last = last >= final || last < first ? first : last + 1
            let candidate = IPv4Address(number: last)
            if !reserved.contains(candidate), !avoided.contains(candidate), used.insert(candidate).inserted { return candidate }
        }
        throw exhausted
    }

    private var exhausted: Fault {
        Fault(.unavailable, "no free address is left in \(subnet)", subject: subnet.description)
    }

    /// A certain one.
    package mutating func take(_ address: IPv4Address) throws {
        guard isUsable(address) else {
            throw Fault(.invalid, "address \(address) is not in \(subnet)", subject: address.description)
        }
        guard !reserved.contains(address), used.insert(address).inserted else {
            throw Fault(.forbidden, "Address already in use: \(address)", subject: address.description)
        }
    }

    package func isUsable(_ address: IPv4Address) -> Bool {
        guard subnet.contains(address) else { return false }
        return subnet.prefix > 30 || (address != subnet.network && address != subnet.broadcast)
    }

    /// Marks one as used, free or not; what follows is handed out after it.
    package mutating func restore(_ address: IPv4Address) {
        guard subnet.contains(address) else { return }
        used.insert(address)
        if (first...max(first, final)).contains(address.number), last == final || address.number > last {
            last = address.number
        }
    }

    package mutating func free(_ address: IPv4Address) { used.remove(address) }

    /// From now on it is handed out only to who asks for it, until `admit`.
    package mutating func avoid(_ address: IPv4Address) { if subnet.contains(address) { avoided.insert(address) } }
    package mutating func admit(_ address: IPv4Address) { avoided.remove(address) }

    package var usedCount: Int { used.count }
}

/// The same for IPv6. Without a wish, an address has the number in its subnet that its IPv4 companion has in its own, where
/// that is free: people read them side by side.
package struct AddressPool6: Sendable {
    package let subnet: IPv6Subnet
    private let range: IPv6Subnet
    private let reserved: Set<IPv6Address>
    private var used: Set<IPv6Address> = []
    private var next: IPv6Address

    package init(
        subnet: IPv6Subnet, range: IPv6Subnet? = nil, gateway: IPv6Address?, reserved: some Sequence<IPv6Address> = []
    ) {
        self.subnet = subnet
        self.range = range ?? subnet
        // The subnet's own address is every router's (RFC 4291 2.6.1).
        self.reserved = Set(reserved).union(gateway.map { [$0] } ?? []).union([subnet.network])
        next = self.range.network
    }

    package mutating func take(number: UInt64? = nil) throws -> IPv6Address {
        if let number, number > 0 {
            let candidate = range.network.advanced(by: number)
            if range.contains(candidate), !reserved.contains(candidate), used.insert(candidate).inserted { return candidate }
        }
        for _ in 0...(used.count + reserved.count) {
            let candidate = next
            let following = next.advanced(by: 1)
            next = range.contains(following) ? following : range.network
            if range.contains(candidate), !reserved.contains(candidate), used.insert(candidate).inserted { return candidate }
        }
        throw Fault(.unavailable, "no free address is left in \(range)", subject: subnet.description)
    }

    package mutating func take(_ address: IPv6Address) throws {
        guard subnet.contains(address), address != subnet.network || subnet.prefix > 126 else {
            throw Fault(.invalid, "address \(address) is not in \(subnet)", subject: address.description)
        }
        guard !reserved.contains(address), used.insert(address).inserted else {
            throw Fault(.forbidden, "Address already in use: \(address)", subject: address.description)
        }
    }

    package mutating func restore(_ address: IPv6Address) { if subnet.contains(address) { used.insert(address) } }
    package mutating func free(_ address: IPv6Address) { used.remove(address) }
    package var usedCount: Int { used.count }
}
