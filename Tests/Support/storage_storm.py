#!/usr/bin/env python3
"""A storm over the image store: clients import, load, save, commit, tag, remove, prune (and pull and push where a registry is given)
while the engine is killed at random moments or at named places. After each kill a new engine must find everything sound: system check
finds nothing, every byte has a record, and every image that was reported stored runs.

STORM_KILLS (200), STORM_SEED (random, printed), STORM_REGISTRY (host:port of a registry; "faulty" for one of ours that cuts,
refuses and stalls now and then; none), SKIFF_BIN_DIR (bin).
"""
import json, os, pathlib, random, shutil, signal, subprocess, sys, tarfile, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKIFF_BIN_DIR", ROOT / "bin"))
KILLS = int(os.environ.get("STORM_KILLS", "200"))
SEED = int(os.environ.get("STORM_SEED", random.SystemRandom().randrange(1 << 30)))
REGISTRY = os.environ.get("STORM_REGISTRY", "")
WORK = pathlib.Path(tempfile.mkdtemp(prefix="skiff-storm.", dir=os.environ.get("SKIFF_TEST_SCRATCH")))
SOCKET = WORK / "run/skiff.sock"
CGROUP = os.environ.get("SKIFF_TEST_CGROUP", f"/skiff-storm-{os.getpid()}") + "/storm"
POINTS = [
    "store.workshop", "store.built", "store.layer", "store.placed", "store.synced", "store.recorded", "remove.recorded",
    "remove.discarding", "remove.discarded",
]
if REGISTRY:
    POINTS += ["pull.recorded", "pull.receiving", "pull.unpacked", "pull.fetched", "pull.placed", "pull.stored", "push.layer", "push.layers",
               "push.manifest"]
if REGISTRY == "faulty":
    import faulty_registry
    registry = faulty_registry.Registry()
    REGISTRY = registry.name
    registry.plan({"on": "GET .*/blobs/", "cut": 20_000, "chance": 0.2}, {"on": "(GET|PUT|PATCH) ", "status": 503, "chance": 0.05},
                  {"on": "(PUT|PATCH) .*/uploads/", "swallow": 10_000, "chance": 0.1}, {"on": "GET .*/blobs/", "stall": 30_000, "chance": 0.05})
faults, counts = [], {}
lock = threading.Lock()


def note(fault):
    with lock:
        faults.append(fault)


def skiff(*words, timeout=120, output=subprocess.PIPE):
    try:
        return subprocess.run([BIN / "skiff", "-H", f"unix://{SOCKET}", *map(str, words)], stdout=output, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=timeout)
    except subprocess.TimeoutExpired:
        note(f"hangs: skiff {' '.join(map(str, words))}")
        return subprocess.CompletedProcess(words, 124, b"", b"timeout")


