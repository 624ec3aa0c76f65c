// A helper process that shares memory and descriptors with its maker, and does two things beside it that keep the kernel busy: reads
// the table of mounts (0.15 ms), makes a network namespace (0.65 ms). It must not touch what belongs to its maker's thread, errno
// for instance: its calls are made by hand. It may be begun before the C library is set up (Sources/CSeal).
#define _GNU_SOURCE
#include "ckernel_process.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { UNKNOWN, NETWORK, NOTHING };

#define NO_PROTECTOR __attribute__((no_stack_protector))

// One at a time: callers have one thread and end what they begin.
static struct {
    int helper, maker, order, has_mounts, channel, unneeded;
    long size;
} state;
static char mounts[65536];
static char stack[8192] __attribute__((aligned(16)));

NO_PROTECTOR static long call(long number, long a, long b, long c, long d) {
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
NO_PROTECTOR static int wait_for(int *word, long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (!__atomic_load_n(word, __ATOMIC_ACQUIRE)) {
        long result = call(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, 0, (long)&time);
        if (result < 0 && result != -EAGAIN && result != -EINTR) break;
    }
    return __atomic_load_n(word, __ATOMIC_ACQUIRE) != 0;
}

NO_PROTECTOR static void set(int *word, int value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    call(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, 1, 0);
}

NO_PROTECTOR static long read_mounts(void) {
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

// One byte, and the descriptor in SCM_RIGHTS unless it is -1.
NO_PROTECTOR static void tell(int channel, char word, int descriptor) {
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control = {.header = {0}};
    struct iovec bytes = {&word, 1};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (descriptor >= 0) {
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        *(int *)(void *)CMSG_DATA(&control.header) = descriptor;
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
    }
    call(SYS_sendmsg, channel, (long)&message, MSG_NOSIGNAL, 0);
}

NO_PROTECTOR static void make_network(void) {
    long network = -1;
    if (call(SYS_unshare, CLONE_NEWNET, 0, 0, 0) == 0)
        network = call(SYS_openat, AT_FDCWD, (long)"/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    tell(state.channel, 'n', (int)network);
    if (network >= 0) call(SYS_close, network, 0, 0, 0);
}

NO_PROTECTOR static void run(void) {
    // Its maker may be killed: nobody would give it orders then.
    call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    if (call(SYS_getppid, 0, 0, 0, 0) != state.maker) return;
    state.size = read_mounts();
    set(&state.has_mounts, 1);
    if (state.unneeded >= 0) call(SYS_close, state.unneeded, 0, 0, 0);
    if (wait_for(&state.order, 10000) && state.order == NETWORK) make_network();
}

// clone(2) by hand, for callers without a C library yet. The new process runs the body on its own stack and ends. Its pid, or -errno.
NO_PROTECTOR static long begin(void (*body)(void), char *end_of_stack) {
    // no signal at its end: nobody else's wait meets it
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile(
        "syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\txor %%ebp, %%ebp\n\tcall *%[body]\n\t"
        "xor %%edi, %%edi\n\tmov %[exit], %%eax\n\tsyscall\n1:"
        : "=a"(result)
        : "a"((long)SYS_clone), "D"((long)(CLONE_VM | CLONE_FILES)), "S"(end_of_stack), "d"(0L), "r"(r10), "r"(r8),
          [body] "b"(body), [exit] "i"(SYS_exit)
        : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = CLONE_VM | CLONE_FILES;
    register char *x1 __asm__("x1") = end_of_stack;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    register void (*x5)(void) __asm__("x5") = body;
    __asm__ volatile(
        "svc 0\n\tcbnz x0, 1f\n\tmov x29, #0\n\tmov x30, #0\n\tblr x5\n\tmov x0, #0\n\tmov x8, %[exit]\n\tsvc 0\n1:"
        : "+r"(x0)
        : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5), [exit] "i"(SYS_exit)
        : "memory");
    return x0;
#else
    (void)body, (void)end_of_stack;
    return -ENOSYS;
#endif
}

NO_PROTECTOR int skiff_forerunner_begin(int unneeded) {
    if (state.helper > 0) return state.helper;
    state.unneeded = unneeded;
    state.maker = (int)call(SYS_getpid, 0, 0, 0, 0);
    state.order = state.has_mounts = 0;
    state.channel = -1;
    long helper = begin(run, stack + sizeof stack);
    state.helper = helper > 0 ? (int)helper : 0;
    return helper > 0 ? (int)helper : -1;
}

long skiff_forerunner_mounts(const char **bytes) {
    *bytes = mounts;
    return wait_for(&state.has_mounts, 50) ? state.size : -1;
}

void skiff_forerunner_network(int channel) {
    state.channel = channel;
    set(&state.order, NETWORK);
}

void skiff_forerunner_end(int helper) {
    int status;
    if (!state.order) set(&state.order, NOTHING);
    while (waitpid(helper, &status, __WALL) < 0 && errno == EINTR) {}
    state.helper = 0;
}

// A second helper, which only closes descriptors.
static struct { int descriptors[4], count; } closing;
static char closing_stack[4096] __attribute__((aligned(16)));

NO_PROTECTOR static void close_all(void) {
    for (int index = 0; index < closing.count; index++) call(SYS_close, closing.descriptors[index], 0, 0, 0);
}

int skiff_close_aside(const int *descriptors, int count) {
    if (count < 1 || count > 4) return -1;
    closing.count = count;
    for (int index = 0; index < count; index++) closing.descriptors[index] = descriptors[index];
    long helper = begin(close_all, closing_stack + sizeof closing_stack);
    return helper > 0 ? (int)helper : -1;
}

void skiff_close_aside_end(int helper) {
    int status;
    while (waitpid(helper, &status, __WALL) < 0 && errno == EINTR) {}
}
