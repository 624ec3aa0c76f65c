#define _GNU_SOURCE
#include "ckernel_epoll.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

int skiff_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int skiff_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data.u64 = token};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

int skiff_epoll_wait(int epoll, uint64_t *tokens, uint32_t *events, int limit, int milliseconds) {
    struct epoll_event ready[64];
    if (limit > 64) limit = 64;
    int count = epoll_wait(epoll, ready, limit, milliseconds);
    for (int i = 0; i < count; i++) {
        tokens[i] = ready[i].data.u64;
        events[i] = ready[i].events;
    }
    return count;
}

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

int skiff_pidfd(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
