import CKernel
import Glibc
import Model

/// SEQPACKET sockets of the unix(7) family: messages keep their borders, descriptors ride along, the peer's death is an end.
///
/// A message that is too long for one packet travels as a sealed memory file: the packet is then the one byte 1 and its first
/// descriptor is the file. JSON never starts with that byte. Sender and receiver do this by themselves.
public enum SeqPacket {
    /// Bytes of one packet; the socket's default buffers take it.
    public static let packetLimit = 128 << 10
    /// Descriptors of one message.
    public static let descriptorLimit = 8

    /// Both ends of a connection.
    public struct Pair: ~Copyable {
        public let first: Descriptor
        public let second: Descriptor

        init(first: consuming Descriptor, second: consuming Descriptor) {
            self.first = first
            self.second = second
        }

        /// Takes the pair apart; the caller owns both numbers.
        public consuming func release() -> [CInt] { [first.release(), second.release()] }
    }

    /// socketpair(2)
    public static func pair(nonblocking: Bool = false) throws -> Pair {
        var ends: [CInt] = [-1, -1]
        try kernel("socketpair") { ck_seqpacket_pair(&ends, nonblocking ? 1 : 0) }
        return Pair(first: Descriptor(owning: ends[0]), second: Descriptor(owning: ends[1]))
    }

    /// A listening, non-blocking socket at `path`, mode 0600. What stands at the path is replaced.
    /// Paths of any length work: the address goes by /proc/self/fd/N/name (unix(7) takes 107 bytes).
    public static func listen(at path: String, backlog: CInt = 16) throws -> Descriptor {
        let place = try Place(path)
        let socket = Descriptor(owning: try kernel("socket") { ck_seqpacket_socket() })
        if unlinkat(place.folder.raw, place.name, 0) != 0, errno != ENOENT {
            throw KernelFault("unlink", errno: errno, path)
        }
        // A socket's mode is that of the descriptor at the time of bind(2)
        try kernel("fchmod", path) { fchmod(socket.raw, 0o600) }
        try kernel("bind", path) { ck_unix_bind(socket.raw, place.address) }
        try kernel("listen", path) { Glibc.listen(socket.raw, backlog) }
        try PollIO.setNonblocking(socket.raw)
        return socket
    }

    /// A connection to `path`, non-blocking. Never waits: EAGAIN is thrown where too many others wait to be accepted.
    public static func connect(to path: String) throws -> Descriptor {
        let place = try Place(path)
        let socket = Descriptor(owning: try kernel("socket") { ck_seqpacket_socket() })
        try PollIO.setNonblocking(socket.raw)
        try kernel("connect", path) { ck_unix_connect(socket.raw, place.address) }
        return socket
    }

    /// The next waiting connection, non-blocking; nil when there is none. accept(2)
    public static func accept(_ listener: CInt) throws -> Descriptor? {
        let raw = ck_accept(listener)
        if raw >= 0 { return Descriptor(owning: raw) }
        if [EAGAIN, EINTR, ECONNABORTED].contains(errno) { return nil }
        throw KernelFault("accept", errno: errno)
    }

    /// Who is at the other end (SO_PEERCRED: as of connect or socketpair).
    public static func peer(of socket: CInt) throws -> Caller {
        var pid: pid_t = 0
        var uid: uid_t = 0
        var gid: gid_t = 0
        try kernel("getsockopt SO_PEERCRED") { ck_peer(socket, &pid, &uid, &gid) }
        return Caller(uid: uid, gid: gid, pid: pid)
    }

    /// Sends one message; false when the socket's buffer is full (nothing was sent).
    public static func send(_ message: [UInt8], descriptors: [CInt] = [], on socket: CInt) throws -> Bool {
        guard !message.isEmpty, descriptors.count <= descriptorLimit else { throw KernelFault("sendmsg", errno: EINVAL) }
        if message.count <= packetLimit { return try sendPacket(message, descriptors, socket) }
        let file = try memoryFile(message)
        return try sendPacket([1], [file.raw] + descriptors, socket)
    }

