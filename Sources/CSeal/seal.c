// The quick way into the sealed copy (Sources/Runtime/SealedCopy.swift, which says why and makes the copy): before the Swift
// runtime has started, because a program that replaces itself pays for every start-up twice. Where anything is not as
// expected nothing is done: the slow way decides.
#define _GNU_SOURCE
#include "cseal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static int is_sealed;

int skiff_is_sealed_copy(void) { return is_sealed; }

static int enters_containers(int count, char **arguments) {
    for (int index = 1; index < count && index < 16; index++) {
        const char *word = arguments[index];
        if (!strcmp(word, "shim") || !strcmp(word, "run") || !strcmp(word, "create") || !strcmp(word, "exec")) return 1;
    }
    return 0;
}

static int is_mounted_copy(int own) {
    struct statx status;
    struct statfs file_system;
    char target[32];
    int is_root = statx(own, "", AT_EMPTY_PATH, 0, &status) == 0 && (status.stx_attributes & 0x2000 /* STATX_ATTR_MOUNT_ROOT */);
    ssize_t count = is_root ? 0 : readlink("/proc/self/exe", target, sizeof target);
    // Where statx is forbidden: the root of a mount that is attached nowhere has no other name.
    if (!is_root) is_root = (count == 1 && target[0] == '/') || (count > 2 && !memcmp(target, "/ (", 3));
    if (is_root && fstatfs(own, &file_system) == 0 && (file_system.f_flags & 1 /* ST_RDONLY */)) return 1;
    return count >= 20 && !memcmp(target, "/memfd:skiff-runtime", 20);
}

static int open_copy(const char *folder_path, const struct stat *own) {
    char name[128];
    struct stat status;
    struct statfs file_system;
    int folder = open(folder_path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), file = -1;
    if (folder < 0) return -1;
    if (fstat(folder, &status) == 0 && status.st_uid == geteuid() && !(status.st_mode & 022) &&
        fstatfs(folder, &file_system) == 0 && file_system.f_type == 0x01021994 /* tmpfs */) {
        snprintf(name, sizeof name, "%llu-%llu-%lld-%llu", (unsigned long long)own->st_dev, (unsigned long long)own->st_ino,
                 (long long)own->st_mtim.tv_sec * 1000000000LL + own->st_mtim.tv_nsec, (unsigned long long)own->st_size);
        file = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (file >= 0 && (fstat(file, &status) < 0 || status.st_size != own->st_size || status.st_uid != geteuid())) {
            close(file);
            file = -1;
        }
    }
    close(folder);
    return file;
}

static void execute(int file, char **arguments, char **environment) {
    char name[32];
    syscall(SYS_execveat, file, "", arguments, environment, 0x1000);
    if (errno != ENOSYS) return;
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    execve(name, arguments, environment);
}

__attribute__((constructor(101))) static void enter_sealed_copy(int count, char **arguments, char **environment) {
    struct { unsigned long long set, clear, propagation, userns; } attributes = {0x7, 0x8, 0x40000, 0};
    struct stat status;
    if (!enters_containers(count, arguments)) return;
    int own = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (own < 0) return;
    if (is_mounted_copy(own)) {
        is_sealed = 1;
        prctl(PR_SET_NAME, "skiff-runtime", 0, 0, 0);
    } else if (fstat(own, &status) == 0) {
        int file = open_copy("/run/skiff-runtime/sealed", &status);
        if (file < 0) file = open_copy("/dev/shm/skiff-runtime-sealed", &status);
        if (file >= 0) {
            // open_tree(2) OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH; read-only, nosuid, nodev, exec, private
            int mount = (int)syscall(SYS_open_tree, file, "", 1 | O_CLOEXEC | 0x1000);
            if (mount >= 0 && syscall(SYS_mount_setattr, mount, "", 0x1000, &attributes, sizeof attributes) == 0)
                execute(mount, arguments, environment);
            if (mount >= 0) close(mount);
            close(file);
        }
    }
    close(own);
}
