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
    /// Rules are added to chains of other programs that drop by default what is forwarded; false only says which they are.
    public var opensForwarding = true
    /// The default network's subnet; nil picks the first of `pools` that no route, address or name server of the host touches.
    public var subnet: IPv4Subnet?
    public var pools: [IPv4Subnet] = NetworksConfiguration.defaultPools
    /// Where networks of the user's own get their IPv4 subnets from, each with a prefix of `userPrefix` bits: hundreds of
    /// networks fit.
    public var userPools: [IPv4Subnet] = NetworksConfiguration.defaultUserPools
    public var userPrefix: UInt8 = 24
    /// The default network, and those of the user's own that do not say otherwise, have IPv6 too where the kernel has it.
    public var enablesIPv6 = true
    /// The default network's IPv6 subnet; nil is one of the engine's own prefix.
    public var subnet6: IPv6Subnet?
    /// The bridge's own address in `subnet6`, and the part of it that containers get addresses from; nil is the first address,
    /// and the whole subnet.
    public var gateway6: IPv6Address?
    public var range6: IPv6Subnet?
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

extension NetworkStore {
    /// The 40 bits that this engine's IPv6 networks have in common (RFC 4193 3.2): chosen at random once, and kept.
    func globalID() throws -> UInt64 {
        if let text = try value("network.ula"), let value = UInt64(text, radix: 16) { return value }
        var generator = SystemRandomNumberGenerator()
        let value = UInt64.random(in: 0..<(1 << 40), using: &generator)
        try setValue("network.ula", String(value, radix: 16))
        return value
    }
}

extension IPv6Subnet {
    /// fd00::/8, 40 bits of the engine, 16 of the network (RFC 4193).
    package init(globalID: UInt64, number: UInt16) {
        let high: UInt64 = 0xFD << 56 | (globalID & 0xFF_FFFF_FFFF) << 16 | UInt64(number)
        self.init(IPv6Address(high: high, low: 0), prefix: 64)
    }
}

extension Database: NetworkStore {
    public func networks() throws -> [NetworkRecord] { try read { try $0.networks() } }
    public func save(_ record: NetworkRecord) throws { try write { try $0.save(record) } }
    public func value(_ key: String) throws -> String? { try read { try $0.meta(key) } }
    public func setValue(_ key: String, _ value: String) throws { try write { try $0.setMeta(key, value) } }
    public func delete(network id: ObjectID) throws { _ = try write { try $0.delete(network: id) } }
}
