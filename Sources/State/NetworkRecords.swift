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
            """,
            // Networks of every kind: what only the engine reads is one JSON value.
            """
            CREATE TABLE network_2 (
                id TEXT PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                record BLOB NOT NULL
            ) WITHOUT ROWID;
            INSERT INTO network_2 SELECT id, name, CAST(json_object(
                'version', 1, 'id', id, 'name', name, 'owner', owner, 'created', created,
                'driver', json_object('bridge', json_object('bridge', bridge, 'isDefault', json('true'))),
                'ipv4', json_array(json_object('subnet', subnet, 'gateway', gateway))) AS BLOB) FROM network;
            DROP TABLE network;
            ALTER TABLE network_2 RENAME TO network
            """,
        ])
}

extension Transaction {
    private static func record(_ row: borrowing Row) throws -> NetworkRecord {
        do { return try NetworkRecord(json: row.blob(1)) } catch {
            throw Fault(
                .system, "the state file holds a record of network \(row.text(0)) that cannot be read", subject: row.text(0),
                cause: error)
        }
    }

    public func networks() throws -> [NetworkRecord] {
        try rows("SELECT name, record FROM network ORDER BY name", map: Self.record)
    }

    /// Inserts, or replaces the one with the same id.
    /// - Throws: `conflict` when another network has the name.
    public func save(_ record: NetworkRecord) throws {
        try run(
            """
            INSERT INTO network (id, name, record) VALUES (?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record
            """, record.id, record.name, record.json)
    }

    @discardableResult
    public func delete(network id: ObjectID) throws -> Bool {
        try run("DELETE FROM network WHERE id = ?", id) > 0
    }
}