    private static func sendPacket(_ bytes: [UInt8], _ descriptors: [CInt], _ socket: CInt) throws -> Bool {
        while true {
            if ck_send(socket, bytes, bytes.count, descriptors, CInt(descriptors.count), 0) >= 0 { return true }
            switch errno {
            case EINTR: continue
            case EAGAIN, ENOBUFS: return false
            default: throw KernelFault("sendmsg", errno: errno)
            }
        }
    }

    /// Bytes in a sealed memory file. memfd_create(2)
    private static func memoryFile(_ bytes: [UInt8]) throws -> Descriptor {
        let file = Descriptor(owning: try kernel("memfd_create") { ck_memfd("message") })
        try PollIO.writeAll(bytes, to: file.raw)
        try kernel("fcntl F_ADD_SEALS") { ck_seal(file.raw) }
        return file
    }

    public enum Received {
        /// Nothing waits.
        case nothing
        /// The other end has closed.
        case end
        case message([UInt8], PassedDescriptors)
    }

    /// The next message, of at most `limit` bytes. Never blocks on a non-blocking socket. recvmsg(2)
    public static func receive(on socket: CInt, limit: Int = 8 << 20) throws -> Received {
        let length: Int
        do { length = try kernel("recv") { ck_next_length(socket) } } catch let fault as KernelFault {
            if fault.errno == EAGAIN { return .nothing }
            if fault.errno == ECONNRESET { return .end }
            throw fault
        }
        // Nobody sends empty packets, so nothing is the end
        guard length > 0 else { return .end }
        guard length <= packetLimit else { throw KernelFault("recvmsg", errno: EMSGSIZE) }
        var descriptors = [CInt](repeating: -1, count: descriptorLimit + 1)
        var count = CInt(descriptors.count)
        var received = 0
        let bytes = try [UInt8](unsafeUninitializedCapacity: length) { buffer, initialized in
            received = try kernel("recvmsg") { ck_receive(socket, buffer.baseAddress, length, &descriptors, &count) }
            initialized = received
        }
        let passed = PassedDescriptors(Array(descriptors.prefix(Int(count))))
        guard bytes == [1] else { return .message(bytes, passed) }
        guard let file = passed.next() else { throw KernelFault("recvmsg", errno: EBADMSG) }
        return .message(try content(of: file, limit: limit), passed)
    }

    /// Only a sealed memory file is read: reading anything else could block or change under our hands.
    private static func content(of file: borrowing Descriptor, limit: Int) throws -> [UInt8] {
        guard ck_is_sealed(file.raw) == 1 else { throw KernelFault("fcntl F_GET_SEALS", errno: EBADMSG) }
        var status = stat()
        let raw = file.raw
        try kernel("fstat") { fstat(raw, &status) }
        let size = Int(status.st_size)
        guard size <= limit else { throw KernelFault("recvmsg", errno: EMSGSIZE) }
        return try [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
            while initialized < size {
                let at = initialized
                let part = try kernel("pread") { pread(raw, buffer.baseAddress?.advanced(by: at), size - at, off_t(at)) }
                guard part > 0 else { return }
                initialized += part
            }
        }
    }

    /// A socket's folder, held open, and an address below it that fits.
    private struct Place: ~Copyable {
        let folder: Descriptor
        let name: String
        let address: String

        init(_ path: String) throws {
            let slash = path.lastIndex(of: "/")
            name = slash.map { String(path[path.index(after: $0)...]) } ?? path
            let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
            folder = Descriptor(
                owning: try kernel("open", parent) { open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) })
            address = path.utf8.count <= 107 ? path : "/proc/self/fd/\(folder.raw)/\(name)"
        }
    }
}

/// Descriptors that came with a message; those that nobody takes are closed.
public final class PassedDescriptors {
    private var raw: [CInt]

    public init(_ raw: [CInt]) { self.raw = raw }

    deinit { for descriptor in raw { _ = close(descriptor) } }

    public var count: Int { raw.count }

    /// The first one left; the caller owns it.
    public func next() -> Descriptor? { raw.isEmpty ? nil : Descriptor(owning: raw.removeFirst()) }
}
