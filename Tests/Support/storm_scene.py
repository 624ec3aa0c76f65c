"""What the storms share: an engine in a folder of its own that dies and starts again, its client, what was found wrong, the end."""
import json, os, pathlib, random, shutil, signal, subprocess, sys, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKIFF_BIN_DIR", ROOT / "bin"))


class Storm:
    """`name` begins every line that it prints; NAME_SEED, random and printed, repeats its choices."""

    def __init__(self, name, *flags):
        self.name, self.flags = name, flags
        self.seed = int(os.environ.get(name.upper() + "_SEED", random.SystemRandom().randrange(1 << 30)))
        self.work = pathlib.Path(tempfile.mkdtemp(prefix=f"skiff-{name}.", dir=os.environ.get("SKIFF_TEST_SCRATCH")))
        self.socket, self.log = self.work / "run/skiff.sock", self.work / "skiffd.log"
        # below a test's own folder, which the test removes; else at the top, and removed here
        self.cgroup = os.environ["SKIFF_TEST_CGROUP"] + "/" + name if "SKIFF_TEST_CGROUP" in os.environ else f"/skiff-{name}-{os.getpid()}"
        self.lock, self.faults, self.process = threading.Lock(), [], None

    def note(self, fault):
        with self.lock:
            self.faults.append(fault)

    def run(self, words, timeout, output=subprocess.PIPE):
        words = [str(word) for word in words]
        try:
            return subprocess.run(words, stdout=output, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, errors="replace", timeout=timeout)
        except subprocess.TimeoutExpired:
            self.note(f"hangs: {' '.join(words)}")
            return subprocess.CompletedProcess(words, 124, "", "timeout")

    def skiff(self, *words, timeout=120):
        return self.run([BIN / "skiff", "-H", f"unix://{self.socket}", *words], timeout)

    def start(self, point=None):
        """An engine that answers; with `point` it dies there, perhaps while it starts already."""
        environment = dict(os.environ, SKIFFD_CRASH_AT=point) if point else None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "skiffd", "--data-root", self.work / "data", "--run-root", self.work / "run", "--cgroup-parent", self.cgroup, *self.flags],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        deadline = time.time() + 30
        while self.skiff("version").returncode:
            if self.process.poll() is not None and point:
                return
            if time.time() > deadline or self.process.poll() is not None:
                sys.exit(f"{self.name}: skiffd does not come up: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)

    def end(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(30)

    def root(self, *applets):
        """A folder with busybox: the smallest image that runs."""
        folder = self.work / "image"
        (folder / "bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", folder / "bin/busybox")
        for applet in applets:
            os.symlink("busybox", folder / "bin" / applet)
        return folder

    def remove_containers(self):
        everything = self.skiff("ps", "-aq").stdout.split()
        if everything:
            self.skiff("rm", "-f", *everything)

    def await_nothing(self, left):
        """Something may take a moment to go; whatever `left` still finds then is a fault."""
        deadline = time.time() + 15
        while (rest := left()) and time.time() < deadline:
            time.sleep(0.1)
        if rest:
            self.note(f"left behind: {json.dumps(rest)[:2000]}")

    def finish(self, *lines):
        """Ends the engine, tells what was found; the exit status."""
        if self.process and self.process.poll() is None:
            self.end(signal.SIGTERM)
        for mount in pathlib.Path("/sys/fs/cgroup").iterdir():
            try:
                (mount / self.cgroup[1:]).rmdir()
            except OSError:
                pass  # not in this hierarchy
        for line in lines:
            print(f"{self.name}: {line}")
        for fault in self.faults:
            print(f"{self.name}: FAULT: {fault}")
        if self.faults:
            print(f"{self.name}: kept {self.work}; seed {self.seed}")
            return 1
        shutil.rmtree(self.work, ignore_errors=True)
        print(f"{self.name}: nothing lost, nothing left")
        return 0
