#ifndef CSEAL_H
#define CSEAL_H
/// Linking this target makes the program enter its sealed copy before anything else runs, when there is one already.
/// Answers whether this process is the copy.
int skiff_is_sealed_copy(void);
#endif
