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
    /// Where networks of the user's own get their IPv4 subnets from, each with a prefix of `userPrefix` bits: hundreds of
    /// networks fit.
    public var userPools: [IPv4Subnet] = NetworksConfiguration.defaultUserPools
    public var userPrefix: UInt8 = 24
    /// Networks of the user's own have IPv6 too, unless they say otherwise and where the kernel has it.
    public var enablesIPv6 = true
    /// Nil takes the smallest of 1500 and the MTU of the default route's link.
    public var mtu: UInt32?
    /// Bridged sandboxes, and bare ones (`--network none`), that are kept prepared; 0 makes each on demand.
    public var warmBridged = 8
    public var warmBare = 6

    public init() {}

    /// Private networks, those that few people and programs use first.
    public static let defaultPools: [IPv4Subnet] = {
        let middle = [30, 31, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18].map { "172.\($0).0.0/16" }
        let large = stride(from: 213, through: 130, by: -1).map { "10.\($0).0.0/16" }
        let small = stride(from: 240, through: 128, by: -16).map { "192.168.\($0).0/20" }
        return (middle + large + small).compactMap { IPv4Subnet($0) }
    }()

    /// The same from behind, so that the default network and the others seldom look for the same.
    public static let defaultUserPools: [IPv4Subnet] = {
        let middle = (18...31).map { "172.\($0).0.0/16" }
        let large = (130...213).map { "10.\($0).0.0/16" }
        return (middle + large + ["192.168.128.0/17"]).compactMap { IPv4Subnet($0) }
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
    /// A value of the engine's own that is kept.
    func value(_ key: String) throws -> String?
    func setValue(_ key: String, _ value: String) throws
}

extension Database: NetworkStore {
    public func networks() throws -> [NetworkRecord] { try read { try $0.networks() } }
    public func save(_ record: NetworkRecord) throws { try write { try $0.save(record) } }
    public func value(_ key: String) throws -> String? { try read { try $0.meta(key) } }
    public func setValue(_ key: String, _ value: String) throws { try write { try $0.setMeta(key, value) } }
    public func delete(network id: ObjectID) throws { _ = try write { try $0.delete(network: id) } }
}