def transfer(verb, name):
    """push or pull, by docker's client where there is one: it says by its status what became of it."""
    if not shutil.which("docker"):
        return skiff(verb, "-q", name)
    try:
        return subprocess.run(["docker", "-H", f"unix://{SOCKET}", verb, "-q", name], capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
    except subprocess.TimeoutExpired:
        note(f"hangs: docker {verb} {name}")
        return subprocess.CompletedProcess(verb, 124, b"", b"timeout")


def engine(point=None):
    environment = dict(os.environ)
    if point:
        environment["SKIFFD_CRASH_AT"] = point
    with open(WORK / "skiffd.log", "ab") as log:
        process = subprocess.Popen(
            [BIN / "skiffd", "--data-root", WORK / "data", "--run-root", WORK / "run", "--cgroup-parent", CGROUP, "-l", "warning"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
    deadline = time.time() + 30
    while skiff("version").returncode:
        if process.poll() is not None and point:
            return process  # it died where it was told to, while it started
        if time.time() > deadline or process.poll() is not None:
            sys.exit(f"storm: skiffd does not come up: {(WORK / 'skiffd.log').read_text()[-2000:]}")
        time.sleep(0.01)
    return process


class Worker:
    """One user with names of its own: what it was told must be true afterwards."""

    def __init__(self, number):
        self.number, self.chance, self.serial = number, random.Random(SEED * 31 + number), 0
        self.stored = set()  # reported stored and not removed since
        self.folder = WORK / f"w{number}"
        self.folder.mkdir()
        self.halt = threading.Event()

    def name(self):
        self.serial += 1
        return f"storm{self.number}/img:{self.serial}"

    def tar(self):
        """A root with some files of its own, so that every image has a layer of its own."""
        path = self.folder / "root.tar"
        with tarfile.open(path, self.chance.choice(["w", "w:gz"])) as tar:
            tar.add(WORK / "image", arcname=".")
            for index in range(self.chance.randrange(1, 30)):
                file = self.folder / "data"
                file.write_bytes(self.chance.randbytes(self.chance.randrange(0, 60000)))
                tar.add(file, arcname=f"data/{index}")
        return path

    def run(self):
        while not self.halt.is_set():
            step = self.chance.choice(self.steps())
            try:
                done = step()
            except StopIteration:
                continue
            with lock:
                key = step.__name__
                counts[key] = counts.get(key, 0) + (1 if done else 0)
            if not done:
                time.sleep(0.005)

    def steps(self):
        steps = [self.import_, self.import_, self.tag, self.save, self.load, self.commit, self.remove, self.remove, self.prune, self.look]
        return steps + ([self.push, self.pull, self.pull] if REGISTRY else [])

    def any(self):
        if not self.stored:
            raise StopIteration
        return self.chance.choice(sorted(self.stored))

    def import_(self):
        name = self.name()
        if skiff("import", self.tar(), name).returncode:
            return False
        self.stored.add(name)
        return True

    def tag(self):
        image, name = self.any(), self.name()
        if skiff("tag", image, name).returncode:
            return False
        self.stored.add(name)
        return True

    def save(self):
        image = self.any()
        target = self.folder / "saved.tar.new"
        if skiff("save", "-o", target, image).returncode:
            target.unlink(missing_ok=True)
            return False
        target.rename(self.folder / "saved.tar")
        (self.folder / "saved.name").write_text(image)
        return True

    def load(self):
        if not (self.folder / "saved.tar").exists():
            raise StopIteration
        if skiff("load", "-i", self.folder / "saved.tar").returncode:
            return False
        self.stored.add((self.folder / "saved.name").read_text())
        return True

    def commit(self):
        image, name = self.any(), self.name()
        container = f"storm{self.number}-{self.serial}"
        if skiff("run", "--name", container, image, "sh", "-c", f"echo {self.serial} >/committed").returncode:
            skiff("rm", "-f", container)
            return False
        done = skiff("commit", container, name).returncode == 0
        if done:
            self.stored.add(name)
        skiff("rm", "-f", container)
        return done

    def remove(self):
        image = self.any()
        if len(self.stored) < 3:
            raise StopIteration
        # From here on it may be there or not.
        self.stored.discard(image)
        return skiff("rmi", "-f", image).returncode == 0

    def prune(self):
        return skiff("image", "prune", "-f").returncode == 0

    def look(self):
        return skiff("system", "df").returncode == 0

    def push(self):
        image = self.any()
        name = f"{REGISTRY}/{image}"
        if skiff("tag", image, name).returncode or transfer("push", name).returncode:
            return False
        with open(self.folder / "pushed", "a") as file:
            file.write(name + "\n")
        return True

    def pull(self):
        pushed = self.folder / "pushed"
        if not pushed.exists():
            raise StopIteration
        name = self.chance.choice(pushed.read_text().split())
        self.stored.discard(name)
        skiff("rmi", "-f", name)
        if transfer("pull", name).returncode:
            return False
        self.stored.add(name)
        return True


def verify(workers, label):
    """What must hold whenever an engine is up and nobody works."""
    for _ in range(300):
        answer = skiff("system", "df", "-v")
        if b"Being removed         0" in answer.stdout:
            break
        time.sleep(0.02)
    usage = skiff("system", "df")
    line = [line.split() for line in usage.stdout.decode().splitlines() if line.startswith("Unaccounted")]
    if not line or line[0][1] != "0":
        note(f"{label}: unaccounted: {skiff('system', 'df', '-v').stdout.decode()[-1500:]} {usage.stderr.decode()}")
    check = skiff("system", "check", "-q")
    if check.returncode:
        note(f"{label}: system check: {check.stdout.decode()[-1500:]} {check.stderr.decode()}")
    if [entry.name for entry in (WORK / "data/tmp").iterdir()]:
        note(f"{label}: left in tmp: {[entry.name for entry in (WORK / 'data/tmp').iterdir()]}")
    names = set(skiff("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.decode().split())
    for worker in workers:
        for image in sorted(worker.stored):
            if image not in names:
                note(f"{label}: {image} was reported stored and is gone")
        for image in worker.chance.sample(sorted(worker.stored), min(2, len(worker.stored))):
            answer = skiff("run", "--rm", "--network", "none", image, "true")
            if answer.returncode:
                note(f"{label}: {image} does not run: {answer.stderr.decode().strip()}")


def main():
    print(f"storm: {KILLS} kills, seed {SEED}", flush=True)
    chance = random.Random(SEED)
    (WORK / "image/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", WORK / "image/bin/busybox")
    for name in ("sh", "true"):
        os.symlink("busybox", WORK / "image/bin" / name)
    workers = [Worker(number) for number in range(3)]
    reached = {}
    try:
        for turn in range(KILLS):
            point = chance.choice(POINTS) if turn % 2 else None
            process = engine(point)
            for worker in workers:
                worker.halt.clear()
            threads = [threading.Thread(target=worker.run) for worker in workers]
            for thread in threads:
                thread.start()
            if point:
                try:
                    process.wait(chance.uniform(1.0, 3.0))
                    reached[point] = reached.get(point, 0) + 1
                except subprocess.TimeoutExpired:
                    pass
            else:
                time.sleep(chance.uniform(0.02, 1.5))
            for worker in workers:
                worker.halt.set()
            process.send_signal(signal.SIGKILL)
            process.wait()
            for thread in threads:
                thread.join()
            process = engine()
            verify(workers, f"kill {turn + 1} ({point or 'at random'})")
            process.send_signal(signal.SIGKILL if chance.random() < 0.5 else signal.SIGTERM)
            process.wait()
            if faults:
                break
            # Images pile up otherwise
            if turn % 20 == 19:
                process = engine()
                for worker in workers:
                    for image in sorted(worker.stored)[4:]:
                        worker.stored.discard(image)
                        skiff("rmi", "-f", image)
                process.send_signal(signal.SIGTERM)
                process.wait()
        process = engine()
        everything = skiff("ps", "-aq").stdout.split()
        if everything:
            skiff("rm", "-f", *[word.decode() for word in everything])
        skiff("image", "prune", "-af")
        for _ in range(200):
            left = [str(entry.relative_to(WORK)) for folder in ("layers", "blobs/sha256", "tmp", "containers")
                    for entry in (WORK / "data" / folder).iterdir()]
            if not left:
                break
            time.sleep(0.05)
        if left and not faults:
            faults.append(f"left after everything was removed: {left[:20]}")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        for mount in pathlib.Path("/sys/fs/cgroup").iterdir():
            try:
                (mount / CGROUP[1:]).rmdir()
            except OSError:
                pass  # not in this hierarchy
    print("storm:", ", ".join(f"{value} × {key.strip('_')}" for key, value in sorted(counts.items())))
    print("storm: died at", ", ".join(f"{key} {value} ×" for key, value in sorted(reached.items())) or "no named place")
    for fault in faults:
        print("storm: FAULT:", fault)
    if faults:
        print(f"storm: kept {WORK}; seed {SEED}")
        return 1
    shutil.rmtree(WORK, ignore_errors=True)
    print("storm: everything sound, everything accounted for, nothing left")
    return 0


sys.exit(main())
