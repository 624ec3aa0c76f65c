"""The resolver's rows of `make bench`: a container's name and a forwarded one, asked at a fixed rate from a container on a network of
a user's, of skiff and docker in turns.

`asker.py` (below) runs in the container's network namespace and asks 127.0.0.11 one query after the other at fixed times, so that it
costs the same for both; the name server that is asked for other names is the bench's own, at an address of its namespace's loopback. A
row's CPU is what the engine's resolver used (all threads, /proc/PID/task/*/schedstat), the asker's and the name server's left out."""
import os, pathlib, statistics, subprocess, sys, time

NAMES = tuple(f"names.{kind}-{what}" for kind in ("own", "forwarded") for what in ("p99", "cpu"))
SERVER = "198.18.0.53"
RATE, QUERIES = 500, 2000

ASKER = '''
import socket, sys, time
name, rate, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect(("127.0.0.11", 53))
def query(number, name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return number.to_bytes(2, "big") + b"\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + labels + b"\\0\\0\\1\\0\\1"
clock, times, lost, begin = time.perf_counter, [], 0, time.perf_counter()
for number in range(count):
    while clock() < begin + number / rate: time.sleep(max(0, min(0.001, begin + number / rate - clock())))
    data = query(number, name)
    start = clock(); s.send(data)
    try:
        answer = s.recv(2000)
        while answer[:2] != data[:2]: answer = s.recv(2000)
        times.append(clock() - start)
        if answer[3] & 15 or not answer[7]: lost += 1
    except socket.timeout: lost += 1
times.sort()
print(times[len(times) * 99 // 100] * 1e6, times[len(times) // 2] * 1e6, lost)
'''

UPSTREAM = f'''
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("{SERVER}", 53))
while True:
    query, peer = s.recvfrom(2000); end = 12
    while query[end]: end += query[end] + 1
    s.sendto(query[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + query[12:end + 5] + b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0<\\0\\4\\x09\\x09\\x09\\x09", peer)
'''


def cpu(pid):
    """Nanoseconds on a processor, all threads."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            total += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


class Rows:
    def __init__(self, bench):
        self.bench = bench
        self.engines = {"skiff": bench.SKIFF, "docker": [str(bench.PEERS / "run"), "docker"]}

    def call(self, *words):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
        if done.returncode:
            self.bench.notes.append(f"names: {' '.join(map(str, words))[-160:]}: {done.stderr.strip()[-300:]}")
        return done.stdout.strip()

    def run(self):
        work = self.bench.WORK / "names"
        work.mkdir()
        (work / "asker.py").write_text(ASKER)
        (work / "upstream.py").write_text(UPSTREAM)
        self.asker = work / "asker.py"
        self.call("ip", "addr", "add", f"{SERVER}/32", "dev", "lo")
        upstream = subprocess.Popen([sys.executable, work / "upstream.py"], stdin=subprocess.DEVNULL)
        skiffd, _ = self.bench.start_skiffd()
        dockerd = int(self.bench.peer_dockerd())
        try:
            self.measure(dockerd)
        finally:
            for words in self.engines.values():
                subprocess.run([*words, "rm", "-f", "names-web", "names-client"], capture_output=True)
                subprocess.run([*words, "network", "rm", "names-net"], capture_output=True)
            for process in (upstream, skiffd):
                process.terminate()
                process.wait(15)
            os.kill(dockerd, 15)
            self.call("ip", "addr", "del", f"{SERVER}/32", "dev", "lo")

    def measure(self, dockerd):
        archive = self.bench.WORK / "names/image.tar"
        root = self.bench.WORK / "names/root"
        (root / "bin").mkdir(parents=True)
        for folder in ("proc", "sys", "dev", "etc", "tmp"):
            (root / folder).mkdir()
        subprocess.run(["cp", "/bin/busybox", root / "bin/busybox"], check=True)
        os.symlink("busybox", root / "bin/sleep")
        self.call("tar", "-C", root, "-cf", archive, ".")
        clients, servers = {}, {}
        for engine, words in self.engines.items():
            self.call(*words, "import", archive, "bench:names")
            self.call(*words, "network", "create", "names-net")
            for name in ("web", "client"):
                self.call(*words, "run", "-d", "--name", f"names-{name}", "--network", "names-net", "--dns", SERVER, "bench:names",
                          "/bin/sleep", "100000")
            pid = self.call(*words, "inspect", "-f", "{{.State.Pid}}", "names-client")
            if pid.isdigit() and int(pid):
                clients[engine] = int(pid)
        servers["docker"] = dockerd
        servers["skiff"] = next(iter(self.bench.pids_of(
            lambda words: words[1:2] == ["names"] and any(str(self.bench.WORK) in word for word in words))), None)
        clients = {engine: pid for engine, pid in clients.items() if servers.get(engine)}
        for kind, name in (("own", "names-web"), ("forwarded", "www.example.org")):
            late, used = {engine: [] for engine in clients}, {engine: [] for engine in clients}
            for turn in range(self.bench.ROUNDS + 1):
                for engine, client in clients.items():
                    before = cpu(servers[engine])
                    answer = self.call("nsenter", "-t", client, "-n", sys.executable, self.asker, name, RATE, QUERIES).split()
                    after = cpu(servers[engine])
                    if len(answer) != 3 or answer[2] != "0":
                        self.bench.notes.append(f"names: {engine}: {name}: {answer}")
                    if turn and len(answer) == 3:
                        late[engine].append(float(answer[0]))
                        used[engine].append((after - before) / 1e6 / QUERIES * 1000)
            what = "a container's name" if kind == "own" else "a forwarded name"
            self.bench.row(f"names.{kind}-p99", f"{what} at {RATE} queries a second, 99th percentile", "us", 0.5, "docker", late)
            self.bench.row(f"names.{kind}-cpu", f"{what}: CPU for 1,000 queries", "ms", 0.2, "docker", used)
