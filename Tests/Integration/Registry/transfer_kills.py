#!/usr/bin/env python3
"""SIGKILL of the engine at every named place of a pull and a push, and a disk that is full in each phase of a pull.

    transfer_kills.py BIN_FOLDER [PATTERN]      as root
"""
import os, re, subprocess, sys, time
sys.dont_write_bytecode = True
import scene
from scene import check, made_images

scene.enter()
PICK = sys.argv[2] if len(sys.argv) > 2 else "."
MIB = 1 << 20
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../Sources/Images")
plain = scene.faulty_registry.Registry(scene.OURS)
target = scene.faulty_registry.Registry(scene.OTHER)


def places():
    """The names that TransferCrashPoint and StoreCrashPoint give to the steps of a transfer; blobs are condensed long after it
    (StorageTests)."""
    found = []
    for name in ("TransferCrashPoint.swift", "StoreCrashPoint.swift"):
        path = os.path.join(SOURCES, name)
        if os.path.exists(path):
            found += re.findall(r'case \w+ = "([a-z.]+)"', open(path).read())
    return [place for place in found if not place.startswith("condense.")]


def killed(engine, place):
    """The engine dies there while a client pulls, pushes and removes; a new one has no half of anything."""
    if not re.search(PICK, place):
        return
    name, pushed = f"{plain.name}/kill/{place}", f"{target.name}/kill/{place}"
    old = f"{plain.name}/kill/old-{place}"
    for image in (place, "old-" + place):
        payload = made_images.random_layer(600_000, seed=image, name="data/" + image)
        plain.add("kill/" + image, "latest", made_images.busybox(image, extra=[payload]))
    before = engine.pull(old)
    check(f"{place}: a pull before", before.code == 0, before)
    engine.skiff("tag", old, pushed)
    engine.kill()
    engine.start(crash_at=place)
    if place.startswith("push"):
        steps = {"push": engine.push(pushed, timeout=20)}
    elif place.startswith("remove"):
        steps = {"rmi": engine.skiff("rmi", "-f", old, pushed, timeout=20)}
    else:
        steps = {"pull": engine.pull(name, timeout=20)}
    reached = scene.eventually(lambda: not engine.alive, 3)
    check(f"{place}: is reached", reached, steps)
    engine.kill()
    engine.start()
    names = engine.images()
    if name + ":latest" in names:
        check(f"{place}: what is listed runs", engine.marker(name) == place)
    else:
        check(f"{place}: what was reported stored is listed", "pull" not in steps or steps["pull"].code != 0, steps)
    if "rmi" not in steps:
        check(f"{place}: what was there before runs", engine.marker(old) == "old-" + place)
        again = engine.push(pushed) if "push" in steps else engine.pull(name)
        check(f"{place}: it works after that", again.code == 0, again)
    if "pull" in steps:
        check(f"{place}: and runs", engine.marker(name) == place)
        check(f"{place}: no rest stays", not engine.partials(), engine.partials())
    check(f"{place}: no workshop stays", scene.eventually(lambda: not engine.workshops(), 3), engine.workshops())
    engine.check_store(place)
    if not scene.failures:
        engine.skiff("rmi", "-f", *[each for each in engine.images() if "/kill/" in each])


def arrived(engine, place, how):
    """A layer that had come whole when the engine died there is not asked for again, compressed or not."""
    what = f"{place}-{how}"
    if not re.search(PICK, "arrived-" + what):
        return
    payload = made_images.random_layer(600_000, seed=what, how=how, name="data/" + what)
    image = made_images.busybox(what, extra=[payload])
    name = f"{plain.name}/kill/arrived-{what}"
    plain.add("kill/arrived-" + what, "latest", image)
    # the root is here already, the last layer comes last
    plain.plan({"on": "GET .*/blobs/" + image.layers[-1].digest, "wait": 1})
    engine.kill()
    engine.start(crash_at=place)
    engine.pull(name, timeout=20)
    check(f"arrived {what}: is reached", scene.eventually(lambda: not engine.alive, 3))
    engine.kill()
    engine.start()
    plain.plan()
    done = engine.pull(name)
    check(f"arrived {what}: the next pull succeeds", done.code == 0 and engine.marker(name) == what, done)
    asked = plain.asked("GET .*/blobs/" + payload.digest)
    check(f"arrived {what}: it is fetched once", len(asked) == 1, [each["fields"].get("range") for each in asked])
    check(f"arrived {what}: no rest stays", not engine.partials(), engine.partials())
    engine.check_store("arrived " + what)


