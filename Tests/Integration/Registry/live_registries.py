#!/usr/bin/env python3
"""Our client against registries that other people use: Debian's docker-registry (distribution 2.8) and our own server, as processes.
Certificates of private authorities and of clients, logins, tokens, mirrors, proxies, registries without TLS, uploads of every kind.

    live_registries.py BIN_FOLDER [PATTERN]      as root; PATTERN picks parts by name
"""
import base64, hashlib, http.client, http.server, io, json, os, re, select, shutil, socket, socketserver, ssl, subprocess, sys, tarfile
import tempfile, threading, time, urllib.parse
sys.dont_write_bytecode = True
import scene
from scene import OTHER, OURS, THIRD, check, made_images

scene.enter()
PICK = sys.argv[2] if len(sys.argv) > 2 else "."
KINDS = ("skiff", "docker-registry")
# not among what tests install: its package would start a service. In PATH, or in the tree of Scripts/peers.sh
PEER = shutil.which("docker-registry", path=os.environ["PATH"] + ":/var/cache/skiff-peers/root/usr/bin")
WORK = tempfile.mkdtemp(prefix="skiff-live-", dir=os.environ.get("SKIFF_TEST_SCRATCH", "/tmp"))
MIB = 1 << 20
ports, engines, servers = iter(range(5100, 5200)), [], []


def engine(*flags):
    """An engine of its own with these flags; the one before it ends."""
    end_engine()
    engines.append(scene.Engine(sys.argv[1], flags).start())
    return engines[-1]


def end_engine():
    for each in engines:
        each.end()
    engines.clear()


# Certificates

class Authority:
    """A private authority, and what it has signed."""

    def __init__(self, name, *addresses):
        self.folder = f"{WORK}/ca-{name}"
        os.makedirs(self.folder)
        scene.faulty_registry.make_certificates(self.folder, addresses)
        run = lambda *words: subprocess.run(["openssl", *words], check=True, cwd=self.folder, capture_output=True)
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "client.key", "-out", "client.csr", "-subj", "/CN=client")
        run("x509", "-req", "-in", "client.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out", "client.cert")

    def trust(self, place, *names, base="/etc/skiff"):
        folder = f"{base}/certs.d/{place}"
        os.makedirs(folder, exist_ok=True)
        for name in names:
            shutil.copy(f"{self.folder}/{name}", folder)
        return folder


# Registries

