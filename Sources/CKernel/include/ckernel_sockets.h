#ifndef CKERNEL_SOCKETS_H
#define CKERNEL_SOCKETS_H

// Sockets with descriptors riding along, polling, signals as bytes: what the Glibc module lacks or has as macros.

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// SOCK_SEQPACKET | SOCK_CLOEXEC socket pair; with nonblocking set both ends get SOCK_NONBLOCK. socketpair(2)
int ck_seqpacket_pair(int out[2], int nonblocking);
/// A new SOCK_SEQPACKET socket, close-on-exec. socket(2)
int ck_seqpacket_socket(void);
/// bind(2) and connect(2) of an AF_UNIX address; -1 and ENAMETOOLONG where the path does not fit.
int ck_unix_bind(int fd, const char *path);
int ck_unix_connect(int fd, const char *path);
/// accept4(2) with SOCK_CLOEXEC | SOCK_NONBLOCK.
int ck_accept(int fd);
/// SO_PEERCRED, see unix(7).
int ck_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid);
/// sendmsg(2) with MSG_NOSIGNAL and up to 16 descriptors.
ssize_t ck_send(int fd, const void *data, size_t count, const int *fds, int fdCount, int flags);
/// recvmsg(2) with MSG_CMSG_CLOEXEC; *fdCount is the room on entry and the number received on return.
/// Answers -1 and EMSGSIZE when the packet or its descriptors did not fit (what was received is closed).
ssize_t ck_receive(int fd, void *data, size_t count, int *fds, int *fdCount);
/// Length of the next packet without taking it (MSG_PEEK | MSG_TRUNC); 0 at the end.
ssize_t ck_next_length(int fd);
/// memfd_create(2) with MFD_CLOEXEC | MFD_ALLOW_SEALING.
int ck_memfd(const char *name);
/// Seals a memory file against every change. fcntl(2) F_ADD_SEALS
int ck_seal(int fd);
/// 1 where the file is a memory file sealed against writing and shrinking.
int ck_is_sealed(int fd);
/// pipe2(2) with O_CLOEXEC.
int ck_pipe(int out[2]);
/// eventfd(2), close-on-exec and non-blocking.
int ck_eventfd(void);
/// From now on SIGCHLD, SIGTERM, SIGINT, SIGHUP and SIGQUIT only add to that eventfd and SIGPIPE does nothing.
/// Handlers, not masks or SIG_IGN: exec resets them, so nothing leaks into a container's processes. sigaction(2)
int ck_signals_to(int eventfd);
/// Reaps one ended child: its pid, 0 where none has ended, -1 and ECHILD where there is none at all. waitpid(2)
pid_t ck_reap(int *code, int *signal);
int ck_reap_pid(pid_t pid, int *code, int *signal);
int ck_set_nonblocking(int fd, int on);
int ck_set_subreaper(void);
/// Size of a terminal. ioctl_tty(2) TIOCSWINSZ
int ck_set_window_size(int fd, unsigned short columns, unsigned short rows);
int64_t ck_clock_realtime(void);
int64_t ck_clock_monotonic(void);
/// A non-blocking inotify(7) descriptor that watches one folder for files modified, made, renamed or removed in it.
int ck_watch_folder(const char *path);
/// Gives back what an idle process does not need: free heap, the pages of its text, its data to swap or page cache. madvise(2)
void ck_release_memory(void);

#endif
