#include "ckernel_btrfs.h"
#include <errno.h>
#include <linux/btrfs.h>
#include <string.h>
#include <sys/ioctl.h>

int skiff_btrfs_create(int folder, const char *name) {
    struct btrfs_ioctl_vol_args arguments;
    memset(&arguments, 0, sizeof arguments);
    if (strlen(name) >= BTRFS_SUBVOL_NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(arguments.name, name);
    return ioctl(folder, BTRFS_IOC_SUBVOL_CREATE, &arguments);
}

int skiff_btrfs_snapshot(int folder, int source, const char *name, int read_only) {
    struct btrfs_ioctl_vol_args_v2 arguments;
    memset(&arguments, 0, sizeof arguments);
    if (strlen(name) >= BTRFS_SUBVOL_NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    arguments.fd = source;
    if (read_only) arguments.flags = BTRFS_SUBVOL_RDONLY;
    strcpy(arguments.name, name);
    return ioctl(folder, BTRFS_IOC_SNAP_CREATE_V2, &arguments);
}

int skiff_btrfs_set_read_only(int subvolume, int read_only) {
    __u64 flags = 0;
    if (ioctl(subvolume, BTRFS_IOC_SUBVOL_GETFLAGS, &flags) != 0) return -1;
    flags = read_only ? flags | BTRFS_SUBVOL_RDONLY : flags & ~(__u64)BTRFS_SUBVOL_RDONLY;
    return ioctl(subvolume, BTRFS_IOC_SUBVOL_SETFLAGS, &flags);
}
