import CKernel

/// Subvolumes of btrfs (btrfs-ioctl(2)).
public enum Subvolumes {
    /// statfs(2), f_type
    private static let magic: Int64 = 0x9123_683E

    /// Whether the folder is on btrfs.
    public static func areAvailable(in folder: borrowing Descriptor) -> Bool {
        (try? Files.fileSystem(of: folder.raw)) == magic
    }

    /// An empty, writable subvolume. BTRFS_IOC_SUBVOL_CREATE
    public static func create(_ name: String, in folder: borrowing Descriptor) throws {
        let raw = folder.raw
        _ = try kernel("btrfs subvolume create", name) { skiff_btrfs_create(raw, name) }
    }

    /// A snapshot of the subvolume that `source` is. BTRFS_IOC_SNAP_CREATE_V2
    public static func snapshot(
        of source: borrowing Descriptor, as name: String, in folder: borrowing Descriptor, readOnly: Bool = false
    ) throws {
        let (from, to) = (source.raw, folder.raw)
        _ = try kernel("btrfs subvolume snapshot", name) { skiff_btrfs_snapshot(to, from, name, readOnly ? 1 : 0) }
    }

    /// BTRFS_IOC_SUBVOL_SETFLAGS
    public static func setReadOnly(_ subvolume: borrowing Descriptor, _ isReadOnly: Bool) throws {
        let raw = subvolume.raw
        _ = try kernel("btrfs property set ro") { skiff_btrfs_set_read_only(raw, isReadOnly ? 1 : 0) }
    }
}
