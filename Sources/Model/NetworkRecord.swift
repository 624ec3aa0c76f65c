import JSON

/// Addresses that a network hands out: docker's IPAM configuration, complete (nothing is left to be chosen).
public struct AddressRange: Sendable, Hashable {
    public var subnet: IPSubnet
    /// Where addresses without a wish come from; nil is the whole subnet.
    public var range: IPSubnet?
    /// Nil where the network has none (isolated, or ipvlan L3).
    public var gateway: IPAddress?
    /// Addresses that somebody else has, by name: never handed out.
    public var auxiliary: [String: IPAddress]

    public init(
        subnet: IPSubnet, range: IPSubnet? = nil, gateway: IPAddress? = nil, auxiliary: [String: IPAddress] = [:]
    ) {
        self.subnet = subnet
        self.range = range
        self.gateway = gateway
        self.auxiliary = auxiliary
    }
}

/// How the outside reaches a bridge network (docker's com.docker.network.bridge.gateway_mode_*).
public enum GatewayMode: String, Sendable, Hashable, CaseIterable, JSONReadable, JSONWritable {
    /// Published ports are redirected, what goes out is masqueraded.
    case nat
    /// No address translation: published ports are opened on the container's own address.
    case routed
    /// The host has no address on the bridge.
    case isolated
    /// As nat, and every port is reachable on the container's own address by who routes there.
    case natUnprotected = "nat-unprotected"
}

public struct BridgeSettings: Sendable, Hashable {
    /// The bridge's link; at most 15 bytes.
    public var bridge: String
    /// docker's default network: no names are resolved, `docker0`'s options.
    public var isDefault = false
    /// The link was there before the network, and stays when the network goes.
    public var isForeign = false
    /// Containers of this network reach one another (docker's ICC).
    public var allowsNeighbours = true
    public var masquerades = true
    /// Where ports without an address are published; nil is every address.
    public var hostBindingIPv4: IPv4Address?
    public var hostBindingIPv6: IPv6Address?
    public var gatewayModeIPv4 = GatewayMode.nat
    public var gatewayModeIPv6 = GatewayMode.nat
    /// The gateway's IPv4 address is somebody else's: the bridge gets none.
    public var inhibitsIPv4 = false
    /// Links whose neighbours may reach containers directly (trusted_host_interfaces).
    public var trustedInterfaces: [String] = []

    public init(bridge: String) { self.bridge = bridge }
}

public struct MacvlanSettings: Sendable, Hashable {
    public enum Mode: String, Sendable, Hashable, CaseIterable, JSONReadable, JSONWritable {
        case bridge, `private`, vepa, passthru
    }

    /// The host's link that the containers' links hang on.
    public var parent: String
    public var mode = Mode.bridge
    /// The parent was made for this network (a VLAN `eth0.10`, or a dummy) and goes with it.
    public var ownsParent = false

    public init(parent: String) { self.parent = parent }
}

public struct IpvlanSettings: Sendable, Hashable {
    public enum Mode: String, Sendable, Hashable, CaseIterable, JSONReadable, JSONWritable { case l2, l3, l3s }
    public enum Flag: String, Sendable, Hashable, CaseIterable, JSONReadable, JSONWritable { case bridge, `private`, vepa }

    public var parent: String
    public var mode = Mode.l2
    public var flag = Flag.bridge
    public var ownsParent = false

    public init(parent: String) { self.parent = parent }
}

/// A network's driver with what only that driver knows.
public enum NetworkDriverSettings: Sendable, Hashable {
    case bridge(BridgeSettings)
    case macvlan(MacvlanSettings)
    case ipvlan(IpvlanSettings)
    case host
    case null
    /// A plugin chain of this name under /etc/cni/net.d.
    case cni(String)

    /// Docker's word.
    public var word: String {
        switch self {
        case .bridge: "bridge"
        case .macvlan: "macvlan"
        case .ipvlan: "ipvlan"
        case .host: "host"
        case .null: "null"
        case .cni: "cni"
        }
    }
}

/// What a network has that is none, but settings for others to copy (docker's `--config-only`), besides its addresses and options.
public struct NetworkConfiguration: Sendable, Hashable {
    public var enablesIPv4 = true
    /// Nil leaves it to the engine, as in a request.
    public var enablesIPv6: Bool?

    public init(enablesIPv4: Bool = true, enablesIPv6: Bool? = nil) {
        self.enablesIPv4 = enablesIPv4
        self.enablesIPv6 = enablesIPv6
    }
}

/// A network as it is kept, so that it is the same after a restart.
public struct NetworkRecord: Sendable, Hashable {
    public static let currentVersion = 1

