import Model

/// Links that are no bridge and no veth pair, and what is set on links that exist.
extension RouteRequest {
    public enum MacvlanMode: UInt32, Sendable {
        case `private` = 1
        case vepa = 2
        case bridge = 4
        case passthru = 8
    }
    public enum IpvlanMode: UInt16, Sendable { case l2, l3, l3s }
    public enum IpvlanFlag: UInt16, Sendable { case bridge, `private`, vepa }

    private static func create(
        _ kind: String, _ name: String, parent: Int32? = nil, mac: MACAddress? = nil, mtu: UInt32? = nil, group: UInt32? = nil,
        namespace: CInt? = nil, isUp: Bool = false, data: (inout NetlinkWriter) -> Void = { _ in }
    ) -> NetlinkMessage {
        var writer = NetlinkWriter(capacity: 256)
        link(&writer, flags: isUp ? flagUp : 0, change: isUp ? flagUp : 0)
        writer.attribute(attributeName, text: name)
        if let parent { writer.attribute(attributeParent, native: parent) }
        if let mac { writer.attribute(attributeAddress, bytes: mac.bytes) }
        if let mtu { writer.attribute(attributeMTU, native: mtu) }
        if let group { writer.attribute(attributeGroup, native: group) }
        if let namespace { writer.attribute(attributeNamespace, native: UInt32(bitPattern: namespace)) }
        writer.nested(attributeInfo) { info in
            info.attribute(1, text: kind)
            info.nested(2) { data(&$0) }
        }
        return NetlinkMessage(
            type: newLink, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagExclusive, payload: writer.bytes,
            subject: "create \(kind) \(name)")
    }

    /// `ip link add NAME link PARENT type macvlan mode MODE`, made directly in the namespace. The parent is in the namespace of
    /// the socket.
    public static func createMacvlan(
        _ name: String, parent: Int32, mode: MacvlanMode, mac: MACAddress?, mtu: UInt32?, namespace: CInt
    ) -> NetlinkMessage {
        create("macvlan", name, parent: parent, mac: mac, mtu: mtu, namespace: namespace) {
            // IFLA_MACVLAN_MODE
            $0.attribute(1, native: mode.rawValue)
        }
    }

    public static func createIpvlan(
        _ name: String, parent: Int32, mode: IpvlanMode, flag: IpvlanFlag, mtu: UInt32?, namespace: CInt
    ) -> NetlinkMessage {
        create("ipvlan", name, parent: parent, mtu: mtu, namespace: namespace) {
            // IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS
            $0.attribute(1, native: mode.rawValue)
            $0.attribute(2, native: flag.rawValue)
        }
    }

    /// `ip link add NAME link PARENT type vlan id ID`, up.
    public static func createVLAN(_ name: String, parent: Int32, id: UInt16) -> NetlinkMessage {
        // IFLA_VLAN_ID
        create("vlan", name, parent: parent, isUp: true) { $0.attribute(1, native: id) }
    }

    public static func createDummy(_ name: String) -> NetlinkMessage { create("dummy", name, isUp: true) }

    /// What a port of a bridge does (IFLA_BRPORT_*); nil leaves it as it is.
    public struct PortSettings: Sendable {
        /// A packet may go out by the port that it came in by.
        public var hairpin: Bool?
        /// Isolated ports do not reach one another, only the bridge itself and ports that are not.
        public var isolated: Bool?

        public init(hairpin: Bool? = nil, isolated: Bool? = nil) {
            self.hairpin = hairpin
            self.isolated = isolated
        }
    }

