// What the client needs that the Glibc module does not spell.
#ifndef CKERNEL_CLIENT_H
#define CKERNEL_CLIENT_H

#include <signal.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

/// signalfd(2), SFD_CLOEXEC | SFD_NONBLOCK.
static inline int ckernel_client_signalfd(const sigset_t *mask) { return signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK); }

/// The number of the next pending signal of a signalfd, 0 when there is none, -1 and errno.
int ckernel_client_next_signal(int fd);

/// After this, a fault (SIGSEGV, SIGILL, SIGABRT, SIGBUS, SIGTRAP, SIGFPE) sets `fd` back to `saved` before the process dies of it.
void ckernel_client_restore_on_crash(int fd, const struct termios *saved);
/// Ends that.
void ckernel_client_forget_restore(void);

#endif
