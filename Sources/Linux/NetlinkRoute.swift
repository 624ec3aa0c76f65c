import Model

/// Requests of rtnetlink(7), as pure builders. Numbers are those of include/uapi/linux/{if_link,rtnetlink,if_addr}.h.
public enum RouteRequest {
    static let newLink: UInt16 = 16
    static let deleteLink: UInt16 = 17
    static let getLink: UInt16 = 18
    static let newAddress: UInt16 = 20
    static let getAddress: UInt16 = 22
    static let deleteAddress: UInt16 = 21
    static let newRoute: UInt16 = 24
    static let deleteRoute: UInt16 = 25
    static let getRoute: UInt16 = 26

    static let attributeAddress: UInt16 = 1
    static let attributeName: UInt16 = 3
    static let attributeMTU: UInt16 = 4
    static let attributeParent: UInt16 = 5
    static let attributeMaster: UInt16 = 10
    static let attributeInfo: UInt16 = 18
    static let attributeStatistics: UInt16 = 23
    static let attributeGroup: UInt16 = 27
    static let attributeNamespace: UInt16 = 28
    static let attributeExtensions: UInt16 = 29
    static let attributeSendQueues: UInt16 = 31
    static let attributeReceiveQueues: UInt16 = 32
    static let flagUp: UInt32 = 1

    /// struct ifinfomsg
    static func link(_ writer: inout NetlinkWriter, index: Int32 = 0, flags: UInt32 = 0, change: UInt32 = 0) {
        writer.native(UInt32(0))
        writer.native(index)
        writer.native(flags)
        writer.native(change)
    }

    /// `ip link add NAME type bridge`, with an address of its own so that it does not follow its ports'.
    public static func createBridge(_ name: String, mac: MACAddress, mtu: UInt32, isUp: Bool = true) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer, flags: isUp ? flagUp : 0, change: flagUp)
        writer.attribute(attributeName, text: name)
        writer.attribute(attributeAddress, bytes: mac.bytes)
        writer.attribute(attributeMTU, native: mtu)
        writer.nested(attributeInfo) { $0.attribute(1, text: "bridge") }
        return NetlinkMessage(
            type: newLink, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagExclusive, payload: writer.bytes,
            subject: "create bridge \(name)")
    }

    /// Sets flags and attributes of a link that exists, found by name.
    public static func set(
        _ name: String, isUp: Bool? = nil, master: Int32? = nil, mtu: UInt32? = nil, mac: MACAddress? = nil,
        group: UInt32? = nil
    ) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer, flags: isUp == true ? flagUp : 0, change: isUp == nil ? 0 : flagUp)
        writer.attribute(attributeName, text: name)
        if let master { writer.attribute(attributeMaster, native: master) }
        if let mtu { writer.attribute(attributeMTU, native: mtu) }
        if let mac { writer.attribute(attributeAddress, bytes: mac.bytes) }
        if let group { writer.attribute(attributeGroup, native: group) }
        return NetlinkMessage(type: newLink, flags: 0, payload: writer.bytes, subject: "set link \(name)")
    }

    /// Lets a bridge send a packet out of the port that it came in by (IFLA_BRPORT_MODE).
    public static func setHairpin(_ name: String) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer)
        writer.attribute(attributeName, text: name)
        writer.nested(attributeInfo) { info in
            // IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA
            info.attribute(4, text: "bridge")
            info.nested(5) { $0.attribute(4, native: UInt8(1)) }
        }
        return NetlinkMessage(type: newLink, flags: 0, payload: writer.bytes, subject: "set hairpin mode of \(name)")
    }

    public static func delete(link name: String) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer)
        writer.attribute(attributeName, text: name)
        return NetlinkMessage(type: deleteLink, flags: 0, payload: writer.bytes, subject: "delete link \(name)")
    }

    /// Deletes every link of a group at once: under one wait for the kernel's grace period instead of one each.
    public static func delete(group: UInt32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer)
        writer.attribute(attributeGroup, native: group)
        return NetlinkMessage(type: deleteLink, flags: 0, payload: writer.bytes, subject: "delete links of group \(group)")
    }

    public static func get(link name: String) -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer)
        writer.attribute(attributeName, text: name)
        return NetlinkMessage(type: getLink, flags: 0, payload: writer.bytes, subject: "link \(name)")
    }

    /// Every link, without statistics (RTEXT_FILTER_SKIP_STATS).
    public static func dumpLinks() -> NetlinkMessage {
        var writer = NetlinkWriter()
        link(&writer)
        writer.attribute(attributeExtensions, native: UInt32(8))
        return NetlinkMessage(type: getLink, flags: 0, payload: writer.bytes, subject: "links")
    }

    /// Adds an IPv4 address; one that is there already is left as it is.
    public static func add(address: IPv4Address, prefix: UInt8, link index: Int32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        addressHeader(&writer, family: 2, prefix: prefix, index: index)
        // IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST
        writer.attribute(2, bytes: address.bytes)
        writer.attribute(1, bytes: address.bytes)
        if prefix < 31 { writer.attribute(4, bytes: IPv4Subnet(address, prefix: prefix).broadcast.bytes) }
        return NetlinkMessage(
            type: newAddress, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagReplace, payload: writer.bytes,
            subject: "add address \(address)/\(prefix)")
    }

    /// Adds an IPv6 address without waiting for duplicate address detection (IFA_F_NODAD).
    public static func add(address: IPv6Address, prefix: UInt8, link index: Int32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        addressHeader(&writer, family: 10, prefix: prefix, index: index)
        writer.attribute(2, bytes: address.bytes)
        writer.attribute(1, bytes: address.bytes)
        writer.attribute(8, native: UInt32(2))
        return NetlinkMessage(
            type: newAddress, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagReplace, payload: writer.bytes,
            subject: "add address \(address)/\(prefix)")
    }

    /// struct ifaddrmsg
    private static func addressHeader(_ writer: inout NetlinkWriter, family: UInt8, prefix: UInt8, index: Int32) {
        writer.native(family)
        writer.native(prefix)
        writer.native(UInt16(family == 10 ? 2 : 0))
        writer.native(index)
    }

    public static func dumpAddresses() -> NetlinkMessage {
        var writer = NetlinkWriter()
        addressHeader(&writer, family: 0, prefix: 0, index: 0)
        return NetlinkMessage(type: getAddress, flags: 0, payload: writer.bytes, subject: "addresses")
    }

    /// An IPv4 route by way of a gateway; nil as destination is the default route.
    public static func add(route destination: IPv4Subnet?, gateway: IPv4Address, link index: Int32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        routeHeader(&writer, prefix: destination?.prefix ?? 0, type: 1)
        if let destination { writer.attribute(1, bytes: destination.network.bytes) }
        // RTA_GATEWAY, RTA_OIF
        writer.attribute(5, bytes: gateway.bytes)
        writer.attribute(4, native: index)
        return NetlinkMessage(
            type: newRoute, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagExclusive, payload: writer.bytes,
            subject: "add route \(destination?.description ?? "default") via \(gateway)")
    }

    /// struct rtmsg: main table, protocol boot, scope universe.
    private static func routeHeader(_ writer: inout NetlinkWriter, prefix: UInt8, type: UInt8) {
        for value in [2, prefix, 0, 0, 254, type == 0 ? 0 : 3, 0, type] as [UInt8] { writer.native(value) }
        writer.native(UInt32(0))
    }

    /// Every IPv4 route of every table.
    public static func dumpRoutes() -> NetlinkMessage {
        var writer = NetlinkWriter()
        for value in [2, 0, 0, 0, 0, 0, 0, 0] as [UInt8] { writer.native(value) }
        writer.native(UInt32(0))
        return NetlinkMessage(type: getRoute, flags: 0, payload: writer.bytes, subject: "routes")
    }
}

