#define _GNU_SOURCE
#include "ckernel_daemon.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static volatile int pipe_end = -1;

static void note(int number) {
    int kept = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t ignored = write(pipe_end, &byte, 1);
    (void)ignored;
    errno = kept;
}

int skiff_signal_pipe(const int *signals, int count) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    pipe_end = ends[1];
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note;
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    for (int index = 0; index < count; index++)
        if (sigaction(signals[index], &action, NULL) != 0) return -1;
    // Who started us may have blocked them.
    sigset_t heard;
    sigemptyset(&heard);
    for (int index = 0; index < count; index++) sigaddset(&heard, signals[index]);
    if (pthread_sigmask(SIG_UNBLOCK, &heard, NULL) != 0) return -1;
    return ends[0];
}

int skiff_notify(const char *path, const char *text) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    ssize_t sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    int kept = errno;
    close(fd);
    errno = kept;
    return sent < 0 ? -1 : 0;
}

void skiff_limit_heaps(int arenas) {
    mallopt(M_ARENA_MAX, arenas);
    mallopt(M_TRIM_THRESHOLD, 256 << 10);
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
}

// Set by the linker; absent in some ways of linking.
extern char __executable_start[] __attribute__((weak));
extern char etext[] __attribute__((weak));

void skiff_release_text(void) {
    malloc_trim(0);
    if (!__executable_start || !etext) return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)__executable_start + page - 1) & ~(page - 1);
    uintptr_t last = (uintptr_t)etext & ~(page - 1);
    // segments in between may have holes, which fail and change nothing beyond
    if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
}

long skiff_raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
    return (long)limit.rlim_cur;
}
