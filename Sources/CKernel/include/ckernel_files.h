// Calls on files that Swift's Glibc module does not show: openat2, syncfs, extended attributes.
#ifndef CKERNEL_FILES_H
#define CKERNEL_FILES_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// syncfs(2)
int skiff_syncfs(int fd);
// sync_file_range(2) SYNC_FILE_RANGE_WRITE on the whole file: begin writing, wait for nothing.
int skiff_begin_writeback(int fd);
// copy_file_range(2) at explicit offsets.
ssize_t skiff_copy_file_range(int from, int64_t from_offset, int to, int64_t to_offset, size_t count);
// fsetxattr(2), fgetxattr(2), flistxattr(2) and the l-forms by path.
int skiff_fsetxattr(int fd, const char *name, const void *value, size_t size);
int skiff_lsetxattr(const char *path, const char *name, const void *value, size_t size);
ssize_t skiff_fgetxattr(int fd, const char *name, void *value, size_t size);
ssize_t skiff_lgetxattr(const char *path, const char *name, void *value, size_t size);
ssize_t skiff_flistxattr(int fd, char *list, size_t size);
ssize_t skiff_llistxattr(const char *path, char *list, size_t size);
// gnu_dev_makedev(3) and its reverse.
uint64_t skiff_makedev(uint32_t major, uint32_t minor);
uint32_t skiff_major(uint64_t device);
uint32_t skiff_minor(uint64_t device);
// ioctl_iflags(2): adds a flag to a file's; -1 and errno.
int skiff_add_inode_flag(int fd, int flag);
// malloc_trim(3)
void skiff_trim_heap(void);
#endif
