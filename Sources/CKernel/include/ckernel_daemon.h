#ifndef CKERNEL_DAEMON_H
#define CKERNEL_DAEMON_H

// What a long-lived process needs besides: signals as bytes in a pipe, readiness, the allocator's settings.

#include <stddef.h>

/// Each of these signals writes its number as one byte into a pipe whose reading end is the answer; -1 and errno on failure.
/// Handlers, not masks: exec resets them, so nothing is inherited. Once per process. sigaction(2), pipe2(2)
int skiff_signal_pipe(const int *signals, int count);
/// One datagram to the socket that NOTIFY_SOCKET names; a leading '@' is the abstract namespace. sd_notify(3)
int skiff_notify(const char *path, const char *text);
/// At most so many heaps for all threads, and free memory at the top goes back early. mallopt(3)
void skiff_limit_heaps(int arenas);
/// Gives back free heap and the pages of the program's own text, which come back from the page cache when they are needed.
/// Safe with threads. malloc_trim(3), madvise(2) MADV_DONTNEED
void skiff_release_text(void);
/// Soft limit of open files to the hard limit; answers the new one. setrlimit(2)
long skiff_raise_file_limit(void);

#endif
