import CKernel
import Glibc

/// Unix sockets whose messages carry descriptors (unix(7)).
public enum Sockets {
    public enum Kind: CInt, Sendable { case stream = 1, datagram = 2, packets = 5 }

    private static let dontWait: CInt = 0x40

    /// Two connected ends, SOCK_SEQPACKET, close-on-exec.
    public static func pair() throws -> SocketPair {
        var ends: [CInt] = [-1, -1]
        try kernel("socketpair") { skiff_socket_pair(&ends) }
        return SocketPair(one: Descriptor(owning: ends[0]), other: Descriptor(owning: ends[1]))
    }

    public static func connect(_ path: String, _ kind: Kind = .stream) throws -> Descriptor {
        Descriptor(owning: try kernel("connect", path) { skiff_connect_unix(path, kind.rawValue) })
    }

    public static func listen(_ path: String, _ kind: Kind = .stream, backlog: CInt = 16) throws -> Descriptor {
        Descriptor(owning: try kernel("listen", path) { skiff_listen_unix(path, kind.rawValue, backlog) })
    }

    public static func accept(_ listener: CInt) throws -> Descriptor {
        Descriptor(owning: try kernel("accept4") { skiff_accept(listener) })
    }

    /// One message with borrowed descriptors. Answers the bytes that were taken. EAGAIN is thrown when it would block.
    @discardableResult
    public static func send(_ socket: CInt, _ bytes: [UInt8], descriptors: [CInt] = [], wait: Bool = true) throws -> Int {
        try kernel("sendmsg") {
            skiff_send(socket, bytes, bytes.count, descriptors, descriptors.count, wait ? 0 : dontWait)
        }
    }

    /// One message and the descriptors that came along, owned by the answer. An empty message without descriptors is the end.
    public static func receive(_ socket: CInt, limit: Int, descriptors maximum: Int = 0, wait: Bool = true) throws
        -> ReceivedMessage
    {
        var numbers = [CInt](repeating: -1, count: maximum)
        var count = maximum
        var truncated: CInt = 0
        let bytes = try [UInt8](unsafeUninitializedCapacity: limit) { buffer, filled in
            filled = try kernel("recvmsg") {
                count = maximum
                return skiff_receive(
                    socket, buffer.baseAddress, limit, &numbers, &count, wait ? 0 : dontWait, &truncated)
            }
        }
        return ReceivedMessage(bytes: bytes, isTruncated: truncated != 0, numbers: Array(numbers.prefix(count)))
    }

    /// SO_PEERCRED
    public static func peer(_ socket: CInt) throws -> (pid: Int32, uid: UInt32, gid: UInt32) {
        var pid: Int32 = 0
        var uid: UInt32 = 0
        var gid: UInt32 = 0
        try kernel("getsockopt SO_PEERCRED") { skiff_peer(socket, &pid, &uid, &gid) }
        return (pid, uid, gid)
    }

    /// pipe2(2), close-on-exec
    public static func pipe() throws -> SocketPair {
        var ends: [CInt] = [-1, -1]
        try kernel("pipe2") { skiff_pipe(&ends, 0) }
        return SocketPair(one: Descriptor(owning: ends[0]), other: Descriptor(owning: ends[1]))
    }
}

/// Two ends; of a pipe `one` is for reading, `other` for writing.
public struct SocketPair: ~Copyable {
    public let one: Descriptor
    public let other: Descriptor

    /// Gives both ends away as numbers that the caller owns: one, other.
    public consuming func release() -> (CInt, CInt) { (one.release(), other.release()) }
}

/// A message from a Unix socket. Descriptors that nobody took are closed with it.
public struct ReceivedMessage: ~Copyable {
    public let bytes: [UInt8]
    /// Bytes or descriptors were lost because the receiver's room was too small.
    public let isTruncated: Bool
    private var numbers: [CInt]

    init(bytes: [UInt8], isTruncated: Bool, numbers: [CInt]) {
        self.bytes = bytes
        self.isTruncated = isTruncated
        self.numbers = numbers
    }

    deinit { for number in numbers { _ = Glibc.close(number) } }

    public var descriptorCount: Int { numbers.count }

    /// The first descriptor that was not taken yet.
    public mutating func takeDescriptor() -> Descriptor? {
        numbers.isEmpty ? nil : Descriptor(owning: numbers.removeFirst())
    }
}
