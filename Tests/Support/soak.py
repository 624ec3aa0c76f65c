#!/usr/bin/env python3
"""A storm: clients start, stop, exec and remove containers while the engine is killed at random. After each kill a new engine must
know every container, have missed no exit, and in the end nothing may be left: shims, cgroups, links, rules, folders.

SOAK_SECONDS (600), SOAK_SEED (random, printed), SKIFF_BIN_DIR (bin).
"""
import json, os, pathlib, random, shutil, signal, subprocess, sys, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKIFF_BIN_DIR", ROOT / "bin"))
WORK = pathlib.Path(tempfile.mkdtemp(prefix="skiff-soak."))
SOCKET = WORK / "run/skiff.sock"
SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
SEED = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(1 << 30)))
CGROUP = f"/skiff-soak-{os.getpid()}"
stop, faults, counts = threading.Event(), [], {"started": 0, "removed": 0, "kills": 0, "refused": 0}
lock = threading.Lock()


def skiff(*words, timeout=60):
    try:
        return subprocess.run([BIN / "skiff", "-H", f"unix://{SOCKET}", *words], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        with lock:
            faults.append(f"hangs: skiff {' '.join(words)}")
        return subprocess.CompletedProcess(words, 124, "", "timeout")


def engine():
    log = open(WORK / "skiffd.log", "ab")
    process = subprocess.Popen([BIN / "skiffd", "--data-root", WORK / "data", "--run-root", WORK / "run", "--cgroup-parent", CGROUP],
                               stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    deadline = time.time() + 15
    while skiff("version").returncode:
        if time.time() > deadline or process.poll() is not None:
            sys.exit(f"soak: skiffd does not come up: {(WORK / 'skiffd.log').read_text()[-1000:]}")
        time.sleep(0.01)
    return process


def client(number, chance):
    """One user: names of its own, so that what it was told must be true afterwards."""
    serial = 0
    while not stop.is_set():
        serial += 1
        name = f"soak-{number}-{serial}"
        answer = skiff("run", "-d", "--name", name, "busybox:soak", "sleep", "1000")
        with lock:
            counts["started" if answer.returncode == 0 else "refused"] += 1
        if answer.returncode == 0 and chance.random() < 0.5:
            skiff("exec", name, "true")
        for _ in range(200):
            gone = skiff("rm", "-f", name)
            if gone.returncode == 0 or "No such container" in gone.stderr:
                break
            time.sleep(0.05)
        else:
            with lock:
                faults.append(f"cannot remove {name}: {gone.stderr.strip()}")
        with lock:
            counts["removed"] += 1


def left():
    found = {}
    found["containers"] = skiff("ps", "-aq").stdout.split()
    found["shims"] = [entry.name for entry in (WORK / "run/shims").iterdir()] if (WORK / "run/shims").exists() else []
    folder = WORK / "data/containers"
    found["folders"] = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    found["links"] = [line for line in subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout.splitlines() if "veth" in line]
    found["cgroups"] = []
    for base, _, _ in os.walk("/sys/fs/cgroup"):
        if CGROUP[1:] in base and not base.endswith(CGROUP):
            found["cgroups"].append(base)
    return {key: value for key, value in found.items() if value and key != "links"}


def main():
    print(f"soak: {SECONDS:.0f} s, seed {SEED}", flush=True)
    chance = random.Random(SEED)
    root = WORK / "image"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("sh", "true", "sleep"):
        os.symlink("busybox", root / "bin" / name)
    subprocess.run(["tar", "-C", root, "-cf", WORK / "image.tar", "."], check=True)
    process = engine()
    answer = skiff("import", str(WORK / "image.tar"), "busybox:soak")
    if answer.returncode:
        sys.exit(f"soak: import: {answer.stderr}")
    for code in (0, 7):
        skiff("run", "-d", "--name", f"keeper-{code}", "--restart", "always", "busybox:soak", "sh", "-c", "while :; do echo $((n=n+1)); sleep 0.01; done")
    clients = [threading.Thread(target=client, args=(number, random.Random(SEED + number))) for number in range(3)]
    for thread in clients:
        thread.start()
    deadline = time.time() + SECONDS
    while time.time() < deadline and not faults:
        time.sleep(chance.uniform(0.05, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        counts["kills"] += 1
        process = engine()
    stop.set()
    for thread in clients:
        thread.join()
    for code in (0, 7):
        text = skiff("logs", f"keeper-{code}").stdout.split()
        numbers = [int(word) for word in text]
        if numbers != list(range(numbers[0] if numbers else 1, (numbers[0] if numbers else 1) + len(numbers))):
            faults.append(f"keeper-{code}: a line of the log is lost or repeated")
        if skiff("inspect", "-f", "{{.RestartCount}}", f"keeper-{code}").stdout.strip() != "0":
            faults.append(f"keeper-{code} was restarted by a kill of the engine")
    everything = skiff("ps", "-aq").stdout.split()
    if everything:
        skiff("rm", "-f", *everything)
    for _ in range(100):
        rest = left()
        if not rest:
            break
        time.sleep(0.1)
    if rest:
        faults.append(f"left behind: {json.dumps(rest)[:2000]}")
    process.send_signal(signal.SIGTERM)
    process.wait(15)
    for mount in pathlib.Path("/sys/fs/cgroup").iterdir():
        try:
            (mount / CGROUP[1:]).rmdir()
        except OSError:
            pass  # not in this hierarchy
    print(f"soak: {counts['kills']} kills, {counts['started']} containers started, {counts['refused']} refused while the engine was away, "
          f"{counts['removed']} removed")
    for fault in faults:
        print("soak: FAULT:", fault)
    if faults:
        print(f"soak: the engine's log: {WORK / 'skiffd.log'}; seed {SEED}")
        return 1
    shutil.rmtree(WORK, ignore_errors=True)
    print("soak: nothing lost, nothing left")
    return 0


sys.exit(main())
