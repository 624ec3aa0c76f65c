#!/usr/bin/env python3
"""A storm over the image store: clients import, load, save, commit, tag, remove, prune (and pull and push where a registry is given)
while the engine is killed at random moments and at named places in turns. After each kill a new engine must find everything sound:
system check finds nothing, every byte has a record, every image that was reported stored since the last kill runs (and some of the
older ones), everything that was reported pushed is in the registry, byte for byte.

STORM_KILLS (200), STORM_SECONDS (no limit: ends the storm early), STORM_SEED (random, printed), STORM_REGISTRY (host:port of a registry;
"faulty" for one of ours that cuts, refuses and stalls now and then; none), SKIFF_BIN_DIR (bin).
"""
import collections, json, os, random, shutil, signal, subprocess, sys, tarfile, threading, time
import made_images
from storm_scene import Storm

KILLS = int(os.environ.get("STORM_KILLS", "200"))
SECONDS = float(os.environ.get("STORM_SECONDS", "inf"))
REGISTRY = os.environ.get("STORM_REGISTRY", "")
scene = Storm("storm", "-l", "warning")
skiff, note = scene.skiff, scene.note
POINTS = [
    "store.workshop", "store.built", "store.layer", "store.placed", "store.synced", "store.recorded", "remove.recorded",
    "remove.discarding", "remove.discarded",
]
if REGISTRY:
    POINTS += ["pull.recorded", "pull.receiving", "pull.unpacked", "pull.fetched", "pull.placed", "pull.stored", "push.layer", "push.layers",
               "push.manifest"]
registry = None
if REGISTRY == "faulty":
    import faulty_registry
    registry = faulty_registry.Registry()
    REGISTRY = registry.name
    registry.plan({"on": "GET .*/blobs/", "cut": 20_000, "chance": 0.2}, {"on": "(GET|PUT|PATCH) ", "status": 503, "chance": 0.05},
                  {"on": "(PUT|PATCH) .*/uploads/", "swallow": 10_000, "chance": 0.1}, {"on": "GET .*/blobs/", "stall": 30_000, "chance": 0.05})
counts, interrupted = collections.Counter(), collections.Counter()


def transfer(verb, name):
    """push or pull, by docker's client where there is one: it says by its status what became of it."""
    if not shutil.which("docker"):
        return skiff(verb, "-q", name)
    return scene.run(["docker", "-H", f"unix://{scene.socket}", verb, "-q", name], 120)


class Worker:
    """One user with names of its own: what it was told must be true afterwards."""

    def __init__(self, number):
        self.number, self.chance, self.serial = number, random.Random(scene.seed * 31 + number), 0
        self.stored = set()  # reported stored and not removed since
        self.new = set()  # … since the last kill
        self.pushed = {}  # reported pushed: name -> the image's id
        self.doing = None  # the step that is under way
        self.folder = scene.work / f"w{number}"
        self.folder.mkdir()
        self.halt = threading.Event()

    def name(self):
        self.serial += 1
        return f"storm{self.number}/img:{self.serial}"

    def tar(self):
        """A root with some files of its own, so that every image has a layer of its own."""
        path = self.folder / "root.tar"
        with tarfile.open(path, self.chance.choice(["w", "w:gz"])) as tar:
            tar.add(scene.work / "image", arcname=".")
            for index in range(self.chance.randrange(1, 30)):
                file = self.folder / "data"
                file.write_bytes(self.chance.randbytes(self.chance.randrange(0, 60000)))
                tar.add(file, arcname=f"data/{index}")
        return path

    def run(self):
        while not self.halt.is_set():
            step = self.chance.choice(self.steps())
            self.doing = step.__name__.strip("_")
            try:
                done = step()
            except StopIteration:
                continue
            with scene.lock:
                counts[self.doing] += bool(done)
            if not done:
                time.sleep(0.005)

    def steps(self):
        steps = [self.import_, self.import_, self.tag, self.save, self.load, self.commit, self.remove, self.remove, self.prune, self.look]
        return steps + ([self.push, self.pull, self.pull] if REGISTRY else [])

    def keep(self, name):
        self.stored.add(name)
        self.new.add(name)
        return True

    def forget(self, name):
        self.stored.discard(name)
        self.new.discard(name)

    def any(self):
        if not self.stored:
            raise StopIteration
        return self.chance.choice(sorted(self.stored))

    def import_(self):
        name = self.name()
        if skiff("import", self.tar(), name).returncode:
            return False
        return self.keep(name)

    def tag(self):
        image, name = self.any(), self.name()
        if skiff("tag", image, name).returncode:
            return False
        return self.keep(name)

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
        return self.keep((self.folder / "saved.name").read_text())

    def commit(self):
        image, name = self.any(), self.name()
        container = f"storm{self.number}-{self.serial}"
        if skiff("run", "--name", container, image, "sh", "-c", f"echo {self.serial} >/committed").returncode:
            skiff("rm", "-f", container)
            return False
        done = skiff("commit", container, name).returncode == 0
        if done:
            self.keep(name)
        skiff("rm", "-f", container)
        return done

    def remove(self):
        image = self.any()
        if len(self.stored) < 3:
            raise StopIteration
        # From here on it may be there or not.
        self.forget(image)
        return skiff("rmi", "-f", image).returncode == 0

    def prune(self):
        return skiff("image", "prune", "-f").returncode == 0

    def look(self):
        return skiff("system", "df").returncode == 0

    def push(self):
        image = self.any()
        name = f"{REGISTRY}/{image}"
        self.pushed.pop(name, None)  # from here on it may be there or not
        if skiff("tag", image, name).returncode:
            return False
        identity = skiff("inspect", "-f", "{{.Id}}", name).stdout.strip()
        if transfer("push", name).returncode or not identity:
            return False
        self.pushed[name] = identity
        return True

    def pull(self):
        if not self.pushed:
            raise StopIteration
        name = self.chance.choice(sorted(self.pushed))
        self.forget(name)
        skiff("rmi", "-f", name)
        return transfer("pull", name).returncode == 0 and self.keep(name)


