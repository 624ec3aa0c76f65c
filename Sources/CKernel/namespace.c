// A network namespace made by a helper beside its caller, which shares memory and descriptors with it: making one keeps the kernel
// busy for most of a millisecond, in which the caller has other things to do. The helper must not touch what belongs to the
// caller's thread, errno for instance: its calls are made by hand.
#define _GNU_SOURCE
#include "ckernel_process.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

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

static int make(void *result) {
    long descriptor = -1;
    if (call(SYS_unshare, CLONE_NEWNET, 0, 0, 0) == 0)
        descriptor = call(SYS_openat, AT_FDCWD, (long)"/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    *(volatile int *)result = (int)descriptor;
    return 0;
}

int skiff_network_begin(int *descriptor) {
    // One at a time: callers have one thread and end what they begin.
    static char stack[8192] __attribute__((aligned(16)));
    *descriptor = -1;
    // without a signal at its end: nobody else's wait meets it
    return clone(make, stack + sizeof stack, CLONE_VM | CLONE_FILES, descriptor);
}

int skiff_network_end(int helper) {
    int status;
    return waitpid(helper, &status, __WALL);
}
