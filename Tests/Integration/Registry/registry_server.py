"""skiff registry serve as its clients see it: registry_server.py BINARIES PART…  Prints what is wrong; exit status 1 then.

Everything happens on loopback and in a scratch folder of its own. Parts: clients, tls, mirror, limits, storm. REGISTRY_SECONDS (12) lengthens the storm.
"""
import hashlib, http.client, http.server, json, os, pathlib, random, re, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time

BINARIES = pathlib.Path(sys.argv[1])
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="skiff-registry.", dir=os.environ.get("SKIFF_TEST_SCRATCH", "/tmp")))
wrong = []


def expect(condition, words):
    if not condition:
        wrong.append(words)
        print("WRONG:", words, flush=True)


def sha(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Server:
    running = []

    def __init__(self, name, *flags):
        self.root, self.flags, self.log = SCRATCH / name, flags, SCRATCH / f"{name}.log"
        self.start()

    def start(self):
        out = open(self.log, "ab")
        at = out.tell()
        self.process = subprocess.Popen([str(BINARIES / "skiffd"), "registry", "serve", "--listen", "127.0.0.1:0", "--root", str(self.root), *self.flags],
                                        stdin=subprocess.DEVNULL, stderr=out, stdout=out)
        Server.running.append(self.process)
        deadline = time.time() + 20
        while time.time() < deadline and self.process.poll() is None:
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log.read_text()[at:])
            if found:
                self.port = int(found[1])
                return
            time.sleep(0.02)
        raise RuntimeError(f"the registry does not start: {self.log.read_text()[-500:]}")

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(20)

    def ask(self, method, path, body=None, headers={}, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def blob(self, name, content):
        return self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={sha(content)}", content)[0]

    def check(self):
        return subprocess.run([str(BINARIES / "skiffd"), "registry", "check", "--root", str(self.root)], capture_output=True, text=True)


def manifest(config, *layers):
    def entry(content, kind):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": sha(content), "size": len(content)}
    return json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": entry(config, "config.v1+json"),
                       "layers": [entry(layer, "layer.v1.tar+gzip") for layer in layers]}).encode()


TYPE = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}


def layout(folder):
    """An image as an OCI layout for skopeo."""
    folder.mkdir(parents=True)
    (folder / "blobs/sha256").mkdir(parents=True)
    import gzip, io, tarfile
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as writer:
        info = tarfile.TarInfo("random")
        info.size = 3 << 20
        writer.addfile(info, io.BytesIO(os.urandom(info.size)))
    layer = gzip.compress(tar.getvalue(), 1)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [sha(tar.getvalue())]}}).encode()
    content = manifest(config, layer)
    for part in (layer, config, content):
        (folder / "blobs/sha256" / sha(part)[7:]).write_bytes(part)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": TYPE["Content-Type"], "digest": sha(content), "size": len(content), "annotations": {"org.opencontainers.image.ref.name": "x"}}]}))


def skopeo(*words):
    return subprocess.run(["skopeo", *words], capture_output=True, text=True, timeout=60)


def users(name="users"):
    path = SCRATCH / name
    subprocess.run(["htpasswd", "-Bbc", str(path), "alice", "secret"], check=True, capture_output=True)
    return path


def clients():
    """skopeo pushes, copies, lists and deletes, with a password."""
    layout(SCRATCH / "oci")
    server = Server("clients", "--delete", "--htpasswd", str(users()))
    place = f"docker://127.0.0.1:{server.port}"
    start = time.time()
    done = skopeo("copy", "--dest-tls-verify=false", "--dest-creds=alice:secret", f"oci:{SCRATCH}/oci:x", f"{place}/team/app:1")
    expect(done.returncode == 0, f"skopeo push: {done.stderr}")
    expect(time.time() - start < 8, "skopeo waited for a TLS handshake with a plain port")
    expect(skopeo("copy", "--dest-tls-verify=false", "--dest-creds=alice:wrong", f"oci:{SCRATCH}/oci:x", f"{place}/team/app:2").returncode != 0, "a wrong password pushes")
    done = skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--src-creds=alice:secret", "--dest-creds=alice:secret", f"{place}/team/app:1", f"{place}/other:1")
    expect(done.returncode == 0, f"skopeo copy: {done.stderr}")
    done = skopeo("list-tags", "--tls-verify=false", "--creds=alice:secret", f"{place}/team/app")
    expect('"1"' in done.stdout, f"skopeo list-tags: {done.stdout}{done.stderr}")
    done = skopeo("copy", "--src-tls-verify=false", "--src-creds=alice:secret", f"{place}/other:1", f"dir:{SCRATCH}/pulled")
    expect(done.returncode == 0, f"skopeo pull: {done.stderr}")
    done = skopeo("delete", "--tls-verify=false", "--creds=alice:secret", f"{place}/other:1")
    expect(done.returncode == 0, f"skopeo delete: {done.stderr}")
    expect(skopeo("inspect", "--tls-verify=false", "--creds=alice:secret", f"{place}/other:1").returncode != 0, "a deleted image is there")
    server.end()
    found = server.check()
    expect(found.returncode == 0, f"check: {found.stdout}{found.stderr}")


