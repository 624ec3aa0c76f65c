// The quick way into the sealed copy (Sources/Runtime/SealedCopy.swift, which says why and makes the copy). The program begins at
// `skiff_start` (Package.swift, `-e`), before the C library: what replaces itself need not be set up first, which costs half a
// millisecond where cpuid traps into a hypervisor. Nothing here may call the C library, not even memcpy. Where anything is not
// as expected nothing is done, and the C library's `_start` goes on: the slow way decides.
#define _GNU_SOURCE
#include "cseal.h"
#include "ckernel_process.h"
#include <fcntl.h>
#include <linux/stat.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

// Volatile: the compiler would work constructors out beforehand, where nothing is sealed yet.
static volatile int is_sealed;
static volatile int mount = -1;

int skiff_sealed_mount(void) { return mount; }

// The Swift runtime looks in a dozen places for a program that shows crashes, which is not there, unless it is told so. It reads
// its settings before main; the program itself, and what it starts, see the environment as it was.
extern char **environ;
static char *first_variable;
static char no_backtraces[] = "SWIFT_BACKTRACE=enable=no,swift-backtrace=/";

static int is_setting(const char *variable) {
    for (const char *name = "SWIFT_BACKTRACE="; *name; name++, variable++)
        if (*name != *variable) return 0;
    return 1;
}

__attribute__((constructor(101))) static void decline_backtraces(void) {
    if (!is_sealed || !environ[0]) return;
    for (char **variable = environ; *variable; variable++)
        if (is_setting(*variable)) return;
    first_variable = environ[0];
    environ[0] = no_backtraces;
}

int skiff_is_sealed_copy(void) {
    if (first_variable) environ[0] = first_variable;
    first_variable = 0;
    return is_sealed;
}

#if defined(__x86_64__)
__asm__(".text\n.globl skiff_start\n.type skiff_start, @function\n"
        "skiff_start:\n"
        "  xor %ebp, %ebp\n"
        "  mov %rdx, %r12\n"  // what ld.so would have left for atexit
        "  mov %rsp, %rdi\n"
        "  call skiff_enter_sealed_copy\n"
        "  mov %r12, %rdx\n"
        "  jmp _start\n"
        ".size skiff_start, . - skiff_start\n");

static long call(long number, long a, long b, long c, long d, long e) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
__asm__(".text\n.globl skiff_start\n.type skiff_start, %function\n"
        "skiff_start:\n"
        "  mov x29, #0\n"
        "  mov x19, x0\n"
        "  mov x0, sp\n"
        "  bl skiff_enter_sealed_copy\n"
        "  mov x0, x19\n"
        "  b _start\n"
        ".size skiff_start, . - skiff_start\n");

static long call(long number, long a, long b, long c, long d, long e) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}
#else
#error "skiff_start has to be written for this processor"
#endif

static int is_word(const char *word, const char *other) {
    while (*word && *word == *other) word++, other++;
    return *word == *other;
}

static int enters_containers(long count, char **arguments) {
    for (long index = 1; index < count && index < 16; index++) {
        const char *word = arguments[index];
        if (is_word(word, "shim") || is_word(word, "run") || is_word(word, "create") || is_word(word, "exec")) return 1;
    }
    return 0;
}

// Who makes a container has a helper in Linux.Forerunner: it gets half a millisecond's start while the C library and Swift's are set up.
static int makes_container(long count, char **arguments) {
    for (long index = 1; index < count && index < 16; index++) {
        if (is_word(arguments[index], "run") || is_word(arguments[index], "create")) return 1;
        if (is_word(arguments[index], "exec") || is_word(arguments[index], "shim")) return 0;
    }
    return 0;
}

static int look(long folder, const char *name, struct statx *status) {
    return call(SYS_statx, folder, (long)name, AT_EMPTY_PATH, STATX_BASIC_STATS, (long)status) == 0;
}

// statfs(2) of 64-bit machines; room for what a kernel may add.
struct file_system { long type, others[9], flags, spare[20]; };

static int is_mounted_copy(long own, const struct statx *status) {
    struct file_system file_system;
    char target[32];
    if ((status->stx_attributes & STATX_ATTR_MOUNT_ROOT) &&
        call(SYS_fstatfs, own, (long)&file_system, 0, 0, 0) == 0 && (file_system.flags & 1 /* ST_RDONLY */))
        return 1;
    long count = call(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)target, sizeof target, 0);
    static const char memory[] = "/memfd:skiff-runtime";
    if (count < (long)sizeof memory - 1) return 0;
    for (size_t index = 0; index < sizeof memory - 1; index++)
        if (target[index] != memory[index]) return 0;
    return 1;
}

static char *put(char *end, unsigned long long number) {
    char digits[24];
    int count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) *end++ = digits[--count];
    return end;
}

