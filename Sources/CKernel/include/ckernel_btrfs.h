// Subvolumes of btrfs (ioctls of linux/btrfs.h; btrfs-ioctl(2)). All answer -1 and errno on failure.
#ifndef CKERNEL_BTRFS_H
#define CKERNEL_BTRFS_H

// BTRFS_IOC_SUBVOL_CREATE: an empty subvolume of that name in the folder.
int skiff_btrfs_create(int folder, const char *name);
// BTRFS_IOC_SNAP_CREATE_V2: a snapshot of the subvolume `source` under that name in the folder.
int skiff_btrfs_snapshot(int folder, int source, const char *name, int read_only);
// BTRFS_IOC_SUBVOL_SETFLAGS: read-only or not.
int skiff_btrfs_set_read_only(int subvolume, int read_only);
#endif
