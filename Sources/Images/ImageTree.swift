import Linux
import Model
import Archive

/// Names of files below the images' folders.
extension Layout {
    func layerFolder(_ tree: String) -> String { layers + "/" + tree }
    func layerDiff(_ tree: String) -> String { layers + "/" + tree + "/diff" }
    func layerRecipe(_ tree: String) -> String { layers + "/" + tree + "/recipe" }
    func blobFolder(_ algorithm: Digest.Algorithm) -> String { blobs + "/" + algorithm.rawValue }
    func blob(_ digest: Digest) -> String { blobFolder(digest.algorithm) + "/" + digest.hex }
    /// Contents that are not here as a whole, or not checked.
    var partialBlobs: String { blobs + "/partial" }
    func partialBlob(_ digest: Digest) -> String { partialBlobs + "/" + digest.algorithm.rawValue + "-" + digest.hex }

    /// How contents without a file are made from their layers.
    var blobRecords: String { blobs + "/records" }
    func blobRecord(_ digest: Digest) -> String { blobRecords + "/" + digest.algorithm.rawValue + "-" + digest.hex }

    /// What drivers other than overlay make of chains of layers.
    var chains: String { dataRoot + "/chains" }

    /// Whether a name below `layers` is one that the store gives.
    static func isLayerTree(_ name: String) -> Bool {
        let hex = name.hasPrefix("merged-") ? String(name.dropFirst(7)) : name
        return Digest(.sha256, hex: hex) != nil
    }
}

extension Digest {
    /// `sha256-…`, as files below `blobs/partial` and `blobs/records` are called.
    init?(fileName: String) { self.init(fileName.replacing("-", with: ":", maxReplacements: 1)) }
}

/// A folder for unfinished work below `Layout.temporary`; removed with everything in it by `remove`, or after a crash by `recover`.
struct Workshop: Sendable {
    static let prefix = "image-"
    let name: String
    let path: String
    /// What the work finds in the store is held with this.
    let lease: StoreLease?

    init(_ layout: Layout, name: String, lease: StoreLease? = nil) throws {
        self.name = name
        self.lease = lease
        path = layout.temporary + "/" + name
        try Descriptor.makeDirectories(path)
    }

    func file(_ name: String) -> String { path + "/" + name }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        let file = try Descriptor.open(path + "/" + name, [.write, .create, .exclusive], permissions: 0o600)
        try bytes.withUnsafeBytes { try file.writeAll($0) }
    }

    func remove() { removeFolder(path) }
}

/// Removes a file or folder by path; what cannot be removed is collected at the next start.
func removeFolder(_ path: String) {
    guard let slash = path.lastIndex(of: "/"),
        let parent = try? Descriptor.open(String(path[..<slash]), [.read, .directory])
    else { return }
    try? parent.removeTree(Array(path[path.index(after: slash)...].utf8))
}

/// rename(2) within the data root.
func moveFolder(_ from: String, to: String) throws {
    func split(_ path: String) -> (String, PathBytes) {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        return (String(path[..<slash]), Array(path[path.index(after: slash)...].utf8))
    }
    let (fromFolder, fromName) = split(from)
    let (toFolder, toName) = split(to)
    let source = try Descriptor.open(fromFolder, [.read, .directory])
    let target = try Descriptor.open(toFolder, [.read, .directory])
    try source.rename(fromName, to: target, toName)
}

/// Whether there is something under that path.
func exists(_ path: String) -> Bool { (try? Descriptor.open(path, [.path])) != nil }
