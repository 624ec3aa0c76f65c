#ifndef CSEAL_H
#define CSEAL_H
/// Linking this target, with `-e skiff_start`, makes the program enter its sealed copy before anything else runs, when there is one
/// already. Answers whether this process is the copy; called first of all in main.
int skiff_is_sealed_copy(void);
/// The descriptor of the detached mount that this process was executed from, close-on-exec; -1.
int skiff_sealed_mount(void);
#endif
