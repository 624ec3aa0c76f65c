"""The images' rows of `make bench`: pull, push, load, save, import, commit, memory while pulling, our registry against docker-registry.

The image is the same for all: a Debian base and a layer of 20 MB that nothing compresses. It is put into docker-registry by plain HTTP
requests, so that neither engine has a part in how it looks."""
import gzip, hashlib, http.client, json, os, pathlib, shutil, signal, subprocess, threading, time

NAMES = ("images.pull", "images.push", "images.push-unpacked", "images.load", "images.save", "images.import", "images.commit", "images.pull-memory",
         "registry.serve")
PORT, OUR_PORT = 5971, 5972
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def file_digest(path):
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


class Registry:
    """A registry on loopback; `wipe` starts it again with nothing in it."""

    def __init__(self, bench, kind, folder, port):
        self.bench, self.kind, self.folder, self.port, self.pid = bench, kind, folder, port, None

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.kind == "docker-registry":
            settings = self.folder.parent / f"{self.folder.name}.yml"
            settings.write_text("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                                f"storage: {{filesystem: {{rootdirectory: {self.folder}}}, delete: {{enabled: true}}}}\n"
                                f"http: {{addr: '127.0.0.1:{self.port}', secret: bench}}\n")
            command = [str(self.bench.PEERS / "run"), "docker-registry", "serve", str(settings)]
        else:
            command = [str(self.bench.BIN / "skiff"), "registry", "serve", "--listen", f"127.0.0.1:{self.port}", "--root", str(self.folder)]
        log = open(self.folder.parent / f"{self.folder.name}.log", "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.time() + 15
        while True:
            try:
                probe = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                probe.request("GET", "/v2/")
                if probe.getresponse().status == 200:
                    return self
            except OSError:
                pass
            if time.time() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{self.kind} does not start: {pathlib.Path(log.name).read_text()[-500:]}")
            time.sleep(0.02)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wipe(self):
        self.stop()
        shutil.rmtree(self.folder)
        self.start()

    def cpu(self):
        """Seconds of CPU so far."""
        text = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")

    def request(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{self.kind}: {method} {path}: {answer.status} {content[:300]}")
        return answer.headers, content

    def blob(self, name, path):
        place = self.request("POST", f"/v2/{name}/blobs/uploads/", headers={"Content-Length": "0"})[0]["Location"]
        place = place.replace(f"http://127.0.0.1:{self.port}", "")
        mark = "&" if "?" in place else "?"
        with open(path, "rb") as file:
            self.request("PUT", f"{place}{mark}digest={file_digest(path)}", file,
                         {"Content-Length": str(os.path.getsize(path)), "Content-Type": "application/octet-stream"})

    def image(self, name, tag, layers, work):
        """layers: (compressed file, digest of the tar)."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"], "Env": ["PATH=/usr/bin:/bin"]},
                             "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]},
                             "history": [{"created_by": "bench"} for _ in layers]}).encode()
        file = work / "config.json.blob"
        file.write_bytes(config)
        self.blob(name, file)
        for path, _ in layers:
            self.blob(name, path)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST,
                    "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest(config), "size": len(config)},
                    "layers": [{"mediaType": LAYER, "digest": file_digest(path), "size": os.path.getsize(path)} for path, _ in layers]}
        self.request("PUT", f"/v2/{name}/manifests/{tag}", json.dumps(manifest).encode(), {"Content-Type": MANIFEST})


def base_layers(bench):
    """The Debian base that peers.sh made and 20 MB of noise: [(gzip file, digest of the tar)], and the base's tar."""
    cache = bench.SHARED / "images"
    cache.mkdir(exist_ok=True)
    base = cache / "base.tar"
    noise = cache / "noise.tar"
    if not noise.exists():
        folder = cache / "noise"
        (folder / "opt").mkdir(parents=True, exist_ok=True)
        (folder / "opt/noise").write_bytes(os.urandom(20 << 20))
        subprocess.run(["tar", "-C", str(folder), "-cf", str(noise), "opt"], check=True)
    layers = []
    for tar in (base, noise):
        packed = tar.with_suffix(".tar.gz")
        if not packed.exists():
            with open(tar, "rb") as source, gzip.open(f"{packed}.new", "wb", compresslevel=6) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            os.rename(f"{packed}.new", packed)
        layers.append((packed, file_digest(tar)))
    return layers, base


def timed(command, notes):
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    elapsed = time.perf_counter() - start
    if done.returncode:
        notes.append(f"{' '.join(map(str, command))[-160:]}: {done.stderr.strip()[-300:]}")
        return None
    return elapsed


class Rows:
    def __init__(self, bench, skiff, docker, podman, skiffd_pid, dockerd_pids):
        self.bench, self.notes = bench, bench.notes
        self.engines = {"skiff": skiff, "docker": docker, "podman": podman}
        self.skiffd_pid, self.dockerd_pids = skiffd_pid, dockerd_pids
        self.work = bench.WORK / "images"
        self.work.mkdir()
        self.rounds = max(3, bench.ROUNDS // 2)

    def measure(self, action, prepare, engines, rounds=None):
        """action and prepare: engine's command prefix -> command(s); answers {engine: [seconds]}. The first round warms up."""
        measured = {engine: [] for engine in engines}
        for turn in range((rounds or self.rounds) + 1):
            for engine in engines:
                prefix = self.engines[engine]
                for command in prepare(engine, prefix):
                    subprocess.run([str(word) for word in command], capture_output=True)
                subprocess.run(["sync"])
                elapsed = timed(action(engine, prefix), self.notes)
                if turn and elapsed is not None:
                    measured[engine].append(elapsed)
        return {engine: values for engine, values in measured.items() if values}

    def run(self):
        bench, wanted = self.bench, self.bench.wanted
        layers, base = base_layers(bench)
        theirs = Registry(bench, "docker-registry", self.work / "theirs", PORT).start()
        try:
            name = f"127.0.0.1:{PORT}/bench/debian:1"
            theirs.image("bench/debian", "1", layers, self.work)
            self.forget = lambda engine, prefix: [prefix + ["rmi", "-f", name]]
            tls = lambda engine: ["--tls-verify=false"] if engine == "podman" else []
            if wanted("images.pull"):
                bench.row("images.pull", "cold pull of the Debian image, to runnable", "s", 0.3, "docker", self.measure(
                    lambda engine, prefix: prefix + ["pull", "-q"] + tls(engine) + [name], self.forget, ("skiff", "docker", "podman")))
            for engine, prefix in self.engines.items():
                timed(prefix + ["pull", "-q"] + tls(engine) + [name], self.notes)
                if timed(prefix + ["run", "--rm", "--network", "none", name, "/bin/true"], self.notes) is None:
                    self.notes.append(f"{engine}: the pulled image does not run")
            self.push(name, tls)
            self.archives(name, base)
            self.commit(name)
            if wanted("images.pull-memory"):
                self.memory(theirs)
            if wanted("registry.serve"):
                self.serve(theirs, layers)
        finally:
            theirs.stop()
            shutil.rmtree(self.work, ignore_errors=True)

    def push(self, name, tls):
        bench, wanted = self.bench, self.bench.wanted
        if not (wanted("images.push") or wanted("images.push-unpacked")):
            return
        empty = Registry(bench, "docker-registry", self.work / "empty", PORT + 2).start()
        try:
            target = f"127.0.0.1:{PORT + 2}/bench/debian:1"

            def prepare(engine, prefix):
                empty.wipe()
                return []
            engines = ("skiff", "docker", "podman")
            for engine in engines:
                timed(self.engines[engine] + ["tag", name, target], self.notes)
            if wanted("images.push"):
                bench.row("images.push", "push of the pulled image to an empty registry", "s", 0.1, "docker", self.measure(
                    lambda engine, prefix: prefix + ["push", "-q"] + tls(engine) + [target], prepare, engines))
            for engine in engines:
                timed(self.engines[engine] + ["rmi", target], self.notes)
            if wanted("images.push-unpacked"):
                # imported anew for each round, so that no compressed form is there to begin with
                # and not the pulled image's layer, whose compressed form is kept
                tar = self.work / "fresh.tar"
                shutil.copy(bench.SHARED / "images/base.tar", tar)
                (self.work / "only-here").write_text(str(os.getpid()))
                subprocess.run(["tar", "-C", str(self.work), "-rf", str(tar), "only-here"], check=True)
                fresh = f"127.0.0.1:{PORT + 2}/bench/fresh:1"

                def anew(engine, prefix):
                    empty.wipe()
                    return [prefix + ["rmi", "-f", fresh], prefix + ["import", tar, fresh]]
                bench.row("images.push-unpacked", "push of an imported tree: compression included", "s", 0.1, "docker", self.measure(
                    lambda engine, prefix: prefix + ["push", "-q"] + tls(engine) + [fresh], anew, engines, rounds=3))
                for engine in engines:
                    timed(self.engines[engine] + ["rmi", "-f", fresh], self.notes)
        finally:
            empty.stop()

    def archives(self, name, base):
        bench, wanted = self.bench, self.bench.wanted
        engines = ("skiff", "docker")
        if wanted("images.save"):
            bench.row("images.save", "save of the Debian image", "s", 0.33, "docker", self.measure(
                lambda engine, prefix: prefix + ["save", "-o", self.work / f"{engine}-saved.tar", name],
                lambda engine, prefix: [["rm", "-f", self.work / f"{engine}-saved.tar"]], engines))
        if wanted("images.load"):
            archive = self.work / "loaded.tar"
            timed(self.engines["docker"] + ["save", "-o", archive, name], self.notes)
            bench.row("images.load", "load of the Debian image, as docker saved it", "s", 0.33, "docker", self.measure(
                lambda engine, prefix: prefix + ["load", "-q", "-i", archive], self.forget, engines))
        if wanted("images.import"):
            bench.row("images.import", "import of the base's tar", "s", 0.33, "docker", self.measure(
                lambda engine, prefix: prefix + ["import", base, "bench:imported"],
                lambda engine, prefix: [prefix + ["rmi", "-f", "bench:imported"]], engines))
            for engine in engines:
                timed(self.engines[engine] + ["rmi", "-f", "bench:imported"], self.notes)

    def commit(self, name):
        if not self.bench.wanted("images.commit"):
            return
        engines = ("skiff", "docker")
        change = "for i in $(seq 1 1000); do echo content $i >/var/tmp/file-$i; done; sleep 1000"
        for engine in engines:
            timed(self.engines[engine] + ["run", "-d", "--network", "none", "--name", "changed", name, "/bin/sh", "-c", change], self.notes)
        time.sleep(5)
        self.bench.row("images.commit", "commit of a container with 1,000 changed files", "s", 0.33, "docker", self.measure(
            lambda engine, prefix: prefix + ["commit", "changed", "bench:committed"],
            lambda engine, prefix: [prefix + ["rmi", "-f", "bench:committed"]], engines))
        for engine in engines:
            timed(self.engines[engine] + ["rm", "-f", "changed"], self.notes)
            timed(self.engines[engine] + ["rmi", "-f", "bench:committed"], self.notes)

    def memory(self, theirs):
        """Peak of the engine's memory while it pulls 2 GB in four layers that nothing compresses."""
        layers = []
        for number in range(4):
            folder = self.work / f"big-{number}"
            folder.mkdir()
            with open(folder / f"noise-{number}", "wb") as file:
                for _ in range(512):
                    file.write(os.urandom(1 << 20))
            tar = self.work / f"big-{number}.tar"
            subprocess.run(["tar", "-C", str(folder), "-cf", str(tar), "."], check=True)
            shutil.rmtree(folder)
            diff = file_digest(tar)
            with open(tar, "rb") as source, gzip.open(f"{tar}.gz", "wb", compresslevel=1) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            tar.unlink()
            layers.append((pathlib.Path(f"{tar}.gz"), diff))
        theirs.image("bench/big", "1", layers, self.work)
        for path, _ in layers:
            path.unlink()
        name = f"127.0.0.1:{PORT}/bench/big:1"
        peaks = {}
        for engine, pids in (("skiff", [self.skiffd_pid]), ("docker", self.dockerd_pids)):
            highest, running = [0], [True]

            def watch():
                while running[0]:
                    highest[0] = max(highest[0], sum(self.bench.status_kb(pid, "VmRSS:") for pid in pids))
                    time.sleep(0.02)
            thread = threading.Thread(target=watch)
            thread.start()
            if timed(self.engines[engine] + ["pull", "-q", name], self.notes) is not None:
                peaks[engine] = [highest[0] / 1000]
            running[0] = False
            thread.join()
            timed(self.engines[engine] + ["rmi", "-f", name], self.notes)
        self.bench.row("images.pull-memory", "engine's peak memory while pulling 2 GB", "MB", 64, "", peaks)

    def serve(self, theirs, layers):
        """Eight clients fetch the base's blob again and again: CPU seconds of the server per GB, and bytes per second."""
        ours = Registry(self.bench, "skiff", self.work / "ours", OUR_PORT).start()
        try:
            ours.image("bench/debian", "1", layers, self.work)
            size, blob = os.path.getsize(layers[0][0]), file_digest(layers[0][0])
            cpu, speed = {"skiff": [], "docker-registry": []}, {"skiff": [], "docker-registry": []}
            for _ in range(self.rounds):
                for server in (ours, theirs):
                    before, start = server.cpu(), time.perf_counter()
                    url = f"http://127.0.0.1:{server.port}/v2/bench/debian/blobs/{blob}"
                    clients = [subprocess.Popen(["curl", "-sf"] + [word for _ in range(6) for word in ("-o", "/dev/null", url)]) for _ in range(8)]
                    if any(client.wait() for client in clients):
                        self.notes.append(f"{server.kind}: a client failed")
                    elapsed, gigabytes = time.perf_counter() - start, 8 * 6 * size / 1e9
                    cpu[server.kind].append((server.cpu() - before) / gigabytes)
                    speed[server.kind].append(gigabytes * 1000 / elapsed)
            self.bench.row("registry.serve-cpu", "our registry: CPU seconds per GB, 8 clients", "s/GB", 0.5, "docker-registry", cpu)
            inverse = {kind: [1000 / value for value in values] for kind, values in speed.items()}
            self.bench.row("registry.serve-time", "our registry: seconds per GB, 8 clients", "s/GB", 1.0, "docker-registry", inverse)
        finally:
            ours.stop()
