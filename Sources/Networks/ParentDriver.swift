import Linux
import Model

/// Networks on a link of the host (macvlan and ipvlan): sandboxes are neighbours of the host's own neighbours, and the host
/// itself cannot reach them.
struct ParentDriver: NetworkDriver {
    private struct Parent {
        var name: String
        var isOurs: Bool
    }

    private func parent(_ record: NetworkRecord) throws -> Parent {
        switch record.driver {
        case .macvlan(let settings): Parent(name: settings.parent, isOurs: settings.ownsParent)
        case .ipvlan(let settings): Parent(name: settings.parent, isOurs: settings.ownsParent)
        default: throw Fault(.system, "network \(record.name) has no parent link")
        }
    }

    /// `NAME.ID`, a VLAN of NAME; nil otherwise.
    static func vlan(_ name: String) -> (parent: String, id: UInt16)? {
        guard let dot = name.lastIndex(of: "."), let id = UInt16(name[name.index(after: dot)...]), (1...4094).contains(id),
            dot != name.startIndex
        else { return nil }
        return (String(name[..<dot]), id)
    }

    func raise(_ record: NetworkRecord, _ host: HostLinks, warn: (String) -> Void) throws -> StandingNetwork {
        let parent = try parent(record)
        var link = try host.link(parent.name)
        if link == nil, parent.isOurs {
            if let vlan = Self.vlan(parent.name) {
                guard let below = try host.link(vlan.parent) else { throw Self.missing(vlan.parent, record) }
                try host.socket.transact([RouteRequest.createVLAN(parent.name, parent: below.index, id: vlan.id)])
            } else {
                try host.socket.transact([RouteRequest.createDummy(parent.name)])
            }
            link = try host.socket.link(named: parent.name)
        }
        guard let link else { throw Self.missing(parent.name, record) }
        // A parent that is down carries nothing; docker sets up only what it has made, and so do we.
        if !link.isUp { warn("network \(record.name): its parent link \(link.name) is down") }
        return StandingNetwork(record: record, index: link.index, mtu: record.mtu ?? link.mtu)
    }

    private static func missing(_ name: String, _ record: NetworkRecord) -> Fault {
        Fault(.invalid, "invalid subinterface vlan name \(name): no link of this host has it", subject: name)
    }

    func lower(_ record: NetworkRecord, _ host: HostLinks) throws -> Int32? {
        let parent = try parent(record)
        guard parent.isOurs, let link = try host.link(parent.name), ["vlan", "dummy"].contains(link.kind) else { return nil }
        let faults = try host.socket.results([RouteRequest.delete(link: link.index)])
        if let fault = faults.first ?? nil, !fault.isNoSuchDevice { throw fault }
        return nil
    }

    func named(_ endpoint: EndpointRecord, on network: StandingNetwork) -> EndpointRecord {
        var endpoint = endpoint
        endpoint.hostInterface = nil
        guard case .macvlan(let settings) = network.record.driver, settings.mode != .passthru else {
            // ipvlan links have their parent's, and so has macvlan's that takes the parent for itself.
            endpoint.mac = nil
            return endpoint
        }
        endpoint.mac =
            endpoint.mac ?? endpoint.ipv4.map { MACAddress(of: $0.address) } ?? endpoint.ipv6.map { MACAddress(of: $0.address) }
        return endpoint
    }

    func attachment(_ endpoint: EndpointRecord, to network: StandingNetwork, namespace: CInt) -> [NetlinkMessage] {
        switch network.record.driver {
        case .macvlan(let settings):
            let mode: RouteRequest.MacvlanMode =
                switch settings.mode {
                case .bridge: .bridge
                case .private: .private
                case .vepa: .vepa
                case .passthru: .passthru
                }
            return [
                RouteRequest.createMacvlan(
                    endpoint.interface, parent: network.index, mode: mode, mac: endpoint.mac, mtu: network.record.mtu,
                    namespace: namespace)
            ]
        case .ipvlan(let settings):
            let mode: RouteRequest.IpvlanMode =
                switch settings.mode {
                case .l2: .l2
                case .l3: .l3
                case .l3s: .l3s
                }
            let flag: RouteRequest.IpvlanFlag =
                switch settings.flag {
                case .bridge: .bridge
                case .private: .private
                case .vepa: .vepa
                }
            return [
                RouteRequest.createIpvlan(
                    endpoint.interface, parent: network.index, mode: mode, flag: flag, mtu: network.record.mtu,
                    namespace: namespace)
            ]
        default: return []
        }
    }
}
