#!/usr/bin/env python3
"""A storm: clients start, stop, exec and remove containers while the engine is killed at random. After each kill a new engine must
know every container, have missed no exit, and in the end nothing may be left: shims, cgroups, rules, folders.

SOAK_SECONDS (600), SOAK_SEED (random, printed), SKIFF_BIN_DIR (bin).
"""
import os, random, subprocess, sys, threading, time
from storm_scene import Storm

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
scene = Storm("soak")
stop, counts = threading.Event(), {"started": 0, "removed": 0, "kills": 0, "refused": 0}


def count(what):
    with scene.lock:
        counts[what] += 1


def client(number, chance):
    """One user: names of its own, so that what it was told must be true afterwards."""
    serial = 0
    while not stop.is_set():
        serial += 1
        name = f"soak-{number}-{serial}"
        answer = scene.skiff("run", "-d", "--name", name, "busybox:soak", "sleep", "1000")
        count("started" if answer.returncode == 0 else "refused")
        if answer.returncode == 0 and chance.random() < 0.5:
            scene.skiff("exec", name, "true")
        for _ in range(200):
            gone = scene.skiff("rm", "-f", name)
            if gone.returncode == 0 or "No such container" in gone.stderr:
                break
            time.sleep(0.05)
        else:
            scene.note(f"cannot remove {name}: {gone.stderr.strip()}")
        count("removed")


def left():
    names = lambda folder: [entry.name for entry in folder.iterdir()] if folder.exists() else []
    found = {"containers": scene.skiff("ps", "-aq").stdout.split(), "shims": names(scene.work / "run/shims"), "folders": names(scene.work / "data/containers")}
    found["cgroups"] = [base for base, _, _ in os.walk("/sys/fs/cgroup") if scene.cgroup[1:] in base and not base.endswith(scene.cgroup)]
    return {key: value for key, value in found.items() if value}


def check_log(name):
    """Numbers in a row, whichever of them were rotated away; and never restarted."""
    numbers = [int(word) for word in scene.skiff("logs", name).stdout.split()]
    first = numbers[0] if numbers else 1
    if numbers != list(range(first, first + len(numbers))):
        scene.note(f"{name}: a line of the log is lost or repeated")
    if scene.skiff("inspect", "-f", "{{.RestartCount}}", name).stdout.strip() != "0":
        scene.note(f"{name} was restarted by a kill of the engine")


def main():
    print(f"soak: {SECONDS:.0f} s, seed {scene.seed}", flush=True)
    chance = random.Random(scene.seed)
    tar = scene.work / "image.tar"
    subprocess.run(["tar", "-C", scene.root("sh", "true", "sleep"), "-cf", tar, "."], check=True)
    scene.start()
    answer = scene.skiff("import", tar, "busybox:soak")
    if answer.returncode:
        sys.exit(f"soak: import: {answer.stderr}")
    keepers = ["keeper-0", "keeper-7"]
    for name in keepers:
        scene.skiff("run", "-d", "--name", name, "--restart", "always", "busybox:soak", "sh", "-c", "while :; do echo $((n=n+1)); sleep 0.01; done")
    clients = [threading.Thread(target=client, args=(number, random.Random(scene.seed + number))) for number in range(3)]
    for thread in clients:
        thread.start()
    deadline = time.time() + SECONDS
    while time.time() < deadline and not scene.faults:
        time.sleep(chance.uniform(0.05, 1.0))
        scene.end()
        counts["kills"] += 1
        scene.start()
    stop.set()
    for thread in clients:
        thread.join()
    for name in keepers:
        check_log(name)
    scene.remove_containers()
    scene.await_nothing(left)
    return scene.finish(f"{counts['kills']} kills, {counts['started']} containers started, {counts['refused']} refused while the engine was away, "
                        f"{counts['removed']} removed")


sys.exit(main())
