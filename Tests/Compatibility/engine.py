"""An engine of the tests' own, and outside clients that drive it."""
import atexit
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = os.environ.get("SKIFF_BIN_DIR", "bin")


class Engine:
    """skiffd with data and run folders, a cgroup and a bridge of its own."""

    def __init__(self):
        self.scratch = tempfile.mkdtemp(prefix="skiff-compat-")
        os.chmod(self.scratch, 0o755)
        self.socket = self.scratch + "/run/skiff.sock"
        self.log = self.scratch + "/skiffd.log"
        self.cgroup = f"/skiff-compat-{os.getpid()}"
        # docker's CLI keeps its settings here and not in the caller's home
        self.env = dict(os.environ, DOCKER_HOST="unix://" + self.socket, DOCKER_CONFIG=self.scratch + "/docker", TERM="xterm")
        for name in ("DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION"):
            self.env.pop(name, None)
        self.process = None
        self.start()
        atexit.register(self.clean)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [BIN + "/skiffd", "--data-root", self.scratch + "/data", "--exec-root", self.scratch + "/run",
                 "--cgroup-parent", self.cgroup, "-D"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while subprocess.run(["docker", "version"], env=self.env, capture_output=True).returncode != 0:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("skiffd does not answer: " + self.tail())
            time.sleep(0.02)

    def tail(self):
        with open(self.log) as log:
            return "".join(log.readlines()[-20:])

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(10)

    def clean(self):
        if self.process.poll() is None:
            ids = subprocess.run(["docker", "ps", "-aq"], env=self.env, capture_output=True, text=True).stdout.split()
            if ids:
                subprocess.run(["docker", "rm", "-f", *ids], env=self.env, capture_output=True, timeout=60)
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        # the parent of the containers' cgroups is the engine's to keep, and ours to remove
        for folder in [self.cgroup, *["/" + name + self.cgroup for name in os.listdir("/sys/fs/cgroup")]]:
            for path, _, _ in os.walk("/sys/fs/cgroup" + folder, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass
        if os.environ.get("KEEP"):
            print("kept: " + self.scratch, file=sys.stderr)
        else:
            shutil.rmtree(self.scratch, ignore_errors=True)


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out!r}\nstderr: {self.err!r}"


_engine = None


def engine():
    global _engine
    if _engine is None:
        _engine = Engine()
        import_busybox("busybox:test")
    return _engine


def busybox_tar(path):
    """A root file system with busybox, as a tar."""
    folder = tempfile.mkdtemp(prefix="skiff-compat-root-")
    try:
        script = r"""
            set -e; mkdir -p bin sbin etc dev proc sys tmp root usr/bin var home/u; chmod 1777 tmp
            cp /bin/busybox bin/busybox; for a in $(/bin/busybox --list); do [ $a = busybox ] || ln -sf busybox bin/$a; done
            printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\nu:x:1000:1000::/home/u:/bin/sh\n' >etc/passwd
            printf 'root:x:0:\nnogroup:x:65534:\nu:x:1000:\n' >etc/group
            printf 'data\n' >etc/notexecutable
            """
        subprocess.run(["sh", "-c", script], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["tar", "--numeric-owner", "--owner=0", "--group=0", "-C", folder, "-cf", path, "."], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def import_busybox(reference):
    tar = _engine.scratch + "/busybox.tar"
    if not os.path.exists(tar):
        busybox_tar(tar)
    result = subprocess.run(["docker", "import", tar, reference], env=_engine.env, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError("cannot import busybox: " + result.stderr + _engine.tail())


def docker(*args, input=None, timeout=60, env=None):
    """Runs docker's CLI against the engine."""
    text = input.encode() if isinstance(input, str) else input
    merged = dict(engine().env, **(env or {}))
    try:
        done = subprocess.run(["docker", *args], input=text, stdin=None if text is not None else subprocess.DEVNULL,
                              env=merged, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"docker {' '.join(args)} did not end in {timeout} s: {late.stdout!r} {late.stderr!r}\n"
                             + engine().tail()) from None
    return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


class Terminal:
    """A command of docker's CLI on a terminal."""

    def __init__(self, *args, rows=24, columns=80):
        import fcntl
        import struct
        import termios
        engine()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe("docker", ["docker", *args], engine().env)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.seen = ""

    def resize(self, rows, columns):
        import fcntl
        import struct
        import termios
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern, timeout=15):
        """Waits until the output since the last match has the pattern; answers the match."""
        deadline = time.monotonic() + timeout
        while True:
            match = re.search(pattern, self.seen)
            if match:
                self.seen = self.seen[match.end():]
                return match
            left = deadline - time.monotonic()
            ready = select.select([self.master], [], [], max(0, left))[0] if left > 0 else []
            if not ready:
                raise AssertionError(f"no {pattern!r} in {self.seen!r}")
            try:
                chunk = os.read(self.master, 65536)
            except OSError:
                chunk = b""
            if not chunk:
                raise AssertionError(f"ended without {pattern!r}: {self.seen!r}")
            self.seen += chunk.decode(errors="replace")

    def wait(self, timeout=20):
        """Reads to the end; answers the exit code."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    chunk = os.read(self.master, 65536)
                    self.seen += chunk.decode(errors="replace")
                    if chunk:
                        continue
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.master)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.master)
        raise AssertionError(f"did not end: {self.seen!r}")


class Case(unittest.TestCase):
    """Removes what it made."""

    def setUp(self):
        engine()
        self.names = []

    def tearDown(self):
        ids = docker("ps", "-aq").out.split()
        if ids:
            docker("rm", "-f", *ids)

    def ok(self, *args, **options):
        result = docker(*args, **options)
        self.assertEqual(result.code, 0, f"docker {' '.join(args)}: {result}")
        return result

    def fails(self, code, pattern, *args, **options):
        result = docker(*args, **options)
        self.assertEqual(result.code, code, f"docker {' '.join(args)}: {result}")
        self.assertRegex(result.err, pattern)
        return result

    def inspect(self, name, kind="container"):
        return json.loads(self.ok(kind, "inspect", name).out)[0]

    def eventually(self, check, timeout=10):
        deadline = time.monotonic() + timeout
        while True:
            try:
                value = check()
                if value:
                    return value
            except (AssertionError, IndexError, KeyError):
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                self.fail("it did not come to be in time")
            time.sleep(0.02)
