import Model

/// A connection that the kernel tracks, as far as address translation is concerned (NETLINK_NETFILTER, subsystem ctnetlink;
/// numbers of include/uapi/linux/netfilter/nfnetlink_conntrack.h).
public struct ConnectionInfo: Sendable, Equatable {
    /// IPPROTO_UDP is 17.
    public let proto: UInt8
    /// Where the first packet was sent to.
    public let destinationPort: UInt16
    /// Who answers: the destination after translation.
    public let answerer: IPAddress
    public let answererPort: UInt16
    /// NFPROTO_IPV4, NFPROTO_IPV6
    let family: UInt8
    /// The original direction as the kernel wrote it, which names the connection.
    let tuple: [UInt8]

    /// One answer to a dump; nil for another family or a protocol without ports.
    public init?(_ reply: NetlinkReply) throws {
        guard reply.type == 1 << 8, reply.payload.count >= 4 else { return nil }
        let attributes = try NetlinkAttributes(reply.payload.dropFirst(4))
        guard let original = attributes.content(1), let originalPorts = try NetlinkAttributes(original).nested(2),
            let answer = try attributes.nested(2), let addresses = try answer.nested(1),
            // CTA_IP_V4_SRC, CTA_IP_V6_SRC
            let answerer = (addresses.content(1) ?? addresses.content(3)).flatMap({ IPAddress(bytes: $0) }),
            let proto: UInt8 = originalPorts.native(1),
            let destinationPort: UInt16 = originalPorts.big(3), let answererPort: UInt16 = try answer.nested(2)?.big(2)
        else { return nil }
        family = reply.payload[reply.payload.startIndex]
        self.proto = proto
        self.destinationPort = destinationPort
        self.answerer = answerer
        self.answererPort = answererPort
        tuple = Array(original)
    }
}

extension NetlinkSocket {
    /// Every tracked connection.
    public func connections() throws -> [ConnectionInfo] {
        let all = NetlinkMessage(type: 1 << 8 | 1, flags: 0, payload: [0, 0, 0, 0], subject: "connections")
        return try dump(all).compactMap { try ConnectionInfo($0) }
    }

    /// Forgets connections: their next packet is a first one again. One that is gone already is fine.
    public func forget(_ connections: [ConnectionInfo]) throws {
        for start in stride(from: 0, to: connections.count, by: 100) {
            let messages = connections[start..<min(start + 100, connections.count)].map { connection in
                var writer = NetlinkWriter()
                writer.raw([connection.family, 0, 0, 0])
                writer.nested(1) { $0.raw(connection.tuple) }
                return NetlinkMessage(type: 1 << 8 | 2, flags: 0, payload: writer.bytes, subject: "forget connection")
            }
            for case let fault? in try results(messages) where !fault.isNotFound { throw fault }
        }
    }
}