    public let id: ObjectID
    /// `bridge`, `host` and `none` are always there.
    public var name: String
    public var owner: Owner
    public var created: Timestamp
    public var driver: NetworkDriverSettings
    public var ipv4: [AddressRange] = []
    public var ipv6: [AddressRange] = []
    /// No way out, and none in but for neighbours and this host.
    public var isInternal = false
    public var isAttachable = false
    /// Nil takes the smallest of 1500 and the MTU of the default route's link.
    public var mtu: UInt32?
    /// Interfaces in containers begin with this; nil is `eth`.
    public var interfacePrefix: String?
    /// As they were given.
    public var options: [String: String] = [:]
    public var ipamOptions: [String: String] = [:]
    public var labels: [String: String] = [:]
    /// Set where nothing can be connected to it, because it is only a configuration; its driver is `null`.
    public var configuration: NetworkConfiguration?
    /// The configuration network that its settings were copied from (docker's ConfigFrom).
    public var configurationSource: String?

    public init(
        id: ObjectID, name: String, owner: Owner = .root, created: Timestamp, driver: NetworkDriverSettings
    ) {
        self.id = id
        self.name = name
        self.owner = owner
        self.created = created
        self.driver = driver
    }

    public var bridge: BridgeSettings? { if case .bridge(let settings) = driver { settings } else { nil } }
    public var subnets: [IPSubnet] { (ipv4 + ipv6).map(\.subnet) }
    /// The network that the engine makes itself, of which it finds out what it needs.
    public var isPredefined: Bool { ["bridge", "host", "none"].contains(name) }
    public var isConfiguration: Bool { configuration != nil }
    public var enablesIPv4: Bool { configuration.map(\.enablesIPv4) ?? !ipv4.isEmpty }
    public var enablesIPv6: Bool { configuration.map { $0.enablesIPv6 ?? false } ?? !ipv6.isEmpty }
}

extension AddressRange: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var subnet: IPSubnet?
        var range: IPSubnet?
        var gateway: IPAddress?
        var auxiliary: [String: IPAddress] = [:]
        try reader.object { key, reader in
            switch key {
            case "subnet": subnet = try reader.value()
            case "range": range = try reader.value()
            case "gateway": gateway = try reader.value()
            case "auxiliary": auxiliary = try reader.value()
            default: try reader.skip()
            }
        }
        guard let subnet else { throw reader.fault("subnet is missing") }
        self.init(subnet: subnet, range: range, gateway: gateway, auxiliary: auxiliary)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("subnet", subnet)
            writer.member("range", ifPresent: range)
            writer.member("gateway", ifPresent: gateway)
            if !auxiliary.isEmpty { writer.member("auxiliary", auxiliary) }
        }
    }
}

extension BridgeSettings: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(bridge: "")
        try reader.object { key, reader in
            switch key {
            case "bridge": bridge = try reader.value()
            case "isDefault": isDefault = try reader.value()
            case "isForeign": isForeign = try reader.value()
            case "allowsNeighbours": allowsNeighbours = try reader.value()
            case "masquerades": masquerades = try reader.value()
            case "hostBindingIPv4": hostBindingIPv4 = try reader.value()
            case "hostBindingIPv6": hostBindingIPv6 = try reader.value()
            case "gatewayModeIPv4": gatewayModeIPv4 = try reader.value()
            case "gatewayModeIPv6": gatewayModeIPv6 = try reader.value()
            case "inhibitsIPv4": inhibitsIPv4 = try reader.value()
            case "trustedInterfaces": trustedInterfaces = try reader.value()
            default: try reader.skip()
            }
        }
        guard !bridge.isEmpty else { throw reader.fault("bridge is missing") }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("bridge", bridge)
            writer.member("isDefault", isDefault)
            writer.member("isForeign", isForeign)
            writer.member("allowsNeighbours", allowsNeighbours)
            writer.member("masquerades", masquerades)
            writer.member("hostBindingIPv4", ifPresent: hostBindingIPv4)
            writer.member("hostBindingIPv6", ifPresent: hostBindingIPv6)
            writer.member("gatewayModeIPv4", gatewayModeIPv4)
            writer.member("gatewayModeIPv6", gatewayModeIPv6)
            writer.member("inhibitsIPv4", inhibitsIPv4)
            writer.member("trustedInterfaces", trustedInterfaces)
        }
    }
}

extension MacvlanSettings: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(parent: "")
        try reader.object { key, reader in
            switch key {
            case "parent": parent = try reader.value()
            case "mode": mode = try reader.value()
            case "ownsParent": ownsParent = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("parent", parent)
            writer.member("mode", mode)
            writer.member("ownsParent", ownsParent)
        }
    }
}

