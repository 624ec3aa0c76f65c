import JSON

/// An interface's address and the way out.
public struct InterfaceIPv4: Sendable, Hashable {
    public var address: IPv4Address
    public var prefix: UInt8
    /// Nil where there is no way out (internal networks).
    public var gateway: IPv4Address?

    public init(address: IPv4Address, prefix: UInt8, gateway: IPv4Address? = nil) {
        self.address = address
        self.prefix = prefix
        self.gateway = gateway
    }
}

public struct InterfaceIPv6: Sendable, Hashable {
    public var address: IPv6Address
    public var prefix: UInt8
    public var gateway: IPv6Address?

    public init(address: IPv6Address, prefix: UInt8, gateway: IPv6Address? = nil) {
        self.address = address
        self.prefix = prefix
        self.gateway = gateway
    }
}

/// A sandbox's place in one network.
public struct EndpointRecord: Sendable, Hashable {
    /// Docker's EndpointID, new at each acquisition and each connect.
    public var id: ObjectID
    public var network: ObjectID
    public var networkName: String
    /// The link's name in the sandbox; empty for `none` and `host`.
    public var interface = ""
    /// The host's end of the veth pair; nil for links without one (macvlan, ipvlan).
    public var hostInterface: String?
    public var ipv4: InterfaceIPv4?
    public var ipv6: InterfaceIPv6?
    public var mac: MACAddress?
    /// As the user gave them.
    public var aliases: [String] = []
    /// All names by which neighbours find it: container's name, aliases, short id, hostname.
    public var dnsNames: [String] = []
    /// The endpoint with the highest one has the default route; the network's name decides among equals (docker's rule).
    public var gatewayPriority = 0
    /// `net.ipv4.conf.IFNAME.log_martians=1`, as given.
    public var sysctls: [String] = []
    /// Whom a CNI plugin chain says to ask for names.
    public var resolver: EndpointResolver?
    /// A CNI plugin chain publishes the sandbox's ports, and not the engine.
    public var isPublishedByChain = false

    public init(id: ObjectID, network: ObjectID, networkName: String) {
        self.id = id
        self.network = network
        self.networkName = networkName
    }

    public var addresses: [IPAddress] {
        [ipv4.map { .v4($0.address) }, ipv6.map { .v6($0.address) }].compactMap { $0 }
    }
}

/// Name servers, search list and options that come with a network, in the words of resolv.conf(5).
public struct EndpointResolver: Sendable, Hashable {
    public var servers: [String]
    public var search: [String]
    public var options: [String]

    public init(servers: [String] = [], search: [String] = [], options: [String] = []) {
        self.servers = servers
        self.search = search
        self.options = options
    }
}

/// What a sandbox has, as the engine keeps it with the container: enough to restore ports and addresses after a restart.
public struct SandboxRecord: Sendable, Hashable {
    public static let currentVersion = 2

    /// Whose sandbox it is: the container's id.
    public var id: ObjectID
    /// Identity of this acquisition, new for each start of the container.
    public var acquisition: ObjectID
    /// In the order of their interfaces.
    public var endpoints: [EndpointRecord] = []
    public var bindings: [PortBinding] = []

    public init(id: ObjectID, acquisition: ObjectID, endpoints: [EndpointRecord] = [], bindings: [PortBinding] = []) {
        self.id = id
        self.acquisition = acquisition
        self.endpoints = endpoints
        self.bindings = bindings
    }

    /// The endpoint with IPv4's default route; without one, the first.
    public var primary: EndpointRecord? { gateway(\.ipv4?.gateway) ?? endpoints.first }
    /// The endpoint that ports published on IPv4, or IPv6, lead to.
    public var gatewayIPv4: EndpointRecord? { gateway(\.ipv4?.gateway) }
    public var gatewayIPv6: EndpointRecord? { gateway(\.ipv6?.gateway) }

    private func gateway<T>(_ path: KeyPath<EndpointRecord, T?>) -> EndpointRecord? {
        endpoints.filter { $0[keyPath: path] != nil }
            .min { ($1.gatewayPriority, $0.networkName) < ($0.gatewayPriority, $1.networkName) }
    }

    public func endpoint(on network: ObjectID) -> EndpointRecord? { endpoints.first { $0.network == network } }
}

extension ObjectID {
    /// In records of version 1, which named their network only: the engine puts the id in its place.
    public static let zero = ObjectID(zeros: ())
}

extension InterfaceIPv4: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(address: .any, prefix: 0)
        try reader.object { key, reader in
            switch key {
            case "address": address = try reader.value()
            case "prefix": prefix = try reader.value()
            case "gateway": gateway = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("address", address)
            writer.member("prefix", prefix)
            writer.member("gateway", ifPresent: gateway)
        }
    }
}

