import Linux

/// Steps of what the store does (`CrashPlace`).
enum StoreCrashPoint: String, CrashPlace {
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
    /// A content was made again from its layer, and the record of how is in a workshop.
    case condenseProven = "condense.proven"
    /// The record is in its place, and the content still has its file.
    case condensePlaced = "condense.placed"
    /// The content has no file any more by its row.
    case condenseRecorded = "condense.recorded"
    /// Records of a removed image are gone, its files are not.
    case removeRecorded = "remove.recorded"
    /// Some of the files are out of sight.
    case discarding = "remove.discarding"
    /// All of them are, and not deleted.
    case discarded = "remove.discarded"
}
