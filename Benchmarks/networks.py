"""The networks' rows of `make bench`: what a bridge adds to `run --rm`, throughput, connections per second, many networks at once.

The host is the bench's own network namespace; outside is another one, with a veth pair between them. iperf3 and wrk run outside or, by
nsenter, in a container's network; iperf3 and nginx serve from containers. docker is measured with and without its proxy: it is started
twice. `direct` is the same over the bench's own veth pairs and bridge, without any engine."""
import json, os, pathlib, re, shutil, signal, subprocess, time

NAMES = ("networks.share", *(f"networks.throughput-{way}-{streams}" for streams in (1, 8) for way in ("c2c", "c2h", "published")),
         *(f"networks.connections-{place}{proxy}" for place in ("outside", "local") for proxy in ("", "-proxy")),
         "networks.many-create", "networks.many-remove", "networks.many-full-create", "networks.many-full-remove")
HOST, OUTSIDE = "198.51.100.1", "198.51.100.2"
IPERF, WEB, PLAIN_IPERF, PLAIN_WEB = 5201, 8080, 5300, 8099
OFFSETS = {"skiff": 0, "docker": 1, "podman": 2}
POOLS = "--default-address-pool base=10.96.0.0/11,size=24"
NGINX = """daemon off; user root; worker_processes 1; pid /tmp/nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; keepalive_timeout 0; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;
uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s; server { listen PORT backlog=4096; location / { return 200 "ok\\n"; } } }
"""


def write(path, text):
    pathlib.Path(path).write_text(text)


