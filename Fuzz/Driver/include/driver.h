#include <stddef.h>
#include <stdint.h>
// libFuzzer's driver as a function (llvm, FuzzerMain): SwiftPM wants a main of its own in every executable.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));
