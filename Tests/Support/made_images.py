"""Images made in memory, good ones and hostile ones, for the registry of the tests (faulty_registry.py)."""
import gzip, hashlib, io, json, os, random, shutil, subprocess, tarfile

OCI = {
    "index": "application/vnd.oci.image.index.v1+json", "manifest": "application/vnd.oci.image.manifest.v1+json",
    "config": "application/vnd.oci.image.config.v1+json", "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip", "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
DOCKER = {
    "index": "application/vnd.docker.distribution.manifest.list.v2+json",
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "config": "application/vnd.docker.container.image.v1+json", "none": "application/vnd.docker.image.rootfs.diff.tar",
    "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip", "zstd": "application/vnd.docker.image.rootfs.diff.tar.zstd",
}
TYPES = {"oci": OCI, "docker": DOCKER}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(name, kind=tarfile.REGTYPE, mode=0o755, link="", **more):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.mtime = kind, mode, link, 1700000000
    for key, value in more.items():
        setattr(info, key, value)
    return info


def tar(entries):
    """A tar of (TarInfo, bytes or None)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            info.size = len(data) if data is not None else info.size if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def busybox_tar():
    """A root with a static busybox."""
    path = shutil.which("busybox") or "/bin/busybox"
    with open(path, "rb") as file:
        binary = file.read()
    entries = [(entry(name, tarfile.DIRTYPE), None) for name in ("bin", "etc", "dev", "proc", "sys", "tmp", "root")]
    entries.append((entry("bin/busybox"), binary))
    entries += [(entry("bin/" + name, tarfile.SYMTYPE, link="busybox"), None)
                for name in "sh cat ls echo true false sleep id env stat".split()]
    entries.append((entry("etc/passwd", mode=0o644), b"root:x:0:0:root:/root:/bin/sh\n"))
    return tar(entries)


def file_tar(name, data):
    return tar([(entry(name, mode=0o644), data)])


class Layer:
    """A compressed layer; `how` is none, gzip or zstd."""

    def __init__(self, archive, how="gzip", data=None, diff_id=None):
        self.how = how
        if data is None:
            data = {"none": lambda: archive, "gzip": lambda: gzip.compress(archive, 1, mtime=0),
                    "zstd": lambda: subprocess.run(["zstd", "-1", "-q", "-c"], input=archive, capture_output=True, check=True).stdout}[how]()
        self.data, self.digest = data, digest(data)
        self.diff_id = diff_id or digest(archive)

    def descriptor(self, kind="oci", **more):
        return dict({"mediaType": TYPES[kind][self.how], "digest": self.digest, "size": len(self.data)}, **more)


class Image:
    """A manifest with what it points to. `blobs` is what a registry must have to serve it."""

    def __init__(self, layers, kind="oci", platform=("linux", "amd64", ""), config=None, manifest=None):
        self.kind, self.platform, self.layers = kind, platform, layers
        operating_system, architecture, variant = platform
        body = {"architecture": architecture, "os": operating_system, "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
                "history": [{"created_by": "test"} for _ in layers]}
        if variant:
            body["variant"] = variant
        body.update(config or {})
        self.config = json.dumps(body).encode()
        document = {"schemaVersion": 2, "mediaType": TYPES[kind]["manifest"],
                    "config": {"mediaType": TYPES[kind]["config"], "digest": digest(self.config), "size": len(self.config)},
                    "layers": [layer.descriptor(kind) for layer in layers]}
        document.update(manifest or {})
        self.document = document
        self.manifest = json.dumps(document, indent=1).encode()
        self.media_type = TYPES[kind]["manifest"]
        self.blobs = {digest(self.config): self.config, **{layer.digest: layer.data for layer in layers}}

    @property
    def digest(self):
        return digest(self.manifest)

    def descriptor(self):
        operating_system, architecture, variant = self.platform
        platform = {"os": operating_system, "architecture": architecture}
        if variant:
            platform["variant"] = variant
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest), "platform": platform}


class Index:
    """Several images under one name."""

    def __init__(self, images, kind="oci", descriptors=None):
        self.images, self.kind, self.media_type = images, kind, TYPES[kind]["index"]
        self.document = {"schemaVersion": 2, "mediaType": self.media_type,
                         "manifests": descriptors or [image.descriptor() for image in images]}
        self.manifest = json.dumps(self.document).encode()

    @property
    def digest(self):
        return digest(self.manifest)


_root = None


def root_layer(how="gzip"):
    """The busybox layer; made once per compression."""
    global _root
    if _root is None:
        _root = {"tar": busybox_tar()}
    if how not in _root:
        _root[how] = Layer(_root["tar"], how)
    return _root[how]


def busybox(marker="hello", kind="oci", how="gzip", platform=("linux", "amd64", ""), extra=(), **more):
    """busybox with `/etc/marker` on top; `extra` are further layers between."""
    return Image([root_layer(how), *extra, Layer(file_tar("etc/marker", marker.encode() + b"\n"), how)], kind, platform, **more)


def random_layer(size, seed=1, how="gzip", name="data/random"):
    """A layer whose compressed form is about as long as said."""
    data = random.Random(seed).randbytes(size)
    return Layer(tar([(entry(os.path.dirname(name) or ".", tarfile.DIRTYPE), None), (entry(name, mode=0o644), data)]), how)


def gzip_members(parts):
    """One gzip file of many members: (compressed member, how often)."""
    return b"".join(part * count for part, count in parts)


def bomb(size, how="gzip"):
    """A layer with one file of zeros, `size` bytes (a multiple of 64 MiB), small when compressed. Its diff_id is computed for real only
    when it is small; else it is wrong, which nobody learns who stops in time."""
    step = 64 << 20
    size -= size % step
    header = tar([(entry("big", mode=0o644, size=0), None)])[:512]
    info = entry("big", mode=0o644)
    info.size = size
    header = info.tobuf(tarfile.GNU_FORMAT)
    zeros = bytes(step)
    if how == "gzip":
        data = gzip_members([(gzip.compress(header, 9, mtime=0), 1), (gzip.compress(zeros, 9, mtime=0), size // step),
                             (gzip.compress(bytes(1024), 9, mtime=0), 1)])
    else:
        pack = lambda raw: subprocess.run(["zstd", "-q", "-c"], input=raw, capture_output=True, check=True).stdout
        data = pack(header) + pack(zeros) * (size // step) + pack(bytes(1024))
    diff = "sha256:" + "b" * 64
    if size <= 1 << 30:
        sum_ = hashlib.sha256(header)
        for _ in range(size // step):
            sum_.update(zeros)
        sum_.update(bytes(1024))
        diff = "sha256:" + sum_.hexdigest()
    return Layer(b"", how, data=data, diff_id=diff)


# MARK: Hostile images

# The pattern of what may work or be refused, as long as it ends.
EITHER = "either"


class Raw:
    """A manifest of any bytes under any type."""

    def __init__(self, manifest, media_type=OCI["manifest"], blobs=None):
        self.manifest = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        self.media_type, self.blobs, self.images = media_type, blobs or {}, []

    @property
    def digest(self):
        return digest(self.manifest)


def hostile_manifests(elsewhere="http://198.51.100.2:1"):
    """(name, document, pattern): what a client must say; a pattern of None: the image must work. `elsewhere` is a host that must
    never hear a credential, and nothing at all from foreign layers over http."""
    good = busybox("hostile")
    # its first layer is never taken, so that it is never here already
    own = Layer(file_tar("own", b"a layer that nobody has"))
    bad = Image([own, *good.layers])
    base, blobs = bad.document, dict(good.blobs, **bad.blobs)
    found = []

    def add(name, document, pattern=r".", media_type=OCI["manifest"], more=None):
        found.append((name, document if hasattr(document, "manifest") else Raw(document, media_type, dict(blobs, **(more or {}))), pattern))

    def changed(**fields):
        return {key: value for key, value in dict(base, **fields).items() if value is not Ellipsis}

    def layer0(**fields):
        layers = [dict(each) for each in base["layers"]]
        layers[0].update(fields)
        return changed(layers=[{key: value for key, value in each.items() if value is not Ellipsis} for each in layers])

    add("layers-object", changed(layers={"a": 1}))
    add("layers-null", changed(layers=None))
    add("layers-text", changed(layers="sha256:" + "a" * 64))
    add("layers-missing", changed(layers=...))
    add("layers-numbers", changed(layers=[1, 2, 3]))
    add("config-missing", changed(config=...))
    add("config-array", changed(config=[]))
    add("size-text", layer0(size="12"))
    add("size-missing", layer0(size=...))
    add("size-negative", layer0(size=-1))
    add("size-overflow", json.dumps(layer0(size=0)).replace('"size": 0', '"size": 9223372036854775808').encode())
    add("size-huge-exponent", json.dumps(layer0(size=0)).replace('"size": 0', '"size": 1e400').encode())
    add("size-most", layer0(size=(1 << 63) - 1))
    add("size-zero", layer0(size=0))
    add("size-short", layer0(size=100))
    add("size-long", layer0(size=len(own.data) + 1))
    for name, size in {"short": 100, "long": len(root_layer().data) + 1, "zero": 0}.items():
        known = [dict(good.document["layers"][0], size=size), good.document["layers"][1]]
        add("size-of-known-" + name, dict(good.document, layers=known))
    for name, text in {
        "empty": "", "path": "sha256:../../../../../../etc/passwd", "short": "sha256:" + "a" * 63, "letters": "sha256:" + "g" * 64,
        "capitals": "sha256:" + "A" * 64, "md5": "md5:" + "a" * 32, "nul": "sha256:" + "a" * 63 + "\0", "slash": "../" * 20 + "x",
        "long": "sha256:" + "a" * 100000, "newline": "sha256:" + "a" * 64 + "\n",
    }.items():
        add("digest-" + name, layer0(digest=text))
        if name in ("path", "md5"):
            add("config-digest-" + name, changed(config=dict(base["config"], digest=text)))
    add("type-mismatch-index", changed(mediaType=OCI["index"]))
    add("type-mismatch-header", base, media_type=OCI["index"])
    add("type-mismatch-docker", changed(mediaType=DOCKER["manifest"]))
    add("type-unknown", base, media_type="text/html; charset=utf-8")
    add("ambiguous", changed(manifests=[good.descriptor()]))
    add("schema-1", {"schemaVersion": 1, "name": "x", "tag": "latest", "architecture": "amd64", "fsLayers": [], "history": [], "signatures": []},
        r"(?i)schema.?1|schema version 1|prettyjws|manifest\.v1", "application/vnd.docker.distribution.manifest.v1+prettyjws")
    add("schema-1-untyped", {"schemaVersion": 1, "name": "x", "tag": "latest", "architecture": "amd64", "fsLayers": [], "history": []},
        r"(?i)schema.?1|schema version 1|prettyjws|manifest\.v1", "application/json")
    add("schema-3", changed(schemaVersion=3))
    add("json-empty", b"")
    add("json-null", b"null")
    add("json-array", b"[]")
    add("json-html", b"<html><body>log in here</body></html>")
    add("json-rest", json.dumps(base).encode() + b"{}")
    add("json-deep", b'{"schemaVersion":2,"x":' + b"[" * 200000 + b"]" * 200000 + b"}")
    add("json-deep-object", b'{"schemaVersion":2,"x":' + b'{"a":' * 100000 + b"1" + b"}" * 100000 + b"}")
    add("json-deep-open", b"[" * 4000000)
    add("json-control", b"\x1b]0;title\x07" + json.dumps(base).encode())
    add("json-large", json.dumps(dict(base, annotations={"a": "x" * (8 << 20)})).encode(), r"larger|large|MiB|limit")
    add("json-twice", json.dumps(base)[:-1].encode() + b', "layers": [], "config": ' + json.dumps(dict(base["config"], digest="sha256:" + "0" * 64)).encode() + b"}")
    add("annotations", dict(good.document, annotations={"org.opencontainers.image.title": "../../../../etc/passwd", "io.containerd.image.name": "docker.io/library/evil:latest",
                                            "org.opencontainers.image.ref.name": "../../x", "": "empty", "a" * 5000: "b" * 5000}), None)
    add("annotations-types", changed(annotations=[1]))
    many = Layer(file_tar("a", b"a"))
    add("layers-10000-absent", changed(layers=[{"mediaType": OCI["gzip"], "digest": digest(b"%d" % number), "size": 100} for number in range(10000)]))
    add("layers-10000-same", Image([many] * 10000), EITHER)
    twice = Image([*bad.layers, own])
    add("same-digest-other-size", dict(twice.document, layers=base["layers"] + [dict(base["layers"][0], size=base["layers"][0]["size"] + 5)]),
        more=twice.blobs)
    config_layer = dict(base["config"], mediaType=OCI["none"])
    add("config-is-layer", changed(layers=[config_layer] + base["layers"][1:]))
    add("layer-is-config", changed(config=dict(base["layers"][0], mediaType=OCI["config"])))
    add("manifest-is-layer", changed(layers=[{"mediaType": OCI["none"], "digest": good.digest, "size": len(good.manifest)}]), more={good.digest: good.manifest})
    for name, config in {
        "fewer": {"rootfs": {"type": "layers", "diff_ids": [good.layers[0].diff_id]}},
        "more": {"rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in good.layers] * 2}},
        "other": {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64, good.layers[1].diff_id]}},
        "swapped": {"rootfs": {"type": "layers", "diff_ids": [good.layers[1].diff_id, good.layers[0].diff_id]}},
        "path": {"rootfs": {"type": "layers", "diff_ids": ["sha256:../../../x", good.layers[1].diff_id]}},
        "types": {"rootfs": [1]}, "none": {"rootfs": None},
        "env-type": {"config": {"Env": "PATH"}}, "cmd-type": {"config": {"Cmd": {"a": 1}}},
    }.items():
        add("diff-ids-" + name if "rootfs" in config else "config-" + name, Image(good.layers, config=config))
    add("config-size-1g", changed(config=dict(base["config"], size=1 << 30)))
    add("config-size-short", changed(config=dict(base["config"], size=10)))
    deep = b'{"rootfs":' * 50000
    add("config-deep", changed(config={"mediaType": OCI["config"], "digest": digest(deep), "size": len(deep)}), more={digest(deep): deep})
    add("config-helm", changed(config=dict(base["config"], mediaType="application/vnd.cncf.helm.config.v1+json")))
    add("layer-wasm", layer0(mediaType="application/vnd.wasm.content.layer.v1+wasm"))
    add("layer-encrypted", layer0(mediaType="application/vnd.oci.image.layer.v1.tar+gzip+encrypted"))
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    for name, urls in {"http": [elsewhere + "/foreign"], "file": ["file:///etc/shadow"], "script": ["javascript:alert(1)"], "types": [1],
                       "many": [elsewhere + f"/foreign/{number}" for number in range(10000)]}.items():
        layer = Layer(file_tar("own", b"foreign, " + name.encode()))
        add("foreign-" + name, Image([layer], manifest={"layers": [dict(layer.descriptor(), mediaType=foreign, urls=urls)]}))
    add("urls-unasked", dict(good.document, layers=[dict(each, urls=[elsewhere + "/unasked"]) for each in good.document["layers"]]), None)
    for name, text in {"text": b"this is no gzip", "half": root_layer().data[:5000], "tail": root_layer().data + b"garbage behind"}.items():
        layer = Layer(b"", data=text, diff_id=root_layer().diff_id)
        add("layer-" + name, Image([layer, good.layers[1]]))
    add("index-empty", {"schemaVersion": 2, "mediaType": OCI["index"], "manifests": []}, media_type=OCI["index"])
    add("index-types", {"schemaVersion": 2, "mediaType": OCI["index"], "manifests": [{"platform": 7}]}, media_type=OCI["index"])
    add("index-other", Index([busybox(platform=("windows", "amd64", "")), busybox(platform=("linux", "s390x", ""))]),
        r"(?i)no matching manifest|no match for platform|platform")
    chain, images = good, [good]
    for _ in range(60):
        following = Index([], descriptors=[{"mediaType": chain.media_type, "digest": chain.digest, "size": len(chain.manifest),
                                            "platform": {"os": "linux", "architecture": "amd64"}}])
        images.append(following)
        chain = following
    chain.images = images[:-1]
    add("index-chain", chain)
    add("index-100000", {"schemaVersion": 2, "mediaType": OCI["index"], "manifests": [dict(good.descriptor(), size=1, digest="sha256:" + "%064x" % number) for number in range(100000)]},
        media_type=OCI["index"])
    liar = dict(good.descriptor(), size=1)
    liar_index = Index([good], descriptors=[liar])
    add("index-size-lie", liar_index)
    return found


def hostile_layers():
    """(name, image): tars that try to leave the root; whatever becomes of them, nothing outside changes. Each, if it can be pulled, is
    still a root with busybox."""
    cases = {
        "dotdot": [(entry("../../../../../../../../tmp/skiff-escaped", mode=0o644), b"x")],
        "absolute": [(entry("/tmp/skiff-escaped", mode=0o644), b"x")],
        "symlink-through": [(entry("out", tarfile.SYMTYPE, link="/tmp"), None), (entry("out/skiff-escaped", mode=0o644), b"x")],
        "symlink-dotdot": [(entry("out", tarfile.SYMTYPE, link="../../../../../../../../tmp"), None), (entry("out/skiff-escaped", mode=0o644), b"x")],
        "hardlink-out": [(entry("taken", tarfile.LNKTYPE, link="/etc/shadow"), None)],
        "hardlink-dotdot": [(entry("taken", tarfile.LNKTYPE, link="../../../../../../../../etc/shadow"), None)],
        "hardlink-symlink": [(entry("s", tarfile.SYMTYPE, link="/etc/shadow"), None), (entry("taken", tarfile.LNKTYPE, link="s"), None)],
        "whiteout-dotdot": [(entry("a/.wh...", mode=0o644), b"")],
        "whiteout-empty": [(entry("a/.wh.", mode=0o644), b"")],
        "whiteout-root": [(entry(".wh..", mode=0o644), b"")],
        "device": [(entry("dev/memory", tarfile.CHRTYPE, devmajor=1, devminor=1), None)],
        "dir-over-symlink": [(entry("tmp", tarfile.SYMTYPE, link="/tmp"), None), (entry("tmp/skiff-escaped", mode=0o644), b"x")],
        "name-nul": [(entry("a\0b", mode=0o644), b"x")],
        "name-long": [(entry("n" * 300, mode=0o644), b"x")],
        "path-long": [(entry("/".join(["d" * 200] * 40), mode=0o644), b"x")],
        "file-as-folder": [(entry("f", mode=0o644), b"x"), (entry("f/g", mode=0o644), b"x")],
    }
    return [(name, Image([root_layer(), Layer(tar(entries)), Layer(file_tar("etc/marker", b"hostile\n"))])) for name, entries in cases.items()]
