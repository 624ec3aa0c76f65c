import Linux
import Model

/// A folder for each chain of layers that a container was made of (`chains/<chain id>`), with what overlayfs would show of it, and for
/// each container one of its own (`root`): a snapshot of that on btrfs, a copy elsewhere, which shares blocks where the file system
/// can.
final class FlattenedLayers: LayerDriver {
    enum Method: Sendable {
        /// btrfs subvolumes: a chain is read-only, a container a writable snapshot.
        case snapshots
        case copies
    }

    private let dataRoot: String
    private let method: Method
    /// Chains that are being made, and where.
    private let building = Monitor<[String: String]>([:])

    var workshops: Set<String> { building.update { Set($0.values) } }

    init(dataRoot: String, method: Method) {
        self.dataRoot = dataRoot
        self.method = method
    }

    var name: String { method == .snapshots ? "btrfs" : "copy" }
    var status: [[String]] { [["Backing Filesystem", BackingFileSystem.name(dataRoot)]] }

    /// Its time says when the root was made: whatever changed later the container changed.
    private static let mark = "root.made"

    func prepare(container folder: String, _ image: LayeredImage) throws -> ContainerRootSource {
        let root = folder + "/root"
        if exists(root) { return .folder(root) }
        do {
            let chain = try chain(image)
            let parent = try Descriptor.open(folder, [.read, .directory])
            // A copy that was broken off
            try parent.removeTree(Array("root.new".utf8))
            try copy(chain, to: "root.new", in: parent)
            try writeFile(folder + "/" + Self.mark, [])
            try parent.rename(Array("root.new".utf8), to: parent, Array("root".utf8))
        } catch { throw imageFault(error, "cannot make the container's root") }
        return .folder(root)
    }

    func writable(container folder: String) -> String { folder + "/root" }

    func written(container folder: String, _ image: LayeredImage) throws -> Int64 {
        guard exists(folder + "/root"), let chainID = image.chainID else { return 0 }
        var (own, given) = (TreeUsage(), TreeUsage())
        try own.add(path: folder + "/root")
        try given.add(path: path(chainID))
        return max(0, own.content - given.content)
    }

    func changes(container folder: String, _ image: LayeredImage, scratch: String) throws -> String {
        let upper = scratch + "/upper"
        try Descriptor.makeDirectories(upper, permissions: 0o755)
        guard exists(folder + "/root") else { return upper }
        do {
            let base = try Descriptor.open(try chain(image), [.read, .directory])
            let root = try Descriptor.open(folder + "/root", [.read, .directory])
            let made = try Descriptor.open(folder, [.read, .directory]).status(of: Array(Self.mark.utf8))
            let target = try Descriptor.open(upper, [.read, .directory])
            try TreeDifference(since: made?.modified).write(root, base, to: target)
        } catch { throw imageFault(error, "cannot compare the container's root with its image") }
        return upper
    }

    func release(chain folder: String) {
        guard method == .snapshots, let subvolume = try? Descriptor.open(folder, [.read, .directory]) else { return }
        try? Subvolumes.setReadOnly(subvolume, false)
    }

    // MARK: Chains

    private func path(_ chainID: Digest) -> String { dataRoot + "/chains/" + chainID.hex }

    /// The folder with the image's files, made where there is none yet.
    private func chain(_ image: LayeredImage) throws -> String {
        guard let chainID = image.chainID else { throw Fault(.invalid, "the image has no layer") }
        let place = path(chainID)
        // One at a time makes it, the others wait.
        let name = Workshop.prefix + ObjectID.random().short
        building.wait { building -> Void? in
            guard building[chainID.hex] == nil else { return nil }
            building[chainID.hex] = name
            return ()
        }
        defer { building.update { $0[chainID.hex] = nil } }
        if exists(place) { return place }
        try Descriptor.makeDirectories(dataRoot + "/chains")
        let workshop = dataRoot + "/tmp/" + name
        try Descriptor.makeDirectories(workshop)
        defer { removeFolder(workshop) }
        let parent = try Descriptor.open(workshop, [.read, .directory])
        try makeFolder("chain", in: parent)
        let target = try parent.open(child: Array("chain".utf8), [.read, .directory])
        let merge = LayerMerge(.copies)
        for layer in image.layers.reversed() {
            try merge.apply(try Descriptor.open(layer, [.read, .directory]), to: target)
        }
        // What a power cut leaves must be whole or absent.
        try target.syncFileSystem()
        try moveFolder(workshop + "/chain", to: place)
        if method == .snapshots { try Subvolumes.setReadOnly(target, true) }
        return place
    }

    private func makeFolder(_ name: String, in parent: borrowing Descriptor) throws {
        switch method {
        case .snapshots: try Subvolumes.create(name, in: parent)
        case .copies: try parent.makeDirectory(Array(name.utf8), permissions: 0o755)
        }
    }

    private func copy(_ chain: String, to name: String, in parent: borrowing Descriptor) throws {
        let source = try Descriptor.open(chain, [.read, .directory])
        switch method {
        case .snapshots: try Subvolumes.snapshot(of: source, as: name, in: parent)
        case .copies:
            try makeFolder(name, in: parent)
            let target = try parent.open(child: Array(name.utf8), [.read, .directory])
            try LayerMerge(.copies).apply(source, to: target)
        }
    }
}
