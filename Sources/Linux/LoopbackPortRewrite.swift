/// Rules for one network namespace's loopback link: what goes to a port of an address there arrives at another port, and what
/// comes back from that one seems to come from the first. Stateless: the port in the packet is exchanged, nobody tracks
/// connections, and packets over other links meet no rule. nf_tables of family netdev, hook ingress (nft(8)).
public struct LoopbackPortRewrite: Sendable, Equatable {
    public var table: String
    public var address: [UInt8]
    /// Where clients send to.
    public var port: UInt16
    /// Where the socket is.
    public var target: UInt16

    /// `address` is four bytes in network order, of 127.0.0.0/8.
    public init(table: String, address: [UInt8], port: UInt16, target: UInt16) {
        self.table = table
        self.address = address
        self.port = port
        self.target = target
    }

    private static let netdev: UInt8 = 5
    /// Its name tells where the packets go, so that whoever comes later need not read the rules.
    private var chain: String { "lo-\(target)" }

    /// Asks for the chain: ENOENT where there are no such rules yet.
    public var search: NetlinkMessage {
        message(4, 0, "chain \(chain)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(3, text: chain)
        }
    }

    /// One batch; a table of that name that was there before is replaced.
    public var messages: [NetlinkMessage] {
        var messages = [
            message(0, NetlinkMessage.flagCreate, "create table \(table)", tableOnly),
            message(2, 0, "delete table \(table)") { $0.attribute(1, text: table) },
            message(0, NetlinkMessage.flagCreate, "create table \(table)", tableOnly),
            message(3, NetlinkMessage.flagCreate, "create chain \(chain)") { writer in
                writer.attribute(1, text: table)
                writer.attribute(3, text: chain)
                writer.nested(4) { hook in
                    hook.attribute(1, big: UInt32(0))  // NF_NETDEV_INGRESS
                    hook.attribute(2, big: Int32(0))
                    hook.attribute(3, text: "lo")
                }
                writer.attribute(5, big: UInt32(1))
                writer.attribute(7, text: "filter")
            },
        ]
        // Offsets: source 12 and destination 16 of the IPv4 header; ports 0 and 2, checksum at 6 (UDP) and 16 (TCP).
        for (proto, checksum) in [(UInt8(17), UInt32(6)), (6, 16)] {
            messages.append(rule(proto, address: 16, port: 2, from: self.port, to: target, checksum: checksum))
            messages.append(rule(proto, address: 12, port: 0, from: target, to: self.port, checksum: checksum))
        }
        return messages
    }

    private func tableOnly(_ writer: inout NetlinkWriter) {
        writer.attribute(1, text: table)
        writer.attribute(2, big: UInt32(0))
    }

    private func message(_ type: UInt16, _ flags: UInt16, _ subject: String, _ body: (inout NetlinkWriter) -> Void)
        -> NetlinkMessage
    {
        var writer = NetlinkWriter(capacity: 512)
        for value in [Self.netdev, 0, 0, 0] { writer.native(value) }
        body(&writer)
        return NetlinkMessage(type: 10 << 8 | type, flags: flags, payload: writer.bytes, subject: subject)
    }

    private func rule(_ proto: UInt8, address at: UInt32, port: UInt32, from: UInt16, to: UInt16, checksum: UInt32)
        -> NetlinkMessage
    {
        message(6, NetlinkMessage.flagCreate | NetlinkMessage.flagAppend, "append to chain \(chain)") { writer in
            writer.attribute(1, text: table)
            writer.attribute(2, text: chain)
            writer.nested(4) { list in
                // meta protocol ip; ip saddr or daddr; meta l4proto; th sport or dport
                Self.meta(&list, key: 1)
                Self.compare(&list, [0x08, 0x00])
                Self.load(&list, header: 1, at, 4)
                Self.compare(&list, address)
                Self.meta(&list, key: 16)
                Self.compare(&list, [proto])
                Self.load(&list, header: 2, port, 2)
                Self.compare(&list, Self.bytes(from))
                Self.expression(&list, "immediate") { data in
                    data.attribute(1, big: UInt32(1))
                    data.nested(2) { $0.attribute(1, bytes: Self.bytes(to)) }
                }
                Self.expression(&list, "payload") { data in
                    data.attribute(5, big: UInt32(1))
                    data.attribute(2, big: UInt32(2))
                    data.attribute(3, big: port)
                    data.attribute(4, big: UInt32(2))
                    data.attribute(6, big: UInt32(1))  // NFT_PAYLOAD_CSUM_INET
                    data.attribute(7, big: checksum)
                }
            }
        }
    }

    private static func bytes(_ port: UInt16) -> [UInt8] { [UInt8(port >> 8), UInt8(truncatingIfNeeded: port)] }

    private static func expression(_ list: inout NetlinkWriter, _ name: String, _ data: (inout NetlinkWriter) -> Void) {
        list.nested(1) { writer in
            writer.attribute(1, text: name)
            writer.nested(2) { data(&$0) }
        }
    }

    private static func meta(_ list: inout NetlinkWriter, key: UInt32) {
        expression(&list, "meta") { data in
            data.attribute(2, big: key)
            data.attribute(1, big: UInt32(1))
        }
    }

    private static func load(_ list: inout NetlinkWriter, header: UInt32, _ offset: UInt32, _ size: UInt32) {
        expression(&list, "payload") { data in
            data.attribute(1, big: UInt32(1))
            data.attribute(2, big: header)
            data.attribute(3, big: offset)
            data.attribute(4, big: size)
        }
    }

    private static func compare(_ list: inout NetlinkWriter, _ value: [UInt8]) {
        expression(&list, "cmp") { data in
            data.attribute(1, big: UInt32(1))
            data.attribute(2, big: UInt32(0))
            data.nested(3) { $0.attribute(1, bytes: value) }
        }
    }
}
