import Glibc
import Model

/// Who sent a datagram over IPv4: a sockaddr_in, kept without an array so that a busy loop allocates nothing.
public struct DatagramPeer: Sendable, Hashable {
    var first: UInt64 = 0
    var second: UInt64 = 0

    public init() {}
}

/// Datagram sockets that never block (udp(7)).
public enum DatagramSocket {
    public enum Received: Sendable, Equatable {
        case bytes(Int)
        case nothing
        /// The other end is known not to listen (ECONNREFUSED), or not to be reachable.
        case refused
    }

    private static func new(_ family: CInt, _ kind: __socket_type) throws -> Descriptor {
        let type = CInt(kind.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        return Descriptor(owning: try kernel("socket") { socket(family, type, 0) })
    }

    /// A sockaddr_in or sockaddr_in6 and its family.
    private static func address(_ address: IPAddress, _ port: UInt16, scope: UInt32 = 0) -> (family: CInt, bytes: [UInt8]) {
        let portBytes = [UInt8(port >> 8), UInt8(truncatingIfNeeded: port)]
        func family(_ number: CInt) -> [UInt8] { withUnsafeBytes(of: UInt16(number)) { Array($0) } }
        switch address {
        case .v4(let address):
            return (AF_INET, family(AF_INET) + portBytes + address.bytes + [UInt8](repeating: 0, count: 8))
        case .v6(let address):
            let tail = withUnsafeBytes(of: scope) { Array($0) }
            return (AF_INET6, family(AF_INET6) + portBytes + [0, 0, 0, 0] + address.bytes + tail)
        }
    }

    private static func call(
        _ name: StaticString, _ raw: CInt, _ address: [UInt8], _ detail: String,
        _ body: (CInt, UnsafePointer<sockaddr>, socklen_t) -> CInt
    ) throws {
        try kernel(name, detail) {
            address.withUnsafeBytes { bytes in
                guard let base = bytes.baseAddress else { return CInt(-1) }
                return body(raw, base.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
            }
        }
    }

    /// UDP, bound. bind(2)
    public static func bind(_ address: IPAddress, port: UInt16) throws -> Descriptor {
        let (family, bytes) = Self.address(address, port)
        let socket = try new(family, SOCK_DGRAM)
        try call("bind", socket.raw, bytes, "\(address.hostText):\(port)/udp") { Glibc.bind($0, $1, $2) }
        return socket
    }

    /// TCP, bound and listening, with SO_REUSEADDR. listen(2)
    public static func listen(_ address: IPAddress, port: UInt16, backlog: CInt) throws -> Descriptor {
        let (family, bytes) = Self.address(address, port)
        let socket = try new(family, SOCK_STREAM)
        var one: CInt = 1
        _ = setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<CInt>.size))
        let subject = "\(address.hostText):\(port)/tcp"
        try call("bind", socket.raw, bytes, subject) { Glibc.bind($0, $1, $2) }
        let raw = socket.raw
        try kernel("listen", subject) { Glibc.listen(raw, backlog) }
        return socket
    }

    /// UDP to one other end: only what that end sends comes in. The kernel picks the port by chance. connect(2)
    public static func connect(_ address: IPAddress, port: UInt16, scope: UInt32 = 0) throws -> Descriptor {
        let (family, bytes) = Self.address(address, port, scope: scope)
        let socket = try new(family, SOCK_DGRAM)
        try call("connect", socket.raw, bytes, "\(address.hostText):\(port)/udp") { Glibc.connect($0, $1, $2) }
        return socket
    }

    /// A socket that leads nowhere yet, of the family of `address`: made in one network namespace, perhaps used from another.
    public static func unconnected(_ address: IPAddress, isStream: Bool) throws -> Descriptor {
        try new(address.v4 != nil ? AF_INET : AF_INET6, isStream ? SOCK_STREAM : SOCK_DGRAM)
    }

    /// Gives a socket of `unconnected` its other end. Over TCP this only begins, as with `connectStream`. connect(2)
    public static func connect(_ raw: CInt, to address: IPAddress, port: UInt16) throws {
        let bytes = Self.address(address, port).bytes
        do {
            try call("connect", raw, bytes, "\(address.hostText):\(port)") { Glibc.connect($0, $1, $2) }
        } catch let fault as KernelFault where fault.errno == EINPROGRESS {}
    }

