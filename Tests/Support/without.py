#!/usr/bin/env python3
"""Runs a program in a world without some system calls: a seccomp filter answers them with an errno.

    without.py [-e EPERM] NAME[,NAME…] -- PROGRAM [ARGUMENT…]

A name may also be one of these, which forbid a call only with certain arguments, as kernels answer that do not know them yet:
    mounts-onto-detached      move_mount(2) to a place below a descriptor (before Linux 6.15: EINVAL)
    wait-killable             seccomp(2) with SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (before 5.19: EINVAL)
    weighted-interleave       set_mempolicy(2) with MPOL_WEIGHTED_INTERLEAVE (before 6.9: EINVAL)

The filter is inherited by everything below. No new privileges may be gained (PR_SET_NO_NEW_PRIVS), so nothing here is for tests of
set-user-id programs. Only for x86_64 and aarch64.
"""
import ctypes, errno, os, platform, struct, sys

# asm/unistd.h
NUMBERS = {
    "x86_64": {
        "clone": 56, "execveat": 322, "statx": 332, "rseq": 334, "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429,
        "fsopen": 430, "fsconfig": 431, "fsmount": 432, "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437,
        "pidfd_getfd": 438, "faccessat2": 439, "mount_setattr": 442, "memfd_secret": 447, "cachestat": 451, "fchmodat2": 452,
        "statmount": 457, "listmount": 458, "mseal": 462, "memfd_create": 319, "keyctl": 250, "seccomp": 317, "bpf": 321,
        "copy_file_range": 326, "sendfile": 40, "renameat2": 316, "getrandom": 318, "set_mempolicy": 238,
    },
    "aarch64": {
        "clone": 220, "execveat": 281, "statx": 291, "rseq": 293, "memfd_create": 279, "keyctl": 219, "seccomp": 277, "bpf": 280,
        "copy_file_range": 285, "sendfile": 71, "renameat2": 276, "getrandom": 278, "set_mempolicy": 237,
    },
}
# All newer calls have the same number everywhere.
NUMBERS["aarch64"].update({name: number for name, number in NUMBERS["x86_64"].items() if number >= 424})
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EINVAL = errno.EINVAL


def argument(index):
    """Loads the low word of an argument; they begin at 16."""
    return (LOAD, 0, 0, 16 + 8 * index)


# The call, and the steps that end in the errno or fall through; number of steps is in the jumps.
SPECIAL = {
    "mounts-onto-detached": ("move_mount", [
        argument(4), (JUMP_EQUAL, 0, 3, 0x4), argument(2), (JUMP_EQUAL, 1, 0, 0xFFFFFF9C), (RETURN, 0, 0, ERRNO | EINVAL)]),
    "wait-killable": ("seccomp", [
        argument(0), (JUMP_EQUAL, 0, 3, 1), argument(1), (JUMP_SET, 0, 1, 0x20), (RETURN, 0, 0, ERRNO | EINVAL)]),
    "weighted-interleave": ("set_mempolicy", [
        argument(0), (JUMP_EQUAL, 0, 1, 6), (RETURN, 0, 0, ERRNO | EINVAL)]),
}


def program(numbers, code, arch, special):
    """seccomp_data: number at 0, architecture at 4."""
    steps = [(LOAD, 0, 0, 4), (JUMP_EQUAL, 1, 0, arch), (RETURN, 0, 0, ALLOW)]
    for number, tail in special:
        steps += [(LOAD, 0, 0, 0), (JUMP_EQUAL, 0, len(tail), number)] + tail
    steps += [(LOAD, 0, 0, 0)]
    for index, number in enumerate(numbers):
        steps.append((JUMP_EQUAL, len(numbers) - index, 0, number))
    return steps + [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | code)]


def forbid(numbers, code, special):
    steps = program(numbers, code, AUDIT_ARCH[platform.machine()], special)
    packed = b"".join(struct.pack("=HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(packed, len(packed))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    fprog = Program(len(steps), ctypes.cast(buffer, ctypes.c_void_p))
    for arguments in ((38, 1, 0, 0, 0), (22, 2, ctypes.byref(fprog), 0, 0)):  # PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP, FILTER
        if libc.prctl(*arguments) != 0: sys.exit(f"without: prctl: {os.strerror(ctypes.get_errno())}")


def main(words):
    code = errno.ENOSYS
    if words[:1] == ["-e"]: code, words = getattr(errno, words[1]), words[2:]
    if len(words) < 3 or words[1] != "--": sys.exit(__doc__)
    table = NUMBERS.get(platform.machine())
    if table is None: sys.exit(f"without: no table for {platform.machine()}")
    names = [name for name in words[0].split(",") if name]
    unknown = [name for name in names if name not in table and name not in SPECIAL]
    if unknown: sys.exit(f"without: unknown: {', '.join(unknown)}")
    special = [(table[SPECIAL[name][0]], SPECIAL[name][1]) for name in names if name in SPECIAL]
    forbid([table[name] for name in names if name in table], code, special)
    try:
        os.execvp(words[2], words[2:])
    except OSError as fault:
        print(f"without: {words[2]}: {fault.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__": main(sys.argv[1:])