def tls():
    """TLS, and a new certificate without a restart."""
    def certify(name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(SCRATCH / "key.pem"), "-out", str(SCRATCH / "cert.pem")], check=True, capture_output=True)
    certify("first")
    server = Server("tls", "--tls-cert", str(SCRATCH / "cert.pem"), "--tls-key", str(SCRATCH / "key.pem"))

    def subject():
        context = ssl.create_default_context(cafile=str(SCRATCH / "cert.pem"))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=10)
        connection.request("GET", "/v2/")
        answer = connection.getresponse()
        expect(answer.status == 200, f"over TLS: {answer.status}")
        answer.read()
        return connection.sock.getpeercert()["subject"][0][0][1], connection
    name, kept = subject()
    expect(name == "first", f"the certificate is of {name}")
    content = os.urandom(3 << 20)
    kept.request("POST", f"/v2/a/blobs/uploads/?digest={sha(content)}", body=content)
    answer = kept.getresponse()
    expect(answer.status == 201 and answer.read() == b"", f"push over TLS: {answer.status}")
    kept.request("GET", f"/v2/a/blobs/{sha(content)}")
    expect(kept.getresponse().read() == content, "a blob over TLS is another")
    certify("second")
    server.process.send_signal(signal.SIGHUP)
    deadline = time.time() + 5
    while time.time() < deadline and "was read again" not in server.log.read_text():
        time.sleep(0.05)
    expect(subject()[0] == "second", "the new certificate is not used")
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.settimeout(10)
        try:
            expect(b"200" not in plain.recv(100), "plain text is answered on a TLS port")
        except ConnectionError:
            pass
    server.end()


