"""An engine, clients and registries for the scripts beside this file, in namespaces of their own.

The scripts take the folder with skiff, skiffd and skiff-runtime; they need root, busybox and openssl. Addresses of 198.51.100.0/24
(RFC 5737) are on loopback in here: registries at them are hosts like any other to the engine, unlike those at 127.0.0.1.
"""
import atexit, concurrent.futures, json, os, re, shutil, signal, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../Support"))
import faulty_registry, made_images

OURS, OTHER, THIRD = "198.51.100.1", "198.51.100.2", "198.51.100.3"
INSECURE = ["--insecure-registry", OURS, "--insecure-registry", OTHER]
failures, started = [], time.monotonic()


def check(name, good, detail=""):
    if not good:
        failures.append(name)
    if not good or os.environ.get("VERBOSE"):
        print(("ok   " if good else "FAIL ") + name + ("" if good else f": {str(detail)[:6000]}"), flush=True)


def finish():
    for name in failures:
        print("failed: " + name)
    print(f"{'FAILED' if failures else 'passed'} in {time.monotonic() - started:.1f} s", flush=True)
    sys.exit(1 if failures else 0)


def enter():
    """Starts the script anew in namespaces of its own."""
    if not os.environ.get("SKIFF_IN_NAMESPACE"):
        os.environ["SKIFF_IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", "--propagation", "private", sys.executable] + sys.argv)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (OURS, OTHER, THIRD):
        subprocess.run(["ip", "addr", "add", address + "/32", "dev", "lo"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    # a folder of certificates of our own in /etc
    os.makedirs("/run/etc/upper/skiff/certs.d")
    os.makedirs("/run/etc/work")
    subprocess.run(["mount", "-t", "overlay", "-o", "lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work", "overlay", "/etc"], check=True)


def trust(registry):
    """The engine trusts that registry's certificate from now on."""
    folder = "/etc/skiff/certs.d/" + registry.name
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(registry.tls, "ca.crt"), folder)


def eventually(condition, timeout=10):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    return condition()


def together(width, jobs):
    """Runs callables on threads and answers what they answered."""
    with concurrent.futures.ThreadPoolExecutor(width) as pool:
        return [job.result() for job in [pool.submit(job) for job in jobs]]


class Done:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def __repr__(self):
        return f"exit {self.code} in {self.seconds:.1f} s: {self.err.strip()[:600]!r} {self.out[-200:]!r}"

    @property
    def is_one_line(self):
        """What a person is told: one line without control characters, not a page."""
        text = self.err.strip("\n")
        return self.code != 0 and text and "\n" not in text and len(text) < 1200 and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)


