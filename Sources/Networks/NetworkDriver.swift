import Linux
import Model

/// A network whose links are there.
package struct StandingNetwork: Sendable {
    package var record: NetworkRecord
    /// The bridge, or the parent link; 0 where sandboxes have nothing of the host's.
    package var index: Int32
    package var mtu: UInt32
}

/// What makes networks of one kind. A driver keeps nothing: the record says what is wanted, the kernel what is there. Calls come
/// on a thread of the networks' own, in the host's network namespace.
package protocol NetworkDriver: Sendable {
    /// Makes or finds what the network needs of the host. Repeatable, also over what a killed engine left half done.
    func raise(_ record: NetworkRecord, _ host: HostLinks, warn: (String) -> Void) throws -> StandingNetwork

    /// Takes away what `raise` made: names and addresses are free when it returns. Repeatable. Sandboxes that are attached lose
    /// their way. The answer is a link that is still to be deleted, which costs time.
    func lower(_ record: NetworkRecord, _ host: HostLinks) throws -> Int32?

    /// The endpoint with the names of its links, to which its addresses were given.
    func named(_ endpoint: EndpointRecord, on network: StandingNetwork) -> EndpointRecord

    /// What makes the endpoint's link in a namespace under `endpoint.interface`, as one conversation with the host. EEXIST means
    /// that the address still has a link.
    func attachment(_ endpoint: EndpointRecord, to network: StandingNetwork, namespace: CInt) -> [NetlinkMessage]
}

extension NetworkDriverSettings {
    /// Nil for networks that no sandbox is attached to by a link of ours (host, null).
    package var driver: (any NetworkDriver)? {
        switch self {
        case .bridge: BridgeDriver()
        case .macvlan, .ipvlan: ParentDriver()
        case .host, .null, .cni: nil
        }
    }
}

/// The host's links as they were read, and the conversation that changes them.
package final class HostLinks {
    package let socket: NetlinkSocket
    private let configured: UInt32?
    private var known: [String: LinkInfo]?

    /// With `dump`, all links are read once instead of each when it is asked for.
    package init(_ socket: NetlinkSocket, mtu: UInt32? = nil, dump: Bool = false) throws {
        self.socket = socket
        configured = mtu
        if dump { known = Dictionary(try socket.links().map { ($0.name, $0) }) { first, _ in first } }
    }

    package func link(_ name: String) throws -> LinkInfo? {
        if let link = known?[name] { return link }
        return try socket.link(named: name)
    }

    /// What containers get unless the network says otherwise: no larger than what leaves the host. A path that silently drops larger packets
    /// is the commonest complaint behind VPNs and clouds.
    package private(set) lazy var mtu: UInt32 = configured ?? (try? outwardMTU()) ?? 1500

    private func outwardMTU() throws -> UInt32 {
        let best = try socket.routes().filter { $0.destination.prefix == 0 && $0.type == 1 && $0.table == 254 }
            .min { $0.metric < $1.metric }
        guard let best, let link = try socket.links().first(where: { $0.index == best.link }), link.mtu >= 576 else {
            return 1500
        }
        return min(1500, link.mtu)
    }
}
