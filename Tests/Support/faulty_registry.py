#!/usr/bin/env python3
"""A registry for tests (OCI distribution 1.1 as far as clients need it) that is correct by default and misbehaves as it is told.

In a Python test:

    registry = Registry(auth="token", users={"u": "secret"})       # or Registry(tls=True), address="198.51.100.1"
    registry.add("library/app", "latest", made_images.busybox())
    registry.plan({"on": "GET .*/blobs/", "cut": 1000, "times": 1})
    …
    registry.requests                                              # what was asked: dicts, see `Handler.record`

By hand, or for tests in another language:

    faulty_registry.py [--address A] [--port P] [--tls FOLDER] [--auth basic|token] [--other ADDRESS] [--plan JSON]

prints one line of JSON with its addresses, serves `test/app:latest` (OCI, gzip), `test/docker`, `test/zstd`, `test/multi` (index),
`test/large` (40 MB) and `hostile/NAME`, and takes `POST /_control/plan` (a rule or a list; an empty list forgets all),
`GET /_control/requests`, `POST /_control/forget`, `POST /_control/reset`.

A rule is matched against "METHOD path?query" with `re.search`, the first that fits and is not used up counts:
  on          the pattern                                   times, skip   how often it acts; how many matches it lets pass before
  chance      how likely it acts, 0 to 1
  wait        seconds before anything is answered           drop          closes without an answer
  status      answers so, with `fields` and `body`          fields        sets (or with null removes) fields of the right answer
  body        another body (text), its length fits          flip          one byte of the body is changed
  type        Content-Type                                  said          Docker-Content-Digest; null leaves it out
  length      Content-Length as said, whatever is sent: a number, "+N", "-N" or any text
  cut         the connection ends after N bytes of body     reset         … with a TCP reset
  stall       after N bytes of body nothing more comes      drip          bytes per second of the body, in pieces of one
  headstall   nothing after half of the head                headendless   fields without an end
  endless     the body goes on for ever: "length" (of 1 PiB), "chunked" or "close"
  chunked     sends the body in chunks                      garbage       … with a chunk size that is none
  raw         these bytes (latin-1) instead of any answer   redirect      307 to this URL ({path} is the path with query)
  code        … with this status                            norange       answers a Range with 200 and everything
  range       Content-Range as said                         nolocation    leaves Location out
  nomount     a mount becomes an upload
  location    Location as said ({path} …)                   swallow       PATCH/PUT: takes N bytes of the body, then closes
"""
import argparse, base64, hashlib, json, os, random, re, socket, socketserver, ssl, struct, subprocess, sys, tempfile, threading, time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import made_images

REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 307: "Temporary Redirect",
           400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           416: "Range Not Satisfiable", 429: "Too Many Requests", 503: "Service Unavailable"}


def make_certificates(folder, names):
    """A throw-away authority (ca.crt) and a server's certificate for names and addresses (server.crt, server.key)."""
    run = lambda *words: subprocess.run(["openssl", *words], check=True, cwd=folder, capture_output=True)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
        "-days", "2", "-subj", "/CN=throw-away authority of a test", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=registry")
    kind = lambda name: "IP" if re.fullmatch(r"[0-9.]+|.*:.*", name) else "DNS"
    with open(os.path.join(folder, "ext"), "w") as file:
        # all three are wanted by X509_V_FLAG_X509_STRICT, which Python's default is from 3.13 on
        file.write("subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nsubjectAltName=" + ",".join(f"{kind(name)}:{name}" for name in names) + "\n")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "server.crt")