class Peer:
    """A registry process."""

    def __init__(self, kind, address=OURS, tls=None, clients=False, htpasswd=None, token=None, mirror=None):
        self.kind, self.host, self.tls = kind, address, tls
        self.port = next(ports)
        self.name = f"{address}:{self.port}"
        self.folder = f"{WORK}/{kind}-{self.port}"
        os.makedirs(self.folder)
        self.log = self.folder + "/log"
        command = self.ours(htpasswd, token, mirror) if kind == "skiff" else self.theirs(clients, htpasswd, token, mirror)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        servers.append(self)
        if not scene.eventually(self.answers, 10):
            raise SystemExit(f"{kind} does not start: {self.text()[-1500:]}")

    def ours(self, htpasswd, token, mirror):
        command = [f"{sys.argv[1]}/skiff", "registry", "serve", "--listen", self.name, "--root", self.folder + "/data", "--delete"]
        if self.tls:
            command += ["--tls-cert", self.tls.folder + "/server.crt", "--tls-key", self.tls.folder + "/server.key"]
        command += ["--htpasswd", htpasswd] if htpasswd else []
        command += ["--mirror", mirror] if mirror else []
        if token:
            command += ["--token-realm", token.url, "--token-service", "live", "--token-issuer", "live-issuer", "--token-keys", token.certificate]
        return command

    def theirs(self, clients, htpasswd, token, mirror):
        config = {"version": "0.1", "log": {"accesslog": {"disabled": False}, "level": "info"},
                  "storage": {"filesystem": {"rootdirectory": self.folder + "/data"}, "delete": {"enabled": True}}, "http": {"addr": self.name, "secret": "x"}}
        if self.tls:
            config["http"]["tls"] = {"certificate": self.tls.folder + "/server.crt", "key": self.tls.folder + "/server.key"}
        if clients:
            config["http"]["tls"]["clientcas"] = [self.tls.folder + "/ca.crt"]
        if htpasswd:
            config["auth"] = {"htpasswd": {"realm": "live", "path": htpasswd}}
        if token:
            config["auth"] = {"token": {"realm": token.url, "service": "live", "issuer": "live-issuer", "rootcertbundle": token.certificate}}
        if mirror:
            config["proxy"] = {"remoteurl": mirror}
        with open(self.folder + "/config.yml", "w") as file:
            json.dump(config, file)      # JSON is YAML
        return [PEER, "serve", self.folder + "/config.yml"]

    def answers(self):
        if self.process.poll() is not None:
            return False
        try:
            socket.create_connection((self.host, self.port), 1).close()
            return True
        except OSError:
            return False

    def text(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def ask(self, method, path, accept="*/*"):
        """What it says without a credential: (status, fields, body)."""
        context = ssl.create_default_context(cafile=self.tls.folder + "/ca.crt") if self.tls else None
        kind = (lambda *each, **more: http.client.HTTPSConnection(*each, context=context, **more)) if self.tls else http.client.HTTPConnection
        connection = kind(self.host, self.port, timeout=10)
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return found

    def manifest(self, repository, tag="latest"):
        status, _, body = self.ask("GET", f"/v2/{repository}/manifests/{tag}", "application/vnd.oci.image.manifest.v1+json, "
                                   "application/vnd.docker.distribution.manifest.v2+json")
        return json.loads(body) if status == 200 else None

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def kinds():
    """Ours, and Debian's where it is installed."""
    return [kind for kind in KINDS if kind == "skiff" or PEER]


def users(**passwords):
    path = f"{WORK}/users"
    for number, (user, password) in enumerate(passwords.items()):
        subprocess.run(["htpasswd", "-Bb" + ("" if number else "c"), "-C", "5", path, user, password], check=True, capture_output=True)
    return path


# Images

def imported(engine, name, size=600_000):
    """An image whose layer has no compressed form yet."""
    tree = io.BytesIO(made_images.busybox_tar())
    with tarfile.open(fileobj=tree, mode="a") as archive:
        for path, data in (("etc/marker", name.encode() + b"\n"), ("data/random", os.urandom(size))):
            info = made_images.entry(path, mode=0o644)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path = f"{WORK}/{name}.tar"
    with open(path, "wb") as file:
        file.write(tree.getvalue())
    done = engine.skiff("import", path, name + ":latest")
    os.unlink(path)
    check(f"{name}: import", done.code == 0, done)


def offered(engine, image, full):
    done = engine.skiff("tag", image, full)
    check(f"{full}: tag", done.code == 0, done)
    return engine.push(full)


def there_and_back(engine, what, image, full, *names):
    """Push, forget, pull, run; `names` are other names of the image that go as well."""
    done = offered(engine, image, full)
    check(what + ": push", done.code == 0, done)
    engine.skiff("rmi", "-f", full, *names)
    done = engine.pull(full)
    check(what + ": pull", done.code == 0, done)
    check(what + ": runs", engine.marker(full) == image.split(":")[0], engine.marker(full))


def login(engine, peer, user, password):
    return engine.skiff("login", "-u", user, "--password-stdin", peer.name, input=password.encode())


def refused(what, done, pattern):
    check(what + ": is refused in one line", done.is_one_line, done)
    check(f"{what}: says {pattern}", re.search(pattern, done.err, re.I), done)
    check(what + ": soon", done.seconds < 20, done)


# A proxy

class Proxy:
    """CONNECT, and plain HTTP by whole URLs. It alone knows where `names` are. `user` must be shown; `largest` is the largest body that it
    lets through without TLS; `status` is answered instead of a tunnel."""

    def __init__(self, names=None, user=None, largest=None, status=None):
        self.names, self.user, self.largest, self.status, self.seen = names or {}, user, largest, status, []
        proxy = self

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads, request_queue_size = True, True, 64

            def handle_error(self, request, client_address):
                pass

            def finish_request(self, request, client_address):
                proxy.serve(request)
        self.server = Server((THIRD, 0), None)
        self.name = f"{THIRD}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    @property
    def url(self):
        return "http://" + (self.user + "@" if self.user else "") + self.name

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65536)
            if not piece:
                return
            head += piece
        head, _, rest = head.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.seen.append((method, target, fields))
        if self.user:
            wanted = "Basic " + base64.b64encode(urllib.parse.unquote(self.user).encode()).decode()
            if fields.get("proxy-authorization") != wanted:
                return client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        if self.status:
            return client.sendall(f"HTTP/1.1 {self.status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        if method == "CONNECT":
            upstream = self.dial(target)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            upstream.sendall(rest)
            return self.relay(client, upstream)
        parts = urllib.parse.urlsplit(target)
        if self.largest is not None and int(fields.get("content-length", 0)) > self.largest:
            return client.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        upstream = self.dial(parts.netloc if ":" in parts.netloc else parts.netloc + ":80")
        kept = [line for line in lines[1:] if not line.lower().startswith(("proxy-", "connection:"))]
        path = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
        upstream.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode("latin-1") + rest)
        return self.relay(client, upstream)

    def dial(self, target):
        host, _, port = target.rpartition(":")
        return socket.create_connection((self.names.get(host, host), int(port)), 10)

    def relay(self, one, other):
        ends = {one: other, other: one}
        try:
            while ends:
                for ready in select.select(list(ends), [], [], 60)[0]:
                    data = ready.recv(1 << 16)
                    if data:
                        ends[ready].sendall(data)
                    elif ready is other:
                        return
                    else:
                        ends.pop(ready).shutdown(socket.SHUT_WR)
        except OSError:
            pass
        finally:
            other.close()


