import Glibc
import Linux
import Model
import Networks
import State
import Synchronization
import TestSupport

final class MemoryNetworkStore: NetworkStore {
    private let records = Mutex<[ObjectID: NetworkRecord]>([:])
    func networks() throws -> [NetworkRecord] { records.withLock { Array($0.values) } }
    func save(_ record: NetworkRecord) throws { records.withLock { $0[record.id] = record } }
    func delete(network id: ObjectID) throws { records.withLock { $0[id] = nil } }
    func sync() async throws {}
    private let values = Mutex<[String: String]>([:])
    func value(_ key: String) throws -> String? { values.withLock { $0[key] } }
    func setValue(_ key: String, _ value: String) throws { values.withLock { $0[key] = value } }
}

/// Whether this kernel has what our table is made of: the family inet, and chains of type nat. User-mode Linux answers to
/// nf_tables' messages, but has no family.
let hasTables: Bool = {
    let table = TablesRequest(table: "skiff-probe")
    let faults = try? NamespaceThread().run {
        try NetlinkSocket(.netfilter).batch([
            table.create(note: ""),
            table.create(chain: "probe", type: "nat", hook: .prerouting, priority: -100),
        ]).count
    }
    return faults == 0
}()

/// A host and its neighbour on a LAN, each a namespace of the test's own, and an engine's networks on the host.
///
///     neighbour 198.51.100.2 ---- 198.51.100.1 host 172.30.0.1 ---- containers 172.30.0.0/16
final class NetworkScene: Sendable {
    static let hostAddress = "198.51.100.1"
    static let neighbourAddress = "198.51.100.2"

    let host: NamespaceThread
    let neighbour: NamespaceThread
    let store = MemoryNetworkStore()
    let warnings = Mutex<[String]>([])

    init() throws {
        host = try NamespaceThread()
        let neighbour = try NamespaceThread()
        self.neighbour = neighbour
        try host.run {
            let socket = try NetlinkSocket(.route)
            try socket.transact([
                VethRequest(
                    name: "lan0", master: 0, mtu: 1500, group: 0, peerName: "eth0",
                    peerMAC: MACAddress(of: IPv4Address(number: 0xC633_6402)), namespace: neighbour.namespace.raw
                ).message
            ])
            let link = try socket.link(named: "lan0")
            try socket.transact([
                RouteRequest.add(address: IPv4Address(number: 0xC633_6401), prefix: 24, link: link?.index ?? 0)
            ])
            // Without it the kernel itself drops 127.0.0.0/8 from outside, and the tests would not see our own guard.
            try NetSysctl.write("ipv4/conf/lan0/route_localnet", "1")
        }
        try neighbour.run {
            let socket = try NetlinkSocket(.route)
            let link = try socket.link(named: "eth0")
            try socket.transact([
                RouteRequest.set("eth0", isUp: true),
                RouteRequest.add(address: IPv4Address(number: 0xC633_6402), prefix: 24, link: link?.index ?? 0),
                RouteRequest.add(route: nil, gateway: IPv4Address(number: 0xC633_6401), link: link?.index ?? 0),
            ])
        }
        _ = eventually(timeout: 3) { [host] in
            (try? host.run { try NetlinkSocket(.route).link(named: "lan0")?.isRunning }) == true
        }
    }

    func service(warm: Int = 2, _ change: @escaping @Sendable (inout NetworksConfiguration) -> Void = { _ in }) throws
        -> SandboxService
    {
        try host.run { [self] in
            var configuration = NetworksConfiguration()
            configuration.warmBridged = warm
            configuration.warmBare = warm
            change(&configuration)
            return try SandboxService(configuration: configuration, store: store) { [self] text in
                warnings.withLock { $0.append(text) }
            }
        }
    }

    /// A service over an empty past.
    func started(warm: Int = 2) async throws -> SandboxService {
        let service = try service(warm: warm)
        try await service.restore([])
        return service
    }

    func fromNeighbour(_ address: String, _ port: UInt16, _ proto: PortProtocol = .tcp, milliseconds: Int32 = 1500) throws
        -> Talk
    {
        try neighbour.run { Talk.to(address, port, proto, milliseconds: milliseconds) }
    }

    func fromHost(_ address: String, _ port: UInt16, _ proto: PortProtocol = .tcp, milliseconds: Int32 = 1500) throws -> Talk {
        try host.run { Talk.to(address, port, proto, milliseconds: milliseconds) }
    }

    /// The host's links that are sandboxes' ends.
    func sandboxLinks() throws -> [String] {
        try host.run { try NetlinkSocket(.route).links().filter { $0.kind == "veth" && $0.master != 0 }.map(\.name) }
    }

    /// Elements of one of our maps.
    func elements(_ map: String) throws -> Int {
        try host.run { try NetlinkSocket(.netfilter).elements(of: map, in: TablesRequest(table: "skiff")).count }
    }

    /// Lets the calling namespace send to 127.0.0.0/8 by way of a gateway, as an attacker with its own root would.
    static func routeLoopback(by gateway: IPv4Address) throws {
        let socket = try NetlinkSocket(.route)
        try socket.transact([RouteRequest.set("lo", isUp: false)])
        let link = try socket.link(named: "eth0")
        try socket.transact([
            RouteRequest.add(
                route: IPv4Subnet(IPv4Address(number: 0x7F00_0000), prefix: 8), gateway: gateway, link: link?.index ?? 0)
        ])
    }
}

/// A container of the test: a sandbox, and a thread in it.
final class SceneContainer: Sendable {
    let lease: SandboxLease
    let thread: NamespaceThread

    init(_ service: SandboxService, _ name: String, ports: [PortRequest] = []) async throws {
        lease = try await service.acquire(.bridged(service, name, ports: ports))
        thread = try NamespaceThread(lease.netns)
    }

    /// On these networks, in this order.
    init(_ service: SandboxService, _ name: String, on networks: [NetworkRecord], ports: [PortRequest] = []) async throws {
        lease = try await service.acquire(
            SandboxRequest(
                id: .random(), name: name, attachments: networks.map { AttachmentRequest(network: $0.id) }, ports: ports))
        thread = try NamespaceThread(lease.netns)
    }

    var address: String { lease.record.primary?.ipv4?.address.description ?? "" }

    func talk(_ address: String, _ port: UInt16, _ proto: PortProtocol = .tcp, milliseconds: Int32 = 1500) throws -> Talk {
        try thread.run { Talk.to(address, port, proto, milliseconds: milliseconds) }
    }
}

extension SandboxRequest {
    /// On the default network.
    static func bridged(
        _ service: SandboxService, _ name: String, id: ObjectID = .random(), ports: [PortRequest] = [],
        address: IPv4Address? = nil, mac: MACAddress? = nil
    ) -> SandboxRequest {
        var wish = AttachmentRequest(network: service.network.id)
        wish.ipv4 = address
        wish.mac = mac
        return SandboxRequest(id: id, name: name, attachments: [wish], ports: ports)
    }
}

extension PortRequest {
    static func port(_ host: UInt16?, _ container: UInt16, _ proto: PortProtocol = .tcp, on address: String? = nil)
        -> PortRequest
    {
        PortRequest(
            containerPort: container, proto: proto, hostAddress: address.flatMap { IPAddress($0) },
            hostPorts: host.map { $0...$0 })
    }
}
