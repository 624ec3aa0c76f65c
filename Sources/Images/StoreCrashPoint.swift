import Linux

/// Named places at which a test lets the engine die: `SKIFFD_CRASH_AT=store.placed` in its environment kills it there.
enum StoreCrashPoint: String, CaseIterable {
    /// A workshop is there, with its lease.
    case workshopOpened = "store.workshop"
    /// A layer is unpacked in its workshop.
    case layerBuilt = "store.built"
    /// Some files are in their places, others not.
    case layerPlaced = "store.layer"
    /// All files are in their places and not yet on the disk.
    case placed = "store.placed"
    /// They are on the disk, and no record names them.
    case synced = "store.synced"
    /// The records are written, nobody was told.
    case recorded = "store.recorded"
    /// Records of a removed image are gone, its files are not.
    case removeRecorded = "remove.recorded"
    /// Some of the files are out of sight.
    case discarding = "remove.discarding"
    /// All of them are, and not deleted.
    case discarded = "remove.discarded"

    private static let wanted = environmentVariable("SKIFFD_CRASH_AT")

    func reach() { if let wanted = Self.wanted, wanted == rawValue { killThisProcess() } }
}