# A token server

class TokenServer:
    """Signs what a user may do: `rights` is user -> {action}. Its certificate is what registries believe."""

    def __init__(self, rights, passwords):
        self.rights, self.passwords, self.seen = rights, passwords, []
        folder = f"{WORK}/tokens"
        os.makedirs(folder)
        self.key, self.certificate = folder + "/key.pem", folder + "/cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens", "-keyout", self.key,
                        "-out", self.certificate], check=True, capture_output=True)
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words):
                pass

            def do_GET(self):
                server.answer(self)
        self.server = http.server.ThreadingHTTPServer((OURS, 0), Handler)
        self.url = f"http://{OURS}:{self.server.server_address[1]}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
        kind, _, value = handler.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(value).decode().partition(":") if kind == "Basic" else ("", "", "")
        self.seen.append((user, query))
        good = not user or self.passwords.get(user) == password
        body = json.dumps({"token": self.token(user, query), "expires_in": 60}) if good else '{"errors":[{"code":"UNAUTHORIZED"}]}'
        handler.send_response(200 if good else 401)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())

    def token(self, user, query):
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, name, actions = scope.split(":")
            granted = sorted(set(actions.split(",")) & self.rights.get(user, set()))
            access.append({"type": kind, "name": name, "actions": granted})
        text = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
        der = subprocess.run(["openssl", "x509", "-in", self.certificate, "-outform", "DER"], check=True, capture_output=True).stdout
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {"iss": "live-issuer", "sub": user, "aud": "live", "exp": now + 60, "nbf": now - 10, "iat": now, "jti": os.urandom(8).hex(), "access": access}
        signed = text(json.dumps(head).encode()) + b"." + text(json.dumps(claims).encode())
        proof = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=signed, check=True, capture_output=True).stdout
        return (signed + b"." + text(proof)).decode()


# Parts

