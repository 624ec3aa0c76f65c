#define _GNU_SOURCE
#include "ckernel_process.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <spawn.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int skiff_clone3(uint64_t flags, int exit_signal, int *pidfd, int cgroup) {
    struct clone_args arguments;
    memset(&arguments, 0, sizeof arguments);
    arguments.flags = flags;
    arguments.exit_signal = (uint64_t)exit_signal;
    if (pidfd) {
        arguments.flags |= CLONE_PIDFD;
        arguments.pidfd = (uint64_t)(uintptr_t)pidfd;
    }
    if (cgroup >= 0) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)cgroup;
    }
    return (int)syscall(SYS_clone3, &arguments, sizeof arguments);
}

// clone(2) as it was before clone3(2), on this stack; CLONE_PIDFD answers where a thread's id would be stored. Its low byte is the
// signal: namespaces of time (0x80) cannot be asked for.
int skiff_clone(uint64_t flags, int exit_signal, int *pidfd) {
    return (int)syscall(SYS_clone, (unsigned long)flags | CLONE_PIDFD | (unsigned long)exit_signal, NULL, pidfd, NULL, NULL);
}

int skiff_execveat(int folder, const char *path, char *const *arguments, char *const *environment, int flags) {
    return (int)syscall(SYS_execveat, folder, path, arguments, environment, flags);
}

static void close_one(unsigned number, unsigned flags) {
    if (flags & 4 /* CLOSE_RANGE_CLOEXEC */) fcntl((int)number, F_SETFD, FD_CLOEXEC); else close((int)number);
}

// The open ones by the kernel's own list; -1 where no procfs is at /proc. Closing does not disturb the listing: its offset is the
// descriptor's number.
static int close_listed(unsigned first, unsigned last, unsigned flags) {
    struct entry { uint64_t inode; int64_t offset; unsigned short length; unsigned char type; char name[]; };
    struct statfs status;
    _Alignas(8) char buffer[4096];
    int folder = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return -1;
    long count = -1;
    if (fstatfs(folder, &status) == 0 && status.f_type == 0x9fa0 /* PROC_SUPER_MAGIC */)
        while ((count = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0)
            for (long at = 0; at < count;) {
                struct entry *entry = (struct entry *)(buffer + at);
                char *end;
                unsigned long number = strtoul(entry->name, &end, 10);
                if (*end == 0 && end != entry->name && number >= first && number <= last && (int)number != folder)
                    close_one((unsigned)number, flags);
                at += entry->length;
            }
    close(folder);
    return count == 0 ? 0 : -1;
}

int skiff_close_range(unsigned first, unsigned last, unsigned flags) {
    int result = (int)syscall(SYS_close_range, first, last, flags);
    if (result == 0 || errno != ENOSYS) return result;
    if (close_listed(first, last, flags) == 0) return 0;
    struct rlimit limit = {.rlim_max = 65536};
    if (prlimit(0, RLIMIT_NOFILE, NULL, &limit) < 0 || limit.rlim_max > 1 << 20) limit.rlim_max = 1 << 20;
    unsigned bound = limit.rlim_max < 65536 ? 65536 : (unsigned)limit.rlim_max;
    for (unsigned number = first; number <= last && number < bound; number++) close_one(number, flags);
    return 0;
}

int skiff_setns(int descriptor, int flags) { return setns(descriptor, flags); }
int skiff_unshare(int flags) { return unshare(flags); }
int skiff_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
    return prctl(option, a, b, c, d);
}

int skiff_capget(int pid, uint32_t sets[6]) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = pid};
    return (int)syscall(SYS_capget, &header, sets);
}

int skiff_capset(const uint32_t sets[6]) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    return (int)syscall(SYS_capset, &header, sets);
}

// Raw calls: glibc's would tell the other threads, and there is one.
int skiff_setresuid(uint32_t id) { return (int)syscall(SYS_setresuid, id, id, id); }
int skiff_setresgid(uint32_t id) { return (int)syscall(SYS_setresgid, id, id, id); }
int skiff_setgroups(size_t count, const uint32_t *ids) { return (int)syscall(SYS_setgroups, count, ids); }

int skiff_pidfd_open(int pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
int skiff_pidfd_send_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }
int skiff_pidfd_getfd(int pidfd, int descriptor) { return (int)syscall(SYS_pidfd_getfd, pidfd, descriptor, 0); }

