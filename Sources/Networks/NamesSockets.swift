import Linux
import Model

/// The sockets on which a sandbox's names are answered: 127.0.0.11, UDP and TCP. Made inside the sandbox's network namespace,
/// served by the process that holds the names.
///
/// Clients send to port 53. The sockets are at another port, and rules of the namespace's own exchange the two, so that a
/// program in the container may listen on port 53 of every address, as with docker. Where the kernel has no such rules the
/// sockets take port 53 themselves.
public final class NamesSockets: Sendable {
    public static let address = IPv4Address(number: 0x7F00_000B)
    package static let table = "skiff-names"
    /// Below the ports that the kernel gives out, and nobody's.
    private static let ports: ClosedRange<UInt16> = 24053...24060
    private static let standardPort: UInt16 = 53

    public let datagrams: SharedDescriptor
    public let listener: SharedDescriptor
    /// Port 53 is taken: the kernel could not rewrite ports, and said why.
    public let obstacle: String?

    private init(port: UInt16, obstacle: String? = nil) throws {
        let address = IPAddress.v4(Self.address)
        datagrams = SharedDescriptor(try DatagramSocket.bind(address, port: port))
        listener = SharedDescriptor(try DatagramSocket.listen(address, port: port, backlog: 64))
        self.obstacle = obstacle
    }

    /// In the calling thread's network namespace, whose `lo` is there (it need not be up). Repeatable: later sockets take the
    /// place of earlier ones whose holder is gone.
    public static func open() throws -> NamesSockets {
        var last: (any Error)?
        for port in ports {
            do {
                let sockets = try NamesSockets(port: port)
                do { try rewrite(to: port) } catch let fault as KernelFault {
                    return try NamesSockets(port: standardPort, obstacle: "\(fault)")
                }
                return sockets
            } catch let fault as KernelFault where fault.isAddressInUse {
                last = fault
            }
        }
        throw last ?? KernelFault("bind", errno: 98)
    }

    private static func rewrite(to port: UInt16) throws {
        let rules = LoopbackPortRewrite(table: table, address: address.bytes, port: standardPort, target: port)
        let socket = try NetlinkSocket(.netfilter)
        // In a namespace that is new there is no table. Not to delete one matters: closing the socket would wait until the kernel
        // has freed what was deleted, some sixteen milliseconds.
        let whole = rules.messages
        var fresh = Array(whole.dropFirst(2))
        fresh[0].flags |= NetlinkMessage.flagExclusive
        guard let first = try socket.batch(fresh).first else { return }
        guard first.fault.isAlreadyThere else { throw first.fault }
        if let fault = try socket.batch(whole).first?.fault { throw fault }
    }

    /// As `open`, in another namespace; the calling thread, which must be its own, comes back.
    public static func open(in namespace: CInt) throws -> NamesSockets {
        let home = try NetNamespace.current()
        try NetNamespace.enter(namespace)
        let result = Result { try open() }
        try NetNamespace.enter(home.raw)
        return try result.get()
    }
}