def certificates():
    """Authorities and client certificates by folders in certs.d."""
    for kind in kinds():
        authority, stranger = Authority("tls-" + kind, OURS), Authority("stranger-" + kind, OURS)
        peer = Peer(kind, tls=authority)
        held = engine()
        imported(held, "tls-" + kind)
        refused(f"{kind}: an authority that nobody trusts", offered(held, "tls-" + kind, f"{peer.name}/a/unknown"), "certificate")
        stranger.trust(peer.name, "ca.crt")
        refused(f"{kind}: another authority", offered(held, "tls-" + kind, f"{peer.name}/a/stranger"), "certificate")
        folder = authority.trust(peer.name, "ca.crt")
        there_and_back(held, f"{kind}: an authority in certs.d", "tls-" + kind, f"{peer.name}/a/tls")
        shutil.rmtree(folder)
        authority.trust(peer.name, "ca.crt", base="/etc/docker")
        done = held.pull(f"{peer.name}/a/tls")
        check(f"{kind}: docker's folder counts as well", done.code == 0, done)
        shutil.rmtree(f"/etc/docker/certs.d/{peer.name}")
        refused(f"{kind}: and not for longer than it is there", held.pull(f"{peer.name}/a/tls"), "certificate")


def client_certificates():
    """A registry that wants a client's certificate (mutual TLS): Debian's, and the one of these tests; our own does not ask for one."""
    for kind in ("test", "docker-registry") if PEER else ("test",):
        authority, stranger = Authority("mutual-" + kind, OURS), Authority("mutual-stranger-" + kind, OURS)
        peer = scene.faulty_registry.Registry(OURS, tls=authority.folder, clients=True) if kind == "test" else Peer(kind, tls=authority, clients=True)
        held = engine()
        imported(held, "mutual")
        name = f"{peer.name}/a/mutual"
        folder = authority.trust(peer.name, "ca.crt")
        refused(f"{kind}: no client certificate", offered(held, "mutual", name), "certificate|tls|connection")
        stranger.trust(peer.name, "client.cert", "client.key")
        refused(f"{kind}: a certificate of another authority", held.push(name), "certificate|tls|unknown ca|connection")
        authority.trust(peer.name, "client.cert", "client.key")
        there_and_back(held, f"{kind}: a client certificate", "mutual", name)
        os.unlink(folder + "/client.key")
        refused(f"{kind}: a certificate without its key", held.pull(name), "missing key client.key")
        authority.trust(peer.name, "client.key")
        os.unlink(folder + "/client.cert")
        refused(f"{kind}: a key without its certificate", held.pull(name), "missing client certificate client.cert")


def logins():
    """htpasswd: login, push, pull, logout."""
    path = users(alice="secret", bob="other")
    authority = Authority("logins", OURS)
    for kind in kinds():
        peer = Peer(kind, tls=authority, htpasswd=path)
        authority.trust(peer.name, "ca.crt")
        held = engine()
        imported(held, "login-" + kind)
        name = f"{peer.name}/a/login"
        refused(f"{kind}: push without a login", offered(held, "login-" + kind, name), "no basic auth credentials|unauthorized|authentication required|denied")
        refused(f"{kind}: login with a wrong password", login(held, peer, "alice", "wrong"), "unauthorized|incorrect|denied")
        done = login(held, peer, "alice", "secret")
        check(f"{kind}: login", done.code == 0 and "Login Succeeded" in done.out, done)
        there_and_back(held, f"{kind}: with a login", "login-" + kind, name)
        check(f"{kind}: the registry wants a credential", peer.ask("GET", "/v2/")[0] == 401)
        done = held.skiff("logout", peer.name)
        check(f"{kind}: logout", done.code == 0, done)
        refused(f"{kind}: after the logout", held.pull(name), "no basic auth credentials|unauthorized|authentication required|denied")