// stat(2)'s st_dev of a device, as the C library's makedev has it.
static unsigned long long device(unsigned major, unsigned minor) {
    return ((unsigned long long)(major & 0xfffff000u) << 32) | ((unsigned long long)(major & 0xfffu) << 8) |
           ((unsigned long long)(minor & 0xffffff00u) << 12) | (minor & 0xffu);
}

static void name_copy(char *end, const struct statx *own) {
    end = put(end, device(own->stx_dev_major, own->stx_dev_minor));
    *end++ = '-';
    end = put(end, own->stx_ino);
    *end++ = '-';
    end = put(end, (unsigned long long)own->stx_mtime.tv_sec * 1000000000ULL + own->stx_mtime.tv_nsec);
    *end++ = '-';
    end = put(end, own->stx_size);
    *end = 0;
}

static long open_copy(const char *folder_path, const struct statx *own) {
    char name[128];
    struct statx status;
    struct file_system file_system;
    unsigned user = (unsigned)call(SYS_geteuid, 0, 0, 0, 0, 0);
    long file = -1;
    long folder =
        call(SYS_openat, AT_FDCWD, (long)folder_path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, 0);
    if (folder < 0) return -1;
    if (look(folder, "", &status) && status.stx_uid == user && !(status.stx_mode & 022) &&
        call(SYS_fstatfs, folder, (long)&file_system, 0, 0, 0) == 0 && file_system.type == 0x01021994 /* tmpfs */) {
        name_copy(name, own);
        file = call(SYS_openat, folder, (long)name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, 0);
        if (file >= 0 && (!look(file, "", &status) || status.stx_size != own->stx_size || status.stx_uid != user)) {
            call(SYS_close, file, 0, 0, 0, 0);
            file = -1;
        }
    }
    call(SYS_close, folder, 0, 0, 0, 0);
    return file;
}

// The descriptor that this program was executed from: AT_EXECFN is /dev/fd/N then (execveat(2)). Its last close takes the mount away
// again and waits for a grace period of RCU, so it is left open until somebody has the time.
static int find_mount(char **environment, const struct statx *own) {
    struct statx status;
    const char *text = 0;
    int number = 0;
    while (*environment) environment++;
    for (unsigned long *entry = (unsigned long *)(environment + 1); *entry; entry += 2)
        if (*entry == 31 /* AT_EXECFN */) text = (const char *)entry[1];
    if (!text) return -1;
    for (const char *name = "/dev/fd/"; *name; name++, text++)
        if (*name != *text) return -1;
    for (; *text >= '0' && *text <= '9' && number < 65536; text++) number = number * 10 + (*text - '0');
    if (*text || !look(number, "", &status) || status.stx_ino != own->stx_ino || status.stx_mnt_id != own->stx_mnt_id ||
        call(SYS_fcntl, number, F_SETFD, FD_CLOEXEC, 0, 0) != 0)
        return -1;
    return number;
}

__attribute__((used)) void skiff_enter_sealed_copy(long *stack) {
    struct { unsigned long long set, clear, propagation, userns; } attributes;
    struct statx own_status;
    long count = stack[0];
    char **arguments = (char **)(stack + 1), **environment = arguments + count + 1;
    if (!enters_containers(count, arguments)) return;
    long own = call(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", O_PATH | O_CLOEXEC, 0, 0);
    if (own < 0) return;
    if (!look(own, "", &own_status)) {
    } else if (is_mounted_copy(own, &own_status)) {
        is_sealed = 1;
        mount = find_mount(environment, &own_status);
        call(SYS_prctl, PR_SET_NAME, (long)"skiff-runtime", 0, 0, 0);
        if (makes_container(count, arguments)) skiff_forerunner_begin(mount);
    } else {
        long file = open_copy("/run/skiff-runtime/sealed", &own_status);
        if (file < 0) file = open_copy("/dev/shm/skiff-runtime-sealed", &own_status);
        if (file >= 0) {
            attributes.set = 0x7;  // read-only, nosuid, nodev
            attributes.clear = 0x8;  // noexec
            attributes.propagation = 0x40000;  // private
            attributes.userns = 0;
            // open_tree(2) OPEN_TREE_CLONE | AT_EMPTY_PATH; the copy makes it close-on-exec (find_mount)
            long clone = call(SYS_open_tree, file, (long)"", 1 | AT_EMPTY_PATH, 0, 0);
            if (clone >= 0 &&
                call(SYS_mount_setattr, clone, (long)"", AT_EMPTY_PATH, (long)&attributes, sizeof attributes) == 0)
                call(SYS_execveat, clone, (long)"", (long)arguments, (long)environment, AT_EMPTY_PATH);
            if (clone >= 0) call(SYS_close, clone, 0, 0, 0, 0);
            call(SYS_close, file, 0, 0, 0, 0);
        }
    }
    call(SYS_close, own, 0, 0, 0, 0);
}