static int wait_for(int type, int id, int no_hang, int *status, int *by_signal) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid((idtype_t)type, (id_t)id, &info, WEXITED | (no_hang ? WNOHANG : 0)) < 0) return -1;
    if (info.si_pid == 0) return 0;
    *by_signal = info.si_code != CLD_EXITED;
    *status = info.si_status;
    return info.si_pid;
}

int skiff_wait_pidfd(int pidfd, int no_hang, int *status, int *by_signal) {
    int pid = wait_for(3 /* P_PIDFD */, pidfd, no_hang, status, by_signal);
    return pid > 0 ? 1 : pid;
}

int skiff_wait_pid(int pid, int no_hang, int *status, int *by_signal) {
    return pid < 0 ? wait_for(P_ALL, 0, no_hang, status, by_signal) : wait_for(P_PID, pid, no_hang, status, by_signal);
}

int skiff_ended_child(void) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0) return -1;
    return info.si_pid;
}

int skiff_pidfd_pid(int pidfd) {
    char path[64], line[256];
    int pid = -1;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    FILE *file = fopen(path, "re");
    if (!file) return -1;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Pid: %d", &pid) == 1) break;
    fclose(file);
    return pid;
}

int skiff_prlimit(int pid, int resource, uint64_t soft, uint64_t hard) {
    struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard};
    return prlimit(pid, (enum __rlimit_resource)resource, &limit, NULL);
}

int skiff_getrlimit(int resource, uint64_t *soft, uint64_t *hard) {
    struct rlimit limit;
    if (prlimit(0, (enum __rlimit_resource)resource, NULL, &limit) < 0) return -1;
    *soft = limit.rlim_cur;
    *hard = limit.rlim_max;
    return 0;
}

int skiff_sethostname(const char *name, size_t count) { return sethostname(name, count); }
int skiff_setdomainname(const char *name, size_t count) { return setdomainname(name, count); }

int skiff_join_session_keyring(const char *name) { return (int)syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, name); }
int skiff_keyctl_set_permissions(int key, uint32_t bits) { return (int)syscall(SYS_keyctl, 5 /* SETPERM */, key, bits); }
int skiff_keyctl_describe(int key, char *buffer, size_t count) {
    return (int)syscall(SYS_keyctl, 6 /* DESCRIBE */, key, buffer, count);
}

int skiff_personality(unsigned long persona) { return personality(persona); }

int skiff_set_mempolicy(int mode, const unsigned long *nodes, unsigned long maximum) {
    return (int)syscall(SYS_set_mempolicy, mode, nodes, maximum);
}

int skiff_ioprio_set(int pid, int value) { return (int)syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, pid, value); }

int skiff_sched_setaffinity(int pid, size_t bytes, const unsigned long *mask) {
    return (int)syscall(SYS_sched_setaffinity, pid, bytes, mask);
}

int skiff_sched_setattr(int pid, uint32_t policy, uint64_t flags, int32_t nice, uint32_t priority, uint64_t runtime,
                        uint64_t deadline, uint64_t period) {
    // sched_setattr(2): struct sched_attr, version 0
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {48, policy, flags, nice, priority, runtime, deadline, period};
    return (int)syscall(SYS_sched_setattr, pid, &attributes, 0);
}

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}
int64_t skiff_clock_monotonic(void) { return now(CLOCK_MONOTONIC); }
int64_t skiff_clock_realtime(void) { return now(CLOCK_REALTIME); }

int skiff_spawn(int *pid, const char *path, char *const *arguments, char *const *environment, const int streams[3],
                const char *folder) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t child = 0;
    int code = posix_spawn_file_actions_init(&actions);
    if (code) return code;
    code = posix_spawnattr_init(&attributes);
    if (code) {
        posix_spawn_file_actions_destroy(&actions);
        return code;
    }
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    for (int number = 0; number < 3 && !code; number++)
        code = posix_spawn_file_actions_adddup2(&actions, streams[number], number);
    if (!code) code = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (!code && folder) code = posix_spawn_file_actions_addchdir_np(&actions, folder);
    if (!code) code = posix_spawn(&child, path, &actions, &attributes, arguments, environment);
    *pid = child;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return code;
}
