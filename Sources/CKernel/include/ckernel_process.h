#ifndef CKERNEL_PROCESS_H
#define CKERNEL_PROCESS_H
// Processes, namespaces, identities: system calls that glibc hides behind _GNU_SOURCE, varargs or not at all.
#include <stddef.h>
#include <stdint.h>

/// clone3(2). `pidfd` may be NULL; `cgroup` is a v2 folder for CLONE_INTO_CGROUP or -1. Answers 0 in the child, which runs on a
/// copy of the caller's memory as after fork(2).
int skiff_clone3(uint64_t flags, int exit_signal, int *pidfd, int cgroup);
/// clone(2): the same without a cgroup, for where clone3 is missing.
int skiff_clone(uint64_t flags, int exit_signal, int *pidfd);
/// The name of the index-th of the newer system calls that we use, NULL behind the last: whether it answers ENOSYS here, and
/// whether we can do without.
const char *skiff_missing_call(unsigned index, int *is_missing, int *is_replaced);
int skiff_execveat(int folder, const char *path, char *const *arguments, char *const *environment, int flags);
int skiff_close_range(unsigned first, unsigned last, unsigned flags);
int skiff_setns(int descriptor, int flags);
int skiff_unshare(int flags);
int skiff_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int skiff_capget(int pid, uint32_t sets[6]);
/// effective, permitted, inheritable: low words 0..2, high words 3..5
int skiff_capset(const uint32_t sets[6]);
int skiff_setresuid(uint32_t id);
int skiff_setresgid(uint32_t id);
int skiff_setgroups(size_t count, const uint32_t *ids);
int skiff_pidfd_open(int pid, unsigned flags);
int skiff_pidfd_send_signal(int pidfd, int signal);
int skiff_pidfd_getfd(int pidfd, int descriptor);
/// waitid(2) on a pidfd; `status` becomes the exit code, or the signal with *by_signal set. Answers 1, 0 with no_hang and no end, -1.
int skiff_wait_pidfd(int pidfd, int no_hang, int *status, int *by_signal);
/// waitpid(2): the pid, 0 with no_hang and nothing to reap, -1.
int skiff_wait_pid(int pid, int no_hang, int *status, int *by_signal);
/// The pid of an ended child that stays to be reaped; 0 when there is none, -1.
int skiff_ended_child(void);
/// The pid of a pidfd (/proc/self/fdinfo); -1 when it cannot be told.
int skiff_pidfd_pid(int pidfd);
/// Begins a helper process that reads the table of mounts and closes a descriptor unless it is -1; its pid, -1. For callers with one
/// thread, one at a time: who runs already is answered. May be called before the C library is set up.
int skiff_forerunner_begin(int unneeded);
/// The size of /proc/self/mountinfo and where it is; -1 when it cannot be had from the helper.
long skiff_forerunner_mounts(const char **bytes);
/// Orders a network namespace: the helper sends the byte `n` over the socket, with the namespace unless it could not be made.
void skiff_forerunner_network(int channel);
/// Waits for the helper's end; what was ordered is done then.
void skiff_forerunner_end(int helper);
/// Begins a helper process that closes up to four descriptors of its maker's, which has one thread; its pid, -1. One at a time.
int skiff_close_aside(const int *descriptors, int count);
/// Waits for its end.
void skiff_close_aside_end(int helper);
int skiff_prlimit(int pid, int resource, uint64_t soft, uint64_t hard);
int skiff_getrlimit(int resource, uint64_t *soft, uint64_t *hard);
int skiff_sethostname(const char *name, size_t count);
int skiff_setdomainname(const char *name, size_t count);
int skiff_join_session_keyring(const char *name);
int skiff_keyctl_set_permissions(int key, uint32_t bits);
int skiff_keyctl_describe(int key, char *buffer, size_t count);
int skiff_personality(unsigned long persona);
int skiff_set_mempolicy(int mode, const unsigned long *nodes, unsigned long maximum);
int skiff_ioprio_set(int pid, int value);
int skiff_sched_setaffinity(int pid, size_t bytes, const unsigned long *mask);
int skiff_sched_setattr(int pid, uint32_t policy, uint64_t flags, int32_t nice, uint32_t priority, uint64_t runtime,
                        uint64_t deadline, uint64_t period);
/// posix_spawn(3) with three descriptors as standard streams, default signals, nothing else inherited. Answers an errno.
int skiff_spawn(int *pid, const char *path, char *const *arguments, char *const *environment, const int streams[3],
                const char *folder);
/// CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds.
int64_t skiff_clock_monotonic(void);
int64_t skiff_clock_realtime(void);
#endif
