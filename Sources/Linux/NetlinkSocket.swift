import Glibc

/// One conversation with the kernel over netlink(7): requests in, acknowledgements and dumps out. Not shared between threads.
public final class NetlinkSocket {
    public enum Family: CInt, Sendable {
        /// Links, addresses, routes: rtnetlink(7).
        case route = 0
        /// nf_tables, conntrack: NETLINK_NETFILTER.
        case netfilter = 12
    }

    private let descriptor: Descriptor
    private let family: Family
    private var sequence: UInt32 = 1
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)

    /// Belongs to the network namespace of the calling thread, for good.
    public init(_ family: Family) throws {
        self.family = family
        let raw = try kernel("socket AF_NETLINK") {
            socket(AF_NETLINK, CInt(SOCK_RAW.rawValue) | NetlinkSocket.closeOnExec, family.rawValue)
        }
        descriptor = Descriptor(owning: raw)
        // NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK: shorter acknowledgements, reasons in words, filtered dumps.
        // Absent on old kernels, which then send what they always sent.
        for option in [10, 11, 12] as [CInt] { set(NetlinkSocket.levelNetlink, option, 1) }
        // SO_SNDBUFFORCE, SO_RCVBUFFORCE: a whole table goes out as one datagram.
        set(SOL_SOCKET, 32, 8 << 20)
        set(SOL_SOCKET, 33, 4 << 20)
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        // struct sockaddr_nl: family, padding, port 0 (the kernel picks one), no groups.
        var address: (UInt16, UInt16, UInt32, UInt32) = (UInt16(AF_NETLINK), 0, 0, 0)
        try kernel("bind AF_NETLINK") {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(raw, $0, 12) }
            }
        }
    }

    private static let closeOnExec: CInt = 0o2000000
    private static let levelNetlink: CInt = 270

    private func set(_ level: CInt, _ option: CInt, _ value: CInt) {
        var value = value
        setsockopt(descriptor.raw, level, option, &value, socklen_t(MemoryLayout<CInt>.size))
    }

    /// Its address, by which notifications name who has changed something. getsockname(2)
    public var port: UInt32 {
        var address: (UInt16, UInt16, UInt32, UInt32) = (0, 0, 0, 0)
        var size = socklen_t(12)
        let raw = descriptor.raw
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &size) }
        }
        return code == 0 ? address.2 : 0
    }

    /// For poll(2).
    public var raw: CInt { descriptor.raw }

    /// Takes part in a multicast group (NETLINK_ADD_MEMBERSHIP): `events` has its messages. For a socket that asks nothing.
    public func subscribe(_ group: CInt) throws {
        var group = group
        try kernel("setsockopt NETLINK_ADD_MEMBERSHIP") {
            setsockopt(descriptor.raw, NetlinkSocket.levelNetlink, 1, &group, socklen_t(MemoryLayout<CInt>.size))
        }
    }

    /// What has come; nil when there were more than the kernel keeps (ENOBUFS).
    public func events() throws -> [NetlinkReply]? {
        do { return try receive(waiting: false) ?? [] } catch let fault as KernelFault where fault.errno == ENOBUFS {
            return nil
        }
    }

    /// Sends all requests in one datagram; the kernel answers each, also after one failed. The result is a fault, or nil, for each.
    public func results(_ messages: [NetlinkMessage]) throws -> [KernelFault?] {
        guard !messages.isEmpty else { return [] }
        let first = sequence
        var datagram: [UInt8] = []
        for message in messages {
            var message = message
            message.flags |= NetlinkMessage.flagRequest | NetlinkMessage.flagAck
            datagram += message.bytes(sequence: sequence)
            sequence &+= 1
        }
        try send(datagram)
        var results = [KernelFault?](repeating: nil, count: messages.count)
        var open = messages.count
        while open > 0 {
            for reply in try receive() where reply.type == NetlinkMessage.error {
                let index = Int(reply.sequence &- first)
                guard results.indices.contains(index) else { continue }
                open -= 1
                results[index] = try fault(reply, messages[index].subject)
            }
        }
        return results
    }

    /// Sends all requests in one datagram and throws the first fault once all are answered.
    public func transact(_ messages: [NetlinkMessage]) throws {
        for case let fault? in try results(messages) { throw fault }
    }

    /// A request with one message as its answer (RTM_GETLINK of one link).
    public func query(_ message: NetlinkMessage) throws -> NetlinkReply {
        let number = sequence
        sequence &+= 1
        var message = message
        message.flags |= NetlinkMessage.flagRequest
        try send(message.bytes(sequence: number))
        while true {
            for reply in try receive() where reply.sequence == number {
                guard reply.type == NetlinkMessage.error else { return reply }
                throw try fault(reply, message.subject) ?? KernelFault("netlink", errno: ENODATA, message.subject)
            }
        }
    }

    /// All answers of a dump; asked again when the kernel says that it changed meanwhile (NLM_F_DUMP_INTR), five times at most.
    public func dump(_ message: NetlinkMessage) throws -> [NetlinkReply] {
        var answers: [NetlinkReply] = []
        for _ in 0..<5 {
            let result = try dumpOnce(message)
            answers = result.replies
            if !result.isInterrupted { break }
        }
        return answers
    }

    private func dumpOnce(_ message: NetlinkMessage) throws -> (replies: [NetlinkReply], isInterrupted: Bool) {
        let number = sequence
        sequence &+= 1
        var message = message
        message.flags |= NetlinkMessage.flagRequest | NetlinkMessage.flagDump
        try send(message.bytes(sequence: number))
        var replies: [NetlinkReply] = []
        var isInterrupted = false
        while true {
            for reply in try receive() where reply.sequence == number {
                if reply.flags & NetlinkMessage.flagDumpInterrupted != 0 { isInterrupted = true }
                switch reply.type {
                case NetlinkMessage.done:
                    if let code: Int32 = reply.payload.native(at: reply.payload.startIndex), code < 0 {
                        throw KernelFault("netlink dump", errno: -code, message.subject)
                    }
                    return (replies, isInterrupted)
                case NetlinkMessage.error:
                    if let fault = try fault(reply, message.subject) { throw fault }
                    return (replies, isInterrupted)
                default: replies.append(reply)
                }
            }
        }
    }

    /// Sends an nf_tables batch, which takes effect as a whole or not at all. Faults come in the order of the kernel's answers:
    /// (index of the message, fault); none is success. The index is that of the last message when the commit itself failed.
    public func batch(_ messages: [NetlinkMessage]) throws -> [(index: Int, fault: KernelFault)] {
        guard !messages.isEmpty else { return [] }
        // struct nfgenmsg: family, version, subsystem (NFNL_SUBSYS_NFTABLES 10) in network order.
        let frame: [UInt8] = [0, 0, 0, 10]
        let first = sequence
        var datagram = NetlinkMessage(type: 0x10, flags: NetlinkMessage.flagRequest, payload: frame).bytes(sequence: first)
        sequence &+= 1
        for (index, message) in messages.enumerated() {
            var message = message
            message.flags |= NetlinkMessage.flagRequest
            // One acknowledgement, of the last message, says that the kernel is through; faults come unasked.
            if index == messages.count - 1 { message.flags |= NetlinkMessage.flagAck }
            datagram += message.bytes(sequence: sequence)
            sequence &+= 1
        }
        datagram += NetlinkMessage(type: 0x11, flags: NetlinkMessage.flagRequest, payload: frame).bytes(sequence: sequence)
        sequence &+= 1
        try send(datagram)
        return try batchFaults(messages, first: first)
    }

    private func batchFaults(_ messages: [NetlinkMessage], first: UInt32) throws -> [(index: Int, fault: KernelFault)] {
        var faults: [(index: Int, fault: KernelFault)] = []
        var isAnswered = false
        // All answers are queued when send returns; what has not come by then does not come.
        while let replies = try receive(waiting: !isAnswered) {
            for reply in replies where reply.type == NetlinkMessage.error {
                let index = Int(reply.sequence &- first) - 1
                guard index >= -1, index <= messages.count else { continue }
                let place = min(max(index, 0), messages.count - 1)
                isAnswered = true
                if let fault = try fault(reply, messages[place].subject) { faults.append((place, fault)) }
            }
        }
        return faults
    }

    /// The index of a link; nil when no link has the name. Unlike a request, this does not wait for the kernel's RTNL lock
    /// (netdevice(7) SIOCGIFINDEX).
    public func index(ofLink name: String) -> Int32? {
        interfaceRequest(0x8933, name)?.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 16, as: Int32.self) }
    }

    /// struct ifreq: 16 bytes of name, 24 of answer.
    private func interfaceRequest(_ request: UInt, _ name: String) -> [UInt8]? {
        var buffer = Array(name.utf8.prefix(15))
        buffer += [UInt8](repeating: 0, count: 40 - buffer.count)
        let raw = descriptor.raw
        let code = buffer.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { ioctl(raw, request, $0) } ?? -1
        }
        return code == 0 ? buffer : nil
    }

    private func fault(_ reply: NetlinkReply, _ subject: String) throws -> KernelFault? {
        let (errno, text) = try reply.acknowledgement()
        guard errno != 0 else { return nil }
        let detail = [subject, text.map { "(\($0))" } ?? ""].filter { !$0.isEmpty }.joined(separator: " ")
        return KernelFault(family == .route ? "rtnetlink" : "nf_tables", errno: errno, detail.isEmpty ? nil : detail)
    }

    private func send(_ datagram: [UInt8]) throws {
        try kernel("send AF_NETLINK") { Glibc.send(descriptor.raw, datagram, datagram.count, 0) }
    }

    private func receive() throws -> [NetlinkReply] { try receive(waiting: true) ?? [] }

    /// The messages of the next datagram; nil when there is none and nobody waits for one.
    private func receive(waiting: Bool) throws -> [NetlinkReply]? {
        let raw = descriptor.raw
        let flags = CInt(MSG_TRUNC) | (waiting ? 0 : CInt(MSG_DONTWAIT))
        while true {
            let count = buffer.withUnsafeMutableBytes { recv(raw, $0.baseAddress, $0.count, flags) }
            if count >= 0 {
                guard count <= buffer.count else { throw KernelFault("recv AF_NETLINK", errno: EMSGSIZE) }
                return try NetlinkReply.parse(Array(buffer[..<count])[...])
            }
            let code = errno
            if code == EINTR { continue }
            if code == EAGAIN, !waiting { return nil }
            throw KernelFault("recv AF_NETLINK", errno: code == EAGAIN ? ETIMEDOUT : code)
        }
    }
}
