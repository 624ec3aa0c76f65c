import Model

/// A program that decides about packets as they come in by a link (tc-bpf(8), direct action).
public enum TrafficProgram {
    public static func load(_ instructions: [EBPFInstruction]) throws -> Descriptor {
        try EBPFProgram.load(.traffic, instructions)
    }
}

extension RouteRequest {
    private static let newQueue: UInt16 = 36
    private static let newFilter: UInt16 = 44
    private static let newNeighbour: UInt16 = 28

    /// What programs of a link hang on (`tc qdisc add dev LINK clsact`). One that is there is left as it is.
    public static func createClassifier(link index: Int32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        // TC_H_MAKE(TC_H_CLSACT, 0), TC_H_CLSACT
        traffic(&writer, index, handle: 0xFFFF_0000, parent: 0xFFFF_FFF1, info: 0)
        writer.attribute(1, text: "clsact")
        return NetlinkMessage(
            type: newQueue, flags: NetlinkMessage.flagCreate, payload: writer.bytes, subject: "add clsact to link \(index)")
    }

    /// `tc filter replace dev LINK ingress prio 1 handle 1 bpf direct-action`. The descriptor is borrowed; the kernel keeps the
    /// program as long as the link lives.
    public static func attach(program: CInt, name: String, link index: Int32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        // Priority 1 of all protocols (ETH_P_ALL in network order); TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
        traffic(&writer, index, handle: 1, parent: 0xFFFF_FFF2, info: 1 << 16 | UInt32(UInt16(3).bigEndian))
        writer.attribute(1, text: "bpf")
        writer.nested(2) { options in
            // TCA_BPF_FD, TCA_BPF_NAME, TCA_BPF_FLAGS with TCA_BPF_FLAG_ACT_DIRECT
            options.attribute(6, native: UInt32(bitPattern: program))
            options.attribute(7, text: name)
            options.attribute(8, native: UInt32(1))
        }
        return NetlinkMessage(
            type: newFilter, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagReplace, payload: writer.bytes,
            subject: "attach a program to link \(index)")
    }

    /// struct tcmsg
    private static func traffic(_ writer: inout NetlinkWriter, _ index: Int32, handle: UInt32, parent: UInt32, info: UInt32) {
        writer.native(UInt32(0))
        writer.native(index)
        writer.native(handle)
        writer.native(parent)
        writer.native(info)
    }

    /// `bridge fdb replace MAC dev LINK master static`: the bridge need not see the port send to know who is there.
    public static func place(_ mac: MACAddress, behind index: Int32) -> NetlinkMessage {
        var writer = NetlinkWriter()
        // struct ndmsg: AF_BRIDGE, padding, link, NUD_NOARP, NTF_MASTER, type
        for value in [7, 0, 0, 0] as [UInt8] { writer.native(value) }
        writer.native(index)
        writer.native(UInt16(0x40))
        writer.native(UInt8(0x04))
        writer.native(UInt8(0))
        // NDA_LLADDR
        writer.attribute(2, bytes: mac.bytes)
        return NetlinkMessage(
            type: newNeighbour, flags: NetlinkMessage.flagCreate | NetlinkMessage.flagReplace, payload: writer.bytes,
            subject: "place \(mac) behind link \(index)")
    }
}
