import JSON
import Model

/// One network that a sandbox is in, as names go.
public struct NamesEndpoint: Sendable, Hashable {
    /// The network's id: sandboxes of one network know one another's names.
    public var network: String
    public var networkName: String
    /// Each with the length of its network's prefix, for what lies in the network and has no name.
    public var addresses: [NamesAddress]
    /// The container's name first, then aliases, short id, host name.
    public var names: [String]

    public init(network: String, networkName: String, addresses: [NamesAddress], names: [String]) {
        self.network = network
        self.networkName = networkName
        self.addresses = addresses
        self.names = names
    }
}

public struct NamesAddress: Sendable, Hashable {
    public var address: IPAddress
    public var prefix: UInt8

    public init(_ address: IPAddress, prefix: UInt8) {
        self.address = address
        self.prefix = prefix
    }

    /// Whether the network of this address has that one in it.
    func networkContains(_ other: IPAddress) -> Bool {
        switch (address, other) {
        case (.v4(let own), .v4(let other)): IPv4Subnet(own, prefix: prefix).contains(other)
        case (.v6(let own), .v6(let other)):
            if prefix <= 64 {
                prefix == 0 || (own.high ^ other.high) >> UInt64(64 - prefix) == 0
            } else {
                own.high == other.high && (own.low ^ other.low) >> UInt64(128 - min(prefix, 128)) == 0
            }
        default: false
        }
    }
}

/// Another name for somebody, that one sandbox alone knows (docker's links on networks of users).
public struct NamesAlias: Sendable, Hashable {
    public var alias: String
    /// A name that the sandbox's networks know.
    public var target: String

    public init(alias: String, target: String) {
        self.alias = alias
        self.target = target
    }
}

/// A name with a fixed address (`--add-host`).
public struct NamesHost: Sendable, Hashable {
    public var name: String
    public var address: IPAddress

    public init(name: String, address: IPAddress) {
        self.name = name
        self.address = address
    }
}

/// Everything that the resolver knows of one sandbox.
public struct NamesSandbox: Sendable, Hashable {
    public var id: ObjectID
    /// In the order in which they are asked.
    public var endpoints: [NamesEndpoint] = []
    public var links: [NamesAlias] = []
    public var hosts: [NamesHost] = []
    /// `--dns`; empty: the host's.
    public var servers: [String] = []
    /// False for a sandbox that has no way to the outside: what its networks do not know is not asked elsewhere.
    public var forwards = true

    public init(id: ObjectID) { self.id = id }

    /// Where a sandbox's names are answered.
    public static let address = IPv4Address(number: 0x7F00_000B)

    /// The name servers that `servers` names, in order. The resolver itself is none: it would ask itself for ever.
    var nameServers: [NameServer] {
        servers.compactMap { text in
            guard var server = NameServer(text), server.address != .v4(Self.address) else { return nil }
            if server.address.isLoopback { server.sandbox = id }
            return server
        }
    }

    /// Those of them that are in the sandbox itself (`--dns 127.0.0.1`). They are asked over sockets of the sandbox's own, two
    /// for each: for datagrams and for a stream, so no more than these.
    public var innerServers: [NameServer] {
        var found: [NameServer] = []
        for server in nameServers where server.sandbox != nil && !found.contains(server) { found.append(server) }
        return Array(found.prefix(3))
    }
}

extension NamesAddress: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(parts[0]), let prefix = UInt8(parts[1]), prefix <= 128 else {
            throw reader.fault("\"\(text)\" is no address with a prefix length")
        }
        self.init(address, prefix: prefix)
    }
    public func write(to writer: inout JSONWriter) { writer.string("\(address)/\(prefix)") }
}

extension NamesEndpoint: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(network: "", networkName: "", addresses: [], names: [])
        try reader.object { key, reader in
            switch key {
            case "network": try reader.assign(&network)
            case "networkName": try reader.assign(&networkName)
            case "addresses": try reader.assign(&addresses)
            case "names": try reader.assign(&names)
            default: try reader.skip()
            }
        }
    }
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("network", network)
            writer.member("networkName", networkName)
            writer.member("addresses", addresses)
            writer.member("names", names)
        }
    }
}

extension NamesAlias: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(alias: "", target: "")
        try reader.object { key, reader in
            switch key {
            case "alias": try reader.assign(&alias)
            case "target": try reader.assign(&target)
            default: try reader.skip()
            }
        }
    }
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("alias", alias)
            writer.member("target", target)
        }
    }
}

extension NamesHost: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var name = ""
        var address: IPAddress?
        try reader.object { key, reader in
            switch key {
            case "name": try reader.assign(&name)
            case "address": try reader.assign(&address)
            default: try reader.skip()
            }
        }
        guard let address else { throw reader.fault("address is missing") }
        self.init(name: name, address: address)
    }
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("name", name)
            writer.member("address", address)
        }
    }
}

extension NamesSandbox: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var id: ObjectID?
        var rest = NamesSandbox(id: .random())
        try reader.object { key, reader in
            switch key {
            case "id": try reader.assign(&id)
            case "endpoints": try reader.assign(&rest.endpoints)
            case "links": try reader.assign(&rest.links)
            case "hosts": try reader.assign(&rest.hosts)
            case "servers": try reader.assign(&rest.servers)
            case "forwards": try reader.assign(&rest.forwards)
            default: try reader.skip()
            }
        }
        guard let id else { throw reader.fault("id is missing") }
        self = rest
        self.id = id
    }
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("id", id)
            writer.member("endpoints", endpoints)
            writer.member("links", unlessEmpty: links)
            writer.member("hosts", unlessEmpty: hosts)
            writer.member("servers", unlessEmpty: servers)
            writer.member("forwards", forwards)
        }
    }
}
