import Model

/// A container as the state file keeps it. What it is made of is JSON that the engine reads and writes; what is searched
/// or must be unique is a column.
public struct ContainerRecord: Sendable, Equatable {
    public let id: ObjectID
    /// Without the slash that docker shows before it.
    public var name: String
    public var owner: Owner
    public var created: Timestamp
    /// The image's digest; empty where there is none.
    public var imageID: String
    /// What it is and how it is to run: JSON.
    public var config: [UInt8]
    /// In which phase it is and what belongs to that phase: JSON.
    public var state: [UInt8]
    /// Its files are being deleted; nobody may see it any more.
    public var removing: Bool

    public init(
        id: ObjectID, name: String, owner: Owner, created: Timestamp, imageID: String, config: [UInt8], state: [UInt8],
        removing: Bool = false
    ) {
        self.id = id
        self.name = name
        self.owner = owner
        self.created = created
        self.imageID = imageID
        self.config = config
        self.state = state
        self.removing = removing
    }
}

extension SchemaPart {
    static let containers = SchemaPart(
        name: "containers",
        steps: [
            """
            CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
            CREATE TABLE container (
                id TEXT PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                owner INTEGER NOT NULL,
                created INTEGER NOT NULL,
                image TEXT NOT NULL,
                config BLOB NOT NULL,
                state BLOB NOT NULL,
                removing INTEGER NOT NULL DEFAULT 0
            );
            CREATE TABLE exec (
                id TEXT PRIMARY KEY,
                container TEXT NOT NULL REFERENCES container (id) ON DELETE CASCADE,
                created INTEGER NOT NULL,
                config BLOB NOT NULL
            );
            CREATE INDEX exec_container ON exec (container);
            CREATE TABLE volume (
                name TEXT PRIMARY KEY,
                owner INTEGER NOT NULL,
                created INTEGER NOT NULL,
                anonymous INTEGER NOT NULL,
                config BLOB NOT NULL,
                populated INTEGER NOT NULL DEFAULT 0
            );
            CREATE TABLE volume_use (
                volume TEXT NOT NULL REFERENCES volume (name) ON DELETE CASCADE,
                container TEXT NOT NULL REFERENCES container (id) ON DELETE CASCADE,
                PRIMARY KEY (volume, container)
            ) WITHOUT ROWID;
            CREATE INDEX volume_use_container ON volume_use (container);
            CREATE TABLE garbage (path TEXT PRIMARY KEY) WITHOUT ROWID;
            """
        ])
}

extension Transaction {
    private static let columns = "id, name, owner, created, image, config, state, removing"

    private static func record(_ row: Row) throws -> ContainerRecord {
        ContainerRecord(
            id: try row.objectID(0), name: row.text(1), owner: Owner(uid: UInt32(truncatingIfNeeded: row.integer(2))),
            created: row.timestamp(3), imageID: row.text(4), config: row.blob(5), state: row.blob(6), removing: row.bool(7))
    }

    /// Every container, those being removed included, oldest first.
    public func containers() throws -> [ContainerRecord] {
        try rows("SELECT \(Self.columns) FROM container ORDER BY created, id", map: Self.record)
    }

    /// - Throws: `conflict` when the id or the name is taken.
    public func insert(_ record: ContainerRecord) throws {
        try expectRoom()
        try run(
            "INSERT INTO container (\(Self.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", record.id, record.name, record.owner,
            record.created, record.imageID, record.config, record.state, record.removing)
    }

    public func setState(_ state: [UInt8], ofContainer id: ObjectID) throws {
        try run("UPDATE container SET state = ? WHERE id = ?", state, id)
    }

    public func setConfig(_ config: [UInt8], ofContainer id: ObjectID) throws {
        try run("UPDATE container SET config = ? WHERE id = ?", config, id)
    }

    /// - Throws: `conflict` when the name is taken.
    public func rename(container id: ObjectID, to name: String) throws {
        try run("UPDATE container SET name = ? WHERE id = ?", name, id)
    }

    /// Notes that the container's removal has begun, and frees its name: the record is now called by its id.
    public func markRemoving(container id: ObjectID) throws {
        try run("UPDATE container SET removing = 1, name = id WHERE id = ?", id)
    }

    /// Forgets the container, its execs and its use of volumes. True when there was one.
    @discardableResult
    public func delete(container id: ObjectID) throws -> Bool {
        try run("DELETE FROM container WHERE id = ?", id) > 0
    }

    // What is to be deleted from the disk in the background

    public func addGarbage(_ path: String) throws { try run("INSERT OR IGNORE INTO garbage VALUES (?)", path) }
    public func removeGarbage(_ path: String) throws { try run("DELETE FROM garbage WHERE path = ?", path) }
    public func garbage() throws -> [String] { try rows("SELECT path FROM garbage ORDER BY path") { $0.text(0) } }

    // Single values

    public func meta(_ key: String) throws -> String? {
        try first("SELECT value FROM meta WHERE key = ?", key) { $0.text(0) }
    }

    public func setMeta(_ key: String, _ value: String) throws {
        try run("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
    }
}