extension InterfaceIPv6: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(address: .any, prefix: 0)
        try reader.object { key, reader in
            switch key {
            case "address": address = try reader.value()
            case "prefix": prefix = try reader.value()
            case "gateway": gateway = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("address", address)
            writer.member("prefix", prefix)
            writer.member("gateway", ifPresent: gateway)
        }
    }
}

extension EndpointRecord: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var id: ObjectID?
        var content = EndpointRecord(id: .zero, network: .zero, networkName: "")
        try reader.object { key, reader in
            switch key {
            case "id": id = try reader.value()
            case "network": content.network = try reader.value()
            case "networkName": content.networkName = try reader.value()
            case "interface": content.interface = try reader.value()
            case "hostInterface": content.hostInterface = try reader.value()
            case "ipv4": content.ipv4 = try reader.value()
            case "ipv6": content.ipv6 = try reader.value()
            case "mac": content.mac = try reader.value()
            case "aliases": content.aliases = try reader.value()
            case "dnsNames": content.dnsNames = try reader.value()
            case "gatewayPriority": content.gatewayPriority = try reader.value()
            case "sysctls": content.sysctls = try reader.value()
            case "resolver": content.resolver = try reader.value()
            case "publishedByChain": content.isPublishedByChain = try reader.value()
            default: try reader.skip()
            }
        }
        guard let id else { throw reader.fault("id is missing") }
        content.id = id
        self = content
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("id", id)
            writer.member("network", network)
            writer.member("networkName", networkName)
            writer.member("interface", interface)
            writer.member("hostInterface", ifPresent: hostInterface)
            writer.member("ipv4", ifPresent: ipv4)
            writer.member("ipv6", ifPresent: ipv6)
            writer.member("mac", ifPresent: mac)
            writer.member("aliases", aliases)
            writer.member("dnsNames", dnsNames)
            if gatewayPriority != 0 { writer.member("gatewayPriority", gatewayPriority) }
            if !sysctls.isEmpty { writer.member("sysctls", sysctls) }
            writer.member("resolver", ifPresent: resolver)
            writer.member("publishedByChain", ifTrue: isPublishedByChain)
        }
    }
}

extension EndpointResolver: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init()
        try reader.object { key, reader in
            switch key {
            case "servers": servers = try reader.value()
            case "search": search = try reader.value()
            case "options": options = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("servers", servers)
            writer.member("search", search)
            writer.member("options", options)
        }
    }
}

extension SandboxRecord: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var version = 0
        var id: ObjectID?
        var acquisition: ObjectID?
        var endpoints: [EndpointRecord] = []
        var bindings: [PortBinding] = []
        var first = FirstVersion()
        try reader.object { key, reader in
            switch key {
            case "version": version = try reader.value()
            case "id": id = try reader.value()
            case "acquisition": acquisition = try reader.value()
            case "endpoints": endpoints = try reader.value()
            case "bindings": bindings = try reader.value()
            default: try first.read(key, &reader)
            }
        }
        guard (1...Self.currentVersion).contains(version) else { throw reader.fault("sandbox record has version \(version)") }
        if version == 1, let endpoint = first.endpoint {
            acquisition = endpoint.id
            endpoints = [endpoint]
        }
        guard let id, let acquisition else { throw reader.fault("id or acquisition is missing") }
        self.init(id: id, acquisition: acquisition, endpoints: endpoints, bindings: bindings)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("version", Self.currentVersion)
            writer.member("id", id)
            writer.member("acquisition", acquisition)
            writer.member("endpoints", endpoints)
            writer.member("bindings", bindings)
        }
    }

    /// One network at most, IPv4 alone.
    private struct FirstVersion {
        var network = ""
        var id: ObjectID?
        var address: IPv4Address?
        var prefix: UInt8 = 0
        var gateway: IPv4Address?
        var mac: MACAddress?
        var hostInterface: String?

        mutating func read(_ key: String, _ reader: inout JSONReader) throws {
            switch key {
            case "network": network = try reader.value()
            case "endpoint": id = try reader.value()
            case "address": address = try reader.value()
            case "prefix": prefix = try reader.value()
            case "gateway": gateway = try reader.value()
            case "mac": mac = try reader.value()
            case "hostInterface": hostInterface = try reader.value()
            default: try reader.skip()
            }
        }

        var endpoint: EndpointRecord? {
            guard let id else { return nil }
            var endpoint = EndpointRecord(id: id, network: .zero, networkName: network)
            endpoint.hostInterface = hostInterface
            endpoint.mac = mac
            if let address {
                endpoint.interface = "eth0"
                endpoint.ipv4 = InterfaceIPv4(address: address, prefix: prefix, gateway: gateway)
            }
            return endpoint
        }
    }
}