/// A veth pair (veth(4)): the host's end, and the container's end made directly in its namespace.
public struct VethRequest: Sendable {
    public var name: String
    public var master: Int32
    public var mtu: UInt32
    public var group: UInt32
    public var peerName: String
    public var peerMAC: MACAddress
    /// Borrowed descriptor of the namespace that the peer is made in.
    public var namespace: CInt

    public init(
        name: String, master: Int32, mtu: UInt32, group: UInt32, peerName: String, peerMAC: MACAddress, namespace: CInt
    ) {
        self.name = name
        self.master = master
        self.mtu = mtu
        self.group = group
        self.peerName = peerName
        self.peerMAC = peerMAC
        self.namespace = namespace
    }

    /// One message: both ends made, the host's end up and on its bridge. The other end comes up in its namespace: the kernel
    /// would configure it before it knows its peer, and refuse (ENOTCONN).
    public var message: NetlinkMessage {
        var writer = NetlinkWriter(capacity: 256)
        RouteRequest.link(&writer, flags: RouteRequest.flagUp, change: RouteRequest.flagUp)
        writer.attribute(RouteRequest.attributeName, text: name)
        writer.attribute(RouteRequest.attributeMTU, native: mtu)
        writer.attribute(RouteRequest.attributeMaster, native: master)
        writer.attribute(RouteRequest.attributeGroup, native: group)
        queues(&writer)
        writer.nested(RouteRequest.attributeInfo) { info in
            info.attribute(1, text: "veth")
            info.nested(2) { data in data.nested(1) { peer(&$0) } }
        }
        return NetlinkMessage(
            type: RouteRequest.newLink, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagExclusive, payload: writer.bytes,
            subject: "create veth \(name)")
    }

    private func peer(_ writer: inout NetlinkWriter) {
        RouteRequest.link(&writer)
        writer.attribute(RouteRequest.attributeName, text: peerName)
        writer.attribute(RouteRequest.attributeMTU, native: mtu)
        writer.attribute(RouteRequest.attributeAddress, bytes: peerMAC.bytes)
        writer.attribute(RouteRequest.attributeNamespace, native: UInt32(bitPattern: namespace))
        queues(&writer)
    }

    /// One queue each way; the kernel's own choice is one per possible processor, with memory for each.
    private func queues(_ writer: inout NetlinkWriter) {
        writer.attribute(RouteRequest.attributeSendQueues, native: UInt32(1))
        writer.attribute(RouteRequest.attributeReceiveQueues, native: UInt32(1))
    }
}

extension NetlinkMessage {
    public static let flagReplace: UInt16 = 0x100
}
