#define _GNU_SOURCE
#include "ckernel_process.h"
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Newer calls, with arguments that the kernel refuses before it does anything.
static const struct { const char *name; int number; int is_replaced; long arguments[5]; } calls[] = {
    {"clone3", SYS_clone3, 1, {0, 0}},
    {"close_range", SYS_close_range, 1, {2, 1, 0}},
    {"execveat", SYS_execveat, 1, {-1, 0, 0, 0, 0}},
    {"statx", SYS_statx, 1, {-1, 0, 0, 0, 0}},
    {"memfd_create", SYS_memfd_create, 0, {0, -1}},
    {"openat2", SYS_openat2, 0, {-1, 0, 0, 0}},
    {"open_tree", SYS_open_tree, 0, {-1, 0, -1}},
    {"move_mount", SYS_move_mount, 0, {-1, 0, -1, 0, -1}},
    {"fsopen", SYS_fsopen, 0, {0, -1}},
    {"fsconfig", SYS_fsconfig, 0, {-1, -1, 0, 0, 0}},
    {"fsmount", SYS_fsmount, 0, {-1, -1, -1}},
    {"mount_setattr", SYS_mount_setattr, 0, {-1, 0, -1, 0, 0}},
    {"pidfd_open", SYS_pidfd_open, 0, {-1, -1}},
    {"pidfd_send_signal", SYS_pidfd_send_signal, 0, {-1, 0, 0, 0}},
    {"seccomp", SYS_seccomp, 0, {-1, 0, 0}},
};

const char *skiff_missing_call(unsigned index, int *is_missing, int *is_replaced) {
    if (index >= sizeof calls / sizeof calls[0]) return NULL;
    const long *a = calls[index].arguments;
    *is_missing = syscall(calls[index].number, a[0], a[1], a[2], a[3], a[4]) < 0 && errno == ENOSYS;
    *is_replaced = calls[index].is_replaced;
    return calls[index].name;
}
