#!/usr/bin/env python3
"""Generates Sources/Runtime/Seccomp/GeneratedSyscalls.swift: numbers of system calls by name and architecture.

    Scripts/generate-syscalls.py HEADERS

HEADERS holds the uapi headers of Debian's linux-libc-dev and its cross packages, unpacked:
    apt-get download linux-libc-dev linux-libc-dev-{arm64,armhf,riscv64}-cross; for f in *.deb; do dpkg -x $f HEADERS; done
What the headers are too old for is added from NEWER, by include/uapi/asm-generic/unistd.h and syscall_64.tbl of Linux 6.18.
The result is committed.
"""
import pathlib, re, subprocess, sys

# Numbers that all architectures share (451 is of Linux 6.5, 469 of 6.17; 6.18 added none).
NEWER = {
    "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456,
    "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461,
    "mseal": 462, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466, "open_tree_attr": 467,
    "file_getattr": 468, "file_setattr": 469,
}
OWN = {
    "x86_64": {"uretprobe": 335, "uprobe": 336},
    "x32": {"uretprobe": 335, "uprobe": 336},
    "riscv64": {"riscv_hwprobe": 258, "riscv_flush_icache": 259},
    # the private calls of arm (asm/unistd.h, __ARM_NR_BASE)
    "arm": {"breakpoint": 0xF0001, "cacheflush": 0xF0002, "usr26": 0xF0003, "usr32": 0xF0004, "set_tls": 0xF0005, "get_tls": 0xF0006},
}
X32_BIT = 0x40000000


def find(root, part):
    hits = sorted(root.glob(f"**/{part}"))
    if not hits: sys.exit(f"{part} is not below {root}")
    return hits[0]


def macros(include, extra, more=()):
    text = "".join(f"#include <{name}>\n" for name in extra)
    command = ["cc", "-E", "-dM", "-nostdinc", *[f"-I{i}" for i in include], *more, "-"]
    defines = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    values = dict(re.findall(r"^#define (\w+) (.+)$", defines, re.M))
    def value(text):
        text = text.strip()
        while text.startswith("(") and text.endswith(")"): text = text[1:-1].strip()
        if re.fullmatch(r"\d+", text): return int(text)
        if re.fullmatch(r"0x[0-9a-fA-F]+U?", text): return int(text.rstrip("U"), 16)
        if "+" in text:
            parts = [value(part) for part in text.split("+")]
            return None if None in parts else sum(parts)
        return value(values[text]) if text in values else None
    numbers = {}
    for name, text in values.items():
        match = re.fullmatch(r"__NR(3264)?_(\w+)", name)
        if not match or match[1] or match[2] in ("syscalls", "Linux", "arch_specific_syscall", "SYSCALL_BASE", "OABI_SYSCALL_BASE", "SYSCALL_MASK"): continue
        number = value(text)
        if number is not None: numbers[match[2]] = number
    return numbers


def tables(root):
    x86 = find(root, "x86_64-linux-gnu/asm/unistd_64.h").parent.parent
    generic = find(root, "include/asm-generic/unistd.h").parent.parent
    arm64 = find(root, "aarch64-linux-gnu/include/asm/unistd.h").parent.parent
    arm = find(root, "arm-linux-gnueabihf/include/asm/unistd.h").parent.parent
    riscv = find(root, "riscv64-linux-gnu/include/asm/unistd.h").parent.parent
    result = {
        "x86_64": macros([x86, generic], ["asm/unistd_64.h"]),
        "x86": macros([x86, generic], ["asm/unistd_32.h"]),
        "x32": macros([x86, generic], ["asm/unistd_x32.h"], ["-D__X32_SYSCALL_BIT=0x40000000"]),
        "aarch64": macros([arm64], ["asm/unistd.h"]),
        "arm": macros([arm], ["asm/unistd.h"], ["-D__ARM_EABI__"]),
        "riscv64": macros([riscv], ["asm/unistd.h"], ["-D__LP64__", "-D__riscv_xlen=64"]),
    }
    for name, table in result.items():
        if name == "x32": table = {k: v - X32_BIT for k, v in table.items() if v >= X32_BIT}
        table.update(OWN.get(name, {}))
        for call, number in NEWER.items():
            assert table.get(call, number) == number, (name, call)
            table[call] = number
        result[name] = table
    # memfd_secret is behind a switch that every kernel with it has
    result["x86_64"].setdefault("memfd_secret", 447)
    result["x86"].setdefault("memfd_secret", 447)
    return result


def fnv(name):
    value = 0x811C9DC5
    for byte in name.encode(): value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def rows(numbers, per_line):
    numbers = [str(n) for n in numbers]
    return "\n".join("        " + ", ".join(numbers[i:i + per_line]) + "," for i in range(0, len(numbers), per_line))


def main():
    result = tables(pathlib.Path(sys.argv[1]))
    names = sorted(set().union(*result.values()))
    slots = [0xFFFF] * 2048
    for index, name in enumerate(names):
        slot = fnv(name) & 2047
        while slots[slot] != 0xFFFF: slot = (slot + 1) & 2047
        slots[slot] = index
    offsets = [0]
    for name in names: offsets.append(offsets[-1] + len(name))
    text = "".join(names)
    out = ["// swift-format-ignore-file", "// Generated by Scripts/generate-syscalls.py. Do not edit.", "",
           "/// Numbers of system calls through Linux 6.18. Plain data without initializers: nothing runs at start.",
           "enum GeneratedSyscalls {",
           f"    static let count = {len(names)}", "",
           "    /// All names, one after the other in the order of bytes.",
           "    static let names: StaticString =",
           f'        "{text}"', "",
           "    /// Where each name begins, and the end of the last.",
           "    static let offsets: [UInt16] = [", rows(offsets, 20), "    ]", "",
           "    /// Index of a name by its FNV-1a hash, modulo 2048, then the next free one; 65535 is none.",
           "    static let slots: [UInt16] = [", rows(slots, 20), "    ]"]
    for name, table in result.items():
        out += ["", f"    /// -1: {name} does not have it." + (" Without the bit 0x40000000." if name == "x32" else ""),
                f"    static let {name}: [Int32] = [", rows([table.get(n, -1) for n in names], 20), "    ]"]
    out += ["}", ""]
    target = pathlib.Path(__file__).parent.parent / "Sources/Runtime/Seccomp/GeneratedSyscalls.swift"
    target.write_text("\n".join(out))
    for name, table in result.items(): print(name, len(table), "newest", max(v for v in table.values() if v < 1000))


main()
