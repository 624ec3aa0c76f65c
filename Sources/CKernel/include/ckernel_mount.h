#ifndef CKERNEL_MOUNT_H
#define CKERNEL_MOUNT_H
// Mounts and paths: the calls of the new mount API and openat2, which bookworm's glibc has only in part.
#include <stddef.h>
#include <stdint.h>

int skiff_openat2(int folder, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int skiff_open_tree(int folder, const char *path, unsigned flags);
int skiff_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags);
int skiff_fsopen(const char *type, unsigned flags);
int skiff_fsconfig(int context, unsigned command, const char *key, const char *value, int auxiliary);
int skiff_fsmount(int context, unsigned flags, unsigned attributes);
int skiff_mount_setattr(int folder, const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation,
                        uint64_t userns);
int skiff_pivot_root(const char *root, const char *old);
/// statx(2): whether the path is the root of a mount, 1 or 0; -1 where the call fails.
int skiff_is_mount_root(int folder, const char *path, int flags);
/// fstatfs(2): the file system's magic number and mount flags (ST_*).
int skiff_file_system(int descriptor, int64_t *magic, uint64_t *flags);
int skiff_mknodat(int folder, const char *name, unsigned mode, unsigned major, unsigned minor);

struct skiff_status {
    uint32_t mode, uid, gid, major, minor;
    uint64_t device, inode, size;
    int64_t modified;  // nanoseconds
};
/// fstatat(2)
int skiff_status_at(int folder, const char *path, int flags, struct skiff_status *status);
int skiff_readlink(int folder, const char *path, void *buffer, size_t count);
/// getcwd(2) itself: the length with the final NUL.
int skiff_getcwd(void *buffer, size_t count);
int64_t skiff_sendfile(int to, int from, uint64_t count);
int skiff_memfd_create(const char *name, unsigned flags);
int skiff_add_seals(int memfd);

// ioctl(2)
int skiff_tty_peer(int master);
int skiff_tty_unlock(int master);
int skiff_tty_make_controlling(int slave);
int skiff_tty_set_size(int terminal, uint16_t rows, uint16_t columns);
int skiff_tty_get_size(int terminal, uint16_t *rows, uint16_t *columns);
/// ioctl_ns(2) NS_GET_USERNS and the type of a namespace (NS_GET_NSTYPE).
int skiff_namespace_type(int namespace_descriptor);
#endif
