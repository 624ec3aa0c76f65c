#include "ckernel_client.h"

#include <errno.h>
#include <string.h>

int ckernel_client_next_signal(int fd) {
    struct signalfd_siginfo info;
    ssize_t got;
    do got = read(fd, &info, sizeof info);
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)sizeof info) return (int)info.ssi_signo;
    if (got < 0 && errno != EAGAIN) return -1;
    return 0;
}

static struct termios saved_mode;
static volatile int saved_fd = -1;
static const int crashes[] = {SIGSEGV, SIGILL, SIGABRT, SIGBUS, SIGTRAP, SIGFPE};

// tcsetattr is async-signal-safe (signal-safety(7)); SA_RESETHAND lets the signal kill when it is raised again.
static void restore(int signal) {
    int fd = saved_fd;
    if (fd >= 0) tcsetattr(fd, TCSANOW, &saved_mode);
    raise(signal);
}

void ckernel_client_restore_on_crash(int fd, const struct termios *saved) {
    saved_mode = *saved;
    saved_fd = fd;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = restore;
    action.sa_flags = (int)SA_RESETHAND | SA_NODEFER;
    for (unsigned i = 0; i < sizeof crashes / sizeof *crashes; i++) sigaction(crashes[i], &action, 0);
}

void ckernel_client_forget_restore(void) { saved_fd = -1; }
