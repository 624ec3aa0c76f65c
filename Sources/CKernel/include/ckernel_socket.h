#ifndef CKERNEL_SOCKET_H
#define CKERNEL_SOCKET_H
// Unix sockets: what is macros in the C library.
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// socketpair(2) AF_UNIX SOCK_SEQPACKET, close-on-exec.
int skiff_socket_pair(int ends[2]);
/// socket(2) and connect(2) to an AF_UNIX path; close-on-exec. `type` 1 stream, 2 datagram, 5 seqpacket.
int skiff_connect_unix(const char *path, int type);
/// socket(2), bind(2) and listen(2) on an AF_UNIX path.
int skiff_listen_unix(const char *path, int type, int backlog);
int skiff_accept(int listener);
/// sendmsg(2) with descriptors (SCM_RIGHTS); MSG_NOSIGNAL is added to the flags.
ssize_t skiff_send(int socket, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count, int flags);
/// recvmsg(2); descriptors that do not fit are closed by the kernel. *descriptor_count is capacity in, number out.
/// Received descriptors are close-on-exec. *truncated tells whether bytes or descriptors were lost.
ssize_t skiff_receive(int socket, void *bytes, size_t count, int *descriptors, size_t *descriptor_count, int flags,
                      int *truncated);
/// getsockopt(2) SO_PEERCRED
int skiff_peer(int socket, int32_t *pid, uint32_t *uid, uint32_t *gid);
/// pipe2(2), close-on-exec
int skiff_pipe(int ends[2], int flags);
/// signalfd(2) for one set of signals (bit n-1 is signal n), which is blocked first; close-on-exec, non-blocking.
int skiff_signal_descriptor(uint64_t signals);
/// The signal that was read with its sender, 0 when there is none, -1.
int skiff_signal_next(int descriptor, int32_t *sender);
/// sigprocmask(2) SIG_SETMASK to nothing, and every handler to its default (signals that were ignored too).
int skiff_signals_reset(void);
/// sigprocmask(2) SIG_UNBLOCK for everything.
int skiff_signals_unblock(void);
/// signal(2) SIG_IGN
int skiff_signal_ignore(int number);
#endif
