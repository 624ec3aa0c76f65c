import CKernel
import Glibc

/// An internet address with its port, as a socket has it (ip(7), ipv6(7)).
public struct SocketAddress: Sendable, Equatable, CustomStringConvertible {
    /// A sockaddr structure.
    public let bytes: [UInt8]

    public init(bytes: [UInt8]) { self.bytes = bytes }

    /// `127.0.0.1:5000`, `[::1]:5000`, `:5000` (every address of both families); nil for anything else, names included.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { return nil }
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            return nil
        }
        if host.isEmpty { host = "::" }
        if host == "localhost" { host = "127.0.0.1" }
        if host.contains(":") {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            guard inet_pton(AF_INET6, host, &address.sin6_addr) == 1 else { return nil }
            bytes = withUnsafeBytes(of: &address) { Array($0) }
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { return nil }
            bytes = withUnsafeBytes(of: &address) { Array($0) }
        }
    }

    private var family: CInt {
        bytes.count < 2 ? 0 : CInt(bytes.withUnsafeBytes { $0.loadUnaligned(as: sa_family_t.self) })
    }

    public var port: UInt16 { bytes.count < 4 ? 0 : UInt16(bytes[2]) << 8 | UInt16(bytes[3]) }

    public var isLoopback: Bool {
        if host.hasPrefix("127.") { return true }
        return family == AF_INET6 && host == "::1"
    }

    /// The address without its port; an IPv4 address that came through an IPv6 socket is shown as one.
    public var host: String {
        var text = [CChar](repeating: 0, count: 64)
        let offset = family == AF_INET ? 4 : 8
        guard family == AF_INET || family == AF_INET6, bytes.count >= (family == AF_INET ? 16 : 28) else { return "?" }
        bytes.withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return }
            _ = inet_ntop(family, base + offset, &text, socklen_t(text.count))
        }
        let host = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return host.hasPrefix("::ffff:") && host.contains(".") ? String(host.dropFirst(7)) : host
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Sockets that wait for connections over TCP (tcp(7)).
public enum ListenSocket {
    /// - Throws: EADDRINUSE, EACCES, EADDRNOTAVAIL.
    public static func open(_ address: SocketAddress, backlog: CInt = 1024) throws -> Descriptor {
        let bytes = address.bytes
        let family = CInt(bytes.withUnsafeBytes { $0.loadUnaligned(as: sa_family_t.self) })
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let listener = Descriptor(owning: try kernel("socket", "\(address)") { Glibc.socket(family, type, 0) })
        let raw = listener.raw
        var one: CInt = 1
        _ = setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<CInt>.size))
        if family == AF_INET6 {
            var zero: CInt = 0
            _ = setsockopt(raw, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &zero, socklen_t(MemoryLayout<CInt>.size))
        }
        try kernel("bind", "\(address)") {
            bytes.withUnsafeBytes { raw_ in
                guard let base = raw_.baseAddress else { return CInt(-1) }
                return bind(raw, base.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
            }
        }
        try kernel("listen", "\(address)") { listen(raw, backlog) }
        return listener
    }

    /// The address that a listener has: its port where 0 was asked (getsockname(2)).
    public static func address(of listener: CInt) throws -> SocketAddress { try name(of: listener, getsockname) }

    private typealias NameCall = (CInt, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> CInt

    private static func name(of socket: CInt, _ call: NameCall) throws -> SocketAddress {
        var bytes = [UInt8](repeating: 0, count: 128)
        var length = socklen_t(bytes.count)
        try kernel("getsockname") {
            bytes.withUnsafeMutableBytes { raw in
                call(socket, raw.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
            }
        }
        return SocketAddress(bytes: Array(bytes.prefix(Int(length))))
    }

    /// The next connection and who made it; nil when there is none now, or it went away again. Close-on-exec, TCP_NODELAY.
    /// - Throws: EMFILE, ENFILE, ENOMEM and the like: the caller waits a moment. accept4(2)
    public static func accept(_ listener: CInt) throws -> AcceptedSocket? {
        let raw = skiff_accept(listener)
        guard raw >= 0 else {
            switch errno {
            case EAGAIN, EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ENONET, EPERM: return nil
            default: throw KernelFault("accept4", errno: errno)
            }
        }
        let socket = Descriptor(owning: raw)
        StreamSocket.noDelay(raw)
        guard let peer = try? name(of: raw, getpeername) else { return nil }
        if peer.isLoopback { StreamSocket.tuneForLoopback(raw) }
        return AcceptedSocket(socket: socket, peer: peer)
    }

    /// Moves bytes of a file to a socket that does not block (sendfile(2)). The process must ignore SIGPIPE.
    public static func sendFile(_ file: CInt, offset: Int64, count: Int, to socket: CInt) throws -> IOResult {
        var place = off_t(offset)
        while true {
            let done = sendfile(socket, file, &place, count)
            if done > 0 { return .moved(done) }
            if done == 0 { return .end }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: throw KernelFault("sendfile", errno: errno)
            }
        }
    }
}

public struct AcceptedSocket: ~Copyable {
    public let socket: Descriptor
    public let peer: SocketAddress

    /// Gives the socket away.
    public consuming func takeSocket() -> Descriptor { socket }
}

extension StreamSocket {
    /// For a connection within this machine. Nothing is to be paced or probed there, and what paces (bbr) only slows it down: reno,
    /// where the kernel allows it. A send buffer that grows to megabytes runs ahead of the reader and out of the caches: measured with
    /// eight readers on two processors, 800 MB/s with the buffer that tcp chooses, 3,000 with this one. tcp(7), socket(7)
    public static func tuneForLoopback(_ raw: CInt) {
        let name = Array("reno".utf8)
        _ = setsockopt(raw, CInt(IPPROTO_TCP), TCP_CONGESTION, name, socklen_t(name.count))
        var size: CInt = 256 << 10
        _ = setsockopt(raw, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<CInt>.size))
    }
}