def tokens():
    """A token server decides: who may push, who may only pull, who nothing."""
    server = TokenServer({"writer": {"pull", "push"}, "reader": {"pull"}}, {"writer": "w", "reader": "r", "nobody": "n"})
    for kind in kinds():
        peer = Peer(kind, token=server)
        held = engine("--insecure-registry", OURS)
        imported(held, "token-" + kind)
        name = f"{peer.name}/team/token"
        refused(f"{kind}: a wrong password at the token server", login(held, peer, "writer", "x"), "unauthorized|incorrect|denied")
        done = login(held, peer, "writer", "w")
        check(f"{kind}: login by token", done.code == 0, done)
        there_and_back(held, f"{kind}: who may push", "token-" + kind, name)
        login(held, peer, "reader", "r")
        done = held.pull(name)
        check(f"{kind}: who may pull, pulls", done.code == 0, done)
        refused(f"{kind}: and does not push", offered(held, "token-" + kind, f"{peer.name}/team/other"), "denied|unauthorized|insufficient")
        login(held, peer, "nobody", "n")
        refused(f"{kind}: who may nothing", held.pull(name), "denied|unauthorized|not found|insufficient")
        held.skiff("logout", peer.name)
        refused(f"{kind}: without a name", held.pull(name), "denied|unauthorized|not found|insufficient|authentication")


def mirrors():
    """Mirrors by registry: the first that has it serves; whatever they lack or are, the registry itself comes last; pushes pass them by."""
    origin, bare = Peer("skiff"), Peer("skiff", OTHER)
    through = {kind: Peer(kind, OTHER, mirror=f"http://{origin.name}") for kind in kinds()}
    faulty = scene.faulty_registry.Registry(OTHER)
    faulty.plan({"on": "/v2/", "status": 500})
    dead = f"http://{OTHER}:1"
    filler = engine("--insecure-registry", OURS)
    for name in ("one", "two", "three"):
        imported(filler, name)
        done = offered(filler, name, f"{origin.name}/m/{name}")
        check(f"mirrors: push {name}", done.code == 0, done)
    settings = f"{WORK}/mirrors.json"
    for kind, mirror in through.items():
        with open(settings, "w") as file:
            json.dump({"insecure-registries": [OURS, OTHER], "registry-stall-timeout": 2,
                       "mirrors": {origin.name: [dead, faulty.url, f"http://{bare.name}", f"http://{mirror.name}"], "docker.io": [f"http://{mirror.name}"]}}, file)
        held = engine("--config", settings)
        before = len(origin.text())
        done = held.pull(f"{origin.name}/m/one")
        check(f"{kind}: a pull through the fourth mirror", done.code == 0 and held.marker(f"{origin.name}/m/one") == "one", done)
        check(f"{kind}: mirrors that fail cost little", done.seconds < 12, done)
        check(f"{kind}: the mirror was asked", "/v2/m/one/blobs/" in mirror.text(), mirror.text()[-800:])
        blobs = re.findall(r"GET[^\n]*/v2/m/one/blobs/(sha256:\w+)", origin.text()[before:])
        if kind == "skiff":
            check("each blob left the registry once", len(blobs) == len(set(blobs)) > 0, blobs)
        done = held.pull("m/two")
        check(f"{kind}: a mirror of the Hub, which is not to be reached", done.code == 0 and held.marker("m/two") == "two", done)
        mirror.end()
        done = held.pull(f"{origin.name}/m/three")
        check(f"{kind}: all mirrors fail, the registry serves", done.code == 0 and held.marker(f"{origin.name}/m/three") == "three", done)
        heard = len(faulty.requests)
        done = offered(held, f"{origin.name}/m/three", f"{origin.name}/pushed/{kind}")
        check(f"{kind}: a push goes to the registry itself", done.code == 0 and origin.manifest("pushed/" + kind), done)
        check(f"{kind}: and asks no mirror", len(faulty.requests) == heard and not bare.manifest("pushed/" + kind), heard)
        done = held.pull("m/none")
        check(f"{kind}: without any mirror the Hub is away", done.is_one_line, done)
    faulty.stop()
    breaking()
    lying()


