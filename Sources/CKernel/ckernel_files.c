#define _GNU_SOURCE
#include "ckernel_files.h"

#include <fcntl.h>
#include <malloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

int skiff_syncfs(int fd) { return syncfs(fd); }

int skiff_begin_writeback(int fd) { return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); }

ssize_t skiff_copy_file_range(int from, int64_t from_offset, int to, int64_t to_offset, size_t count) {
    off64_t in = from_offset, out = to_offset;
    return copy_file_range(from, &in, to, &out, count, 0);
}

int skiff_fsetxattr(int fd, const char *name, const void *value, size_t size) {
    return fsetxattr(fd, name, value, size, 0);
}
int skiff_lsetxattr(const char *path, const char *name, const void *value, size_t size) {
    return lsetxattr(path, name, value, size, 0);
}
ssize_t skiff_fgetxattr(int fd, const char *name, void *value, size_t size) { return fgetxattr(fd, name, value, size); }
ssize_t skiff_lgetxattr(const char *path, const char *name, void *value, size_t size) {
    return lgetxattr(path, name, value, size);
}
ssize_t skiff_flistxattr(int fd, char *list, size_t size) { return flistxattr(fd, list, size); }
ssize_t skiff_llistxattr(const char *path, char *list, size_t size) { return llistxattr(path, list, size); }

uint64_t skiff_makedev(uint32_t major, uint32_t minor) { return makedev(major, minor); }
uint32_t skiff_major(uint64_t device) { return major(device); }
uint32_t skiff_minor(uint64_t device) { return minor(device); }

void skiff_trim_heap(void) { malloc_trim(0); }

int skiff_add_inode_flag(int fd, int flag) {
    int flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return -1;
    flags |= flag;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}
