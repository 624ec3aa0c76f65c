import Linux

/// Steps of a pull and a push (`CrashPlace`).
package enum TransferCrashPoint: String, CrashPlace {
    /// A content's row is there, its file not yet.
    case pullRecorded = "pull.recorded"
    /// The first bytes of a content are in its file.
    case pullReceiving = "pull.receiving"
    /// A layer's content is complete and unpacked.
    case pullUnpacked = "pull.unpacked"
    /// So are all layers; nothing is in its place.
    case pullFetched = "pull.fetched"
    /// Files are in their places, without a record.
    case pullPlaced = "pull.placed"
    /// The records are written.
    case pullStored = "pull.stored"

    /// One layer is in the registry.
    case pushLayer = "push.layer"
    /// All layers are; the manifest is not.
    case pushLayers = "push.layers"
    /// So is the manifest; we have not noted where they are.
    case pushManifest = "push.manifest"
}