    /// Ends a connection at once; the socket can be connected anew. connect(2) with AF_UNSPEC
    public static func disconnect(_ raw: CInt) {
        try? call("connect", raw, [UInt8](repeating: 0, count: 16), "nowhere") { Glibc.connect($0, $1, $2) }
    }

    /// Begins to connect over TCP; `StreamSocket.checkConnected` tells the outcome when the socket can be written.
    public static func connectStream(_ address: IPAddress, port: UInt16, scope: UInt32 = 0) throws -> Descriptor {
        try StreamSocket.connect(Self.address(address, port, scope: scope).bytes)
    }

    /// The index of a link for a scoped IPv6 address (if_nametoindex(3)).
    public static func scope(ofLink name: String) -> UInt32? {
        let index = if_nametoindex(name)
        return index == 0 ? UInt32(name) : index
    }

    /// Whether a descriptor is a socket of that kind, for one that somebody passed. getsockopt(2) SO_TYPE
    public static func isDatagram(_ raw: CInt) -> Bool { type(raw) == CInt(SOCK_DGRAM.rawValue) }
    public static func isStream(_ raw: CInt) -> Bool { type(raw) == CInt(SOCK_STREAM.rawValue) }

    private static func type(_ raw: CInt) -> CInt {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        return getsockopt(raw, SOL_SOCKET, SO_TYPE, &value, &size) == 0 ? value : -1
    }

    /// The next datagram, cut at the buffer's size, and who sent it. recvfrom(2)
    public static func receive(_ raw: CInt, into buffer: UnsafeMutableRawBufferPointer, from peer: inout DatagramPeer)
        -> Received
    {
        while true {
            var size = socklen_t(MemoryLayout<DatagramPeer>.size)
            let count = withUnsafeMutableBytes(of: &peer) { name in
                recvfrom(
                    raw, buffer.baseAddress, buffer.count, CInt(MSG_DONTWAIT),
                    name.baseAddress?.assumingMemoryBound(to: sockaddr.self), &size)
            }
            if count >= 0 { return .bytes(count) }
            if errno == EINTR { continue }
            return errno == EAGAIN ? .nothing : .refused
        }
    }

    /// The next datagram of a connected socket. recv(2)
    public static func receive(_ raw: CInt, into buffer: UnsafeMutableRawBufferPointer) -> Received {
        while true {
            let count = recv(raw, buffer.baseAddress, buffer.count, CInt(MSG_DONTWAIT))
            if count >= 0 { return .bytes(count) }
            if errno == EINTR { continue }
            return errno == EAGAIN ? .nothing : .refused
        }
    }

    /// False where it was not taken: a full buffer, a namespace that is going. sendto(2)
    @discardableResult
    public static func send(_ raw: CInt, _ bytes: [UInt8], to peer: DatagramPeer) -> Bool {
        withUnsafeBytes(of: peer) { name in
            sendto(
                raw, bytes, bytes.count, CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL),
                name.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(MemoryLayout<DatagramPeer>.size))
        } == bytes.count
    }

    /// Over a connected socket; false where it was not taken. send(2)
    @discardableResult
    public static func send(_ raw: CInt, _ bytes: [UInt8]) -> Bool {
        Glibc.send(raw, bytes, bytes.count, CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL)) == bytes.count
    }
}

extension Epoll {
    /// As `wait`, into arrays that are kept from one turn to the next: answers how many entries of them are filled.
    public func wait(milliseconds: Int?, into ready: inout EpollReady) throws -> Int {
        try wait(milliseconds: milliseconds, tokens: &ready.tokens, events: &ready.events)
    }
}

/// What one turn of waiting has found.
public struct EpollReady: Sendable {
    fileprivate(set) var tokens: [UInt64]
    fileprivate(set) var events: [UInt32]

    public init(limit: Int) {
        tokens = [UInt64](repeating: 0, count: limit)
        events = [UInt32](repeating: 0, count: limit)
    }

    public subscript(index: Int) -> (token: UInt64, events: Epoll.Events) {
        (tokens[index], Epoll.Events(rawValue: events[index]))
    }
}
