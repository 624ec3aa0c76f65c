import Linux
import Model

/// Room on the disk that is given up when it is full, so that removals can be recorded there. Wanted where a file system never writes
/// a block twice (btrfs, zfs, …): elsewhere the state file has blocks of its own ahead.
final class DiskReserve: Sendable {
    static let name = "reserve"
    private static let size = 4 << 20

    private let path: String
    private let isWanted: Bool

    init(_ dataRoot: String) {
        path = dataRoot + "/" + Self.name
        // EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, TMPFS_MAGIC (statfs(2))
        let inPlace: Set<Int64> = [0xEF53, 0x5846_5342, 0x0102_1994]
        do {
            let root = try Descriptor.open(dataRoot, [.read, .directory])
            isWanted = try !inPlace.contains(Files.fileSystem(of: root.raw))
        } catch { isWanted = false }
    }

    /// Makes it where it is wanted and not there. A disk without room for it is no fault: it is tried again.
    func fill() {
        guard isWanted, !Files.exists(path) else { return }
        let aside = path + ".new"
        do {
            try? Files.remove(aside)
            let file = try Descriptor.open(aside, [.write, .create, .exclusive], permissions: 0o600)
            var state: UInt64 = 0x9E37_79B9_7F4A_7C15
            // Nothing that the file system could compress or find twice
            let block = (0..<(1 << 17)).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return state
            }
            for round in 0..<(Self.size / (block.count * 8)) {
                try block.map { $0 &* UInt64(2 * round + 1) }.withUnsafeBytes { try file.writeAll($0) }
            }
            try file.sync()
            let folder = String(path.dropLast(Self.name.count + 1))
            let root = try Descriptor.open(folder, [.read, .directory])
            try Files.rename(aside, to: path, at: root.raw)
        } catch { try? Files.remove(aside) }
    }

    /// False when there is none.
    func giveUp() -> Bool { (try? Files.removeExisting(path)) != nil }
}