def check_pushed(worker, label):
    """Whatever the engine's end, a push that was reported is whole."""
    for name, identity in worker.pushed.items():
        repository, tag = name[len(REGISTRY) + 1:].rsplit(":", 1)
        held = registry.manifests.get(repository, {}).get(tag)
        if not held:
            note(f"{label}: {name} was reported pushed and is not in the registry")
            continue
        document = json.loads(held[1])
        if document["config"]["digest"] != identity:
            note(f"{label}: {name} in the registry is {document['config']['digest']}, not {identity}")
        for part in document["layers"] + [document["config"]]:
            data = registry.blobs.get(part["digest"])
            if data is None or len(data) != part["size"] or made_images.digest(data) != part["digest"]:
                note(f"{label}: {name} in the registry: {part['digest']} is damaged or missing")


def verify(workers, label):
    """What must hold whenever an engine is up and nobody works."""
    for _ in range(300):
        if "Being removed         0" in skiff("system", "df", "-v").stdout:
            break
        time.sleep(0.02)
    usage = skiff("system", "df")
    line = [line.split() for line in usage.stdout.splitlines() if line.startswith("Unaccounted")]
    if not line or line[0][1] != "0":
        note(f"{label}: unaccounted: {skiff('system', 'df', '-v').stdout[-1500:]} {usage.stderr}")
    check = skiff("system", "check", "-q")
    if check.returncode:
        note(f"{label}: system check: {check.stdout[-1500:]} {check.stderr}")
    rest = [entry.name for entry in (scene.work / "data/tmp").iterdir()]
    if rest:
        note(f"{label}: left in tmp: {rest}")
    names = set(skiff("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split())
    for worker in workers:
        for image in sorted(worker.stored - names):
            note(f"{label}: {image} was reported stored and is gone")
        older = sorted(worker.stored - worker.new)
        for image in sorted(worker.new & names) + worker.chance.sample(older, min(2, len(older))):
            answer = skiff("run", "--rm", "--network", "none", image, "true")
            if answer.returncode:
                note(f"{label}: {image} does not run: {answer.stderr.strip()}")
        worker.new = set()
        if registry:
            check_pushed(worker, label)


def strike(workers, point, chance):
    """Lets the workers work until the engine dies: at a named place, if somebody gets there, or at any moment."""
    scene.start(point)
    for worker in workers:
        worker.halt.clear()
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    died = None
    if point:
        try:
            scene.process.wait(chance.uniform(1.0, 3.0))
            died = point
        except subprocess.TimeoutExpired:
            pass
    else:
        time.sleep(chance.uniform(0.02, 1.5))
    if not died:
        interrupted.update(worker.doing for worker in workers if worker.doing)
    for worker in workers:
        worker.halt.set()
    scene.end()
    for thread in threads:
        thread.join()
    return died


def thin_out(workers):
    """Images pile up otherwise."""
    scene.start()
    for worker in workers:
        for image in sorted(worker.stored)[4:]:
            worker.forget(image)
            skiff("rmi", "-f", image)
    for image in skiff("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split():
        if not any(image in worker.stored for worker in workers):
            skiff("rmi", "-f", image)
    scene.end(signal.SIGTERM)


def left():
    return [str(entry.relative_to(scene.work)) for folder in ("layers", "blobs/sha256", "tmp", "containers")
            if (scene.work / "data" / folder).exists() for entry in (scene.work / "data" / folder).iterdir()]


def main():
    print(f"storm: {KILLS} kills{'' if SECONDS == float('inf') else f', at most {SECONDS:.0f} s'}, seed {scene.seed}", flush=True)
    chance = random.Random(scene.seed)
    scene.root("sh", "true")
    workers = [Worker(number) for number in range(3)]
    reached, kills, deadline = collections.Counter(), 0, time.time() + SECONDS
    while kills < KILLS and time.time() < deadline and not scene.faults:
        point = chance.choice(POINTS) if kills % 2 else None
        died = strike(workers, point, chance)
        kills += 1
        if died:
            reached[died] += 1
        scene.start()
        verify(workers, f"kill {kills} ({died or 'at random'})")
        scene.end(signal.SIGKILL if chance.random() < 0.5 else signal.SIGTERM)
        if kills % 20 == 0:
            thin_out(workers)
            print(f"storm: {kills} kills", flush=True)
    scene.start()
    scene.remove_containers()
    skiff("image", "prune", "-af")
    if not scene.faults:
        scene.await_nothing(left)
    told = lambda things: ", ".join(f"{value} × {key}" for key, value in sorted(things.items())) or "none"
    return scene.finish(f"{kills} kills; done: {told(counts)}", f"died at a named place: {told(reached)}",
                        f"died at any moment, during: {told(interrupted)}")


try:
    sys.exit(main())
finally:
    if scene.process and scene.process.poll() is None:
        scene.process.kill()
        scene.process.wait()