def usage(folder):
    """Bytes of the files below a folder but for the database."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            if not name.startswith("skiff.db") and not os.path.islink(path):
                total += os.lstat(path).st_size
    return total


def full_disk():
    """A pull of 4 MiB compressed, 4 MiB unpacked beside a first image of 3 MiB, on disks from too small to large enough."""
    disk = "/run/disk"
    os.makedirs(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
    engine = scene.Engine(sys.argv[1], scene.INSECURE, data=disk + "/data").start()
    payload = made_images.random_layer(4 * MIB, seed="disk", name="data/disk")
    plain.add("disk/root", "latest", made_images.busybox("root"))
    plain.add("disk/full", "latest", made_images.busybox("disk", extra=[payload]))
    done = engine.pull(plain.name + "/disk/root")
    check("full disk: a first pull", done.code == 0, done)
    status = os.statvfs(disk)
    used = (status.f_blocks - status.f_bfree) * status.f_frsize
    base = usage(disk + "/data")
    outcomes = []
    for room in (0, 100_000, MIB, 3 * MIB, 5 * MIB, 7 * MIB, 8 * MIB, 8 * MIB + 300_000, 30 * MIB):
        size = (used + room + 4095) // 4096 * 4096
        subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
        done = engine.pull(plain.name + "/disk/full", timeout=30)
        what = f"full disk, {room >> 10} KiB free"
        outcomes.append(done.code)
        check(what + ": ends", done.code != -9, done)
        check(what + ": the engine lives", engine.alive, engine.tail())
        if done.code == 0:
            check(what + ": what is reported stored runs", engine.marker(plain.name + "/disk/full") == "disk")
            engine.skiff("rmi", "-f", plain.name + "/disk/full")
        else:
            check(what + ": one line that names the cause", done.is_one_line and re.search("no space left", done.err), done)
        check(what + ": no workshop is left", scene.eventually(lambda: not engine.workshops(), 5), engine.workshops())
        left = scene.eventually(lambda: usage(disk + "/data") - base < 20_000, 3)
        check(what + ": nothing is left", left, (usage(disk + "/data") - base, engine.partials()))
        check(what + ": the first image runs", engine.marker(plain.name + "/disk/root") == "root" if room > MIB else True)
    check("full disk: some fail, the last does not", outcomes[0] != 0 and outcomes[-1] == 0, outcomes)
    engine.check_store("after full disks")
    bomb(engine, disk, used)
    engine.end()
    subprocess.run(["umount", "-l", disk])


def bomb(engine, disk, used):
    """A layer of a few MiB that unpacks to many GiB ends when the disk does, and gives it back."""
    base = usage(disk + "/data")
    for how in ("gzip", "zstd"):
        layer = made_images.bomb(64 << 30 if how == "zstd" else 8 << 30, how)
        plain.add("disk/bomb-" + how, "latest", made_images.busybox("bomb", extra=[layer]))
        engine.forget_peak()
        done = engine.pull(f"{plain.name}/disk/bomb-{how}", timeout=60)
        check(f"bomb, {how}: ends in one line", done.is_one_line and re.search("no space left|sparse|verification|match", done.err), done)
        check(f"bomb, {how}: memory stays below 64 MiB", engine.peak() < 64, engine.peak())
        left = scene.eventually(lambda: usage(disk + "/data") - base < 20_000, 5)
        check(f"bomb, {how}: nothing is left", left, (usage(disk + "/data") - base, engine.partials()))
        print(f"bomb {how}: {len(layer.data) >> 10} KiB, {done.seconds:.1f} s", flush=True)


def main():
    if re.search(PICK, "disk"):
        begun = time.monotonic()
        full_disk()
        print(f"full disks {time.monotonic() - begun:.1f} s", flush=True)
    engine = scene.Engine(sys.argv[1], scene.INSECURE).start()
    for place in places():
        killed(engine, place)
    plain.add("kill/root", "latest", made_images.busybox("root"))
    check("a root", engine.pull(f"{plain.name}/kill/root").code == 0)
    for place in ("pull.unpacked", "pull.fetched", "pull.placed", "store.synced", "store.recorded"):
        for how in ("none", "gzip"):
            arrived(engine, place, how)
    engine.end()
    scene.finish()


main()
