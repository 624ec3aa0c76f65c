"""docker, podman and skopeo push to and pull from `skiff registry serve`. They come from the peers' root (Scripts/peers.sh), which is
entered by chroot: none of them runs a container here."""
import json, os, pathlib, re, shutil, signal, subprocess, tempfile, time, unittest, urllib.request

PEERS = pathlib.Path(os.environ.get("SKIFF_PEERS", "/var/cache/skiff-peers")) / "root"
BINARIES = pathlib.Path(os.environ["SKIFF_BIN_DIR"])


@unittest.skipUnless((PEERS / "usr/bin/podman").exists(), "the peers' root is missing: Scripts/peers.sh makes it")
class RegistryTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.undo = []
        cls.scratch = pathlib.Path(tempfile.mkdtemp(prefix="skiff-compat-registry."))
        cls.undo.append(lambda: shutil.rmtree(cls.scratch))
        log = open(cls.scratch / "registry.log", "wb")
        cls.registry = subprocess.Popen([str(BINARIES / "skiff"), "registry", "serve", "--listen", "127.0.0.1:0", "--root", str(cls.scratch / "registry"), "--delete"],
                                        stdin=subprocess.DEVNULL, stderr=log)
        log.close()
        cls.undo.append(lambda: (cls.registry.terminate(), cls.registry.wait(20)))
        deadline = time.time() + 20
        while time.time() < deadline:
            found = re.search(r"listening on (127\.0\.0\.1:\d+)", (cls.scratch / "registry.log").read_text())
            if found:
                break
            time.sleep(0.05)
        cls.host = found[1]
        cls.root = cls.scratch / "root"
        cls.root.mkdir()
        for words in (["--bind", PEERS, cls.root], ["-t", "proc", "proc", cls.root / "proc"], ["--rbind", "/sys", cls.root / "sys"],
                      ["--rbind", "/dev", cls.root / "dev"], ["-t", "tmpfs", "tmpfs", cls.root / "run"], ["-t", "tmpfs", "tmpfs", cls.root / "tmp"]):
            subprocess.run(["mount", *map(str, words)], check=True)
        cls.undo.append(lambda: subprocess.run(["umount", "-R", "-l", str(cls.root)]))
        # an image of one file, made by buildah's and podman's common ground: an OCI layout
        cls.layout(cls.root / "tmp/oci")

    @classmethod
    def tearDownClass(cls):
        for action in reversed(cls.undo):
            action()

    @staticmethod
    def layout(folder):
        import gzip, hashlib, io, tarfile
        (folder / "blobs/sha256").mkdir(parents=True)

        def put(content, kind):
            digest = hashlib.sha256(content).hexdigest()
            (folder / "blobs/sha256" / digest).write_bytes(content)
            return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as writer:
            info = tarfile.TarInfo("file")
            info.size = 2 << 20
            writer.addfile(info, io.BytesIO(os.urandom(info.size)))
        diff = "sha256:" + hashlib.sha256(tar.getvalue()).hexdigest()
        layer = put(gzip.compress(tar.getvalue(), 1), "layer.v1.tar+gzip")
        config = put(json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/file"]}, "rootfs": {"type": "layers", "diff_ids": [diff]}}).encode(), "config.v1+json")
        manifest = put(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]}).encode(), "manifest.v1+json")
        manifest["annotations"] = {"org.opencontainers.image.ref.name": "x"}
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))

    def peer(self, *words, fails=False):
        done = subprocess.run(["chroot", str(self.root), *words], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode != 0, fails, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def catalog(self):
        return json.load(urllib.request.urlopen(f"http://{self.host}/v2/_catalog"))["repositories"]

    def test_1_skopeo(self):
        place = f"docker://{self.host}/skopeo/a"
        self.peer("skopeo", "copy", "--dest-tls-verify=false", "oci:/tmp/oci:x", f"{place}:1")
        self.peer("skopeo", "copy", "--dest-tls-verify=false", "--format", "v2s2", "oci:/tmp/oci:x", f"{place}:docker")
        self.assertIn('"docker"', self.peer("skopeo", "list-tags", "--tls-verify=false", place))
        self.peer("skopeo", "sync", "--src", "docker", "--dest", "dir", "--src-tls-verify=false", f"{self.host}/skopeo/a", "/tmp/synced")
        self.peer("skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"{place}:1", f"docker://{self.host}/skopeo/b:1")
        self.peer("skopeo", "delete", "--tls-verify=false", f"docker://{self.host}/skopeo/b:1")
        self.peer("skopeo", "inspect", "--tls-verify=false", f"docker://{self.host}/skopeo/b:1", fails=True)

    def test_2_podman(self):
        podman = ["podman", "--root", "/tmp/podman", "--runroot", "/run/podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]
        source, target = f"{self.host}/skopeo/a:1", f"{self.host}/podman/a"
        self.peer(*podman, "pull", "--tls-verify=false", source)
        self.peer(*podman, "tag", source, f"{target}:1")
        self.peer(*podman, "push", "--tls-verify=false", f"{target}:1")
        self.peer(*podman, "push", "--tls-verify=false", "--compression-format", "zstd", f"{target}:1", f"{target}:zstd")
        self.peer(*podman, "rmi", "-f", source)
        self.peer(*podman, "pull", "--tls-verify=false", f"{target}:zstd")
        self.assertIn("podman/a", self.peer(*podman, "search", "--tls-verify=false", f"{self.host}/podman"))
        self.assertIn("podman/a", self.catalog())

    def test_3_docker(self):
        socket = self.root / "run/docker.sock"
        log = open(self.scratch / "dockerd.log", "wb")
        daemon = subprocess.Popen(["chroot", str(self.root), "dockerd", "-H", "unix:///run/docker.sock", "--data-root", "/tmp/docker", "--exec-root", "/run/docker",
                                   "--pidfile", "/run/docker.pid", "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", "vfs"],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.addCleanup(lambda: (daemon.send_signal(signal.SIGTERM), daemon.wait(30)))

        def docker(*words):
            done = subprocess.run(["docker", "-H", f"unix://{socket}", *words], capture_output=True, text=True, timeout=120)
            return done.returncode, done.stdout + done.stderr
        deadline = time.time() + 40
        while docker("version")[0] != 0:
            self.assertLess(time.time(), deadline, "dockerd does not start")
            time.sleep(0.3)
        source, target = f"{self.host}/skopeo/a:docker", f"{self.host}/docker/a:1"
        for words in (["pull", "-q", source], ["tag", source, target], ["push", "-q", target], ["rmi", "-f", source, target], ["pull", target],
                      ["manifest", "inspect", "--insecure", target]):
            status, text = docker(*words)
            self.assertEqual(status, 0, f"docker {words}: {text}")
        status, text = docker("search", f"{self.host}/docker")
        self.assertEqual(status, 0, text)
        self.assertIn("docker/a", text)


if __name__ == "__main__":
    unittest.main()