extension IpvlanSettings: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(parent: "")
        try reader.object { key, reader in
            switch key {
            case "parent": parent = try reader.value()
            case "mode": mode = try reader.value()
            case "flag": flag = try reader.value()
            case "ownsParent": ownsParent = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("parent", parent)
            writer.member("mode", mode)
            writer.member("flag", flag)
            writer.member("ownsParent", ownsParent)
        }
    }
}

extension NetworkDriverSettings: JSONReadable, JSONWritable {
    /// An object with one member, the driver's word.
    public init(from reader: inout JSONReader) throws {
        var found: NetworkDriverSettings?
        try reader.object { key, reader in
            switch key {
            case "bridge": found = .bridge(try reader.value())
            case "macvlan": found = .macvlan(try reader.value())
            case "ipvlan": found = .ipvlan(try reader.value())
            case "cni": found = .cni(try reader.value())
            case "host":
                try reader.skip()
                found = .host
            case "null":
                try reader.skip()
                found = .null
            default: throw reader.fault("network driver \"\(key)\" is unknown to this engine")
            }
        }
        guard let found else { throw reader.fault("the network driver is missing") }
        self = found
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            switch self {
            case .bridge(let settings): writer.member("bridge", settings)
            case .macvlan(let settings): writer.member("macvlan", settings)
            case .ipvlan(let settings): writer.member("ipvlan", settings)
            case .cni(let name): writer.member("cni", name)
            case .host: writer.member("host", true)
            case .null: writer.member("null", true)
            }
        }
    }
}

extension NetworkConfiguration: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init()
        try reader.object { key, reader in
            switch key {
            case "enablesIPv4": enablesIPv4 = try reader.value()
            case "enablesIPv6": enablesIPv6 = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("enablesIPv4", enablesIPv4)
            writer.member("enablesIPv6", ifPresent: enablesIPv6)
        }
    }
}

extension NetworkRecord: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var version = 0
        var id: ObjectID?
        var driver: NetworkDriverSettings?
        var content = NetworkRecord(id: .zero, name: "", created: Timestamp(nanoseconds: 0), driver: .null)
        try reader.object { key, reader in
            switch key {
            case "version": version = try reader.value()
            case "id": id = try reader.value()
            case "name": content.name = try reader.value()
            case "owner": content.owner = Owner(uid: try reader.value())
            case "created": content.created = Timestamp(nanoseconds: try reader.value())
            case "driver": driver = try reader.value()
            case "ipv4": content.ipv4 = try reader.value()
            case "ipv6": content.ipv6 = try reader.value()
            case "isInternal": content.isInternal = try reader.value()
            case "isAttachable": content.isAttachable = try reader.value()
            case "mtu": content.mtu = try reader.value()
            case "interfacePrefix": content.interfacePrefix = try reader.value()
            case "options": content.options = try reader.value()
            case "ipamOptions": content.ipamOptions = try reader.value()
            case "labels": content.labels = try reader.value()
            case "configuration": content.configuration = try reader.value()
            case "configurationSource": content.configurationSource = try reader.value()
            default: try reader.skip()
            }
        }
        guard (1...Self.currentVersion).contains(version) else { throw reader.fault("network record has version \(version)") }
        guard let id, let driver, !content.name.isEmpty else { throw reader.fault("id, name or driver is missing") }
        self.init(id: id, name: content.name, owner: content.owner, created: content.created, driver: driver)
        ipv4 = content.ipv4
        ipv6 = content.ipv6
        isInternal = content.isInternal
        isAttachable = content.isAttachable
        mtu = content.mtu
        interfacePrefix = content.interfacePrefix
        options = content.options
        ipamOptions = content.ipamOptions
        labels = content.labels
        configuration = content.configuration
        configurationSource = content.configurationSource
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("version", Self.currentVersion)
            writer.member("id", id)
            writer.member("name", name)
            writer.member("owner", owner.uid)
            writer.member("created", created.nanoseconds)
            writer.member("driver", driver)
            writer.member("ipv4", ipv4)
            writer.member("ipv6", ipv6)
            writer.member("isInternal", isInternal)
            writer.member("isAttachable", isAttachable)
            writer.member("mtu", ifPresent: mtu)
            writer.member("interfacePrefix", ifPresent: interfacePrefix)
            writer.member("options", options)
            writer.member("ipamOptions", ipamOptions)
            writer.member("labels", labels)
            writer.member("configuration", ifPresent: configuration)
            writer.member("configurationSource", ifPresent: configurationSource)
        }
    }
}
