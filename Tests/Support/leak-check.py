#!/usr/bin/env python3
"""What a test must leave as it was: mounts, links, routes, firewall, cgroups, processes, device nodes, sysctls.

leak-check.py snapshot             prints the state of the machine as JSON
leak-check.py compare BEFORE AFTER names what differs; exit status 1 if anything does
"""
import json, os, subprocess, sys, time


def lines(*command):
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    return sorted(line.strip() for line in result.stdout.splitlines() if line.strip())


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def cgroups():
    found = []
    for line in read("/proc/self/mountinfo").splitlines():
        fields = line.split()
        if " - cgroup" not in line:
            continue
        root = fields[4]
        for folder, names, _ in os.walk(root):
            depth = folder[len(root):].count("/")
            if depth >= 3:
                names.clear()
            if "skiff" in folder[len(root):]:
                found.append(folder)
    return sorted(set(found))


def processes():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = open(f"/proc/{pid}/cmdline", "rb").read().replace(b"\0", b" ").decode(errors="replace").strip()
            exe = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            continue
        if "skiff" in exe or "skiff-runtime" in command.split(" ")[0]:
            found.append(command)
    return sorted(found)


def devices():
    found = []
    for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "kmsg", "fuse"):
        try:
            status = os.stat("/dev/" + name)
            found.append(f"{name} {status.st_mode:o} {status.st_uid}:{status.st_gid} {os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
        except OSError:
            pass
    return found


def snapshot():
    return {
        "mounts": sorted(" ".join(line.split()[3:6]) + " " + line.split(" - ")[1] for line in read("/proc/self/mountinfo").splitlines()),
        "links": sorted(line.split("@")[0].split(":")[1].strip() for line in lines("ip", "-o", "link")),
        "routes": lines("ip", "-o", "route", "show", "table", "all"),
        "named network namespaces": sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else [],
        "firewall": lines("nft", "list", "ruleset"),
        "cgroups": cgroups(),
        "processes": processes(),
        "devices": devices(),
        "sysctls": [f"{name}={read('/proc/sys/' + name).strip()}" for name in
                    ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "kernel/hostname", "kernel/domainname")],
        "run folders": sorted(name for name in os.listdir("/run") if name.startswith("skiff")),
        "data folders": sorted(name for name in os.listdir("/var/lib") if name.startswith("skiff")),
    }


def compare(before, after):
    different = False
    for key in before:
        gone = [entry for entry in before[key] if entry not in after[key]]
        new = [entry for entry in after[key] if entry not in before[key]]
        for word, entries in (("left behind", new), ("missing", gone)):
            for entry in entries:
                different = True
                print(f"leak check: {key}: {word}: {entry}")
    print("leak check: the machine differs from before" if different else "leak check: the machine is as it was before")
    return 1 if different else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["snapshot"]:
        time.sleep(0.2)
        json.dump(snapshot(), sys.stdout, indent=1)
    elif sys.argv[1:2] == ["compare"] and len(sys.argv) == 4:
        sys.exit(compare(json.load(open(sys.argv[2])), json.load(open(sys.argv[3]))))
    else:
        sys.exit(__doc__)
