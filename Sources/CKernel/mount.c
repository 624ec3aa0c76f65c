#define _GNU_SOURCE
#include "ckernel_mount.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

int skiff_openat2(int folder, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct { uint64_t flags, mode, resolve; } how = {flags, mode, resolve};
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}
int skiff_open_tree(int folder, const char *path, unsigned flags) { return (int)syscall(SYS_open_tree, folder, path, flags); }
int skiff_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags) {
    return (int)syscall(SYS_move_mount, from, from_path, to, to_path, flags);
}
int skiff_fsopen(const char *type, unsigned flags) { return (int)syscall(SYS_fsopen, type, flags); }
int skiff_fsconfig(int context, unsigned command, const char *key, const char *value, int auxiliary) {
    return (int)syscall(SYS_fsconfig, context, command, key, value, auxiliary);
}
int skiff_fsmount(int context, unsigned flags, unsigned attributes) {
    return (int)syscall(SYS_fsmount, context, flags, attributes);
}
int skiff_mount_setattr(int folder, const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation,
                        uint64_t userns) {
    struct { uint64_t set, clear, propagation, userns; } attributes = {set, clear, propagation, userns};
    return (int)syscall(SYS_mount_setattr, folder, path, flags, &attributes, sizeof attributes);
}
int skiff_pivot_root(const char *root, const char *old) { return (int)syscall(SYS_pivot_root, root, old); }

int skiff_is_mount_root(int folder, const char *path, int flags) {
    struct statx status;
    if (statx(folder, path, flags, 0, &status) < 0) return -1;
    return (status.stx_attributes & 0x2000 /* STATX_ATTR_MOUNT_ROOT */) != 0;
}

int skiff_file_system(int descriptor, int64_t *magic, uint64_t *flags) {
    struct statfs status;
    if (fstatfs(descriptor, &status) < 0) return -1;
    *magic = (int64_t)(uint32_t)status.f_type;
    *flags = (uint64_t)status.f_flags;
    return 0;
}

int skiff_mknodat(int folder, const char *name, unsigned mode, unsigned major, unsigned minor) {
    return mknodat(folder, name, (mode_t)mode, makedev(major, minor));
}

int skiff_status_at(int folder, const char *path, int flags, struct skiff_status *status) {
    struct stat raw;
    if (fstatat(folder, path, &raw, flags) < 0) return -1;
    status->mode = raw.st_mode;
    status->uid = raw.st_uid;
    status->gid = raw.st_gid;
    status->major = major(raw.st_rdev);
    status->minor = minor(raw.st_rdev);
    status->device = raw.st_dev;
    status->inode = raw.st_ino;
    status->size = (uint64_t)raw.st_size;
    status->modified = (int64_t)raw.st_mtim.tv_sec * 1000000000 + raw.st_mtim.tv_nsec;
    return 0;
}

int skiff_readlink(int folder, const char *path, void *buffer, size_t count) {
    return (int)readlinkat(folder, path, buffer, count);
}
int skiff_getcwd(void *buffer, size_t count) { return (int)syscall(SYS_getcwd, buffer, count); }
int64_t skiff_sendfile(int to, int from, uint64_t count) { return sendfile(to, from, NULL, count); }
int skiff_memfd_create(const char *name, unsigned flags) { return memfd_create(name, flags); }
int skiff_add_seals(int memfd) {
    return fcntl(memfd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

int skiff_tty_peer(int master) { return ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC); }
int skiff_tty_unlock(int master) {
    int off = 0;
    return ioctl(master, TIOCSPTLCK, &off);
}
int skiff_tty_make_controlling(int slave) { return ioctl(slave, TIOCSCTTY, 0); }
int skiff_tty_set_size(int terminal, uint16_t rows, uint16_t columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(terminal, TIOCSWINSZ, &size);
}
int skiff_tty_get_size(int terminal, uint16_t *rows, uint16_t *columns) {
    struct winsize size;
    if (ioctl(terminal, TIOCGWINSZ, &size) < 0) return -1;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return 0;
}
int skiff_namespace_type(int namespace_descriptor) { return ioctl(namespace_descriptor, 0xb703 /* NS_GET_NSTYPE */); }
