"""The table of `make bench`: each row measures skiff and its peers in turns. Called by bench.sh inside its own namespaces."""
import json, os, pathlib, re, shutil, signal, statistics, subprocess, sys, time

import images, networks, names

HERE = pathlib.Path(__file__).resolve().parent
BIN = HERE.parent / "bin"
PEERS = pathlib.Path(os.environ["SKIFF_PEERS"])
SHARED = PEERS / "shared"
WORK = SHARED / f"bench-{os.getpid()}"
ROUNDS = int(os.environ.get("ROUNDS", "7"))
ONLY = re.compile(os.environ.get("ONLY", ""))
SOCKET = WORK / "run/skiff.sock"
SKIFF = [str(BIN / "skiff"), "-H", f"unix://{SOCKET}"]
results, notes = [], []


class Timer:
    """A timing process outside (skiff) or inside the peers' root."""

    def __init__(self, inside):
        shutil.copy(HERE / "timer.py", WORK / "timer.py")
        command = ([str(PEERS / "run")] if inside else []) + ["python3", str(WORK / "timer.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def peer(*command, **options):
    return run(PEERS / "run", *command, **options)


def row(name, what, unit, reach, against, measured, more=False):
    """measured: {engine: [values]}; the ratio is skiff's median over the named peer's. `more`: a higher one is better, and an equal one
    reaches: five in a hundred are noise here."""
    medians = {engine: statistics.median(values) for engine, values in measured.items() if values}
    ratio = medians["skiff"] / medians[against] if against in medians and "skiff" in medians and medians[against] else None
    reached = None
    if "skiff" in medians:
        reached = (ratio is not None and (ratio >= reach * 0.95 if more else ratio <= reach)) if against else medians["skiff"] <= reach
    results.append({"id": name, "what": what, "unit": unit, "reach": reach, "against": against or None, "ratio": ratio, "reached": reached, "more": more,
                    "median": medians, "spread": {engine: [min(values), max(values)] for engine, values in measured.items() if values},
                    "values": measured})
    print_row(results[-1])


def print_row(entry):
    def cell(engine):
        low, high = entry["spread"][engine]
        return f"{engine} {entry['median'][engine]:.4g} ({low:.4g}-{high:.4g})"
    cells = ", ".join(cell(engine) for engine in entry["median"])
    ratio = f"{entry['ratio']:.3f} x {entry['against']}" if entry["ratio"] is not None else ""
    sign = ">=" if entry["more"] else "<="
    goal = f"{sign} {entry['reach']} x {entry['against']}" if entry["against"] else f"{sign} {entry['reach']} {entry['unit']}"
    print(f"{entry['id']:<28} {'ok  ' if entry['reached'] else 'MISS'} {ratio:<18} reach {goal:<18} {entry['unit']}: {cells}", flush=True)


def turns(plans, rounds=ROUNDS, runs=3):
    """plans: {engine: (timer, command)}; alternates so that noise falls on all alike. The first round warms up."""
    measured = {engine: [] for engine in plans}
    for turn in range(rounds + 1):
        for engine, (timer, command) in plans.items():
            answer = timer.ask(runs=runs, command=[str(word) for word in command])
            if answer["failed"]:
                notes.append(f"{engine}: {answer['failed']} of {runs} failed: {' '.join(map(str, command))}")
            if turn:
                measured[engine] += answer["times"]
    return measured


def wanted(name):
    return ONLY.search(name) is not None


def bundle():
    root = WORK / "bundle/rootfs"
    (root / "bin").mkdir(parents=True)
    for folder in ("proc", "sys", "dev", "etc", "tmp"):
        (root / folder).mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("true", "sh", "sleep", "cat"):
        os.symlink("busybox", root / "bin" / name)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    spec = json.loads(peer("sh", "-c", f"cd {WORK}/bundle && rm -f config.json && runc spec && cat config.json").stdout)
    spec["process"]["terminal"] = False
    spec["process"]["args"] = ["/bin/true"]
    (WORK / "bundle/config.json").write_text(json.dumps(spec))
    return root


def runtime_rows(outside, inside):
    if not wanted("runtime.run"):
        return
    where = WORK / "bundle"
    # The state folder in memory for all: crun's and runc's are in this same tmpfs, where their root has its /run.
    state = PEERS / f"root/run/skiff-bench-{os.getpid()}"
    measured = turns({
        "skiff": (outside, [BIN / "skiff-runtime", "--root", state, "run", "--bundle", where, "bench-skiff"]),
        "crun": (inside, ["crun", "run", "--bundle", where, "bench-crun"]),
        "runc": (inside, ["runc", "run", "--bundle", where, "bench-runc"]),
        "floor": (outside, ["unshare", "-Cimnpuf", "--mount-proc", "true"]),
    }, runs=5)
    row("runtime.run", "run of a /bin/true bundle", "ms", 0.5, "crun", measured)


def start_skiffd():
    log = open(WORK / "skiffd.log", "ab")
    start = time.perf_counter()
    process = subprocess.Popen([BIN / "skiffd", "--data-root", WORK / "data", "--run-root", WORK / "run"], stdout=log, stderr=log)
    while True:
        answer = run(*SKIFF, "version")
        if answer.returncode == 0:
            return process, (time.perf_counter() - start) * 1000
        if time.perf_counter() - start > 15:
            sys.exit(f"bench: skiffd does not answer: {answer.stderr}{(WORK / 'skiffd.log').read_text()[-500:]}")
        time.sleep(0.001)


def status_kb(pid, field):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(field):
            return int(line.split()[1])
    return 0


def pss_kb(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def pids_of(match):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
        except OSError:
            continue
        if match([word.decode(errors="replace") for word in words]):
            found.append(int(pid))
    return found


def available_kb():
    subprocess.run(["sync"])
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    time.sleep(0.5)
    return int(next(line for line in open("/proc/meminfo") if line.startswith("MemAvailable")).split()[1])


def many(timer, engine, command, remove, client_count=8, count=100):
    """100 starts with 8 clients side by side, then one removal of all. Milliseconds of both, kB of MemAvailable per container, shim PSS."""
    names = [f"many-{index}" for index in range(count)]
    before = available_kb()
    start = timer.ask(commands=[[str(word) for word in command(name)] for name in names], clients=client_count)
    if start["failed"]:
        notes.append(f"{engine}: {start['failed']} of {count} starts failed")
    memory = (before - available_kb()) / count
    if engine == "skiff":
        shims = pids_of(lambda words: "shim" in words and str(WORK) in " ".join(words))
    elif engine == "docker":
        shims = pids_of(lambda words: words and "containerd-shim" in words[0])
    else:
        shims = pids_of(lambda words: words and words[0].endswith("conmon"))
    pss = [pss_kb(pid) / 1000 for pid in shims]
    removal = timer.ask(runs=1, command=[str(word) for word in remove + names])
    if removal["failed"]:
        notes.append(f"{engine}: removal of {count} failed")
    return start["times"][0] / 1000, removal["times"][0] / 1000, memory / 1000, statistics.mean(pss) if pss else 0


def engine_rows(outside, inside, root):
    archive = WORK / "image.tar"
    run("tar", "-C", root, "-cf", archive, ".")
    skiffd, _ = start_skiffd()
    dockerd = int(peer_dockerd())
    try:
        answer = run(*SKIFF, "import", archive, "bench:1")
        if answer.returncode:
            sys.exit(f"bench: skiff import: {answer.stderr}")
        for tool in ("docker", "podman"):
            answer = peer(tool, "import", archive, "bench:1")
            if answer.returncode:
                notes.append(f"{tool} import failed: {answer.stderr.strip()[-200:]}")
        for name, network in (("engine.run-bridge", []), ("engine.run-none", ["--network", "none"])):
            if wanted(name):
                row(name, "run --rm IMAGE true" + (" --network none" if network else ""), "ms", 0.1, "docker", turns({
                    "skiff": (outside, SKIFF + ["run", "--rm"] + network + ["bench:1", "/bin/true"]),
                    "docker": (inside, ["docker", "run", "--rm"] + network + ["bench:1", "/bin/true"]),
                    "podman": (inside, ["podman", "run", "--rm"] + network + ["bench:1", "/bin/true"])}))
        one = ["run", "-d", "--name", "one", "bench:1", "/bin/sleep", "1000"]
        run(*SKIFF, *one), peer("docker", *one), peer("podman", *one)
        if wanted("engine.exec"):
            command = ["exec", "one", "/bin/true"]
            row("engine.exec", "exec CONTAINER true", "ms", 0.1, "docker", turns({
                "skiff": (outside, SKIFF + command), "docker": (inside, ["docker"] + command), "podman": (inside, ["podman"] + command)}))
        if wanted("engine.ps"):
            row("engine.ps", "ps with one container", "ms", 0.3, "docker", turns({
                "skiff": (outside, SKIFF + ["ps"]), "docker": (inside, ["docker", "ps"])}))
        run(*SKIFF, "rm", "-f", "one"), peer("docker", "rm", "-f", "one"), peer("podman", "rm", "-f", "-t0", "one")
        if wanted("engine.100"):
            measured = {"skiff": [], "docker": []}
            tail = ["bench:1", "/bin/sleep", "1000"]
            for _ in range(3):
                measured["skiff"].append(many(outside, "skiff", lambda name: SKIFF + ["run", "-d", "--name", name] + tail, SKIFF + ["rm", "-f"]))
                time.sleep(2)
                measured["docker"].append(many(inside, "docker", lambda name: ["docker", "run", "-d", "--name", name] + tail, ["docker", "rm", "-f"]))
                time.sleep(2)
            pick = lambda index: {engine: [values[index] for values in rounds] for engine, rounds in measured.items()}
            row("engine.100-start", "100 x run -d, 8 clients", "s", 0.1, "docker", pick(0))
            row("engine.100-remove", "rm -f of 100", "s", 0.1, "docker", pick(1))
            row("memory.available-per-container", "MemAvailable per container at 100", "MB", 2.0, "", pick(2))
            row("memory.shim-pss", "shim's PSS", "MB", 1.0, "", pick(3))
        if any(wanted(name) for name in images.NAMES):
            containerd = pids_of(lambda words: words and words[0].endswith("containerd") and "shim" not in words[0])
            images.Rows(sys.modules[__name__], SKIFF, [str(PEERS / "run"), "docker"], [str(PEERS / "run"), "podman"], skiffd.pid,
                        [dockerd] + containerd).run()
        if wanted("daemon"):
            time.sleep(3)
            containerd = pids_of(lambda words: words and words[0].endswith("containerd") and "shim" not in words[0])
            row("daemon.rss", "engine resident when idle", "MB", 20, "", {
                "skiff": [status_kb(skiffd.pid, "VmRSS:") / 1000],
                "docker": [(status_kb(dockerd, "VmRSS:") + sum(status_kb(pid, "VmRSS:") for pid in containerd)) / 1000]})
            ready = []
            for _ in range(ROUNDS):
                skiffd.send_signal(signal.SIGTERM)
                skiffd.wait(10)
                skiffd, elapsed = start_skiffd()
                ready.append(elapsed)
            row("daemon.ready", "ready after start", "ms", 50, "", {"skiff": ready})
    finally:
        run(*SKIFF, "rm", "-f", *run(*SKIFF, "ps", "-aq").stdout.split())
        skiffd.send_signal(signal.SIGTERM)
        try:
            skiffd.wait(10)
        except subprocess.TimeoutExpired:
            skiffd.kill()
        peer("sh", "-c", "docker rm -f $(docker ps -aq); podman rm -af -t0")
        os.kill(dockerd, signal.SIGTERM)
        for _ in range(100):
            if not os.path.exists(f"/proc/{dockerd}"):
                break
            time.sleep(0.1)


def peer_dockerd():
    answer = run(PEERS / "dockerd")
    if answer.returncode:
        sys.exit(f"bench: dockerd does not start: {answer.stderr}")
    return answer.stdout.strip()


def versions():
    found = {"skiff": run(BIN / "skiff", "--version").stdout.strip()}
    for name, command in {"docker": "docker --version", "podman": "podman --version", "crun": "crun --version", "runc": "runc --version"}.items():
        found[name] = peer("sh", "-c", command + " | head -1").stdout.strip()
    found["kernel"] = os.uname().release
    return found


def main():
    WORK.mkdir(parents=True)
    try:
        found = versions()
        print("\n".join(f"{name}: {text}" for name, text in found.items()))
        print(f"rounds {ROUNDS}, medians with (lowest-highest); peers and skiff in turns\n", flush=True)
        root = bundle()
        outside, inside = Timer(False), Timer(True)
        runtime_rows(outside, inside)
        if any(wanted(name) for name in ("engine.run-bridge", "engine.run-none", "engine.exec", "engine.ps", "engine.100", "daemon") + images.NAMES):
            engine_rows(outside, inside, root)
        if any(wanted(name) for name in networks.NAMES):
            networks.Rows(sys.modules[__name__], outside, inside).run()
        if any(wanted(name) for name in names.NAMES):
            names.Rows(sys.modules[__name__]).run()
        for note in dict.fromkeys(notes):
            print("note:", note)
        out = pathlib.Path(os.environ.get("OUT", HERE.parent / ".bench/results.json"))
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps({"versions": found, "rounds": ROUNDS, "rows": results, "notes": notes}, indent=1))
        print(f"\nkept in {out}")
        return 0 if all(entry["reached"] for entry in results) else 1
    finally:
        shutil.rmtree(WORK, ignore_errors=True)


sys.exit(main())
