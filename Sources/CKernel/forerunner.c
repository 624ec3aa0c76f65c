// A helper process that shares memory and descriptors with its maker, and does two things beside it that keep the kernel busy: reads
// the table of mounts (0.15 ms), makes a network namespace (0.65 ms). It must not touch what belongs to its maker's thread, errno
// for instance: its calls are made by hand.
#define _GNU_SOURCE
#include "ckernel_process.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { UNKNOWN, NETWORK, NOTHING };

// One at a time: callers have one thread and end what they begin.
static struct {
    int maker, order, has_mounts, network, unneeded;
    long size;
} state;
static char mounts[65536];
static char stack[8192] __attribute__((aligned(16)));

static long call(long number, long a, long b, long c, long d) {
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#else
    (void)number, (void)a, (void)b, (void)c, (void)d;
    return -1;
#endif
}

/// True when the word has changed from 0; false after that many milliseconds, or where there are no futexes.
static int wait_for(int *word, long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (!__atomic_load_n(word, __ATOMIC_ACQUIRE)) {
        long result = call(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, 0, (long)&time);
        if (result < 0 && result != -EAGAIN && result != -EINTR) break;
    }
    return __atomic_load_n(word, __ATOMIC_ACQUIRE) != 0;
}

static void set(int *word, int value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    call(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, 1, 0);
}

static long read_mounts(void) {
    long size = 0, count = -1;
    long file = call(SYS_openat, AT_FDCWD, (long)"/proc/self/mountinfo", O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return -1;
    while (size < (long)sizeof mounts) {
        count = call(SYS_read, file, (long)(mounts + size), (long)sizeof mounts - size, 0);
        if (count <= 0) break;
        size += count;
    }
    call(SYS_close, file, 0, 0, 0);
    return count == 0 ? size : -1;
}

static int run(void *unused) {
    (void)unused;
    // Its maker may be killed: nobody would give it orders then.
    call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    if (call(SYS_getppid, 0, 0, 0, 0) != state.maker) return 1;
    state.size = read_mounts();
    set(&state.has_mounts, 1);
    if (state.unneeded >= 0) call(SYS_close, state.unneeded, 0, 0, 0);
    if (!wait_for(&state.order, 10000) || state.order != NETWORK) return 0;
    if (call(SYS_unshare, CLONE_NEWNET, 0, 0, 0) == 0)
        state.network = (int)call(SYS_openat, AT_FDCWD, (long)"/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    return 0;
}

int skiff_forerunner_begin(int unneeded) {
    state.unneeded = unneeded;
    state.maker = getpid();
    state.order = state.has_mounts = 0;
    state.network = -1;
    // without a signal at its end: nobody else's wait meets it
    return clone(run, stack + sizeof stack, CLONE_VM | CLONE_FILES, 0);
}

long skiff_forerunner_mounts(const char **bytes) {
    *bytes = mounts;
    return wait_for(&state.has_mounts, 50) ? state.size : -1;
}

void skiff_forerunner_network(void) { set(&state.order, NETWORK); }

int skiff_forerunner_end(int helper) {
    int status;
    if (!state.order) set(&state.order, NOTHING);
    while (waitpid(helper, &status, __WALL) < 0 && errno == EINTR) {}
    return state.network < 0 ? -1 : state.network;
}
