import Glibc

/// Stream sockets over an internet protocol, without blocking (tcp(7)). Writing never raises SIGPIPE.
public enum StreamSocket {
    /// Begins to connect to an address (a sockaddr structure as bytes). `isConnected` is asked when the socket can be written.
    /// connect(2) with O_NONBLOCK; TCP_NODELAY is set.
    public static func connect(_ address: [UInt8]) throws -> Descriptor {
        let family = CInt(address.withUnsafeBytes { $0.loadUnaligned(as: sa_family_t.self) })
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let socket = Descriptor(owning: try kernel("socket") { Glibc.socket(family, type, 0) })
        let raw = socket.raw
        noDelay(raw)
        let result = address.withUnsafeBytes { bytes -> CInt in
            guard let base = bytes.baseAddress else { return -1 }
            return Glibc.connect(raw, base.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
        }
        if result == -1, errno != EINPROGRESS, errno != EINTR { throw KernelFault("connect", errno: errno) }
        return socket
    }

    /// Two connected ends, close-on-exec. socketpair(2) AF_UNIX
    public static func pair() throws -> SocketPair {
        var ends: [CInt] = [-1, -1]
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        try kernel("socketpair") { socketpair(AF_UNIX, type, 0, &ends) }
        return SocketPair(one: Descriptor(owning: ends[0]), other: Descriptor(owning: ends[1]))
    }

    /// Throws what stood against the connection. getsockopt(2) SO_ERROR
    public static func checkConnected(_ raw: CInt) throws {
        var code: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        try kernel("getsockopt SO_ERROR") { getsockopt(raw, SOL_SOCKET, SO_ERROR, &code, &size) }
        guard code == 0 else { throw KernelFault("connect", errno: code) }
    }

    /// TCP_NODELAY; other kinds of sockets do not know it, which is no fault.
    public static func noDelay(_ raw: CInt) {
        var one: CInt = 1
        _ = setsockopt(raw, CInt(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<CInt>.size))
    }

    /// recv(2) with MSG_DONTWAIT. A lost connection is a fault (ECONNRESET, ETIMEDOUT …), an ended one `.end`.
    public static func read(_ raw: CInt, into buffer: UnsafeMutableRawBufferPointer) throws -> IOResult {
        while true {
            let count = recv(raw, buffer.baseAddress, buffer.count, CInt(MSG_DONTWAIT))
            if count > 0 { return .moved(count) }
            if count == 0 { return .end }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: throw KernelFault("recv", errno: errno)
            }
        }
    }

    /// send(2) with MSG_DONTWAIT and MSG_NOSIGNAL.
    public static func write(_ raw: CInt, _ bytes: UnsafeRawBufferPointer) throws -> IOResult {
        if bytes.isEmpty { return .moved(0) }
        while true {
            let count = send(
                raw, bytes.baseAddress, bytes.count, CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL))
            if count >= 0 { return .moved(count) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: throw KernelFault("send", errno: errno)
            }
        }
    }

    /// Nothing moves any more in either direction; whoever waits for the socket wakes. shutdown(2) SHUT_RDWR
    public static func end(_ raw: CInt) { _ = shutdown(raw, CInt(SHUT_RDWR)) }
}
