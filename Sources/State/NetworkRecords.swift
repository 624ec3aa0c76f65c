import Model

extension SchemaPart {
    /// Networks. Addresses of sandboxes are not here: they are in the containers' records and in the kernel's links.
    public static let networks = SchemaPart(
        name: "networks",
        steps: [
            """
            CREATE TABLE network (
                name TEXT PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                owner INTEGER NOT NULL,
                created INTEGER NOT NULL,
                bridge TEXT NOT NULL,
                subnet TEXT NOT NULL,
                gateway TEXT NOT NULL
            ) WITHOUT ROWID
            """
        ])
}

/// A network as it is kept, so that its subnet is the same after a restart.
public struct NetworkRecord: Sendable, Hashable {
    public let id: ObjectID
    /// `bridge` for the default network.
    public let name: String
    public var owner: Owner
    public var created: Timestamp
    /// The bridge's link.
    public var bridge: String
    public var subnet: IPv4Subnet
    public var gateway: IPv4Address

    public init(
        id: ObjectID, name: String, owner: Owner = .root, created: Timestamp, bridge: String, subnet: IPv4Subnet,
        gateway: IPv4Address
    ) {
        self.id = id
        self.name = name
        self.owner = owner
        self.created = created
        self.bridge = bridge
        self.subnet = subnet
        self.gateway = gateway
    }
}

extension Transaction {
    private static let columns = "id, name, owner, created, bridge, subnet, gateway"

    private static func record(_ row: borrowing Row) throws -> NetworkRecord {
        guard let subnet = IPv4Subnet(row.text(5)), let gateway = IPv4Address(row.text(6)) else {
            throw Fault(.system, "the state file holds a damaged record of network \(row.text(1))", subject: row.text(1))
        }
        return NetworkRecord(
            id: try row.objectID(0), name: row.text(1), owner: Owner(uid: UInt32(truncatingIfNeeded: row.integer(2))),
            created: row.timestamp(3), bridge: row.text(4), subnet: subnet, gateway: gateway)
    }

    public func networks() throws -> [NetworkRecord] {
        try rows("SELECT \(Self.columns) FROM network ORDER BY name", map: Self.record)
    }

    public func network(_ name: String) throws -> NetworkRecord? {
        try first("SELECT \(Self.columns) FROM network WHERE name = ?", name, map: Self.record)
    }

    /// Inserts, or replaces the one with the same name.
    public func save(_ record: NetworkRecord) throws {
        try run(
            "INSERT OR REPLACE INTO network (\(Self.columns)) VALUES (?, ?, ?, ?, ?, ?, ?)", record.id, record.name,
            record.owner, record.created, record.bridge, record.subnet.description, record.gateway.description)
    }

    @discardableResult
    public func delete(network name: String) throws -> Bool {
        try run("DELETE FROM network WHERE name = ?", name) > 0
    }
}