class Upstream(http.server.ThreadingHTTPServer):
    """A registry that counts, and lies where it is told to."""
    daemon_threads = True

    def __init__(self, contents, tags):
        self.contents, self.tags, self.counts, self.lie, self.pause = contents, tags, {}, None, 0
        super().__init__(("127.0.0.1", 0), UpstreamHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class UpstreamHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, has_body):
        server, path = self.server, self.path.split("?")[0]
        key = f"{self.command} {path}"
        server.counts[key] = server.counts.get(key, 0) + 1
        last = path.rsplit("/", 1)[-1]
        digest = server.tags.get(last, last) if "/manifests/" in path else last
        content = b"{}" if path == "/v2/" else server.contents.get(digest)
        if content is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        is_blob = "/blobs/" in path
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/octet-stream" if is_blob else TYPE["Content-Type"])
        self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if not has_body:
            return
        if is_blob and server.lie == "content":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if is_blob and server.pause:
            self.wfile.write(content[:len(content) // 2])
            self.wfile.flush()
            time.sleep(server.pause)
            content = content[len(content) // 2:]
        self.wfile.write(content)


def mirror():
    """One fetch for many, nothing wrong stored, stale when the upstream is away, expiry."""
    config, layer, bad = b'{"architecture":"amd64"}', os.urandom(8 << 20), os.urandom(1 << 20)
    first, second = manifest(config, layer), manifest(config, layer, config)
    contents = {sha(part): part for part in (config, layer, bad, first, second)}
    upstream = Upstream(contents, {"1": sha(first)})
    server = Server("mirror", "--mirror", f"http://127.0.0.1:{upstream.server_address[1]}", "--mirror-check", "1s", "--mirror-ttl", "4s", "--grace", "8s")
    status, fields, body = server.ask("GET", "/v2/team/app/manifests/1")
    expect(status == 200 and body == first, f"a manifest through the mirror: {status}")
    upstream.pause = 1
    results = []

    def fetch(headers={}):
        try:
            results.append(server.ask("GET", f"/v2/team/app/blobs/{sha(layer)}", headers=headers))
        except Exception as error:
            results.append((0, {}, str(error).encode()))
    threads = [threading.Thread(target=fetch) for _ in range(8)] + [threading.Thread(target=fetch, args=({"Range": "bytes=10-19"},))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(sorted(status for status, _, _ in results) == [200] * 8 + [206], f"statuses of nine clients: {[r[0] for r in results]}")
    expect(all(body in (layer, layer[10:20]) for _, _, body in results), "a client got another content")
    gets = upstream.counts.get(f"GET /v2/team/app/blobs/{sha(layer)}")
    expect(gets == 1, f"nine clients made {gets} fetches")
    upstream.pause = 0
    expect(server.ask("GET", f"/v2/team/app/blobs/{sha(layer)}")[2] == layer, "the stored blob is another")
    expect(upstream.counts.get(f"GET /v2/team/app/blobs/{sha(layer)}") == 1, "a stored blob is fetched again")
    for turn in range(20):
        bad = os.urandom(1 << 16)
        contents[sha(bad)] = bad
        upstream.lie = "content"
        cut = False
        try:
            status, _, body = server.ask("GET", f"/v2/team/app/blobs/{sha(bad)}")
            cut = status != 200
        except (http.client.IncompleteRead, ConnectionError):
            cut = True
        expect(cut, "a blob with a wrong content was completed")
        upstream.lie = None
        # at once: the failed fetch is still being cleared away
        expect(server.ask("GET", f"/v2/team/app/blobs/{sha(bad)}")[2] == bad, f"after a lie the right content does not come, turn {turn}")
    upstream.tags["1"] = sha(second)
    time.sleep(1.1)
    expect(server.ask("GET", "/v2/team/app/manifests/1")[2] == second, "a moved tag is not seen")
    expect(server.ask("PUT", "/v2/team/app/manifests/1", first, TYPE)[0] == 405, "a mirror takes pushes")
    expect(server.ask("GET", "/v2/team/none/manifests/1")[0] == 200 and server.ask("GET", "/v2/team/app/manifests/none")[0] == 404, "unknown tags")
    upstream.shutdown()
    upstream.server_close()
    time.sleep(1.1)
    status, fields, body = server.ask("GET", "/v2/team/app/manifests/1")
    expect(status == 200 and body == second and "Warning" in fields, f"the upstream is away: {status} {fields}")
    expect(server.ask("GET", "/v2/team/app/manifests/2")[0] == 502, "a tag that nobody knows while the upstream is away")
    deadline = time.time() + 20
    while time.time() < deadline and any(path.is_file() for path in (server.root / "blobs").rglob("*")):
        time.sleep(0.3)
    expect(not any(path.is_file() for path in (server.root / "blobs").rglob("*")), "expired blobs stay")
    time.sleep(6)  # it was used after the blobs were
    expect(server.ask("GET", "/v2/team/app/manifests/1")[0] == 502, "an expired manifest stays")
    server.end()
    found = server.check()
    expect(found.returncode == 0, f"check of the mirror: {found.stdout}")
    other = subprocess.run([str(BINARIES / "skiffd"), "registry", "serve", "--listen", "127.0.0.1:0", "--root", str(server.root)], capture_output=True, text=True, timeout=20)
    expect(other.returncode == 1 and "holds a mirror" in other.stderr, f"a mirror's folder becomes a registry: {other.stderr}")


def limits():
    """Hostile and slow clients."""
    server = Server("limits", "--max-connections", "8", "--max-blob-size", "1MB")

    def raw(data, wait=5):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.settimeout(wait)
            try:
                client.sendall(data)
                return client.recv(4096)
            except OSError as error:
                return str(error).encode()
    host = b"Host: x\r\n"
    for data, status in [
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"), (b"GET /v2/ HTTP/1.1\r\n\r\n", b"400"), (b"GET /v2/ HTTP/2.0\r\n" + host + b"\r\n", b"400"),
        (b"GET /v2/ HTTP/1.1\r\n" + host + b"X: " + b"a" * 40000 + b"\r\n\r\n", b"431"), (b"GET /v2/ HTTP/1.1\r\n" + host + b"X: a\r\n" * 200 + b"\r\n", b"431"),
        (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + host + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + host + b"Content-Length: -1\r\n\r\n", b"400"),
        (b"GET /v2/\x00 HTTP/1.1\r\n" + host + b"\r\n", b"400"), (b"GET /v2/../../etc/passwd HTTP/1.1\r\n" + host + b"\r\n", b"404"),
        (b"GET /v2/ HTTP/1.0\r\n\r\n", b"200"),
    ]:
        answer = raw(data)
        expect(status in answer[:20], f"{data[:50]!r}: {answer[:60]!r} instead of {status!r}")
    expect(server.blob("a", b"x" * 2_000_000) == 413, "a blob that is too large")
    body = raw(b"POST /v2/a/blobs/uploads/?digest=" + sha(b"abc").encode() + b" HTTP/1.1\r\n" + host + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    expect(body.startswith(b"HTTP/1.1 100 "), f"Expect: {body[:40]!r}")
    time.sleep(0.3)
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    time.sleep(0.5)
    with socket.create_connection(("127.0.0.1", server.port)) as ninth:
        ninth.settimeout(5)
        expect(b"503" in ninth.recv(100), "a ninth connection is served")
    for client in idle:
        client.close()
    time.sleep(0.3)
    expect(server.ask("GET", "/v2/")[0] == 200, "after the rush")
    # a request in progress comes to its end when the server is told to stop
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall(b"POST /v2/a/blobs/uploads/?digest=" + sha(b"abc").encode() + b" HTTP/1.1\r\n" + host + b"Content-Length: 3\r\n\r\na")
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    client.sendall(b"bc")
    client.settimeout(5)
    expect(b"201" in client.recv(100), "a request in progress was cut by SIGTERM")
    server.process.wait(20)


def storm():
    """SIGKILL at any moment of pushes, deletions and collections: what was acknowledged is there, what is there is accounted for."""
    seconds = float(os.environ.get("REGISTRY_SECONDS", "12"))
    server = Server("storm", "--delete", "--grace", "1s", "--upload-ttl", "2s", "--delete-untagged", "--quiet")
    lock, stopping = threading.Lock(), threading.Event()
    tags, acknowledged, kills = {}, 0, 0

    def work(number):
        nonlocal acknowledged
        chance = random.Random(number)
        shared = [bytes([index]) * 70_000 for index in range(4)]
        while not stopping.is_set():
            name, tag = f"r{number}", f"t{chance.randrange(4)}"
            layers = [chance.choice(shared), os.urandom(chance.randrange(1, 400_000))]
            config = json.dumps({"n": chance.random()}).encode()
            content = manifest(config, *layers)
            try:
                for part in layers + [config]:
                    if server.ask("HEAD", f"/v2/{name}/blobs/{sha(part)}")[0] == 200:
                        continue
                    if chance.random() < 0.5:
                        if server.blob(name, part) != 201:
                            raise OSError
                        continue
                    place = server.ask("POST", f"/v2/{name}/blobs/uploads/")[1]["Location"]
                    half = len(part) // 2
                    server.ask("PATCH", place, part[:half])
                    if server.ask("PUT", f"{place}?digest={sha(part)}", part[half:])[0] != 201:
                        raise OSError
                with lock:
                    tags[name, tag] = None  # not known until the answer is there
                status, _, text = server.ask("PUT", f"/v2/{name}/manifests/{tag}", content, TYPE)
                if status != 201:
                    expect(False, f"a manifest whose blobs were just pushed: {status} {text}")
                with lock:
                    tags[name, tag] = (content, layers + [config])
                    acknowledged += 1
                if chance.random() < 0.3:
                    with lock:
                        tags[name, tag] = None
                    if server.ask("DELETE", f"/v2/{name}/manifests/{tag}")[0] == 202:
                        with lock:
                            tags[name, tag] = "gone"
            except (OSError, http.client.HTTPException, KeyError):
                time.sleep(0.02)
    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    deadline = time.time() + seconds
    while time.time() < deadline:
        time.sleep(random.uniform(0.02, 0.8))
        server.end(signal.SIGKILL)
        kills += 1
        server.start()
    stopping.set()
    for worker in workers:
        worker.join()
    for (name, tag), value in tags.items():
        if value is None:
            continue
        status, _, body = server.ask("GET", f"/v2/{name}/manifests/{tag}")
        if value == "gone":
            expect(status == 404, f"{name}:{tag} was deleted and is there")
            continue
        expect(status == 200 and body == value[0], f"{name}:{tag} was acknowledged and is not there: {status}")
        for part in value[1]:
            status, _, body = server.ask("GET", f"/v2/{name}/blobs/{sha(part)}")
            expect(status == 200 and body == part, f"a blob of {name}:{tag}: {status}")
    server.end()
    found = server.check()
    expect(found.returncode == 0, f"check after the storm: {found.stdout}{found.stderr}")
    print(f"storm: {kills} kills, {acknowledged} manifests; {found.stdout.strip()}")


parts = {"clients": clients, "tls": tls, "mirror": mirror, "limits": limits, "storm": storm}
try:
    for part in sys.argv[2:] or parts:
        parts[part]()
finally:
    # what a failure has left running
    for process in Server.running:
        if process.poll() is None:
            process.kill()
            process.wait()
    if not wrong and not os.environ.get("KEEP"):
        shutil.rmtree(SCRATCH)
sys.exit(1 if wrong else 0)
