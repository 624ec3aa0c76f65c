import Model

/// A named or anonymous volume as the state file keeps it.
public struct VolumeRecord: Sendable, Equatable {
    public let name: String
    public var owner: Owner
    public var created: Timestamp
    /// Made for one container without a name of the user's choice.
    public var anonymous: Bool
    /// Driver, options and labels: JSON.
    public var config: [UInt8]
    /// What the image has at the mount point has been copied into it, or must not be.
    public var populated: Bool

    public init(
        name: String, owner: Owner, created: Timestamp, anonymous: Bool, config: [UInt8], populated: Bool = false
    ) {
        self.name = name
        self.owner = owner
        self.created = created
        self.anonymous = anonymous
        self.config = config
        self.populated = populated
    }
}

extension Transaction {
    private static let columns = "name, owner, created, anonymous, config, populated"

    private static func record(_ row: Row) -> VolumeRecord {
        VolumeRecord(
            name: row.text(0), owner: Owner(uid: UInt32(truncatingIfNeeded: row.integer(1))), created: row.timestamp(2),
            anonymous: row.bool(3), config: row.blob(4), populated: row.bool(5))
    }

    public func volumes() throws -> [VolumeRecord] {
        try rows("SELECT \(Self.columns) FROM volume ORDER BY name", map: Self.record)
    }

    public func volume(_ name: String) throws -> VolumeRecord? {
        try first("SELECT \(Self.columns) FROM volume WHERE name = ?", name, map: Self.record)
    }

    /// - Throws: `conflict` when the name is taken.
    public func insert(_ record: VolumeRecord) throws {
        try expectRoom()
        try run(
            "INSERT INTO volume (\(Self.columns)) VALUES (?, ?, ?, ?, ?, ?)", record.name, record.owner, record.created,
            record.anonymous, record.config, record.populated)
    }

    public func setPopulated(volume name: String) throws {
        try run("UPDATE volume SET populated = 1 WHERE name = ?", name)
    }

    @discardableResult
    public func delete(volume name: String) throws -> Bool {
        try run("DELETE FROM volume WHERE name = ?", name) > 0
    }

    public func use(volume name: String, by container: ObjectID) throws {
        try run("INSERT OR IGNORE INTO volume_use VALUES (?, ?)", name, container)
    }

    /// The containers that mount a volume.
    public func users(ofVolume name: String) throws -> [ObjectID] {
        try rows("SELECT container FROM volume_use WHERE volume = ? ORDER BY container", name) { try $0.objectID(0) }
    }

    /// The volumes that a container mounts.
    public func volumes(usedBy container: ObjectID) throws -> [VolumeRecord] {
        try rows(
            "SELECT \(Self.columns) FROM volume WHERE name IN (SELECT volume FROM volume_use WHERE container = ?) ORDER BY name",
            container, map: Self.record)
    }
}