def root_with_servers(root):
    """A tree with busybox, iperf3 and nginx, and the libraries that they ask for."""
    for folder in ("bin", "proc", "sys", "dev", "etc", "tmp", "run", "var/log/nginx", "var/lib/nginx"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("sh", "sleep", "true"):
        os.symlink("busybox", root / "bin" / name)
    for program in ("iperf3", "nginx"):
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not path:
            raise RuntimeError(f"no {program}: Scripts/install-dependencies.sh bench")
        shutil.copy(path, root / "bin" / program)
        for library in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", path], capture_output=True, text=True).stdout):
            place = root / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    write(root / "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    write(root / "etc/group", "root:x:0:\n")
    write(root / "etc/nginx.conf", NGINX.replace("PORT", "80"))


class Rows:
    """`bench`: the module of bench.py; `skiff`: the client's words; `outside`, `inside`: its timers."""

    def __init__(self, bench, outside, inside):
        self.bench, self.notes, self.timers = bench, bench.notes, {"skiff": outside, "docker": inside, "podman": inside}
        self.engines = {"skiff": bench.SKIFF, "docker": [str(bench.PEERS / "run"), "docker"], "podman": [str(bench.PEERS / "run"), "podman"]}
        self.words = {"skiff": bench.SKIFF, "docker": ["docker"], "podman": ["podman"]}
        self.work = bench.WORK / "networks"
        self.started, self.pids = [], {}
        self.rounds = max(3, bench.ROUNDS // 2)

    def run(self):
        wanted = lambda *kinds: any(self.bench.wanted(name) for name in NAMES if name.startswith(kinds))
        self.work.mkdir()
        skiffd = dockerd = None
        try:
            self.stage()
            skiffd, _ = self.bench.start_skiffd()
            dockerd = self.docker()
            self.images()
            if wanted("networks.share"):
                self.share()
            if wanted("networks.connections"):
                self.serve("docker", "podman", "skiff")
                self.connections("docker's proxy on", "-proxy")
                self.clear()
            if wanted("networks.many"):
                self.many()
            if wanted("networks.throughput", "networks.connections"):
                self.stop(dockerd)
                dockerd = self.docker("--userland-proxy=false")
                self.serve("docker", "podman", "skiff")
                if wanted("networks.throughput"):
                    self.throughput()
                if wanted("networks.connections"):
                    self.connections("docker's proxy off", "")
        finally:
            self.clear()
            for process in self.started:
                # nginx ends its workers, when it is asked
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if skiffd:
                skiffd.send_signal(signal.SIGTERM)
                try:
                    skiffd.wait(15)
                except subprocess.TimeoutExpired:
                    skiffd.kill()
            if dockerd:
                self.stop(dockerd)
            subprocess.run("ip link del lan0; ip link del plain", shell=True, capture_output=True)

    # The stage

    def call(self, *words, timeout=120):
        try:
            done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            done = subprocess.CompletedProcess(words, 124, "", f"no end after {timeout} s")
        if done.returncode:
            self.notes.append(f"{' '.join(map(str, words))[-160:]}: {done.stderr.strip()[-300:]}")
        return done

    def space(self):
        """The pid of a process that only holds a network namespace."""
        process = subprocess.Popen(["unshare", "--net", "sleep", "100000"], stdin=subprocess.DEVNULL)
        self.started.append(process)
        own = os.readlink("/proc/self/ns/net")
        for _ in range(500):
            if os.readlink(f"/proc/{process.pid}/ns/net") != own:
                return process.pid
            time.sleep(0.01)
        raise RuntimeError("unshare --net makes no namespace")

    def start(self, *words, log="server"):
        handle = open(self.work / f"{log}.log", "ab")
        self.started.append(subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=handle, stderr=handle))

    def stage(self):
        self.outside = self.space()
        left, right = self.space(), self.space()
        enter = lambda pid, *words: self.call("nsenter", "-t", pid, "-n", *words)
        self.call("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", self.outside)
        self.call("ip", "addr", "add", HOST + "/24", "dev", "lan0")
        self.call("ip", "link", "set", "lan0", "up")
        for words in ("link set lo up", "link set eth0 up", f"addr add {OUTSIDE}/24 dev eth0", f"route add default via {HOST}"):
            enter(self.outside, "ip", *words.split())
        # A bridge with two ends, as any engine makes it: what containers are compared with.
        self.call("ip", "link", "add", "plain", "type", "bridge")
        self.call("ip", "link", "set", "plain", "up")
        for number, pid in ((1, left), (2, right)):
            self.call("ip", "link", "add", f"plain{number}", "master", "plain", "type", "veth", "peer", "name", "eth0", "netns", pid)
            self.call("ip", "link", "set", f"plain{number}", "up")
            for words in ("link set lo up", "link set eth0 up", f"addr add 192.0.2.{number}/24 dev eth0"):
                enter(pid, "ip", *words.split())
        self.plain = left
        self.start("nsenter", "-t", right, "-n", "iperf3", "-s", "-p", str(PLAIN_IPERF))
        self.start("iperf3", "-s", "-p", str(PLAIN_IPERF))
        conf = self.work / "nginx.conf"
        write(conf, NGINX.replace("PORT", str(PLAIN_WEB)).replace("/tmp/", f"{self.work}/"))
        self.start(shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-c", conf, log="nginx")
        # Ports of closed connections are free again soon, for all alike: else a run depends on how many the one before made.
        write("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")
        for pid in (None, self.outside):
            prefix = ["nsenter", "-t", pid, "-n"] if pid else []
            self.call(*prefix, "sh", "-c", "echo 10240 65000 >/proc/sys/net/ipv4/ip_local_port_range")

    def docker(self, flags=""):
        answer = self.bench.run(self.bench.PEERS / "dockerd", env=dict(os.environ, DOCKERD_ARGS=f"{POOLS} {flags}"))
        if answer.returncode:
            raise RuntimeError(f"dockerd does not start: {answer.stderr}")
        return int(answer.stdout.strip())

    def stop(self, dockerd):
        self.bench.peer("sh", "-c", "docker rm -f $(docker ps -aq)")
        try:
            os.kill(dockerd, signal.SIGTERM)
        except ProcessLookupError:
            return
        for _ in range(200):
            if not os.path.exists(f"/proc/{dockerd}"):
                return
            time.sleep(0.1)
        os.kill(dockerd, signal.SIGKILL)

    def images(self):
        root, archive = self.work / "root", self.work / "image.tar"
        root_with_servers(root)
        self.call("tar", "-C", root, "-cf", archive, ".")
        for engine, words in self.engines.items():
            self.call(*words, "import", archive, "bench:net")

    def clear(self):
        for engine, words in self.engines.items():
            names = subprocess.run([*words, "ps", "-aq"], capture_output=True, text=True).stdout.split()
            if names:
                self.call(*words, "rm", "-f", *(["-t0"] if engine == "podman" else []), *names)
        self.pids = {}

    # The rows

    def share(self):
        """What `run --rm` on a bridge takes beyond `--network none`, round by round."""
        measured = {engine: [] for engine in self.engines}
        for turn in range(self.bench.ROUNDS + 1):
            for engine, words in self.words.items():
                times = {}
                for kind, flags in (("bridge", []), ("none", ["--network", "none"])):
                    answer = self.timers[engine].ask(runs=4, command=words + ["run", "--rm"] + flags + ["bench:net", "/bin/true"])
                    if answer["failed"]:
                        self.notes.append(f"networks.share: {engine}: {answer['failed']} of 4 failed")
                    times[kind] = sorted(answer["times"])
                if turn:
                    middle = lambda values: (values[1] + values[2]) / 2
                    measured[engine].append(middle(times["bridge"]) - middle(times["none"]))
        self.bench.row("networks.share", "run --rm on a bridge beyond --network none", "ms", 5, "", measured)

    def serve(self, *engines):
        """A server and a client container of each engine."""
        for engine in engines:
            words, offset = self.engines[engine], OFFSETS[engine]
            self.call(*words, "run", "-d", "--name", "server", "-p", f"{IPERF + offset}:{IPERF}", "-p", f"{WEB + offset}:80", "bench:net",
                      "/bin/sh", "-c", "iperf3 -s >/dev/null & exec nginx -c /etc/nginx.conf")
            self.call(*words, "run", "-d", "--name", "client", "bench:net", "/bin/sleep", "100000")
            told = {}
            for name in ("server", "client"):
                answer = self.call(*words, "inspect", name)
                told[name] = json.loads(answer.stdout)[0] if answer.returncode == 0 else {}
            try:
                networks = told["server"]["NetworkSettings"]["Networks"]
                self.pids[engine] = (told["client"]["State"]["Pid"], next(iter(networks.values()))["IPAddress"])
            except (KeyError, StopIteration):
                self.notes.append(f"{engine}: no server to measure")
        time.sleep(0.5)

    def iperf(self, pid, address, port, streams):
        """Gbit/s that arrived, of one second after the first 0.3."""
        words = ["nsenter", "-t", pid, "-n", "iperf3", "-c", address, "-p", port, "-t", "1.5", "-O", "0.3", "-P", streams, "-J"]
        for _ in range(3):
            done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
            try:
                return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9
            except (KeyError, ValueError):
                time.sleep(0.3)  # the server still ends the one before
        self.notes.append(f"iperf3 to {address}:{port}: {done.stdout[-200:]}")
        return None

    def turns(self, plans):
        """plans: {engine: callable}; in turns, the first round warms up."""
        measured = {engine: [] for engine in plans}
        for turn in range(self.rounds + 1):
            for engine, action in plans.items():
                value = action()
                if turn and value is not None:
                    measured[engine].append(value)
        return {engine: values for engine, values in measured.items() if values}

    def throughput(self):
        for streams in (1, 8):
            plans = {engine: (lambda pid=pid, address=address: self.iperf(pid, address, IPERF, streams)) for engine, (pid, address) in self.pids.items()}
            plans["direct"] = lambda: self.iperf(self.plain, "192.0.2.2", PLAIN_IPERF, streams)
            self.faster(f"networks.throughput-c2c-{streams}", f"iperf3 container to container, {streams} streams", "Gbit/s", plans)
            plans = {engine: (lambda pid=pid: self.iperf(pid, HOST, PLAIN_IPERF, streams)) for engine, (pid, _) in self.pids.items()}
            plans["direct"] = lambda: self.iperf(self.outside, HOST, PLAIN_IPERF, streams)
            self.faster(f"networks.throughput-c2h-{streams}", f"iperf3 container to host, {streams} streams", "Gbit/s", plans)
            plans = {engine: (lambda port=IPERF + OFFSETS[engine]: self.iperf(self.outside, HOST, port, streams)) for engine in self.pids}
            plans["direct"] = lambda: self.iperf(self.outside, HOST, PLAIN_IPERF, streams)
            self.faster(f"networks.throughput-published-{streams}", f"iperf3 outside to published port, {streams} streams", "Gbit/s", plans)

    def faster(self, name, what, unit, plans):
        if self.bench.wanted(name):
            self.bench.row(name, what, unit, 1.0, "docker", self.turns(plans), more=True)

    def wrk(self, pid, address, port):
        """Requests per second, each over a connection of its own."""
        prefix = ["nsenter", "-t", str(pid), "-n"] if pid else []
        done = subprocess.run([*prefix, "wrk", "-t1", "-c32", "-d2s", "-H", "Connection: close", f"http://{address}:{port}/"],
                              capture_output=True, text=True, timeout=60)
        found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
        errors = re.search(r"Socket errors:.*|Non-2xx.*", done.stdout)
        # The server's closing is no error; wrk counts a read that the answer's end meets.
        if errors and not re.search(r"connect 0, read \d+, write 0, timeout 0", errors[0]):
            self.notes.append(f"wrk to {address}:{port}: {errors[0]}")
        if not found or float(found[1]) == 0:
            self.notes.append(f"wrk to {address}:{port}: {(done.stdout + done.stderr)[-200:]}")
            return None
        return float(found[1])

    def connections(self, what, suffix):
        for place, pid, address in (("outside", self.outside, HOST), ("local", None, "127.0.0.1")):
            plans = {engine: (lambda port=WEB + OFFSETS[engine]: self.wrk(pid, address, port)) for engine in self.pids}
            plans["direct"] = lambda: self.wrk(pid, address, PLAIN_WEB)
            self.faster(f"networks.connections-{place}{suffix}", f"wrk to nginx at a published port, {place}, {what}", "1/s", plans)

    def many(self):
        """Networks with five containers each: all made, all removed, by eight clients. docker's count is smaller, for it takes minutes."""
        count, full = int(os.environ.get("NETWORKS", "40")), int(os.environ.get("NETWORKS_FULL", "200"))
        measured = {}
        for engine in ("skiff", "docker"):
            measured[engine] = self.networks(engine, count)
            time.sleep(1)
        measured = {engine: values for engine, values in measured.items() if values}
        for index, verb in ((0, "create"), (1, "remove")):
            self.bench.row(f"networks.many-{verb}", f"{count} networks with 5 containers each: {verb} all", "s", 0.1, "docker",
                           {engine: [values[index]] for engine, values in measured.items()})
        if full > count:
            whole = self.networks("skiff", full)
            if whole and "docker" in measured:
                scale = full / count
                for index, verb in ((0, "create"), (1, "remove")):
                    self.bench.row(f"networks.many-full-{verb}", f"{full} networks with 5 containers each: {verb} all; docker's figure is that of {count}, "
                                   f"times {scale:g}", "s", 0.1, "docker", {"skiff": [whole[index]], "docker": [measured["docker"][index] * scale]})

    def networks(self, engine, count):
        """Seconds of (create, remove)."""
        timer, words = self.timers[engine], self.words[engine]
        networks = [f"many{number}" for number in range(count)]
        containers = [(f"{network}-{number}", network) for network in networks for number in range(5)]
        made = timer.ask(commands=[words + ["network", "create", name] for name in networks], clients=8)
        started = timer.ask(commands=[words + ["run", "-d", "--name", name, "--network", network, "bench:net", "/bin/sleep", "100000"]
                                      for name, network in containers], clients=8)
        removed = timer.ask(runs=1, command=words + ["rm", "-f"] + [name for name, _ in containers])
        gone = timer.ask(runs=1, command=words + ["network", "rm"] + networks)
        for what, answer in (("network create", made), ("run", started), ("rm", removed), ("network rm", gone)):
            if answer["failed"]:
                self.notes.append(f"networks.many: {engine}: {what}: {answer['failed']} failed")
        if any(answer["failed"] for answer in (made, started, removed, gone)):
            self.clear()
            return None
        return (made["times"][0] + started["times"][0]) / 1000, (removed["times"][0] + gone["times"][0]) / 1000