class Registry:
    """One listener. Several can share their contents (`like`). `tls` is True, or a folder made by make_certificates; with `clients` those
    must show a certificate of the same authority."""

    def __init__(self, address="127.0.0.1", port=0, tls=None, auth=None, users=None, like=None, read_only=False, realm=None,
                 clients=False):
        self.blobs = like.blobs if like else {}
        self.manifests = like.manifests if like else {}      # repository -> {tag or digest: (media type, bytes)}
        self.repository_blobs = like.repository_blobs if like else {}      # repository -> digests
        self.uploads, self.tokens = {}, {}
        self.auth, self.users, self.realm, self.read_only = auth, users or {}, realm, read_only
        self.token_life, self.page = 300, 100
        self.rules, self.requests, self.lock, self.stopped = [], [], threading.Lock(), threading.Event()
        self.open, self.most_open = 0, 0
        if tls is True:
            self.folder = tempfile.TemporaryDirectory(prefix="skiff-faulty-")
            tls = self.folder.name
            make_certificates(tls, [address, "localhost", "registry.test"])
        self.tls = tls
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(os.path.join(tls, "server.crt"), os.path.join(tls, "server.key"))
            if clients:
                self.context.load_verify_locations(os.path.join(tls, "ca.crt"))
                self.context.verify_mode = ssl.CERT_REQUIRED
        registry = self

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

            def handle_error(self, request, client_address):
                pass      # clients that go away are what these tests are about

            def finish_request(self, request, client_address):
                Handler(registry, request).run()

        self.server = Server((address, port), None)
        self.port = self.server.server_address[1]
        self.name = (f"[{address}]" if ":" in address else address) + f":{self.port}"
        self.url = ("https://" if tls else "http://") + self.name
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()

    def plan(self, *rules):
        """Adds rules; without any forgets all."""
        with self.lock:
            self.rules = self.rules + [dict(rule) for rule in rules] if rules else []

    def forget(self):
        """Forgets what was asked."""
        with self.lock:
            self.requests = []

    def asked(self, pattern, **wanted):
        """What was asked that fits: `asked("GET .*/blobs/sha256:…", status=206)`."""
        with self.lock:
            seen = list(self.requests)
        return [each for each in seen if re.search(pattern, each["method"] + " " + each["path"])
                and all(each.get(key) == value for key, value in wanted.items())]

    def put_blob(self, repository, data):
        name = made_images.digest(data)
        self.blobs[name] = data
        self.repository_blobs.setdefault(repository, set()).add(name)
        return name

    def add(self, repository, tag, image):
        """Serves an image (made_images.Image, Index, Raw) under a tag, and all that it points to."""
        held = self.manifests.setdefault(repository, {})
        held[image.digest] = (image.media_type, image.manifest)
        if tag:
            held[tag] = held[image.digest]
        for data in getattr(image, "blobs", {}).values():
            self.put_blob(repository, data)
        for name, data in getattr(image, "blobs", {}).items():      # also under names that are not their digests
            self.blobs[name] = data
            self.repository_blobs[repository].add(name)
        for inner in getattr(image, "images", []):
            self.add(repository, None, inner)

    def rule(self, request):
        with self.lock:
            for rule in self.rules:
                if not re.search(rule.get("on", ""), request):
                    continue
                if rule.get("skip", 0) > 0:
                    rule["skip"] -= 1
                    continue
                if rule.get("times", 1) <= 0 or random.random() >= rule.get("chance", 1):
                    continue
                if "times" in rule:
                    rule["times"] -= 1
                return dict(rule)
        return {}


class Gone(Exception):
    """The connection is over."""


