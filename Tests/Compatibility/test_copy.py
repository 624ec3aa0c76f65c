"""cp: docker's own client and ours do the same, in every corner that docker's rules have, and nothing of the host is touched."""
import ctypes
import io
import json
import base64
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time

from engine import BIN, Case, docker, engine

IMAGE = "busybox:test"
SKIFF = os.path.abspath(BIN + "/skiff")


def tree(folder):
    """What is in a folder: kind, mode, content or target by path."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            kind = oct(status.st_mode)
            if os.path.islink(path):
                what = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    what = file.read()
            else:
                what = None
            found[os.path.relpath(path, folder)] = (kind, what)
    return found


def names(tar):
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return [(m.name, m.type, m.uid, m.gid, oct(m.mode), m.linkname) for m in archive]


class CopyTests(Case):
    def setUp(self):
        super().setUp()
        self.folder = engine().scratch + "/cp"
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder + "/src/sub")
        with open(self.folder + "/src/f", "w") as file:
            file.write("hello")
        with open(self.folder + "/src/sub/g", "w") as file:
            file.write("g")
        os.chmod(self.folder + "/src/f", 0o640)
        os.chown(self.folder + "/src/f", 1000, 1001)
        os.symlink("f", self.folder + "/src/link")
        os.symlink("src", self.folder + "/dirlink")
        os.symlink("missing", self.folder + "/broken")

    SETUP = ("mkdir -p /w/dir/inner /w/other; echo old >/w/file; echo in >/w/dir/inner/x; ln -s dir /w/dirlink; ln -s file /w/filelink; "
             "ln -s missing /w/broken; ln -s /w/dir/inner /w/abs; chown -R 1000:1001 /w/dir; mkfifo /w/fifo; exec sleep 600")

    def client(self, name, *args, input=None):
        program = "docker" if name == "docker" else SKIFF
        env = dict(engine().env, SKIFF_HOST="unix://" + engine().socket)
        return subprocess.run([program, "cp", *args], env=env, cwd=self.folder, input=input, timeout=60, capture_output=True,
                              stdin=None if input is not None else subprocess.DEVNULL)

    def into(self, name, source, destination):
        docker("rm", "-f", "cc")
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c", self.SETUP)
        self.eventually(lambda: docker("exec", "cc", "test", "-e", "/w/fifo").code == 0)
        done = self.client(name, source, "cc:" + destination)
        listed = self.ok("exec", "cc", "sh", "-c", "cd /w; find . | sort | while read f; do stat -c '%n %F %a %u %g %N' $f; done; "
                         "cat /w/file; cat /w/missing 2>/dev/null; true").out
        self.ok("rm", "-f", "cc")
        # docker's CLI may log how its own tar writer ended, at any moment
        said = [line for line in done.stderr.decode().split("\n") if line and not line.startswith('time="')]
        return done.returncode, said[-1:], listed

    def test_into_a_container_both_clients_do_the_same(self):
        for source in ("src", "src/", "src/.", "src/f", "src/link", "dirlink", "dirlink/", "broken", "nope", "src/f/"):
            for destination in ("/w/dir", "/w/dir/", "/w/file", "/w/new", "/w/new/", "/w/new/deeper", "/w/dirlink", "/w/filelink", "/w/broken",
                                "/w/file/", "/w/abs", "w/dir"):
                if (source not in ("src", "src/f", "src/.") and destination not in ("/w/dir", "/w/new", "/w/file")):
                    continue
                with self.subTest(source=source, destination=destination):
                    theirs = self.into("docker", source, destination)
                    ours = self.into("skiff", source, destination)
                    self.assertEqual(ours[0], theirs[0], f"{ours}\n{theirs}")
                    self.assertEqual(ours[2], theirs[2])
                    if theirs[0] != 0 and "lstat" not in str(theirs[1]):
                        self.assertEqual(ours[1], theirs[1])

    def out(self, name, source, destination):
        shutil.rmtree(self.folder + "/out", ignore_errors=True)
        os.makedirs(self.folder + "/out/dir")
        with open(self.folder + "/out/file", "w") as file:
            file.write("old")
        os.symlink("dir", self.folder + "/out/dirlink")
        os.symlink("new", self.folder + "/out/broken")
        done = self.client(name, *source.split(" "), destination)
        return done.returncode, done.stderr.decode().split("\n")[-2:-1], tree(self.folder + "/out")

    def test_out_of_a_container_both_clients_do_the_same(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c", self.SETUP)
        self.eventually(lambda: docker("exec", "cc", "test", "-e", "/w/fifo").code == 0)
        for source in ("cc:/w/dir", "cc:/w/dir/", "cc:/w/dir/.", "cc:/w/file", "cc:w/file", "cc:/w/filelink", "cc:/w/dirlink", "cc:/w/dirlink/",
                       "-L cc:/w/filelink", "-L cc:/w/dirlink", "-L cc:/w/broken", "cc:/w/broken", "cc:/w/nope", "cc:/w/file/", "-a cc:/w/dir"):
            for destination in ("out", "out/dir", "out/dir/", "out/file", "out/new", "out/new/", "out/no/such", "out/dirlink", "out/broken", "/dev/null"):
                with self.subTest(source=source, destination=destination):
                    theirs = self.out("docker", source, destination)
                    ours = self.out("skiff", source, destination)
                    self.assertEqual(ours[0], theirs[0], f"{ours}\n{theirs}")
                    self.assertEqual(ours[2], theirs[2])
                    if theirs[0] != 0 and "time=" not in str(theirs[1]):
                        self.assertEqual(ours[1], theirs[1])

    def test_streams(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c", self.SETUP)
        self.eventually(lambda: docker("exec", "cc", "test", "-e", "/w/fifo").code == 0)
        for path in ("/w/dir", "/w/dir/.", "/w/file", "/w/filelink", "/w/dirlink/", "/w/fifo"):
            with self.subTest(path=path):
                theirs = self.client("docker", "cc:" + path, "-").stdout
                ours = self.client("skiff", "cc:" + path, "-").stdout
                self.assertEqual(names(theirs), names(ours))
                self.assertTrue(names(ours))
        tar = self.client("skiff", "cc:/w/dir", "-").stdout
        for name in ("docker", "skiff"):
            self.assertEqual(self.client(name, "-", "cc:/w/other", input=tar).returncode, 0)
            self.assertEqual(self.ok("exec", "cc", "sh", "-c", "cat /w/other/dir/inner/x; stat -c %u:%g /w/other/dir").out, "in\n1000:1001\n")
            self.ok("exec", "cc", "rm", "-r", "/w/other/dir")
            refused = self.client(name, "-", "cc:/w/file", input=tar)
            self.assertEqual((refused.returncode, refused.stderr), (1, b'destination "cc:/w/file" must be a directory\n'))
        # the whole root, without what is the kernel's own
        whole = [name for name, *_ in names(self.client("skiff", "cc:/", "-").stdout)]
        self.assertIn("/w/dir/inner/x", whole)
        self.assertFalse([name for name in whole if name.startswith(("/proc/", "/sys/", "/dev/"))])

    def test_refusals(self):
        self.ok("create", "--name", "cc", IMAGE, "true")
        for args, text in ((("a", "b"), "must specify at least one container source"), (("cc:/a", "cc:/b"), "copying between containers is not supported"),
                           (("", "cc:/"), "source can not be empty"), (("cc:/", ""), "destination can not be empty"),
                           (("src/f", "nope:/x"), "Error response from daemon: No such container: nope"),
                           (("nope:/x", "."), "Error response from daemon: No such container: nope")):
            for name in ("docker", "skiff"):
                with self.subTest(args=args, client=name):
                    done = self.client(name, *args)
                    self.assertEqual((done.returncode, done.stderr.decode().strip()), (1, text))

    def test_what_is_said_on_a_terminal(self):
        self.ok("create", "--name", "cc", IMAGE, "true")
        said = []
        for program in ("docker", SKIFF):
            out = subprocess.run(["script", "-qec", f"{program} cp src/f cc:/tmp/f", "/dev/null"], cwd=self.folder, capture_output=True,
                                 env=dict(engine().env, SKIFF_HOST="unix://" + engine().socket), text=True).stdout
            said.append(out.split("Successfully")[-1].strip())
        self.assertEqual(said[0], "copied 2.05kB to cc:/tmp/f")
        self.assertEqual(said[1], said[0])

    def test_before_the_first_start(self):
        """Testcontainers: make, put files, start."""
        self.ok("create", "--name", "cc", "-v", "cpvol:/data/deep", "-v", self.folder + "/src:/bound:ro", IMAGE, "sh", "-c",
                "stat -c '%u:%g %a' /etc/f; cat /data/deep/f; ls /bound")
        for target in ("cc:/etc/", "cc:/data/deep/"):
            self.ok("cp", self.folder + "/src/f", target)
        self.fails(1, "mounted volume is marked read-only", "cp", self.folder + "/src/f", "cc:/bound/")
        self.assertEqual(self.ok("start", "-a", "cc").out, "1000:1001 640\nhellof\nlink\nsub\n")
        # stopped again: what the process saw and what was put there are one
        self.ok("cp", self.folder + "/src/sub/g", "cc:/etc/")
        self.ok("cp", "cc:/data/deep/f", self.folder + "/back")
        self.ok("cp", "cc:/etc/g", self.folder + "/back2")
        self.assertIn("hello", self.ok("start", "-a", "cc").out)
        self.ok("rm", "cc")
        self.ok("volume", "rm", "cpvol")

    def test_read_only(self):
        self.ok("run", "-d", "--name", "cc", "--read-only", "--tmpfs", "/run", "-v", "cpro:/ro:ro", "-v", "cprw:/rw", "--network", "none", IMAGE,
                "sleep", "600")
        self.fails(1, "container rootfs is marked read-only", "cp", self.folder + "/src/f", "cc:/etc/")
        self.fails(1, "mounted volume is marked read-only", "cp", self.folder + "/src/f", "cc:/ro/")
        self.ok("cp", self.folder + "/src/f", "cc:/rw/")
        self.ok("cp", self.folder + "/src/f", "cc:/run/")
        self.assertEqual(self.ok("exec", "cc", "cat", "/rw/f", "/run/f").out, "hellohello")
        self.ok("stop", "-t", "0", "cc")
        self.fails(1, "container rootfs is marked read-only", "cp", self.folder + "/src/f", "cc:/etc/")
        self.ok("cp", self.folder + "/src/sub/g", "cc:/rw/")
        self.ok("rm", "-f", "cc")
        self.ok("volume", "rm", "cpro", "cprw")

    def test_archive_mode_gives_files_to_the_containers_user(self):
        self.ok("run", "-d", "--name", "cc", "--user", "u", "--network", "none", IMAGE, "sleep", "600")
        self.ok("cp", self.folder + "/src/f", "cc:/tmp/plain")
        self.ok("cp", "-a", self.folder + "/src/f", "cc:/tmp/user")
        self.assertEqual(self.ok("exec", "cc", "stat", "-c", "%u:%g", "/tmp/plain", "/tmp/user").out, "1000:1001\n1000:1000\n")

    # MARK: The header

    def request(self, method, path, body=None):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(engine().socket)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"\r\n" + (body or b""))
        answer = b""
        self.addCleanup(connection.close)
        while chunk := connection.recv(65536):
            answer += chunk
        head, _, content = answer.partition(b"\r\n\r\n")
        fields = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in head.decode().split("\r\n")[1:]}
        return int(head.split()[1]), fields, content

    def test_the_stat_header(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c",
                "cd /tmp; echo x >f; chmod 4755 f; mkdir d; ln -s d l; ln -s l ll; mkfifo p; " + "exec sleep 600")
        self.eventually(lambda: docker("exec", "cc", "test", "-p", "/tmp/p").code == 0)

        def stat(path):
            status, fields, content = self.request("HEAD", "/v1.41/containers/cc/archive?path=" + path)
            self.assertEqual((status, content), (200, b""))
            return json.loads(base64.b64decode(fields["x-docker-container-path-stat"]))
        self.assertEqual({k: v for k, v in stat("/tmp/f").items() if k != "mtime"},
                         {"name": "f", "size": 2, "mode": (1 << 23) | 0o755, "linkTarget": ""})
        self.assertRegex(stat("/tmp/f")["mtime"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
        self.assertEqual(stat("/tmp/d")["mode"], (1 << 31) | 0o755)
        self.assertEqual((stat("/tmp/ll")["mode"], stat("/tmp/ll")["linkTarget"]), ((1 << 27) | 0o777, "/tmp/d"))
        self.assertEqual(stat("/tmp/ll/")["mode"], (1 << 31) | 0o755)
        self.assertEqual(stat("/tmp/p")["mode"], (1 << 25) | 0o644)
        self.assertEqual(stat("/tmp")["mode"], (1 << 31) | (1 << 20) | 0o777)
        self.assertEqual(stat("tmp/../etc/passwd")["name"], "passwd")
        self.assertEqual(self.request("HEAD", "/containers/cc/archive?path=/nope")[0], 404)
        self.assertEqual(self.request("GET", "/containers/cc/archive?path=")[0], 400)
        self.assertEqual(self.request("PUT", "/containers/cc/archive?path=/tmp/f", b"")[0], 400)
        self.assertEqual(self.request("PUT", "/containers/cc/archive?path=/nope", b"")[0], 404)
        self.assertEqual(self.request("PUT", "/containers/cc/archive?path=/tmp", b"no tar at all" * 100)[0], 400)

    # MARK: Hostile containers

    def test_a_stalled_copy_does_not_hold_up_the_next_start(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=64; exec sleep 600")
        self.eventually(lambda: docker("exec", "cc", "sh", "-c", "test $(stat -c %s /big) = 67108864").code == 0)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(engine().socket)
        connection.sendall(b"GET /containers/cc/archive?path=/big HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(1000)
        began = time.monotonic()
        self.ok("restart", "-t", "0", "cc")
        self.assertLess(time.monotonic() - began, 15)
        self.ok("cp", self.folder + "/src/f", "cc:/tmp/")
        connection.close()

    def test_a_rename_race_leads_nowhere(self):
        """A process of the container exchanges a folder and a link to a place of the host without a pause (CVE-2018-15664)."""
        outside = self.folder + "/outside"
        os.makedirs(outside)
        with open(outside + "/f", "w") as file:
            file.write("secret of the host")
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c",
                f"mkdir -p /race/a; echo inside >/race/a/f; ln -s {outside} /race/b; exec sleep 600")
        self.eventually(lambda: docker("exec", "cc", "test", "-L", "/race/b").code == 0)
        pid = self.inspect("cc")["State"]["Pid"]
        place = f"/proc/{pid}/root/race"
        libc = ctypes.CDLL(None, use_errno=True)
        stop = threading.Event()

        def exchange():
            folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            while not stop.is_set():
                for _ in range(200):
                    libc.renameat2(folder, b"a", folder, b"b", 2)
            os.close(folder)
        racer = threading.Thread(target=exchange)
        racer.start()
        try:
            env = dict(engine().env, SKIFF_HOST="unix://" + engine().socket)
            seen = set()
            for turn in range(60):
                program = ["docker", SKIFF][turn % 2]
                target = self.folder + "/got"
                subprocess.run([program, "cp", self.folder + "/src/sub", "cc:/race/a/"], env=env, capture_output=True, timeout=60)
                subprocess.run([program, "cp", "cc:/race/a/f", target], env=env, capture_output=True, timeout=60)
                tar = subprocess.run([program, "cp", "cc:/race/", "-"], env=env, capture_output=True, timeout=60).stdout
                self.assertNotIn(b"secret", tar)
                if os.path.exists(target):
                    with open(target) as file:
                        seen.add(file.read())
        finally:
            stop.set()
            racer.join()
        self.assertEqual(sorted(os.listdir(outside)), ["f"])
        with open(outside + "/f") as file:
            self.assertEqual(file.read(), "secret of the host")
        self.assertLessEqual(seen, {"inside\n"})

    def test_links_and_devices_of_a_container_are_not_the_hosts(self):
        outside = self.folder + "/outside"
        os.makedirs(outside)
        with open(outside + "/f", "w") as file:
            file.write("secret of the host")
        for running in (True, False):
            with self.subTest(running=running):
                self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c",
                        f"ln -s {outside} /abs; ln -s ../../../../../../..{outside} /rel; ln -s /proc/1/root /magic; ln -s /proc/self/cwd /cwd; "
                        "mknod /disk b 8 0; mknod /zero c 1 5; touch /done; exec sleep 600")
                self.eventually(lambda: docker("exec", "cc", "test", "-e", "/done").code == 0)
                if not running:
                    self.ok("stop", "-t", "0", "cc")
                for link in ("abs", "rel", "magic" + outside, "cwd"):
                    docker("cp", self.folder + "/src/sub/g", f"cc:/{link}/")
                    self.assertNotIn("secret", docker("cp", f"cc:/{link}/f", "-").out)
                self.assertEqual(os.listdir(outside), ["f"])
                for node, kind in (("disk", tarfile.BLKTYPE), ("zero", tarfile.CHRTYPE)):
                    listed = names(self.client("skiff", "cc:/" + node, "-").stdout)
                    self.assertEqual([(name, type_) for name, type_, *_ in listed], [(node, kind)])
                    self.assertEqual(docker("cp", self.folder + "/src/f", "cc:/" + node).code, 1)
                self.ok("rm", "-f", "cc")