def breaking():
    """A mirror that breaks off in the midst of a layer: the rest comes from the registry."""
    for what, rule in (("cut", {"cut": 100_000}), ("stall", {"stall": 100_000}), ("endless", {"endless": "length"}), ("short", {"length": "-5"})):
        origin = scene.faulty_registry.Registry(OURS)
        mirror = scene.faulty_registry.Registry(OTHER, like=origin)
        payload = made_images.random_layer(600_000, seed=what)
        origin.add("b/" + what, "latest", made_images.busybox(what, extra=[payload]))
        mirror.plan(dict(rule, on="GET .*/blobs/" + payload.digest))
        with open(f"{WORK}/mirrors.json", "w") as file:
            json.dump({"insecure-registries": [OURS, OTHER], "registry-stall-timeout": 1, "mirrors": {origin.name: [mirror.url]}}, file)
        held = engine("--config", f"{WORK}/mirrors.json")
        done = held.pull(f"{origin.name}/b/{what}")
        check(f"a mirror, {what}: the registry has the rest", done.code == 0 and held.marker(f"{origin.name}/b/{what}") == what, done)
        check(f"a mirror, {what}: soon", done.seconds < 10, done)
        ranges = [each["fields"].get("range") for each in origin.asked("GET .*/blobs/" + payload.digest)]
        check(f"a mirror, {what}: only the rest", what not in ("cut", "stall") or ranges == [f"bytes=100000-{len(payload.data) - 1}"], ranges)
        mirror.stop()
        origin.stop()


def lying():
    """Mirrors that send something else than was asked for: the next one, or the registry itself, is asked, and the person is told."""
    page = {"body": "<html><body>Please log in to the guests' network</body></html>" * 20, "type": "text/html", "fields": {"Docker-Content-Digest": None}}
    cases = {
        "layer-flipped": lambda image, payload: dict({"flip": True}, on="GET .*/blobs/" + payload.digest),
        "config-flipped": lambda image, payload: dict({"flip": True}, on="GET .*/blobs/" + made_images.digest(image.config)),
        "manifest-flipped": lambda image, payload: dict({"flip": True}, on="GET .*/manifests/"),
        "layer-longer": lambda image, payload: {"on": "GET .*/blobs/" + payload.digest, "body": "x" * 2_000_000},
        "layer-longer-in-chunks": lambda image, payload: {"on": "GET .*/blobs/" + payload.digest, "body": "x" * 2_000_000, "chunked": True},
        "layer-shorter-in-chunks": lambda image, payload: {"on": "GET .*/blobs/" + payload.digest, "body": "x" * 200_000, "chunked": True},
        "another-as-long": lambda image, payload: {"on": "GET .*/blobs/" + payload.digest, "body": "x" * len(payload.data)},
        "login-page": lambda image, payload: dict(page, on="/v2/"),
        "login-page-for-blobs": lambda image, payload: dict(page, on="GET .*/blobs/"),
        "login-page-in-chunks": lambda image, payload: dict(page, on="GET .*/blobs/", chunked=True),
        "another-digest": lambda image, payload: {"on": "/v2/.*/manifests/latest", "said": "sha256:" + "1" * 64},
        "no-manifest-at-all": lambda image, payload: {"on": "GET .*/manifests/", "body": "{}"},
    }
    for what, rule in cases.items():
        if not re.search(PICK, "lying-" + what):
            continue
        origin = scene.faulty_registry.Registry(OURS)
        liars = [scene.faulty_registry.Registry(OTHER, like=origin) for _ in range(2)]
        payload = made_images.random_layer(1_000_000, seed=what)
        image = made_images.busybox(what, extra=[payload])
        origin.add("l/" + what, "latest", image)
        for liar in liars:
            liar.plan(rule(image, payload))
        with open(f"{WORK}/mirrors.json", "w") as file:
            json.dump({"insecure-registries": [OURS, OTHER], "registry-stall-timeout": 1, "mirrors": {origin.name: [liar.url for liar in liars]}}, file)
        held = engine("--config", f"{WORK}/mirrors.json")
        done = held.pull(f"{origin.name}/l/{what}")
        check(f"a mirror, {what}: the registry serves", done.code == 0 and held.marker(f"{origin.name}/l/{what}") == what, done)
        for liar in liars if what not in ("login-page", "another-digest") else liars[:1]:
            check(f"a mirror, {what}: the person is told", f"Warning: the mirror {liar.url} is not asked again" in done.out, done.out)
        held.check_store("a mirror, " + what)
        for each in (*liars, origin):
            each.stop()


