import Glibc
import Linux
import Model

/// What came of an attempt to reach a port.
enum Talk: Equatable, CustomStringConvertible {
    /// The server saw the client under this address.
    case answered(seenAs: String)
    case refused
    case silence
    case failed(Int32)

    var description: String {
        switch self {
        case .answered(let address): "answered, seen as \(address)"
        case .refused: "refused"
        case .silence: "silence"
        case .failed(let code): "errno \(code)"
        }
    }

    /// A datagram or a connection from the calling thread's namespace; `milliseconds` is how long silence lasts.
    static func to(
        _ address: String, _ port: UInt16, _ proto: PortProtocol = .tcp, milliseconds: Int32 = 1500, from own: UInt16 = 0
    ) -> Talk {
        let raw = socket(AF_INET, CInt((proto == .tcp ? SOCK_STREAM : SOCK_DGRAM).rawValue) | 0o2004000, 0)
        guard raw >= 0 else { return .failed(errno) }
        defer { close(raw) }
        var name = socketAddress(address, port)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        if own != 0 {
            var name = socketAddress("0.0.0.0", own)
            _ = withUnsafePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(raw, $0, size) }
            }
        }
        let code = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(raw, $0, size) }
        }
        if code != 0, errno != EINPROGRESS { return errno == ECONNREFUSED ? .refused : .failed(errno) }
        if proto == .udp { send(raw, "?", 1, 0) }
        var poll = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        guard Glibc.poll(&poll, 1, milliseconds) > 0 else { return .silence }
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = recv(raw, &buffer, 64, 0)
        if count < 0 { return errno == ECONNREFUSED ? .refused : .failed(errno) }
        return count == 0 ? .failed(0) : .answered(seenAs: String(decoding: buffer[..<count], as: UTF8.self))
    }

    static func socketAddress(_ address: String, _ port: UInt16) -> sockaddr_in {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = inet_addr(address)
        return name
    }
}

/// A server that tells each client the address it sees, and holds its connection until the client goes.
final class EchoServer: Sendable {
    private let listener: CInt

    /// In the namespace of the thread; ends with this object.
    init(_ thread: NamespaceThread, _ port: UInt16, _ proto: PortProtocol = .tcp, address: String = "0.0.0.0") throws {
        listener = try thread.run {
            let raw = socket(AF_INET, CInt((proto == .tcp ? SOCK_STREAM : SOCK_DGRAM).rawValue) | 0o2000000, 0)
            var one: CInt = 1
            setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &one, 4)
            var name = Talk.socketAddress(address, port)
            let size = socklen_t(MemoryLayout<sockaddr_in>.size)
            try kernel("bind", "\(address):\(port)") {
                withUnsafePointer(to: &name) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(raw, $0, size) }
                }
            }
            if proto == .tcp { try kernel("listen") { listen(raw, 64) } }
            return raw
        }
        try startThread { [listener] in
            if proto == .tcp { Self.serveConnections(listener) } else { Self.serveDatagrams(listener) }
            close(listener)
        }
    }

    deinit { shutdown(listener, CInt(SHUT_RDWR)) }

    private static func serveConnections(_ listener: CInt) {
        var open: [CInt] = []
        defer { for raw in open { close(raw) } }
        while true {
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let raw = withUnsafeMutablePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { accept(listener, $0, &size) }
            }
            if raw < 0 { return }
            let text = String(cString: inet_ntoa(peer.sin_addr))
            send(raw, text, text.utf8.count, CInt(MSG_NOSIGNAL))
            open.append(raw)
        }
    }

    private static func serveDatagrams(_ listener: CInt) {
        var buffer = [UInt8](repeating: 0, count: 64)
        while true {
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { recvfrom(listener, &buffer, 64, 0, $0, &size) }
            }
            // shutdown(2) of a datagram socket ends a waiting receive with nothing.
            if count <= 0 { return }
            let text = String(cString: inet_ntoa(peer.sin_addr))
            _ = withUnsafePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(listener, text, text.utf8.count, 0, $0, size)
                }
            }
        }
    }
}
