#define _GNU_SOURCE
#include "ckernel_socket.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int skiff_socket_pair(int ends[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends); }

static int unix_socket(const char *path, int type, struct sockaddr_un *address) {
    size_t count = strlen(path);
    if (count >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, count);
    return socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
}

static int fail(int descriptor) {
    int code = errno;
    close(descriptor);
    errno = code;
    return -1;
}

int skiff_connect_unix(const char *path, int type) {
    struct sockaddr_un address;
    int descriptor = unix_socket(path, type, &address);
    if (descriptor < 0) return -1;
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) return fail(descriptor);
    return descriptor;
}

int skiff_listen_unix(const char *path, int type, int backlog) {
    struct sockaddr_un address;
    int descriptor = unix_socket(path, type, &address);
    if (descriptor < 0) return -1;
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0) return fail(descriptor);
    if (listen(descriptor, backlog) < 0) return fail(descriptor);
    return descriptor;
}

int skiff_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC); }

enum { maximum_descriptors = 253 };

ssize_t skiff_send(int socket, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count, int flags) {
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * maximum_descriptors)];
    } control;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptor_count > maximum_descriptors) {
        errno = EINVAL;
        return -1;
    }
    if (descriptor_count) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
        memset(control.space, 0, message.msg_controllen);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * descriptor_count);
    }
    return sendmsg(socket, &message, flags | MSG_NOSIGNAL);
}

ssize_t skiff_receive(int socket, void *bytes, size_t count, int *descriptors, size_t *descriptor_count, int flags,
                      int *truncated) {
    struct iovec part = {.iov_base = bytes, .iov_len = count};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * maximum_descriptors)];
    } control;
    size_t capacity = *descriptor_count;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    *descriptor_count = 0;
    *truncated = 0;
    if (capacity > maximum_descriptors) capacity = maximum_descriptors;
    if (capacity) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * capacity);
    }
    ssize_t received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    if (received < 0) return -1;
    *truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t number = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < number; index++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + index * sizeof(int), sizeof descriptor);
            // the buffer is rounded up: one more than asked for may come
            if (*descriptor_count < capacity) descriptors[(*descriptor_count)++] = descriptor;
            else close(descriptor);
        }
    }
    return received;
}

int skiff_peer(int socket, int32_t *pid, uint32_t *uid, uint32_t *gid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -1;
    *pid = peer.pid;
    *uid = peer.uid;
    *gid = peer.gid;
    return 0;
}

int skiff_pipe(int ends[2], int flags) { return pipe2(ends, flags | O_CLOEXEC); }

int skiff_signal_descriptor(uint64_t signals) {
    sigset_t set;
    sigemptyset(&set);
    for (int number = 1; number <= 64; number++)
        if (signals & (1ULL << (number - 1))) sigaddset(&set, number);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int skiff_signal_next(int descriptor, int32_t *sender) {
    struct signalfd_siginfo info;
    ssize_t count = read(descriptor, &info, sizeof info);
    if (count < 0) return errno == EAGAIN ? 0 : -1;
    *sender = (int32_t)info.ssi_pid;
    return (int)info.ssi_signo;
}

int skiff_signals_unblock(void) {
    sigset_t none;
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

int skiff_signals_reset(void) {
    // Only what execve(2) would keep must be undone: signals that are ignored.
    for (int number = 1; number < 32; number++) {
        if (number == SIGKILL || number == SIGSTOP) continue;
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN) {
            action.sa_handler = SIG_DFL;
            sigaction(number, &action, NULL);
        }
    }
    // glibc keeps these two for itself and refuses to touch them, but its posix_spawn leaves them ignored in the child
    struct { void (*handler)(int); unsigned long flags; void (*restorer)(void); unsigned long mask; } plain = {0};
    syscall(SYS_rt_sigaction, 32, &plain, NULL, sizeof plain.mask);
    syscall(SYS_rt_sigaction, 33, &plain, NULL, sizeof plain.mask);
    return skiff_signals_unblock();
}

int skiff_signal_ignore(int number) { return signal(number, SIG_IGN) == SIG_ERR ? -1 : 0; }
