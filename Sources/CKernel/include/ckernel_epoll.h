#ifndef CKERNEL_EPOLL_H
#define CKERNEL_EPOLL_H

#include <stdint.h>

/* sys/epoll.h is no part of Swift's Glibc module, and its event is a packed structure. */

int skiff_epoll_create(void);
/* operation: 1 add, 2 delete, 3 modify */
int skiff_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token);
/* at most 64 events */
int skiff_epoll_wait(int epoll, uint64_t *tokens, uint32_t *events, int limit, int milliseconds);

/* pidfd_open(2) */
int skiff_pidfd(int pid);

#endif
