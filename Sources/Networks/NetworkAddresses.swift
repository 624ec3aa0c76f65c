import Model

/// All addresses of one network.
package struct NetworkAddresses: Sendable {
    private var v4: [AddressPool]
    private var v6: [AddressPool6]
    private let gateways4: [IPv4Address?]
    private let gateways6: [IPv6Address?]
    private let name: String

    /// What an endpoint gets.
    package struct Taken: Sendable {
        package var ipv4: InterfaceIPv4?
        package var ipv6: InterfaceIPv6?
    }

    package init(_ record: NetworkRecord) {
        name = record.name
        v4 = record.ipv4.compactMap { range in
            guard let subnet = range.subnet.v4 else { return nil }
            return AddressPool(
                subnet: subnet, range: range.range?.v4, gateway: range.gateway?.v4,
                reserved: range.auxiliary.values.compactMap(\.v4))
        }
        v6 = record.ipv6.compactMap { range in
            guard let subnet = range.subnet.v6 else { return nil }
            return AddressPool6(
                subnet: subnet, range: range.range?.v6, gateway: range.gateway?.v6,
                reserved: range.auxiliary.values.compactMap(\.v6))
        }
        gateways4 = record.ipv4.map { record.wayOut($0.gateway?.v4) }
        gateways6 = record.ipv6.map { record.wayOut6($0.gateway?.v6) }
    }

    /// One address of each family that the network has. All or nothing.
    package mutating func take(_ wish4: IPv4Address? = nil, _ wish6: IPv6Address? = nil) throws -> Taken {
        var taken = Taken()
        taken.ipv4 = try takeIPv4(wish4)
        do { taken.ipv6 = try takeIPv6(wish6, beside: taken.ipv4) } catch {
            free(taken)
            throw error
        }
        return taken
    }

    private mutating func takeIPv4(_ wish: IPv4Address?) throws -> InterfaceIPv4? {
        if let wish {
            guard let index = v4.firstIndex(where: { $0.subnet.contains(wish) }) else { throw misfit(.v4(wish)) }
            try v4[index].take(wish)
            return interface(wish, index)
        }
        for index in v4.indices {
            do { return interface(try v4[index].take(), index) } catch  where index < v4.count - 1 { continue }
        }
        return nil
    }

    private mutating func takeIPv6(_ wish: IPv6Address?, beside companion: InterfaceIPv4?) throws -> InterfaceIPv6? {
        if let wish {
            guard let index = v6.firstIndex(where: { $0.subnet.contains(wish) }) else { throw misfit(.v6(wish)) }
            try v6[index].take(wish)
            return interface(wish, index)
        }
        let number = companion.map {
            UInt64($0.address.number - IPv4Subnet($0.address, prefix: $0.prefix).network.number)
        }
        for index in v6.indices {
            do { return interface(try v6[index].take(number: number), index) } catch  where index < v6.count - 1 { continue }
        }
        return nil
    }

    private func interface(_ address: IPv4Address, _ index: Int) -> InterfaceIPv4 {
        InterfaceIPv4(address: address, prefix: v4[index].subnet.prefix, gateway: gateways4[index])
    }

    private func interface(_ address: IPv6Address, _ index: Int) -> InterfaceIPv6 {
        InterfaceIPv6(address: address, prefix: v6[index].subnet.prefix, gateway: gateways6[index])
    }

    private func misfit(_ address: IPAddress) -> Fault {
        Fault(
            .invalid, "no configured subnet or ip-range contain the IP address \(address) of network \(name)",
            subject: address.description)
    }

    package mutating func free(_ taken: Taken) {
        if let address = taken.ipv4?.address {
            for index in v4.indices where v4[index].subnet.contains(address) { v4[index].free(address) }
        }
        if let address = taken.ipv6?.address {
            for index in v6.indices where v6[index].subnet.contains(address) { v6[index].free(address) }
        }
    }

    /// Addresses of an endpoint that lives.
    package mutating func restore(_ endpoint: EndpointRecord) {
        if let address = endpoint.ipv4?.address { for index in v4.indices { v4[index].restore(address) } }
        if let address = endpoint.ipv6?.address { for index in v6.indices { v6[index].restore(address) } }
    }

    /// Somebody else uses it: it is given only to who asks for it, until `admit`.
    package mutating func avoid(_ address: IPv4Address) { for index in v4.indices { v4[index].avoid(address) } }

    package mutating func admit(_ address: IPv4Address) { for index in v4.indices { v4[index].admit(address) } }

    /// Those that come next without a wish.
    package func upcoming(_ count: Int) -> [IPv4Address] {
        guard var pool = v4.first else { return [] }
        return (0..<count).compactMap { _ in try? pool.take() }
    }

    /// Addresses in use, of IPv4 and IPv6.
    package var usedCount: (ipv4: Int, ipv6: Int) {
        (v4.reduce(0) { $0 + $1.usedCount }, v6.reduce(0) { $0 + $1.usedCount })
    }
}

extension NetworkRecord {
    /// Whether what has no route of its own goes to the link itself: there is no neighbour with an Ethernet address.
    var isRoutedByLink: Bool {
        if case .ipvlan(let settings) = driver { settings.mode != .l2 } else { false }
    }

    /// The gateway as an endpoint has it: none on internal networks; the unspecified address means the link itself.
    func wayOut(_ gateway: IPv4Address?) -> IPv4Address? {
        if isInternal || bridge?.gatewayModeIPv4 == .isolated { return nil }
        return isRoutedByLink ? .any : gateway
    }

    func wayOut6(_ gateway: IPv6Address?) -> IPv6Address? {
        if isInternal || bridge?.gatewayModeIPv6 == .isolated { return nil }
        return isRoutedByLink ? .any : gateway
    }
}
