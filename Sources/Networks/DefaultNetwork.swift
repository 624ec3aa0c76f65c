import Linux
import Model
import State

/// The record of the default network: found in the state, or in the kernel, or made.
struct DefaultNetwork {
    let configuration: NetworksConfiguration
    let store: any NetworkStore
    let socket: NetlinkSocket
    /// Whether links of this kernel can have IPv6 addresses.
    let hasIPv6: Bool

    /// The record as it is kept from now on. One of an earlier engine gets IPv6, or loses it, as configuration and kernel say;
    /// containers that run keep what they have.
    func record(nameServers: [IPv4Address], warn: (String) -> Void) throws -> NetworkRecord {
        guard (1...15).contains(configuration.bridge.utf8.count), !configuration.bridge.contains("/") else {
            throw Fault(.invalid, "bridge name \"\(configuration.bridge)\" is not 1 to 15 bytes without slash")
        }
        let link = try socket.link(named: configuration.bridge)
        if let link, link.kind != "bridge" {
            throw Fault(
                .conflict, "link \(link.name) exists and is no bridge; remove it or configure another bridge name",
                subject: link.name)
        }
        let choice = try SubnetChoice(socket, except: link.map { [$0.index] } ?? [], nameServers: nameServers)
        let all = try store.networks()
        let stored = all.first { $0.name == "bridge" }
        var record = try known(stored, choice, warn) ?? made(stored, choice, link)
        record.ipv6 = try ranges6(record.ipv6, link, others: all.filter { $0.id != record.id })
        if record != stored { try store.save(record) }
        return record
    }

    /// The stored one, where it is the one that is configured.
    private func known(_ stored: NetworkRecord?, _ choice: SubnetChoice, _ warn: (String) -> Void) -> NetworkRecord? {
        guard let stored, let subnet = stored.ipv4.first?.subnet.v4, stored.bridge?.bridge == configuration.bridge,
            configuration.subnet.map({ $0 == subnet }) ?? true
        else { return nil }
        if let objection = choice.objection(to: subnet) {
            warn("the default network \(subnet) overlaps: \(objection); configure another subnet to get out of its way")
        }
        return stored
    }

    private func made(_ stored: NetworkRecord?, _ choice: SubnetChoice, _ link: LinkInfo?) throws -> NetworkRecord {
        let subnet = try configuration.subnet ?? adopted(link) ?? choice.first(of: configuration.pools)
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
        record.ipv6 = stored?.ipv6 ?? []
        return record
    }

    /// The subnet that an existing bridge has, when our record of it is lost: containers may still live in it.
    private func adopted(_ link: LinkInfo?) throws -> IPv4Subnet? {
        guard let link else { return nil }
        for info in try socket.addresses() where info.link == link.index && info.prefix <= 29 {
            guard case .v4(let address) = info.address else { continue }
            let subnet = IPv4Subnet(address, prefix: info.prefix)
            if subnet.gateway == address { return subnet }
        }
        return nil
    }

    // MARK: IPv6

    private func ranges6(_ stored: [AddressRange], _ link: LinkInfo?, others: [NetworkRecord]) throws -> [AddressRange] {
        guard configuration.enablesIPv6, hasIPv6 else { return [] }
        let taken = others.filter { !$0.isConfiguration }.flatMap(\.ipv6).compactMap(\.subnet.v6)
        if let subnet = configuration.subnet6 { return [try range6(subnet, taken)] }
        if let first = stored.first { return [first] }
        if let subnet = try adopted6(link) { return [AddressRange(subnet: .v6(subnet), gateway: .v6(subnet.gateway))] }
        let globalID = try store.globalID()
        let free = (0...UInt16.max).lazy.map { IPv6Subnet(globalID: globalID, number: $0) }
            .first { subnet in !taken.contains { $0.overlaps(subnet) } }
        guard let free else { throw Fault(.invalid, "all IPv6 networks of this engine are in use") }
        return [AddressRange(subnet: .v6(free), gateway: .v6(free.gateway))]
    }

    private func range6(_ subnet: IPv6Subnet, _ taken: [IPv6Subnet]) throws -> AddressRange {
        guard subnet.prefix <= 125 else {
            throw Fault(.invalid, "subnet \(subnet) is too small: at least a /125 is needed", subject: subnet.description)
        }
        if let other = taken.first(where: { $0.overlaps(subnet) }) {
            throw Fault(.conflict, "subnet \(subnet) cannot be used: a network has \(other)", subject: subnet.description)
        }
        if let range = configuration.range6, !subnet.contains(range.network) || range.prefix < subnet.prefix {
            throw Fault(.invalid, "range \(range) is not part of subnet \(subnet)", subject: range.description)
        }
        return AddressRange(
            subnet: .v6(subnet), range: configuration.range6.map { .v6($0) },
            gateway: .v6(configuration.gateway6 ?? subnet.gateway))
    }

    /// As `adopted`.
    private func adopted6(_ link: LinkInfo?) throws -> IPv6Subnet? {
        guard let link else { return nil }
        for info in try socket.addresses() where info.link == link.index && info.prefix <= 125 {
            guard case .v6(let address) = info.address, address.high >> 54 != 0xFE80 >> 6 else { continue }
            let subnet = IPv6Subnet(address, prefix: info.prefix)
            if subnet.gateway == address { return subnet }
        }
        return nil
    }
}
