import Glibc

/// Stream sockets in the file system (unix(7)), from the client's side.
public enum SocketCalls {
    /// The longest path that fits a sockaddr_un.
    public static let longestPath = 107

    /// Connects; the fault's errno tells ENOENT and ECONNREFUSED (nobody there) from EACCES.
    public static func connect(path: String) throws -> Descriptor {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count <= longestPath else { throw KernelFault("connect", errno: ENAMETOOLONG, path) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        let socket = Descriptor(owning: try kernel("socket") { Glibc.socket(AF_UNIX, type, 0) })
        let raw = socket.raw
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        try kernel("connect", path) {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(raw, $0, length) }
            }
        }
        return socket
    }

    /// Nothing more will be sent; the other side may go on (shutdown(2) SHUT_WR).
    public static func endWriting(_ fd: CInt) { _ = shutdown(fd, CInt(SHUT_WR)) }

    public static func nobodyThere(_ fault: KernelFault) -> Bool { fault.errno == ENOENT || fault.errno == ECONNREFUSED }
    public static func notAllowed(_ fault: KernelFault) -> Bool { fault.errno == EACCES || fault.errno == EPERM }
    public static func isBrokenPipe(_ fault: KernelFault) -> Bool { fault.errno == EPIPE || fault.errno == ECONNRESET }
}
