import Linux
import Model
import Names

/// The sockets on which a sandbox's names are answered: 127.0.0.11, UDP and TCP. Made inside the sandbox's network namespace,
/// served by the process that holds the names.
///
/// Clients send to port 53. The sockets are at another port, and rules of the namespace's own exchange the two, so that a
/// program in the container may listen on port 53 of every address, as with docker. Where the kernel has no such rules the
/// sockets take port 53 themselves.
public final class NamesSockets: Sendable {
    public static let address = NamesSandbox.address
    package static let table = "skiff-names"
    /// Below the ports that the kernel gives out, and nobody's.
    private static let ports: ClosedRange<UInt16> = 24053...24060
    private static let standardPort: UInt16 = 53

    public let datagrams: SharedDescriptor
    public let listener: SharedDescriptor
    /// Port 53 is taken: the kernel could not rewrite ports, and said why.
    public let obstacle: String?
    /// For name servers in the sandbox itself: one for datagrams, one for a stream, for each. They lead nowhere yet.
    public let inner: [SharedDescriptor]

    private init(port: UInt16, obstacle: String? = nil) throws {
        inner = []
        let address = IPAddress.v4(Self.address)
        datagrams = SharedDescriptor(try DatagramSocket.bind(address, port: port))
        listener = SharedDescriptor(try DatagramSocket.listen(address, port: port, backlog: 64))
        self.obstacle = obstacle
    }

    /// The same, and some to ask servers of the sandbox.
    private init(_ sockets: NamesSockets, _ servers: [NameServer]) throws {
        datagrams = sockets.datagrams
        listener = sockets.listener
        obstacle = sockets.obstacle
        inner = try servers.flatMap { server in
            try [false, true].map { SharedDescriptor(try DatagramSocket.unconnected(server.address, isStream: $0)) }
        }
    }

    /// In the order in which the process takes them.
    var descriptors: [CInt] { [datagrams.raw, listener.raw] + inner.map(\.raw) }

    /// In the calling thread's network namespace, whose `lo` is there (it need not be up). Repeatable: later sockets take the
    /// place of earlier ones whose holder is gone; `isRenewal` says that this is likely, and that rules which are there stay.
    public static func open(isRenewal: Bool = false) throws -> NamesSockets {
        var last: (any Error)?
        for port in ports {
            do {
                let sockets = try NamesSockets(port: port)
                do { try rewrite(to: port, isRenewal) } catch let fault as KernelFault {
                    return try NamesSockets(port: standardPort, obstacle: "\(fault)")
                }
                return sockets
            } catch let fault as KernelFault where fault.isAddressInUse {
                last = fault
            }
        }
        throw last ?? KernelFault("bind", errno: 98)
    }

    private static func rewrite(to port: UInt16, _ isRenewal: Bool) throws {
        let rules = LoopbackPortRewrite(table: table, address: address.bytes, port: standardPort, target: port)
        let socket = try NetlinkSocket(.netfilter)
        if isRenewal, (try? socket.query(rules.search)) != nil { return }
        // In a namespace that is new there is no table. Not to delete one matters: closing the socket would wait until the kernel
        // has freed what was deleted, some sixteen milliseconds.
        let whole = rules.messages
        var fresh = Array(whole.dropFirst(2))
        fresh[0].flags |= NetlinkMessage.flagExclusive
        guard let first = try socket.batch(fresh).first else { return }
        guard first.fault.isAlreadyThere else { throw first.fault }
        if let fault = try socket.batch(whole).first?.fault { throw fault }
    }

    /// As `open`, in another namespace; the calling thread, which must be its own, comes back. `made` are sockets that are there
    /// already, but for those for `servers`.
    static func open(in namespace: CInt, made: NamesSockets?, servers: [NameServer], isRenewal: Bool) throws -> NamesSockets {
        let home = try NetNamespace.current()
        try NetNamespace.enter(namespace)
        let result = Result {
            let sockets = try made ?? open(isRenewal: isRenewal)
            return servers.isEmpty ? sockets : try NamesSockets(sockets, servers)
        }
        try NetNamespace.enter(home.raw)
        return try result.get()
    }
}
