import Linux
import Model
import State

/// The record of the default network: found in the state, or in the kernel, or made.
enum DefaultNetwork {
    static func record(
        _ configuration: NetworksConfiguration, _ store: any NetworkStore, _ socket: NetlinkSocket,
        nameServers: [IPv4Address], warn: (String) -> Void
    ) throws -> NetworkRecord {
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
}
