import Model
import State

/// How one engine's networks are laid out. Two engines in one network namespace need different bridge and table names.
public struct NetworksConfiguration: Sendable {
    /// The default bridge; at most 15 bytes.
    public var bridge = "skiff0"
    /// The nftables table (family inet) that is ours alone. One engine's bridge, one engine's table.
    public var table: String { bridge == "skiff0" ? "skiff" : "skiff-" + bridge }
    /// False leaves the host's rules alone: no address translation, and no port can be published.
    public var managesFirewall = true
    /// The default network's subnet; nil picks the first of `pools` that no route, address or name server of the host touches.
    public var subnet: IPv4Subnet?
    public var pools: [IPv4Subnet] = NetworksConfiguration.defaultPools
    /// Nil takes the smallest of 1500 and the MTU of the default route's link.
    public var mtu: UInt32?
    /// Bridged sandboxes, and bare ones (`--network none`), that are kept prepared; 0 makes each on demand.
    public var warmBridged = 8
    public var warmBare = 4

    public init() {}

    /// Private networks, those that few people and programs use first.
    public static let defaultPools: [IPv4Subnet] = {
        let middle = [30, 31, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18].map { "172.\($0).0.0/16" }
        let large = stride(from: 213, through: 130, by: -1).map { "10.\($0).0.0/16" }
        let small = stride(from: 240, through: 128, by: -16).map { "192.168.\($0).0/20" }
        return (middle + large + small).compactMap { IPv4Subnet($0) }
    }()
}

/// Where network records are kept. Blocking, microseconds.
public protocol NetworkStore: Sendable {
    func networks() throws -> [NetworkRecord]
    /// Inserts, or replaces the one with the same id. Success means that the record survives a kill of this process.
    /// - Throws: `conflict` when another network has the name.
    func save(_ record: NetworkRecord) throws
    func delete(network id: ObjectID) throws
    /// Success means that what was saved and deleted before survives a power cut.
    func sync() async throws
}

extension Database: NetworkStore {
    public func networks() throws -> [NetworkRecord] { try read { try $0.networks() } }
    public func save(_ record: NetworkRecord) throws { try write { try $0.save(record) } }
    public func delete(network id: ObjectID) throws { _ = try write { try $0.delete(network: id) } }
}
