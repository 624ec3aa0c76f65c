#define _GNU_SOURCE
#include "ckernel_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int ck_seqpacket_pair(int out[2], int nonblocking) {
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0, out);
}

int ck_seqpacket_socket(void) { return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0); }

static int unix_address(struct sockaddr_un *address, const char *path) {
    size_t length = strlen(path);
    if (length >= sizeof(address->sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    return 0;
}

int ck_unix_bind(int fd, const char *path) {
    struct sockaddr_un address;
    if (unix_address(&address, path) < 0) return -1;
    return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

int ck_unix_connect(int fd, const char *path) {
    struct sockaddr_un address;
    if (unix_address(&address, path) < 0) return -1;
    return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

int ck_accept(int fd) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int ck_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred credentials;
    socklen_t length = sizeof(credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -1;
    *pid = credentials.pid;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return 0;
}

#define MAXIMUM_DESCRIPTORS 16

ssize_t ck_send(int fd, const void *data, size_t count, const int *fds, int fdCount, int flags) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MAXIMUM_DESCRIPTORS)];
    } control;
    struct iovec part = {.iov_base = (void *)data, .iov_len = count};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fdCount < 0 || fdCount > MAXIMUM_DESCRIPTORS) {
        errno = EINVAL;
        return -1;
    }
    if (fdCount > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fdCount);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fdCount);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)fdCount);
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL | flags);
}

ssize_t ck_receive(int fd, void *data, size_t count, int *fds, int *fdCount) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MAXIMUM_DESCRIPTORS)];
    } control;
    struct iovec part = {.iov_base = data, .iov_len = count};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    int room = *fdCount, got = 0, lost = 0;
    *fdCount = 0;
    ssize_t result = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (result < 0) return -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t number = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < number; index++) {
            int received;
            memcpy(&received, CMSG_DATA(header) + index * sizeof(int), sizeof(int));
            if (got < room) {
                fds[got++] = received;
            } else {
                close(received);
                lost = 1;
            }
        }
    }
    if (lost || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        for (int index = 0; index < got; index++) close(fds[index]);
        errno = EMSGSIZE;
        return -1;
    }
    *fdCount = got;
    return result;
}

ssize_t ck_next_length(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_TRUNC);
}

int ck_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }

int ck_seal(int fd) { return fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE); }

int ck_is_sealed(int fd) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_WRITE) && (seals & F_SEAL_SHRINK);
}

int ck_pipe(int out[2]) { return pipe2(out, O_CLOEXEC); }

int ck_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static volatile sig_atomic_t signal_eventfd = -1;

static void note_signal(int number) {
    int saved = errno;
    uint64_t one = 1;
    (void)number;
    if (signal_eventfd >= 0 && write(signal_eventfd, &one, sizeof(one)) < 0) errno = saved;
    errno = saved;
}

static void pass_over(int number) { (void)number; }

int ck_signals_to(int eventfd) {
    static const int noted[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    signal_eventfd = eventfd;
    action.sa_flags = SA_RESTART;
    action.sa_handler = note_signal;
    for (size_t index = 0; index < sizeof(noted) / sizeof(noted[0]); index++)
        if (sigaction(noted[index], &action, NULL) < 0) return -1;
    action.sa_handler = pass_over;
    return sigaction(SIGPIPE, &action, NULL);
}

static pid_t ended(pid_t pid, int status, int *code, int *signal) {
    *signal = 0;
    *code = 0;
    if (pid <= 0) return pid;
    if (WIFSIGNALED(status)) {
        *signal = WTERMSIG(status);
        *code = 128 + *signal;
    } else {
        *code = WEXITSTATUS(status);
    }
    return pid;
}

pid_t ck_reap(int *code, int *signal) {
    int status = 0;
    pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
    return ended(pid, status, code, signal);
}

int ck_reap_pid(pid_t pid, int *code, int *signal) {
    int status = 0;
    pid_t result = waitpid(pid, &status, WNOHANG | __WALL);
    return ended(result, status, code, signal);
}

int ck_set_nonblocking(int fd, int on) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return wanted == flags ? 0 : fcntl(fd, F_SETFL, wanted);
}

int ck_set_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

int ck_set_window_size(int fd, unsigned short columns, unsigned short rows) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(fd, TIOCSWINSZ, &size);
}

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t ck_clock_realtime(void) { return now(CLOCK_REALTIME); }
int64_t ck_clock_monotonic(void) { return now(CLOCK_MONOTONIC); }

int ck_watch_folder(const char *path) {
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) return -1;
    if (inotify_add_watch(fd, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

// Linker symbols of a static executable: text from __executable_start to etext, data up to end.
extern char __executable_start[] __attribute__((weak));
extern char etext[] __attribute__((weak));
extern char edata[] __attribute__((weak));
extern char end[] __attribute__((weak));

void ck_release_memory(void) {
    malloc_trim(0);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    // What lies below this frame on the stack was used by calls that have returned. A main thread's stack is mapped as far
    // down as it was ever used; addresses below that make the call fail and change nothing.
    uintptr_t here = ((uintptr_t)__builtin_frame_address(0) - 4 * page) & ~(page - 1);
    for (uintptr_t size = 16 * page; size >= page; size /= 2)
        while (madvise((void *)(here - size), size, MADV_DONTNEED) == 0) here -= size;
    if (__executable_start && etext) {
        uintptr_t first = ((uintptr_t)__executable_start + page - 1) & ~(page - 1);
        uintptr_t last = (uintptr_t)etext & ~(page - 1);
        // Without huge pages from here on: what waits touches little of it.
        if (first < last) madvise((void *)first, last - first, MADV_NOHUGEPAGE);
        if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
    }
    if (etext && end) {
        uintptr_t first = ((uintptr_t)etext + page - 1) & ~(page - 1);
        uintptr_t last = (uintptr_t)end & ~(page - 1);
        // Private data that was written must be kept: it goes to swap where there is one; clean pages are just dropped.
        if (first < last) madvise((void *)first, last - first, MADV_PAGEOUT);
    }
}
