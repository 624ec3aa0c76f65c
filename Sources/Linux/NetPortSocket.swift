import Glibc
import Model

/// A host port that is taken but not served: the socket is bound, and holds the port while it is open.
public enum NetPortSocket {
    /// Binds; port 0 lets the kernel pick one (`port(of:)` tells which). EADDRINUSE when anybody has the port;
    /// EADDRNOTAVAIL when the address is not the host's.
    ///
    /// TCP: SO_REUSEADDR, so that connections in TIME_WAIT do not refuse the port; listen(2) then checks strictly that nobody
    /// else holds it; without SO_REUSEADDR, and no longer listening, nobody else gets it, and a connection that reaches the
    /// socket is refused instead of waiting in a queue that nobody empties.
    public static func reserve(_ proto: PortProtocol, _ address: IPAddress, port: UInt16) throws -> Descriptor {
        let isV6 = if case .v6 = address { true } else { false }
        let subject = "\(address.hostText):\(port)/\(proto)"
        let kind = CInt(proto == .udp ? SOCK_DGRAM.rawValue : SOCK_STREAM.rawValue) | 0o2000000
        let raw = try kernel("socket", subject) {
            socket(isV6 ? AF_INET6 : AF_INET, kind, proto == .sctp ? CInt(proto.number) : 0)
        }
        let descriptor = Descriptor(owning: raw)
        if isV6 { try set(raw, CInt(IPPROTO_IPV6), IPV6_V6ONLY, 1, subject) }
        if proto == .tcp { try set(raw, SOL_SOCKET, SO_REUSEADDR, 1, subject) }
        try bind(raw, address, port, subject)
        if proto == .tcp {
            try kernel("listen", subject) { listen(raw, 1) }
            try set(raw, SOL_SOCKET, SO_REUSEADDR, 0, subject)
            try kernel("shutdown", subject) { shutdown(raw, CInt(SHUT_RD)) }
        } else {
            // What arrives past the rules is not kept: the smallest buffer that the kernel has.
            try set(raw, SOL_SOCKET, SO_RCVBUF, 1, subject)
        }
        return descriptor
    }

    private static func set(_ raw: CInt, _ level: CInt, _ option: CInt, _ value: CInt, _ subject: String) throws {
        var value = value
        try kernel("setsockopt", subject) { setsockopt(raw, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) }
    }

    private static func bind(_ raw: CInt, _ address: IPAddress, _ port: UInt16, _ subject: String) throws {
        // struct sockaddr_in and sockaddr_in6 as bytes: family, port, then address, or flow, address and scope.
        var bytes = withUnsafeBytes(of: UInt16(AF_INET)) { Array($0) }
        bytes += withUnsafeBytes(of: port.bigEndian) { Array($0) }
        switch address {
        case .v4(let address): bytes += address.bytes + [UInt8](repeating: 0, count: 8)
        case .v6(let address):
            bytes.replaceSubrange(0..<2, with: withUnsafeBytes(of: UInt16(AF_INET6)) { Array($0) })
            bytes += [0, 0, 0, 0] + address.bytes + [0, 0, 0, 0]
        }
        try kernel("bind", subject) {
            bytes.withUnsafeBytes { buffer in
                guard let base = buffer.baseAddress else { return CInt(-1) }
                return Glibc.bind(raw, base.assumingMemoryBound(to: sockaddr.self), socklen_t(buffer.count))
            }
        }
    }

    /// As bind(2) says it, for a port that somebody has who needs no socket.
    public static func inUse(_ subject: String) -> KernelFault { KernelFault("bind", errno: EADDRINUSE, subject) }

    /// The port that a reserved socket holds (getsockname(2)).
    public static func port(of raw: CInt) throws -> UInt16 {
        var bytes = [UInt8](repeating: 0, count: 28)
        var size = socklen_t(bytes.count)
        try kernel("getsockname") {
            bytes.withUnsafeMutableBytes { buffer in
                guard let base = buffer.baseAddress else { return CInt(-1) }
                return getsockname(raw, base.assumingMemoryBound(to: sockaddr.self), &size)
            }
        }
        return UInt16(bytes[2]) << 8 | UInt16(bytes[3])
    }
}