class Engine:
    """skiffd with folders of its own; `flags` are added to its command line."""

    def __init__(self, binaries, flags=(), data=None):
        self.binaries, self.flags = os.path.abspath(binaries), list(flags)
        self.scratch = tempfile.mkdtemp(prefix="skiff-faults-", dir=os.environ.get("SKIFF_TEST_SCRATCH", "/tmp"))
        os.chmod(self.scratch, 0o755)
        self.data = data or self.scratch + "/data"
        self.runs = tempfile.mkdtemp(prefix="skiff-faults-", dir="/run")
        self.socket, self.log = self.runs + "/skiff.sock", self.scratch + "/skiffd.log"
        self.cgroup = os.environ.get("SKIFF_TEST_CGROUP", "") + f"/skiff-faults-{os.getpid()}"
        self.config = self.scratch + "/docker"
        os.makedirs(self.config)
        self.environment = dict(os.environ, DOCKER_HOST="unix://" + self.socket, DOCKER_CONFIG=self.config, TERM="dumb", HOME=self.scratch)
        for name in ("DOCKER_CONTEXT", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            self.environment.pop(name, None)
        self.process = None
        atexit.register(lambda: self.alive and self.process.kill())

    def start(self, crash_at=None):
        environment = dict(self.environment)
        if crash_at:
            environment["SKIFFD_CRASH_AT"] = crash_at
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.binaries + "/skiffd", "--data-root", self.data, "--exec-root", self.runs, "--cgroup-parent", self.cgroup, *self.flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        answers = eventually(lambda: self.process.poll() is not None or self.skiff("version").code == 0, 30)
        # What an engine before it left undone may lead it to that place while it starts.
        died = self.process.poll() is not None and not crash_at
        if not answers or died:
            raise SystemExit("skiffd does not answer: " + self.tail())
        return self

    def tail(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-15:])

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self, number=signal.SIGKILL):
        if self.alive:
            self.process.send_signal(number)
        self.process.wait(20)

    def popen(self, *words, **options):
        """The client; `SKIFF_TEST_CLIENT=docker` transfers images with docker's."""
        program = os.environ.get("SKIFF_TEST_CLIENT", "skiff") if words[0] in ("pull", "push") else "skiff"
        start = [program if program == "docker" else self.binaries + "/skiff", "-H", "unix://" + self.socket]
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([*start, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment, **options)

    def skiff(self, *words, timeout=60, input=None):
        begun = time.monotonic()
        process = self.popen(*words, **({"stdin": subprocess.PIPE} if input else {}))
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += f"\nkilled after {timeout} s".encode()
        return Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"), time.monotonic() - begun)

    def pull(self, name, *flags, timeout=60):
        return self.skiff("pull", *flags, name, timeout=timeout)

    def push(self, name, *flags, timeout=60):
        return self.skiff("push", *flags, name, timeout=timeout)

    def login(self, registry, user="u", password="secret"):
        """Puts a credential where clients keep it."""
        import base64
        path = self.config + "/config.json"
        held = json.load(open(path)) if os.path.exists(path) else {"auths": {}}
        if user is None:
            held["auths"].pop(registry.name, None)
        else:
            held["auths"][registry.name] = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        with open(path, "w") as file:
            json.dump(held, file)

    def marker(self, name):
        """What /etc/marker says in a container of an image: that it runs."""
        done = self.skiff("run", "--rm", "--network", "none", name, "cat", "/etc/marker")
        return done.out.strip() if done.code == 0 else repr(done)

    # What it uses and leaves

    def peak(self):
        """MiB of memory that the engine had at most since `forget_peak`."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) / 1024

    def forget_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as file:
            file.write("5")

    def sockets(self):
        """Open sockets of the engine."""
        folder, count = f"/proc/{self.process.pid}/fd", 0
        for name in os.listdir(folder):
            try:
                count += os.readlink(folder + "/" + name).startswith("socket:")
            except FileNotFoundError:
                pass
        return count

    def partials(self):
        """Partly received contents: name -> bytes."""
        folder = self.data + "/blobs/partial"
        return {name: os.path.getsize(folder + "/" + name) for name in (os.listdir(folder) if os.path.isdir(folder) else ())}

    def workshops(self):
        folder = self.data + "/tmp"
        return os.listdir(folder) if os.path.isdir(folder) else []

    def images(self):
        return set(self.skiff("images", "-a", "--format", "{{.Repository}}:{{.Tag}}").out.split())

    def check_store(self, name):
        """The engine itself finds everything sound and accounted for."""
        done = self.skiff("system", "check", "--format", "json")
        if "is not a docker command" in done.err or "unknown command" in done.err:
            return
        sound = False
        try:
            sound = json.loads(done.out)["sound"] is True
        except (ValueError, KeyError):
            pass
        check(name + ": the store is sound", done.code == 0 and sound, done.out + done.err)
        self.check_accounts(name)

    def check_accounts(self, name):
        import http.client, socket as sockets

        class Connection(http.client.HTTPConnection):
            def connect(inner):
                inner.sock = sockets.socket(sockets.AF_UNIX)
                inner.sock.connect(self.socket)
        connection = Connection("engine")
        connection.request("GET", "/system/df")
        usage = json.loads(connection.getresponse().read())
        connection.close()
        found = [value["Unaccounted"] for value in [usage, *usage.values()] if isinstance(value, dict) and "Unaccounted" in value]
        check(name + ": nothing is unaccounted", not any(found), found)

    def end(self):
        if self.alive:
            names = self.skiff("ps", "-aq").out.split()
            if names:
                self.skiff("rm", "-f", *names)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                check("the engine ends when it is told to", False, self.tail())
                self.process.kill()
                self.process.wait()
        for base in ["", *os.listdir("/sys/fs/cgroup")]:
            for path, _, _ in os.walk(f"/sys/fs/cgroup/{base}{self.cgroup}", topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass
        if os.environ.get("KEEP"):
            print("kept: " + self.scratch)
        else:
            shutil.rmtree(self.scratch, ignore_errors=True)