def proxies():
    """A tunnel for TLS, whole URLs without; names that only the proxy knows; credentials for the proxy; exceptions."""
    authority = Authority("proxies", OURS, "registry.test")
    names = {"registry.test": OURS, "plain.test": OURS}
    for kind in kinds():
        peer, plain = Peer(kind, tls=authority), Peer(kind)
        proxy = Proxy(names, "me:p%40ss")
        far, near = f"registry.test:{peer.port}", f"plain.test:{plain.port}"
        authority.trust(far, "ca.crt")
        authority.trust(peer.name, "ca.crt")
        held = engine("--https-proxy", proxy.url, "--http-proxy", proxy.url, "--insecure-registry", near, "--no-proxy", f"{OTHER},{OURS}")
        image = "proxy-" + kind
        imported(held, image)
        there_and_back(held, f"{kind}: through a tunnel", image, f"{far}/a/tunnel")
        asked = {(method, target) for method, target, _ in proxy.seen}
        check(f"{kind}: the proxy saw a tunnel and nothing in it", asked == {("CONNECT", far)}, asked)
        proxy.seen.clear()
        there_and_back(held, f"{kind}: without TLS", image, f"{near}/a/plain")
        asked = [(method, target) for method, target, _ in proxy.seen if method != "CONNECT"]
        check(f"{kind}: by whole URLs", asked and all(target.startswith(f"http://{near}/v2/") for _, target in asked), asked[:3])
        proxy.seen.clear()
        there_and_back(held, f"{kind}: an exception", image, f"{peer.name}/a/direct")
        check(f"{kind}: passes the proxy by", not proxy.seen, proxy.seen[:2])
        proxy.user = "you:other"
        done = held.pull(f"{far}/a/tunnel")
        refused(f"{kind}: the proxy wants another credential", done, "proxy.*407")
        check(f"{kind}: the password is not shown", "p%40ss" not in done.err and "p@ss" not in done.err, done)
        proxy.user, proxy.status = None, 503
        refused(f"{kind}: the proxy does not lead there", held.pull(f"{far}/a/tunnel"), "proxy.*503")
        proxy.stop()
        refused(f"{kind}: the proxy is away", held.pull(f"{far}/a/tunnel"), "dial|connect")


def unencrypted():
    """Without TLS, or with a certificate that nobody verified, only where it is named."""
    authority = Authority("named", OTHER)
    for kind in kinds():
        plain, secured = Peer(kind, OTHER), Peer(kind, OTHER, tls=authority)
        held = engine("--insecure-registry", plain.name, "--insecure-registry", secured.name)
        image = "named-" + kind
        imported(held, image)
        there_and_back(held, f"{kind}: a named registry without TLS", image, f"{plain.name}/a/plain")
        there_and_back(held, f"{kind}: a named registry with an unknown certificate", image, f"{secured.name}/a/tls")
        held = engine("--insecure-registry", OURS)
        before = len(plain.text())
        refused(f"{kind}: unnamed without TLS", held.pull(f"{plain.name}/a/plain"), "tls|ssl|https|record")
        refused(f"{kind}: unnamed with an unknown certificate", held.pull(f"{secured.name}/a/tls"), "certificate")
        said = [line for line in plain.text()[before:].splitlines() if "/v2/" in line]
        check(f"{kind}: nothing was said without TLS", not said, said)
        held = engine("--insecure-registry", "198.51.100.0/24")
        done = held.pull(f"{plain.name}/a/plain")
        check(f"{kind}: a named network", done.code == 0, done)


MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}


def uploads():
    """Layers that are compressed on their way (in chunks, one PATCH), whole (one PUT), and in pieces where a proxy takes no more."""
    for kind in kinds():
        peer = Peer(kind)
        for how in ("gzip", "zstd"):
            held = engine(*scene.INSECURE, "--layer-compression", how)
            image = f"{how}-{kind}"
            imported(held, image, 3 * MIB)
            there_and_back(held, f"{kind}: {how} in chunks", image, f"{peer.name}/up/{how}", image)
            whole(peer, "up/" + how, how)
            check(f"{kind}: {how}: sent in chunks", re.search(r"PATCH[^\n]*/v2/up/" + how, peer.text()), peer.text()[-500:])
            # It has its compressed form now: whole, into another registry
            other = Peer(kind, OTHER)
            done = offered(held, f"{peer.name}/up/{how}", f"{other.name}/up/whole")
            check(f"{kind}: {how} whole", done.code == 0, done)
            check(f"{kind}: {how}: the same layers", peer.manifest("up/" + how)["layers"] == other.manifest("up/whole")["layers"])
            check(f"{kind}: {how}: not in pieces", "PATCH" not in other.text(), other.text()[-500:])
            whole(other, "up/whole", how)
        proxy = Proxy({"plain.test": OURS}, largest=5 * MIB)
        near = f"plain.test:{peer.port}"
        held = engine("--http-proxy", proxy.url, "--https-proxy", proxy.url, "--insecure-registry", near, "--insecure-registry", OURS, "--no-proxy", OURS)
        source = scene.faulty_registry.Registry(OURS)
        source.add("big/one", "latest", made_images.busybox("big", extra=[made_images.random_layer(11 * MIB, seed=kind)]))
        done = held.pull(f"{source.name}/big/one")
        check(f"{kind}: something large", done.code == 0, done)
        done = offered(held, f"{source.name}/big/one", f"{near}/up/pieces")
        check(f"{kind}: in pieces", done.code == 0, done)
        pieces = [fields.get("content-range") for method, _, fields in proxy.seen if method == "PATCH"]
        check(f"{kind}: three of them", len(pieces) == 3 and pieces[0] == f"0-{4 * MIB - 1}", pieces)
        whole(peer, "up/pieces", "gzip")
        proxy.stop()
        source.stop()


def whole(peer, repository, how):
    """Everything that the manifest names is there and is what it says."""
    document = peer.manifest(repository)
    check(f"{peer.kind}: {repository}: a manifest", document)
    for part in (document["layers"] + [document["config"]]) if document else ():
        status, _, data = peer.ask("GET", f"/v2/{repository}/blobs/{part['digest']}")
        good = status == 200 and len(data) == part["size"] and "sha256:" + hashlib.sha256(data).hexdigest() == part["digest"]
        check(f"{peer.kind}: {repository}: {part['mediaType']} is whole", good, (status, len(data), part))
        if "layer" in part["mediaType"]:
            check(f"{peer.kind}: {repository}: {how}", how in part["mediaType"] and data.startswith(MAGIC[how]), (part, data[:4]))


def main():
    try:
        for part in (certificates, client_certificates, logins, tokens, mirrors, proxies, unencrypted, uploads):
            if re.search(PICK, part.__name__):
                begun = time.monotonic()
                part()
                end_engine()
                for server in servers:
                    server.end()
                servers.clear()
                print(f"{part.__name__} {time.monotonic() - begun:.1f} s", flush=True)
    finally:
        for server in servers:
            server.end()
        end_engine()
    if not PEER:
        print("docker-registry is missing (Scripts/peers.sh, or apt-get install docker-registry): our own server only")
    if not os.environ.get("KEEP"):
        shutil.rmtree(WORK, ignore_errors=True)
    scene.finish()


main()
