import Linux
import Model

/// An image's unpacked layers, as a driver makes containers' roots from them.
public struct LayeredImage: Sendable {
    /// Of the topmost layer; nil for an image without layers.
    public let chainID: Digest?
    /// Folders as overlayfs wants them, the topmost first.
    public let layers: [String]

    public init(chainID: Digest?, layers: [String]) {
        self.chainID = chainID
        self.layers = layers
    }
}

/// From what a container's root is mounted.
public enum ContainerRootSource: Sendable, Equatable {
    case overlay(lower: [String], upper: String, work: String)
    /// A folder of its own that is used as it is.
    case folder(String)
}

/// How containers' roots are made from an image's layers. Layers themselves are kept the same way with every driver
/// (`layers/<id>/diff` and its recipe), so that images can be saved and pushed whatever the driver.
///
/// Calls block. They may come from several threads at once, for one container from one.
public protocol LayerDriver: Sendable {
    /// As `info` shows it and `--storage-driver` takes it.
    var name: String { get }
    /// For `info`: pairs of words.
    var status: [[String]] { get }

    /// Makes what a container writes to, in its folder. Repeatable: what is there already stays as it is.
    func prepare(container folder: String, _ image: LayeredImage) throws -> ContainerRootSource

    /// Where the container's own files are: all of them, or those that differ from the layers'.
    func writable(container folder: String) -> String

    /// Bytes of the files that the container has written.
    func written(container folder: String, _ image: LayeredImage) throws -> Int64

    /// What the container has changed, as an overlay's upper folder: a path that is there already, or one made in `scratch`,
    /// which is empty and the caller's to remove.
    func changes(container folder: String, _ image: LayeredImage, scratch: String) throws -> String

    /// Folders below `tmp` that it works in just now.
    var workshops: Set<String> { get }

    /// Before a folder that the driver made for a chain of layers is moved away and deleted.
    func release(chain folder: String)
}

/// Which drivers there are, and which one fits.
public enum LayerDrivers {
    /// As docker names them, and short.
    static let names = ["overlay2": "overlay2", "overlay": "overlay2", "btrfs": "btrfs", "copy": "copy", "vfs": "copy"]

    /// The driver of that name; without a name overlay where the data root's file system carries one, btrfs, plain copies.
    /// - Throws: `invalid` for an unknown name; `unsupported` where the machine cannot do it.
    public static func choose(_ wanted: String?, dataRoot: String) throws -> any LayerDriver {
        guard let wanted, !wanted.isEmpty else {
            if overlayObstacle(dataRoot) == nil { return OverlayLayers(dataRoot: dataRoot) }
            if isBtrfs(dataRoot) { return FlattenedLayers(dataRoot: dataRoot, method: .snapshots) }
            return FlattenedLayers(dataRoot: dataRoot, method: .copies)
        }
        switch names[wanted] {
        case "overlay2":
            if let obstacle = overlayObstacle(dataRoot) {
                throw Fault(.unsupported, "the storage driver overlay2 does not work on \(dataRoot): \(obstacle)")
            }
            return OverlayLayers(dataRoot: dataRoot)
        case "btrfs":
            guard isBtrfs(dataRoot) else {
                throw Fault(.unsupported, "the storage driver btrfs needs a btrfs file system, which \(dataRoot) is not on")
            }
            return FlattenedLayers(dataRoot: dataRoot, method: .snapshots)
        case "copy": return FlattenedLayers(dataRoot: dataRoot, method: .copies)
        default:
            throw Fault(.invalid, "there is no storage driver \"\(wanted)\": overlay2, btrfs and copy are", subject: wanted)
        }
    }

    private static func isBtrfs(_ path: String) -> Bool {
        guard let folder = try? Descriptor.open(path, [.read, .directory]) else { return false }
        return Subvolumes.areAvailable(in: folder)
    }

    /// Why the kernel makes no overlay there; nil where it does. Asked by making one, which is attached nowhere.
    private static func overlayObstacle(_ dataRoot: String) -> String? {
        let folder = dataRoot + "/tmp/" + Workshop.prefix + "probe"
        defer { removeFolder(folder) }
        do {
            for name in ["lower", "upper", "work"] { try Descriptor.makeDirectories(folder + "/" + name) }
            let context = try FileSystemContext("overlay")
            // Kernels before 6.7 know only the old name; both take one folder.
            do { try context.set("lowerdir+", folder + "/lower") } catch { try context.set("lowerdir", folder + "/lower") }
            try context.set("upperdir", folder + "/upper")
            try context.set("workdir", folder + "/work")
            _ = try context.create()
            return nil
        } catch { return "\(error)" }
    }
}

/// Layers stacked by the kernel: a container has an upper folder, and nothing is copied.
struct OverlayLayers: LayerDriver {
    let dataRoot: String

    var name: String { "overlay2" }
    var status: [[String]] {
        [
            ["Backing Filesystem", BackingFileSystem.name(dataRoot)], ["Supports d_type", "true"], ["Using metacopy", "false"],
            ["Native Overlay Diff", "true"], ["userxattr", "false"],
        ]
    }

    func prepare(container folder: String, _ image: LayeredImage) throws -> ContainerRootSource {
        .overlay(lower: image.layers, upper: folder + "/upper", work: folder + "/work")
    }

    func writable(container folder: String) -> String { folder + "/upper" }

    func written(container folder: String, _ image: LayeredImage) throws -> Int64 {
        var usage = TreeUsage()
        try usage.add(path: folder + "/upper")
        return usage.content
    }

    func changes(container folder: String, _ image: LayeredImage, scratch: String) throws -> String { folder + "/upper" }

    func release(chain folder: String) {}
    var workshops: Set<String> { [] }
}

/// A container's changes as an overlay's upper folder. Close it when it is not needed any more.
public struct ContainerChanges: Sendable {
    public let path: String
    let workshop: Workshop?
    let store: ImageStore

    public func close() { if let workshop { store.clearLater(workshop) } }
}

extension ImageStore {
    /// What a container has changed. Nobody may write to it meanwhile, where that matters.
    public func changes(container folder: String, _ image: LayeredImage) async throws -> ContainerChanges {
        if driver is OverlayLayers { return ContainerChanges(path: folder + "/upper", workshop: nil, store: self) }
        let workshop = try openWorkshop("changes")
        do {
            let path = try await onThread { [driver] in
                try driver.changes(container: folder, image, scratch: workshop.path)
            }
            return ContainerChanges(path: path, workshop: workshop, store: self)
        } catch {
            clearLater(workshop)
            throw error
        }
    }
}

enum BackingFileSystem {
    /// As docker names them.
    static func name(_ path: String) -> String {
        let names: [Int64: String] = [
            0xEF53: "extfs", 0x5846_5342: "xfs", 0x9123_683E: "btrfs", 0x0102_1994: "tmpfs", 0x794C_7630: "overlayfs",
            0x2FC1_2FC1: "zfs", 0xF2F5_2010: "f2fs",
        ]
        guard let folder = try? Descriptor.open(path, [.read, .directory]), let magic = try? Files.fileSystem(of: folder.raw)
        else { return "unknown" }
        return names[magic] ?? "0x" + String(magic, radix: 16)
    }
}
