import JSON

/// What a sandbox has, as the engine keeps it with the container: enough to restore ports and addresses after a restart.
public struct SandboxRecord: Sendable, Hashable {
    public static let currentVersion = 1

    public var version = SandboxRecord.currentVersion
    /// Whose sandbox it is: the container's id.
    public var id: ObjectID
    /// `bridge`, or `none` for loopback only.
    public var network: String
    /// Identity of this attachment (docker's EndpointID), new at each acquisition.
    public var endpoint: ObjectID
    /// The rest is nil for `none`.
    public var address: IPv4Address?
    public var prefix: UInt8 = 0
    public var gateway: IPv4Address?
    public var mac: MACAddress?
    /// The host's end of the veth pair.
    public var hostInterface: String?
    public var bindings: [PortBinding] = []

    public init(id: ObjectID, network: String, endpoint: ObjectID) {
        self.id = id
        self.network = network
        self.endpoint = endpoint
    }
}

extension SandboxRecord: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var version = 0
        var id: ObjectID?
        var network = ""
        var endpoint: ObjectID?
        var address: IPv4Address?
        var prefix: UInt8 = 0
        var gateway: IPv4Address?
        var mac: MACAddress?
        var hostInterface: String?
        var bindings: [PortBinding] = []
        try reader.object { key, reader in
            switch key {
            case "version": version = try reader.value()
            case "id": id = try reader.value()
            case "network": network = try reader.value()
            case "endpoint": endpoint = try reader.value()
            case "address": address = try reader.value()
            case "prefix": prefix = try reader.value()
            case "gateway": gateway = try reader.value()
            case "mac": mac = try reader.value()
            case "hostInterface": hostInterface = try reader.value()
            case "bindings": bindings = try reader.value()
            default: try reader.skip()
            }
        }
        guard (1...Self.currentVersion).contains(version) else { throw reader.fault("sandbox record has version \(version)") }
        guard let id, let endpoint else { throw reader.fault("id or endpoint is missing") }
        self.init(id: id, network: network, endpoint: endpoint)
        self.version = version
        self.address = address
        self.prefix = prefix
        self.gateway = gateway
        self.mac = mac
        self.hostInterface = hostInterface
        self.bindings = bindings
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("version", version)
            writer.member("id", id)
            writer.member("network", network)
            writer.member("endpoint", endpoint)
            writer.member("address", ifPresent: address)
            writer.member("prefix", prefix)
            writer.member("gateway", ifPresent: gateway)
            writer.member("mac", ifPresent: mac)
            writer.member("hostInterface", ifPresent: hostInterface)
            writer.member("bindings", bindings)
        }
    }
}