    public static func set(port name: String, _ settings: PortSettings) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer)
        writer.attribute(attributeName, text: name)
        writer.nested(attributeInfo) { info in
            // IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA
            info.attribute(4, text: "bridge")
            info.nested(5) { data in
                if let hairpin = settings.hairpin { data.attribute(4, native: UInt8(hairpin ? 1 : 0)) }
                if let isolated = settings.isolated { data.attribute(33, native: UInt8(isolated ? 1 : 0)) }
            }
        }
        return NetlinkMessage(type: newLink, flags: 0, payload: writer.bytes, subject: "set bridge port \(name)")
    }

    /// Gives a link, found by its index, another name and group.
    public static func rename(link index: Int32, to name: String, group: UInt32? = nil, isUp: Bool? = nil) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer, index: index, flags: isUp == true ? flagUp : 0, change: isUp == nil ? 0 : flagUp)
        writer.attribute(attributeName, text: name)
        if let group { writer.attribute(attributeGroup, native: group) }
        return NetlinkMessage(type: newLink, flags: 0, payload: writer.bytes, subject: "rename link \(index) to \(name)")
    }

    public static func delete(link index: Int32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer, index: index)
        return NetlinkMessage(type: deleteLink, flags: 0, payload: writer.bytes, subject: "delete link \(index)")
    }

    /// Takes an address from a link; ENOENT (EADDRNOTAVAIL) where it has none such.
    public static func remove(address: IPAddress, prefix: UInt8, link index: Int32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        writer.native(UInt8(address.v4 == nil ? 10 : 2))
        writer.native(prefix)
        writer.native(UInt16(0))
        writer.native(index)
        writer.attribute(2, bytes: address.bytes)
        return NetlinkMessage(
            type: deleteAddress, flags: 0, payload: writer.bytes, subject: "remove address \(address)/\(prefix)")
    }

    /// A route of either family in the main table; a destination of nil is the family's default route, a gateway of nil is the
    /// link itself. One that is there is replaced.
    public static func replace(
        route destination: IPSubnet?, isIPv6: Bool, gateway: IPAddress?, link index: Int32
    ) -> NetlinkMessage {
        var writer = NetlinkWriter()
        route(&writer, isIPv6, destination, hasGateway: gateway != nil)
        if let destination { writer.attribute(1, bytes: destination.bytes) }
        if let gateway { writer.attribute(5, bytes: gateway.bytes) }
        writer.attribute(4, native: index)
        return NetlinkMessage(
            type: newRoute, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagReplace, payload: writer.bytes,
            subject: "route \(destination?.description ?? "default") via \(gateway?.description ?? "link \(index)")")
    }

    /// ::1 is this host by way of that link too, after lo's own route. An answer that address translation leads back to ::1 comes by a
    /// container's bridge, and the kernel takes a route to a loopback address only from the link by which the packet came
    /// (rt6_need_strict in net/ipv6/route.c). What already has ::1 in it when it comes is dropped before any route is looked up.
    public static func loopback6(by index: Int32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        // struct rtmsg: table local (255), protocol boot, RTN_LOCAL.
        for value in [10, 128, 0, 0, 255, 3, 0, 2] as [UInt8] { writer.native(value) }
        writer.native(UInt32(0))
        writer.attribute(1, bytes: IPv6Address.loopback.bytes)
        writer.attribute(4, native: index)
        // RTA_PRIORITY, one for each link: a route of the same priority would be replaced. lo's is 0.
        writer.attribute(6, native: UInt32(4096) + UInt32(bitPattern: index))
        return NetlinkMessage(
            type: newRoute, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagReplace, payload: writer.bytes,
            subject: "route ::1 by link \(index)")
    }

    /// Takes the family's default route away; ESRCH where there is none.
    public static func removeDefaultRoute(isIPv6: Bool) -> NetlinkMessage {
        var writer = NetlinkWriter()
        route(&writer, isIPv6, nil, hasGateway: true)
        return NetlinkMessage(type: deleteRoute, flags: 0, payload: writer.bytes, subject: "remove default route")
    }

    /// struct rtmsg: main table, protocol boot, scope universe, or link (253) for IPv4 routes without gateway.
    private static func route(_ writer: inout NetlinkWriter, _ isIPv6: Bool, _ destination: IPSubnet?, hasGateway: Bool) {
        let scope: UInt8 = hasGateway || isIPv6 ? 0 : 253
        for value in [isIPv6 ? 10 : 2, destination?.prefix ?? 0, 0, 0, 254, 3, scope, 1] as [UInt8] { writer.native(value) }
        writer.native(UInt32(0))
    }
}

extension IPSubnet {
    /// The network's address in network order.
    var bytes: [UInt8] {
        switch self {
        case .v4(let subnet): subnet.network.bytes
        case .v6(let subnet): subnet.network.bytes
        }
    }
}

extension KernelFault {
    /// ESRCH, EADDRNOTAVAIL: what was to be removed is not there.
    public var isNoSuchEntry: Bool { errno == 3 || errno == 99 || isNotFound }
}
