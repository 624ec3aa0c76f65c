import Model

/// A link as rtnetlink(7) shows it.
public struct LinkInfo: Sendable, Equatable {
    public var index: Int32 = 0
    public var name = ""
    public var flags: UInt32 = 0
    public var mac: MACAddress?
    public var mtu: UInt32 = 0
    public var master: Int32 = 0
    /// `bridge`, `veth`, …; empty for hardware and lo.
    public var kind = ""
    public var group: UInt32 = 0
    public var statistics: LinkStatistics?
    /// RFC 2863's operational state.
    public var operationalState: UInt8 = 0
    /// On a bridge, the state of the port (BR_STATE_FORWARDING is 3).
    public var portState: UInt8?

    public var isUp: Bool { flags & RouteRequest.flagUp != 0 }
    /// Not IFF_NOARP.
    public var takesARP: Bool { flags & 0x80 == 0 }
    /// The kernel has seen the carrier, so that packets are queued instead of dropped, and on a bridge forwarded. IFF_RUNNING
    /// says less: it is also set while the state is unknown (IF_OPER_UNKNOWN 0; IF_OPER_UP is 6).
    public var isRunning: Bool { operationalState == 6 && portState ?? 3 == 3 }

    /// An answer to RTM_GETLINK; nil for a message of another type.
    public init?(_ reply: NetlinkReply) throws {
        let payload = reply.payload
        guard reply.type == RouteRequest.newLink else { return nil }
        guard payload.count >= 16 else { throw NetlinkReply.malformed }
        index = payload.native(at: payload.startIndex + 4) ?? 0
        flags = payload.native(at: payload.startIndex + 8) ?? 0
        let attributes = try NetlinkAttributes(payload.dropFirst(16))
        name = attributes.text(RouteRequest.attributeName) ?? ""
        mac = attributes.content(RouteRequest.attributeAddress).flatMap { MACAddress(bytes: Array($0)) }
        mtu = attributes.native(RouteRequest.attributeMTU) ?? 0
        master = attributes.native(RouteRequest.attributeMaster) ?? 0
        group = attributes.native(RouteRequest.attributeGroup) ?? 0
        operationalState = attributes.native(16) ?? 0
        let info = try attributes.nested(RouteRequest.attributeInfo)
        kind = info?.text(1) ?? ""
        // IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_STATE
        if info?.text(4) == "bridge" { portState = try info?.nested(5)?.native(1) }
        statistics = attributes.content(RouteRequest.attributeStatistics).flatMap { LinkStatistics($0) }
    }
}

/// struct rtnl_link_stats64, the part that people look at.
public struct LinkStatistics: Sendable, Equatable {
    public let receivedPackets: UInt64
    public let sentPackets: UInt64
    public let receivedBytes: UInt64
    public let sentBytes: UInt64
    public let receivedErrors: UInt64
    public let sentErrors: UInt64
    public let receivedDropped: UInt64
    public let sentDropped: UInt64

    init?(_ bytes: ArraySlice<UInt8>) {
        guard bytes.count >= 64 else { return nil }
        let values: [UInt64] = (0..<8).map { bytes.native(at: bytes.startIndex + 8 * $0) ?? 0 }
        receivedPackets = values[0]
        sentPackets = values[1]
        receivedBytes = values[2]
        sentBytes = values[3]
        receivedErrors = values[4]
        sentErrors = values[5]
        receivedDropped = values[6]
        sentDropped = values[7]
    }
}

/// An address of a link.
public struct AddressInfo: Sendable, Equatable {
    public let link: Int32
    public let address: IPAddress
    public let prefix: UInt8

    /// An answer to RTM_GETADDR; nil for another type or family.
    public init?(_ reply: NetlinkReply) throws {
        let payload = reply.payload
        guard reply.type == RouteRequest.newAddress else { return nil }
        guard payload.count >= 8 else { throw NetlinkReply.malformed }
        let attributes = try NetlinkAttributes(payload.dropFirst(8))
        // IFA_LOCAL is the address itself where it differs from IFA_ADDRESS (point to point); IPv6 has only the latter.
        guard let bytes = attributes.content(2) ?? attributes.content(1) else { return nil }
        switch payload[payload.startIndex] {
        case 2:
            guard let value = IPv4Address(bytes: bytes) else { throw NetlinkReply.malformed }
            address = .v4(value)
        case 10:
            guard let value = IPv6Address(bytes: bytes) else { throw NetlinkReply.malformed }
            address = .v6(value)
        default: return nil
        }
        prefix = payload[payload.startIndex + 1]
        link = payload.native(at: payload.startIndex + 4) ?? 0
    }
}

/// An IPv4 route.
public struct RouteInfo: Sendable, Equatable {
    /// 0.0.0.0/0 is the default route.
    public let destination: IPv4Subnet
    public let gateway: IPv4Address?
    /// 0 where the route has no link of its own (blackhole, multipath).
    public let link: Int32
    public let table: UInt32
    /// RTN_UNICAST 1, RTN_LOCAL 2, RTN_BROADCAST 3 …
    public let type: UInt8
    public let metric: UInt32

    /// An answer to RTM_GETROUTE; nil for another type or family.
    public init?(_ reply: NetlinkReply) throws {
        let payload = reply.payload
        guard reply.type == RouteRequest.newRoute else { return nil }
        guard payload.count >= 12 else { throw NetlinkReply.malformed }
        let start = payload.startIndex
        guard payload[start] == 2 else { return nil }
        let attributes = try NetlinkAttributes(payload.dropFirst(12))
        let address = attributes.content(1).flatMap { IPv4Address(bytes: $0) } ?? .any
        destination = IPv4Subnet(address, prefix: payload[start + 1])
        gateway = attributes.content(5).flatMap { IPv4Address(bytes: $0) }
        link = attributes.native(4) ?? 0
        table = attributes.native(15) ?? UInt32(payload[start + 4])
        type = payload[start + 7]
        metric = attributes.native(6) ?? 0
    }
}

extension NetlinkSocket {
    public func links() throws -> [LinkInfo] { try dump(RouteRequest.dumpLinks()).compactMap { try LinkInfo($0) } }
    public func addresses() throws -> [AddressInfo] {
        try dump(RouteRequest.dumpAddresses()).compactMap { try AddressInfo($0) }
    }
    public func routes() throws -> [RouteInfo] { try dump(RouteRequest.dumpRoutes()).compactMap { try RouteInfo($0) } }

    /// Nil when no link has the name.
    public func link(named name: String) throws -> LinkInfo? {
        do {
            return try LinkInfo(try query(RouteRequest.get(link: name)))
        } catch let fault as KernelFault where fault.isNoSuchDevice {
            return nil
        }
    }
}

extension KernelFault {
    /// ENODEV
    public var isNoSuchDevice: Bool { errno == 19 }
    /// ENOENT
    public var isNotFound: Bool { errno == 2 }
    /// EEXIST
    public var isAlreadyThere: Bool { errno == 17 }
}