class Handler:
    """One connection."""

    def __init__(self, registry, connection):
        self.registry, self.connection = registry, connection

    def run(self):
        connection = self.connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(300)
        with self.registry.lock:
            self.registry.open += 1
            self.registry.most_open = max(self.registry.most_open, self.registry.open)
        try:
            if self.registry.context:
                connection = self.connection = self.registry.context.wrap_socket(connection, server_side=True)
            self.input = connection.makefile("rb", 1 << 16)
            while not self.registry.stopped.is_set() and self.one():
                pass
        except (Gone, OSError, ValueError):
            pass
        finally:
            with self.registry.lock:
                self.registry.open -= 1
            try:
                connection.close()
            except OSError:
                pass

    # One request

    def one(self):
        line = self.input.readline(65537)
        if not line.strip():
            return False
        if not re.fullmatch(rb"[A-Z]+ /\S* HTTP/1\.[01]\r\n", line):      # TLS, for one
            self.connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            raise Gone()
        self.method, self.target, _ = line.decode("latin-1").split(" ", 2)
        self.fields = {}
        while True:
            line = self.input.readline(65537).decode("latin-1").rstrip("\r\n")
            if not line:
                break
            name, _, value = line.partition(":")
            self.fields[name.lower()] = value.strip()
        parts = urllib.parse.urlsplit(self.target)
        self.path = parts.path
        self.query = {key: values[0] for key, values in urllib.parse.parse_qs(parts.query, keep_blank_values=True).items()}
        self.entry = {"method": self.method, "path": self.target, "fields": dict(self.fields), "time": time.monotonic(), "status": 0,
                      "sent": 0, "received": 0, "done": False}
        self.body_read = False
        if self.path.startswith("/_control/"):
            return self.control()
        with self.registry.lock:
            self.registry.requests.append(self.entry)
        self.fault = self.registry.rule(self.method + " " + self.target)
        fault = self.fault
        if "wait" in fault:
            self.pause(fault["wait"])
        if "swallow" in fault:
            self.take(fault["swallow"])
            self.close(fault)
        if "drop" in fault:
            self.close(fault)
        if "raw" in fault:
            self.drain()
            self.connection.sendall(fault["raw"].encode("latin-1"))
            self.close(fault)
        if "redirect" in fault:
            return self.answer(fault.get("code", 307), {"Location": fault["redirect"].replace("{path}", self.target)}, b"")
        if "status" in fault:
            return self.answer(fault["status"], {}, str(fault.get("body", "")).encode())
        self.dispatch()
        self.entry["done"] = True
        return self.fields.get("connection", "").lower() != "close"

    def pause(self, seconds):
        if self.registry.stopped.wait(seconds):
            raise Gone()

    def hold(self):
        """Says nothing more, until the client goes away."""
        self.connection.settimeout(0.2)
        while not self.registry.stopped.is_set():
            try:
                if not self.connection.recv(65536):
                    break
            except (socket.timeout, ssl.SSLWantReadError):
                continue
        raise Gone()

    def close(self, fault):
        if fault.get("reset"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone()

    # The request's body

    def body(self):
        """The request's body in pieces."""
        self.body_read = True
        if self.fields.get("transfer-encoding", "").lower() == "chunked":
            while True:
                size = int(self.input.readline(1024).split(b";")[0], 16)
                rest = size
                while rest:
                    piece = self.input.read(min(rest, 1 << 16))
                    if not piece:
                        raise Gone()
                    rest -= len(piece)
                    self.entry["received"] += len(piece)
                    yield piece
                self.input.readline(1024)
                if size == 0:
                    return
        rest = int(self.fields.get("content-length", 0))
        while rest:
            piece = self.input.read1(min(rest, 1 << 16))
            if not piece:
                raise Gone()
            rest -= len(piece)
            self.entry["received"] += len(piece)
            yield piece

    def take(self, limit):
        """At most so many bytes of the body."""
        got = 0
        if limit:
            for piece in self.body():
                got += len(piece)
                if got >= limit:
                    break

    def drain(self):
        if not self.body_read:
            for _ in self.body():
                pass

    # Answers

    def answer(self, status, fields, body=b""):
        fault = self.fault
        self.drain()
        self.entry["status"] = status
        fields = dict(fields)
        if "body" in fault and "status" not in fault:
            body = fault["body"].encode()
        if fault.get("flip") and body:
            body = body[:len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1:]
        if "type" in fault:
            fields["Content-Type"] = fault["type"]
        if "said" in fault:
            fields["Docker-Content-Digest"] = fault["said"]
        if "range" in fault:
            fields["Content-Range"] = fault["range"]
        if "nolocation" in fault:
            fields.pop("Location", None)
        if "location" in fault:
            fields["Location"] = fault["location"].replace("{path}", self.target)
        fields.update(fault.get("fields", {}))
        length = len(body)
        if "Content-Length" not in fields:
            fields["Content-Length"] = str(length)
        said = fault.get("length")
        if said is not None:
            fields["Content-Length"] = str(length + int(said)) if re.fullmatch(r"[+-]\d+", str(said)) and said != "-1" else str(said)
        chunked = fault.get("chunked") or "garbage" in fault or fault.get("endless") == "chunked"
        if chunked:
            fields.pop("Content-Length")
            fields["Transfer-Encoding"] = "chunked"
        if fault.get("endless") == "length":
            fields["Content-Length"] = str(1 << 50)
        if fault.get("endless") == "close":
            fields.pop("Content-Length")
            fields["Connection"] = "close"
        head = f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
        head = head.encode("latin-1")
        if "headstall" in fault:
            self.connection.sendall(head[:len(head) // 2])
            self.hold()
        if "headendless" in fault:
            while not self.registry.stopped.is_set():
                self.connection.sendall(head + b"".join(b"X-%d: %s\r\n" % (number, b"x" * 500) for number in range(1000)))
                head = b""
        self.connection.sendall(head + b"\r\n")
        if self.method == "HEAD":
            return self.fields.get("connection", "").lower() != "close"
        self.send_body(fault, body, chunked)
        if said is not None or "endless" in fault:
            raise Gone()
        self.entry["done"] = True
        return self.fields.get("connection", "").lower() != "close"

    def send_body(self, fault, body, chunked):
        for limit, end in (("cut", self.close), ("stall", lambda _: self.hold())):
            if limit in fault and (fault[limit] < len(body) or limit == "stall"):
                if chunked:
                    self.connection.sendall(b"%x\r\n" % len(body))
                self.send(body[:fault[limit]])
                if limit == "cut" and not fault.get("reset"):
                    self.end_writing()
                end(fault)
        if "drip" in fault:
            for index in range(len(body)):
                self.send(body[index:index + 1])
                self.pause(1 / fault["drip"])
            return
        if "garbage" in fault:
            self.send(b"%x\r\n" % (len(body) // 2) + body[:len(body) // 2] + b"\r\n" + str(fault["garbage"]).encode("latin-1") + b"\r\n")
            self.send(body)
            raise Gone()
        if not chunked:
            self.send(body)
        for start in range(0, len(body), 1 << 16) if chunked else ():
            piece = body[start:start + (1 << 16)]
            self.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        if fault.get("endless"):
            filler = body[-1:] * (1 << 16) or b" " * (1 << 16)
            filler = filler if fault["endless"] != "chunked" else b"10000\r\n" + filler + b"\r\n"
            while not self.registry.stopped.is_set():
                self.send(filler)
        elif chunked:
            self.send(b"0\r\n\r\n")

    def end_writing(self):
        """What was sent should arrive; closing with unread input would reset."""
        try:
            self.connection.shutdown(socket.SHUT_WR) if not self.registry.context else None
        except OSError:
            pass

    def send(self, data):
        for start in range(0, len(data), 1 << 18):
            piece = data[start:start + (1 << 18)]
            self.connection.sendall(piece)
            self.entry["sent"] += len(piece)

    def refuse(self, status, code, message="", fields=None):
        body = json.dumps({"errors": [{"code": code, "message": message or code.lower().replace("_", " ")}]}).encode()
        return self.answer(status, dict({"Content-Type": "application/json"}, **(fields or {})), body)

    def json(self, value, fields=None):
        return self.answer(200, dict({"Content-Type": "application/json"}, **(fields or {})), json.dumps(value).encode())

    # What is served

    def dispatch(self):
        path, registry = self.path, self.registry
        if path == "/token":
            return self.token()
        if path == "/v1/search":
            found = [name for name in registry.manifests if self.query.get("q", "") in name]
            return self.json({"query": self.query.get("q", ""), "num_results": len(found), "num_pages": 1, "page": 1, "page_size": 25,
                              "results": [{"name": name, "description": "of a test", "star_count": 0, "is_official": False} for name in found]})
        if not path.startswith("/v2"):
            blob = registry.blobs.get("/elsewhere" + path) or registry.blobs.get(path.rsplit("/", 1)[-1])
            return self.content(blob) if blob else self.refuse(404, "NOT_FOUND")
        if not self.authorized():
            return None
        if path in ("/v2", "/v2/"):
            return self.json({}, {"Docker-Distribution-Api-Version": "registry/2.0"})
        if path == "/v2/_catalog":
            return self.json({"repositories": sorted(registry.manifests)})
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs|tags|referrers)/(.*)", path)
        if not match:
            return self.refuse(404, "NAME_UNKNOWN")
        name, kind, rest = match.groups()
        if kind == "blobs" and rest.startswith("uploads"):
            return self.refuse(405, "UNSUPPORTED", "this registry is read only") if registry.read_only else self.upload(name, rest[8:])
        if kind == "blobs":
            if rest not in registry.repository_blobs.get(name, ()):
                return self.refuse(404, "BLOB_UNKNOWN")
            return self.content(registry.blobs[rest], rest)
        if kind == "manifests":
            return self.put_manifest(name, rest) if self.method == "PUT" else self.manifest(name, rest)
        if kind == "tags":
            return self.tags(name)
        return self.json({"schemaVersion": 2, "mediaType": made_images.OCI["index"], "manifests": []})

    def content(self, data, name=None):
        fields = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        if name:
            fields["Docker-Content-Digest"] = name
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.fields.get("range", ""))
        if asked and "norange" not in self.fault:
            first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
            if first >= len(data):
                return self.answer(416, dict(fields, **{"Content-Range": f"bytes */{len(data)}"}))
            return self.answer(206, dict(fields, **{"Content-Range": f"bytes {first}-{last}/{len(data)}"}), data[first:last + 1])
        return self.answer(200, dict(fields, **({"Content-Length": str(len(data))} if self.method == "HEAD" else {})), data)

    def manifest(self, name, reference):
        held = self.registry.manifests.get(name)
        if held is None:
            return self.refuse(404, "NAME_UNKNOWN", "repository name not known to registry")
        if reference not in held:
            return self.refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, data = held[reference]
        return self.answer(200, {"Content-Type": media_type, "Docker-Content-Digest": made_images.digest(data)}, data)

    def tags(self, name):
        held = self.registry.manifests.get(name)
        if held is None:
            return self.refuse(404, "NAME_UNKNOWN")
        tags = sorted(tag for tag in held if ":" not in tag and tag > self.query.get("last", ""))
        size = int(self.query.get("n", self.registry.page))
        fields = {}
        if len(tags) > size:
            fields["Link"] = f'</v2/{name}/tags/list?n={size}&last={tags[size - 1]}>; rel="next"'
        return self.json({"name": name, "tags": tags[:size]}, fields)

    def put_manifest(self, name, reference):
        if self.registry.read_only:
            return self.refuse(405, "UNSUPPORTED", "this registry is read only")
        data = b"".join(self.body())
        document = json.loads(data)
        wanted = [each["digest"] for each in [document.get("config")] + document.get("layers", []) if each]
        missing = [each for each in wanted if each not in self.registry.repository_blobs.get(name, ())]
        if missing:
            return self.refuse(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry: " + missing[0])
        held = self.registry.manifests.setdefault(name, {})
        held[reference] = held[made_images.digest(data)] = (self.fields.get("content-type", ""), data)
        return self.answer(201, {"Location": f"/v2/{name}/manifests/{reference}", "Docker-Content-Digest": made_images.digest(data)})

    def upload(self, name, identity):
        registry = self.registry
        if self.method == "POST":
            mount, origin = self.query.get("mount"), self.query.get("from")
            self.drain()
            if mount and "nomount" not in self.fault and mount in registry.repository_blobs.get(origin, ()):
                registry.repository_blobs.setdefault(name, set()).add(mount)
                return self.answer(201, {"Location": f"/v2/{name}/blobs/{mount}", "Docker-Content-Digest": mount})
            identity = hashlib.sha256(os.urandom(8)).hexdigest()[:20]
            registry.uploads[identity] = bytearray()
            return self.answer(202, {"Location": f"/v2/{name}/blobs/uploads/{identity}?state=x", "Range": "0-0", "Docker-Upload-UUID": identity})
        held = registry.uploads.get(identity)
        if held is None:
            return self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        fields = {"Location": f"/v2/{name}/blobs/uploads/{identity}?state=x", "Docker-Upload-UUID": identity}
        if self.method == "DELETE":
            registry.uploads.pop(identity)
            return self.answer(204, {})
        asked = re.fullmatch(r"(?:bytes )?(\d+)-\d+(?:/.*)?", self.fields.get("content-range", ""))
        if asked and int(asked[1]) != len(held):
            return self.refuse(416, "RANGE_INVALID", fields=dict(fields, Range=f"0-{max(len(held) - 1, 0)}"))
        if self.method in ("PATCH", "PUT"):
            for piece in self.body():
                held += piece
        fields["Range"] = f"0-{max(len(held) - 1, 0)}"
        if self.method == "PUT":
            data = bytes(held)
            if made_images.digest(data) != self.query.get("digest"):
                return self.refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            registry.uploads.pop(identity)
            registry.put_blob(name, data)
            return self.answer(201, {"Location": f"/v2/{name}/blobs/{made_images.digest(data)}", "Docker-Content-Digest": made_images.digest(data)})
        return self.answer(202 if self.method == "PATCH" else 204, fields)

    # Who asks

    def basic(self):
        kind, _, value = self.fields.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user if self.registry.users.get(user) == password else None

    def authorized(self):
        registry = self.registry
        if registry.auth == "basic":
            if self.basic():
                return True
            self.refuse(401, "UNAUTHORIZED", fields={"WWW-Authenticate": 'Basic realm="test"'})
            return False
        if registry.auth == "token":
            kind, _, value = self.fields.get("authorization", "").partition(" ")
            match = re.fullmatch(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/.*", self.path)
            action = "pull" if self.method in ("GET", "HEAD") else "push"
            needed = f"repository:{match[1]}:{action}" if match else ""
            known = registry.tokens.get(value) if kind.lower() == "bearer" else None
            if known and known[0] > time.monotonic() and (not needed or needed in known[1]):
                return True
            realm = registry.realm or registry.url + "/token"
            scope = f',scope="repository:{match[1]}:{"pull" if action == "pull" else "pull,push"}"' if match else ""
            self.refuse(401, "UNAUTHORIZED", fields={"WWW-Authenticate": f'Bearer realm="{realm}",service="test"{scope}'})
            return False
        return True

    def token(self):
        registry = self.registry
        if self.method == "POST":
            form = {key: values[0] for key, values in urllib.parse.parse_qs(b"".join(self.body()).decode()).items()}
            if form.get("refresh_token") != "refresh-of-a-test":
                return self.refuse(401, "UNAUTHORIZED", "wrong refresh token")
            scopes, user = form.get("scope", "").split(), "u"
        else:
            user = self.basic()
            if (registry.users and not user) or ("authorization" in self.fields and not user):
                return self.refuse(401, "UNAUTHORIZED", "incorrect username or password")
            scopes = [each for text in urllib.parse.parse_qs(urllib.parse.urlsplit(self.target).query).get("scope", []) for each in text.split()]
        granted = set()
        for scope in scopes:
            kind, name, actions = scope.rsplit(":", 2) if scope.count(":") > 2 else (scope.split(":") + ["", ""])[:3]
            granted |= {f"{kind}:{name}:{action}" for action in actions.split(",")}
        value = "token-" + os.urandom(12).hex()
        registry.tokens[value] = (time.monotonic() + registry.token_life, granted)
        answer = {"token": value, "expires_in": registry.token_life, "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        if self.query.get("offline_token"):
            answer["refresh_token"] = "refresh-of-a-test"
        return self.json(answer)

    # The control path

    def control(self):
        self.fault, registry = {}, self.registry
        data = b"".join(self.body())
        if self.path.endswith("/plan"):
            rules = json.loads(data or b"[]")
            rules = rules if isinstance(rules, list) else [rules]
            registry.plan(*rules)
        elif self.path.endswith("/requests"):
            with registry.lock:
                seen = list(registry.requests)
            return self.json(seen)
        elif self.path.endswith("/forget"):
            registry.forget()
        elif self.path.endswith("/reset"):
            registry.plan()
            registry.forget()
        return self.json({})


def samples(registry, elsewhere):
    """The images that a registry started by hand has."""
    registry.add("test/app", "latest", made_images.busybox("app"))
    registry.add("test/docker", "latest", made_images.busybox("docker", "docker"))
    registry.add("test/zstd", "latest", made_images.busybox("zstd", how="zstd"))
    registry.add("test/plain", "latest", made_images.busybox("plain", how="none"))
    registry.add("test/multi", "latest", made_images.Index([
        made_images.busybox("arm64", platform=("linux", "arm64", "v8")), made_images.busybox("arm7", platform=("linux", "arm", "v7")),
        made_images.busybox("amd64"), made_images.busybox("windows", platform=("windows", "amd64", ""))]))
    registry.add("test/large", "latest", made_images.busybox("large", extra=[made_images.random_layer(40 << 20)]))
    for name, document, _ in made_images.hostile_manifests(elsewhere):
        registry.add("hostile/" + name, "latest", document)
    for name, image in made_images.hostile_layers():
        registry.add("hostile-layer/" + name, "latest", image)


def main():
    parser = argparse.ArgumentParser(description="a registry that misbehaves as it is told; see the file's head")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", metavar="FOLDER", help="serve TLS; ca.crt is put into the folder")
    parser.add_argument("--auth", choices=["basic", "token"])
    parser.add_argument("--user", default="u:secret")
    parser.add_argument("--other", metavar="ADDRESS", help="a second listener with the same contents")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--plan", default="[]")
    given = parser.parse_args()
    if given.tls and not os.path.exists(os.path.join(given.tls, "server.crt")):
        os.makedirs(given.tls, exist_ok=True)
        make_certificates(given.tls, [given.address, "localhost", "registry.test"])
    users = dict([given.user.split(":", 1)]) if given.auth else {}
    registry = Registry(given.address, given.port, given.tls, given.auth, users, read_only=given.read_only)
    other = Registry(given.other, like=registry) if given.other else None
    samples(registry, other.url if other else "http://198.51.100.2:1")
    rules = json.loads(given.plan)
    registry.plan(*(rules if isinstance(rules, list) else [rules]))
    print(json.dumps({"url": registry.url, "name": registry.name, "other": other.url if other else None}), flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
