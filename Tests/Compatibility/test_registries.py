"""pull, push, login, logout, search and manifest by docker's client and by ours, against a registry from Debian (docker-registry)."""
import base64
import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import unittest

from engine import BIN, Case, Terminal, docker, engine

IMAGE = "busybox:test"
SKIFF = os.path.abspath(BIN + "/skiff")
REGISTRY = next((path for path in (shutil.which("docker-registry"), "/var/cache/skiff-peers/root/usr/bin/docker-registry") if path and os.path.exists(path)), None)
# user "me", password "secret"
HTPASSWD = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


class Registry:
    """A registry process with a folder of its own."""

    def __init__(self, name, protected=False, own=False):
        self.folder = engine().scratch + "/" + name
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        config = (f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {self.folder}/data\n  delete:\n    enabled: true\n"
                  f"http:\n  addr: {self.host}\n")
        if protected:
            with open(self.folder + "/htpasswd", "w") as file:
                file.write(HTPASSWD)
            config += f"auth:\n  htpasswd:\n    realm: test\n    path: {self.folder}/htpasswd\n"
        with open(self.folder + "/config.yml", "w") as file:
            file.write(config)
        self.log = open(self.folder + "/log", "wb")
        command = [REGISTRY, "serve", self.folder + "/config.yml"]
        if own:
            command = [SKIFF, "registry", "serve", "--listen", self.host, "--root", self.folder + "/own"]
            command += ["--htpasswd", self.folder + "/htpasswd"] if protected else []
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Clients(Case):
    def setUp(self):
        super().setUp()
        self.config = engine().scratch + "/client-config"
        shutil.rmtree(self.config, ignore_errors=True)

    def run_client(self, name, *args, input=None, **extra):
        program = "docker" if name == "docker" else SKIFF
        env = dict(engine().env, SKIFF_HOST="unix://" + engine().socket, DOCKER_CONFIG=self.config, **extra)
        done = subprocess.run([program, *args], env=env, input=input.encode() if input else None, timeout=60, capture_output=True,
                              stdin=None if input else subprocess.DEVNULL)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def both(self, *args, input=None):
        """The answers of docker's client and of ours."""
        return self.run_client("docker", *args, input=input), self.run_client("skiff", *args, input=input)

    def good(self, name, *args, input=None, **extra):
        code, out, err = self.run_client(name, *args, input=input, **extra)
        self.assertEqual(code, 0, f"{name} {args}: {out}{err}{engine().tail()}")
        return out


class RegistryTests(Clients):
    @classmethod
    def setUpClass(cls):
        if REGISTRY is None:
            raise unittest.SkipTest("docker-registry is missing: apt-get install docker-registry")
        engine()
        cls.registry = Registry("registry")
        cls.addClassCleanup(cls.registry.close)

    def test_push_and_pull(self):
        for client in ("docker", "skiff"):
            with self.subTest(client=client):
                name = f"{self.registry.host}/team/{client}:1"
                self.ok("tag", IMAGE, name)
                out = self.good(client, "push", name)
                self.assertIn(f"The push refers to repository [{self.registry.host}/team/{client}]", out)
                self.assertRegex(out, r"1: digest: sha256:[0-9a-f]{64} size: \d+")
                id = self.inspect(name, "image")["Id"]
                digests = self.inspect(name, "image")["RepoDigests"]
                self.assertTrue([d for d in digests if d.startswith(f"{self.registry.host}/team/{client}@sha256:")], digests)
                self.ok("rmi", name)
                out = self.good(client, "pull", name)
                self.assertIn(f"1: Pulling from team/{client}", out)
                self.assertIn("Status: Downloaded newer image for " + name, out)
                self.assertEqual(out.strip().split("\n")[-1], name)
                self.assertEqual(self.inspect(name, "image")["Id"], id)
                self.assertIn("Status: Image is up to date for " + name, self.good(client, "pull", name))
                self.assertEqual(self.good(client, "pull", "-q", name), name + "\n")
                digest = [d for d in digests if client in d][0]
                self.ok("rmi", name)
                self.assertIn("Digest: sha256:", self.good(client, "pull", digest))
                self.assertEqual(self.ok("run", "--rm", "--network", "none", digest, "echo", "it runs").out, "it runs\n")
                self.ok("rmi", digest)

    def test_default_tags_and_all_tags(self):
        base = self.registry.host + "/many"
        for client in ("docker", "skiff"):
            with self.subTest(client=client):
                for tag in ("latest", "a", "b"):
                    self.ok("tag", IMAGE, f"{base}:{tag}")
                self.assertIn("Using default tag: latest\n", self.good(client, "push", base))
                self.good(client, "push", "-a", base)
                self.ok("rmi", *[f"{base}:{tag}" for tag in ("latest", "a", "b")])
                self.assertIn("Using default tag: latest\n", self.good(client, "pull", base))
                self.good(client, "pull", "-a", base)
                self.assertEqual(sorted(self.ok("images", "--format", "{{.Tag}}", base).out.split()), ["a", "b", "latest"])
                code, _, err = self.run_client(client, "pull", "-a", base + ":a")
                self.assertEqual((code, err), (1, "tag can't be used with --all-tags/-a\n"))
                self.ok("rmi", *[f"{base}:{tag}" for tag in ("latest", "a", "b")])

    def test_what_is_not_there(self):
        for name in (self.registry.host + "/nope", self.registry.host + "/nope:1"):
            theirs, ours = self.both("pull", name)
            self.assertEqual((ours[0], ours[2]), (theirs[0], theirs[2]))
            self.assertRegex(ours[2], "(?i)not found|manifest unknown|does not exist")
        theirs, ours = self.both("pull", "INVALID")
        self.assertEqual(ours[0], theirs[0])
        self.assertIn("invalid reference format", ours[2])
        theirs, ours = self.both("push", "no-such-image:1")
        self.assertEqual(ours[0], theirs[0])
        self.assertIn("An image does not exist locally with the tag: no-such-image", ours[2])

    def test_words_and_orders_are_dockers(self):
        """What was found different from dockerd 26 and its CLI 28 by running both side by side."""
        base = self.registry.host + "/words"
        for tag in ("b", "a"):
            self.ok("tag", IMAGE, f"{base}:{tag}")
        for client in ("docker", "skiff"):
            with self.subTest(client=client):
                code, out, err = self.run_client(client, "push", base + ":absent")
                self.assertEqual((code, err), (1, f"tag does not exist: {base}:absent\n"))
                self.assertEqual(out, f"The push refers to repository [{base}]\n")
                out = self.good(client, "push", "-a", base)
                self.assertLess(out.index("\na: digest: "), out.index("\nb: digest: "), out)
                code, _, err = self.run_client(client, "push", "--platform", "linux/s390x", base + ":a")
                self.assertEqual(code, 1)
                self.assertIn("does not match the specified platform (linux/s390x)", err)
                out = self.good(client, "pull", "-a", base)
                self.assertEqual(out.count("Status: "), 1, out)
                self.assertIn(f"Status: Image is up to date for {base}\n", out)
                self.assertRegex(self.good(client, "images", "--digests", base), r" a +sha256:[0-9a-f]{64} ")
                self.assertIn('"Containers":"N/A"', self.good(client, "images", "--format", "json", base))
                code, _, err = self.run_client(client, "pull", "--platform", "a/b/c/d", base + ":a")
                self.assertEqual((code, err), (1, 'Error response from daemon: "a/b/c/d": cannot parse platform specifier: invalid argument\n'))
                code, out, err = self.run_client(client, "image", "prune")
                self.assertEqual((code, err), (0, ""), out)
                code, _, err = self.run_client(client, "tag", IMAGE, "BAD")
                self.assertEqual(err, 'Error parsing reference: "BAD" is not a valid repository/tag: invalid reference format: '
                                 "repository name (library/BAD) must be lowercase\n")
                with tempfile.TemporaryDirectory() as folder:
                    code, _, err = self.run_client(client, "save", "-o", folder + "/none/x.tar", IMAGE)
                    self.assertEqual(err, f"failed to save image: invalid output path: stat {folder}/none: no such file or directory\n")
                    self.good(client, "save", "-o", folder + "/x.tar", IMAGE)
                    self.assertEqual(self.good(client, "load", "-q", "-i", folder + "/x.tar"), f"Loaded image: {IMAGE}\n")
                    code, _, err = self.run_client(client, "import", "-c", "FROM x", folder + "/x.tar", "words:1")
                    self.assertEqual((code, err), (1, "Error response from daemon: FROM is not a valid change command\n"))
                code, _, err = self.run_client(client, "save", "no-such-image")
                self.assertEqual(err, "Error response from daemon: No such image: no-such-image\n")
                if client == "docker":
                    for words in (("history",), ("image", "inspect"), ("rmi",)):
                        code, _, err = self.run_client(client, *words, "--platform", "linux/s390x", base + ":a")
                        self.assertEqual(code, 1, words)
                        self.assertIn("does not match the specified platform (linux/s390x)", err)
                        self.good(client, *words, "--platform", "linux/" + self.inspect(IMAGE, "image")["Architecture"], base + ":a")
                    self.ok("tag", IMAGE, base + ":a")
                self.ok("create", "--name", "words", IMAGE, "true")
                self.ok("commit", "words", "words:child")
                ids = self.good(client, "history", "-q", "words:child").split()
                self.assertEqual(len([id for id in ids if id != "<missing>"]), 2, ids)
                self.ok("rm", "words")
                self.ok("rmi", "words:child")
        self.ok("rmi", base + ":a", base + ":b")

    def test_run_fetches_what_is_missing(self):
        name = self.registry.host + "/torun:1"
        for client in ("docker", "skiff"):
            self.ok("tag", IMAGE, name)
            self.good(client, "push", "-q", name)
            self.ok("rmi", name)
            code, out, err = self.run_client(client, "run", "--rm", "--network", "none", name, "echo", "fetched")
            self.assertEqual((code, out), (0, "fetched\n"), err)
            self.assertIn(f"Unable to find image '{name}' locally\n", err)
            self.assertIn("Status: Downloaded newer image for " + name, err)
            code, out, err = self.run_client(client, "run", "--rm", "--pull", "always", "-q", "--network", "none", name, "echo", "again")
            self.assertEqual((code, out, err), (0, "again\n", ""))
            self.ok("rmi", name)
            code, _, err = self.run_client(client, "run", "--rm", "--pull", "never", "--network", "none", name, "true")
            self.assertEqual(code, 125)
            self.assertIn("No such image: " + name, err)

    def test_progress_on_a_terminal(self):
        name = self.registry.host + "/shown:1"
        # a layer that is nowhere else
        self.ok("run", "--name", "cc", "--network", "none", IMAGE, "dd", "if=/dev/urandom", "of=/random", "bs=1M", "count=4")
        self.ok("commit", "cc", name)
        self.ok("rm", "cc")
        self.good("docker", "push", "-q", name)
        self.ok("rmi", name)
        out = subprocess.run(["script", "-qec", f"{SKIFF} pull {name}", "/dev/null"], capture_output=True, text=True, timeout=60,
                             env=dict(engine().env, SKIFF_HOST="unix://" + engine().socket)).stdout
        self.assertIn("\x1b[2K", out)
        self.assertIn("Pull complete", out)
        self.ok("rmi", name)

    def test_manifest_lists(self):
        base = self.registry.host + "/multi"
        for tag in ("one", "two"):
            self.ok("tag", IMAGE, f"{base}:{tag}")
            self.good("docker", "push", "-q", f"{base}:{tag}")
        self.assertEqual(self.good("skiff", "manifest", "create", base + ":all", base + ":one", base + ":two"), f"Created manifest list {base}:all\n")
        self.good("skiff", "manifest", "annotate", "--arch", "arm64", "--variant", "v8", base + ":all", base + ":two")
        shown = json.loads(self.good("skiff", "manifest", "inspect", base + ":all"))
        self.assertEqual([m["platform"]["architecture"] for m in shown["manifests"]], ["amd64", "arm64"])
        self.assertRegex(self.good("skiff", "manifest", "push", "--purge", base + ":all"), "^sha256:[0-9a-f]{64}\n$")
        code, _, err = self.run_client("skiff", "manifest", "rm", base + ":all")
        self.assertEqual(code, 1, err)
        pushed = json.loads(self.good("skiff", "manifest", "inspect", base + ":all"))
        self.assertEqual([m["platform"].get("variant") for m in pushed["manifests"]], [None, "v8"])
        # docker's own client asks the registry itself
        theirs = json.loads(self.good("docker", "manifest", "inspect", "--insecure", base + ":all"))
        self.assertEqual([m["digest"] for m in theirs["manifests"]], [m["digest"] for m in pushed["manifests"]])
        self.good("docker", "pull", "--platform", "linux/amd64", base + ":all")
        self.ok("rmi", base + ":all", base + ":one", base + ":two")

    def test_distribution(self):
        name = self.registry.host + "/dist:1"
        self.ok("tag", IMAGE, name)
        self.good("docker", "push", "-q", name)
        out = subprocess.run(["curl", "-s", "--unix-socket", engine().socket, f"http://x/v1.41/distribution/{name}/json"],
                             capture_output=True, text=True).stdout
        answer = json.loads(out)
        self.assertRegex(answer["Descriptor"]["digest"], "^sha256:")
        self.assertEqual(answer["Platforms"][0]["os"], "linux")
        self.ok("rmi", name)


class OwnRegistryTests(RegistryTests):
    """The same against our own registry."""

    @classmethod
    def setUpClass(cls):
        engine()
        cls.registry = Registry("own-registry", own=True)
        cls.addClassCleanup(cls.registry.close)

    def test_search(self):
        name = self.registry.host + "/shelf/book:1"
        self.ok("tag", IMAGE, name)
        self.good("docker", "push", "-q", name)
        self.ok("rmi", name)
        for args in (("search", self.registry.host + "/book"), ("search", "--no-trunc", "--limit", "5", self.registry.host + "/book"),
                     ("search", "--format", "{{.Name}} {{.StarCount}}", self.registry.host + "/book"), ("search", "--limit", "101", self.registry.host + "/book")):
            theirs, ours = self.both(*args)
            self.assertEqual(ours[:2], theirs[:2], args)
            self.assertEqual(ours[2], theirs[2])
        self.assertIn("shelf/book", self.good("skiff", "search", self.registry.host + "/book"))


@unittest.skipIf(REGISTRY is None, "docker-registry is missing: apt-get install docker-registry")
class LoginTests(Clients):
    @classmethod
    def setUpClass(cls):
        engine()
        cls.registry = Registry("protected", protected=True)
        cls.addClassCleanup(cls.registry.close)

    def settings(self):
        with open(self.config + "/config.json") as file:
            return json.load(file)

    def test_login_push_pull_logout(self):
        host = self.registry.host
        auth = base64.b64encode(b"me:secret").decode()
        for client in ("docker", "skiff"):
            with self.subTest(client=client):
                name = f"{host}/closed:{client}"
                self.ok("tag", IMAGE, name)
                code, out, err = self.run_client(client, "push", name)
                self.assertEqual(code, 1)
                self.assertRegex(err, "(?i)no basic auth credentials|unauthorized|authentication required|denied")
                os.makedirs(self.config, exist_ok=True)
                with open(self.config + "/config.json", "w") as file:
                    json.dump({"psFormat": "{{.ID}}", "unknown": {"kept": [1, 2]}}, file)
                code, out, err = self.run_client(client, "login", "-u", "me", "--password-stdin", host, input="secret\n")
                self.assertEqual((code, out), (0, "Login Succeeded\n"), err)
                self.assertIn(f"WARNING! Your credentials are stored unencrypted in '{self.config}/config.json'.", err)
                self.assertEqual(self.settings()["auths"], {host: {"auth": auth}})
                if client == "skiff":
                    self.assertEqual(stat.S_IMODE(os.stat(self.config + "/config.json").st_mode), 0o600)
                    self.assertEqual(self.settings()["unknown"], {"kept": [1, 2]})
                self.assertIn("digest: sha256:", self.good(client, "push", name))
                self.ok("rmi", name)
                self.good(client, "pull", name)
                self.ok("rmi", name)
                code, out, err = self.run_client(client, "login", host)
                self.assertEqual((code, out), (0, "Login Succeeded\n"), err)
                self.assertIn("Authenticating with existing credentials...", err)
                self.assertEqual(self.good(client, "logout", host), f"Removing login credentials for {host}\n")
                self.assertNotIn(host, self.settings().get("auths", {}))
                self.assertEqual(self.run_client(client, "pull", name)[0], 1)

    def test_refusals(self):
        host = self.registry.host
        theirs, ours = self.both("login", "-u", "me", "--password-stdin", host, input="wrong\n")
        self.assertEqual((ours[0], ours[1]), (theirs[0], theirs[1]))
        self.assertRegex(ours[2], "(?i)unauthorized|401")
        for args in (("login", "-u", "me", host), ("login", "--password-stdin", host), ("login", "-u", "", host),
                     ("login", "-u", "me", "-p", "", host)):
            theirs, ours = self.both(*args)
            self.assertEqual(ours, theirs, args)
        self.assertFalse(os.path.exists(self.config + "/config.json"))

    def test_a_password_is_typed_unseen(self):
        env = dict(engine().env, SKIFF_HOST="unix://" + engine().socket, DOCKER_CONFIG=self.config)
        saved = dict(engine().env)
        engine().env.update(env)
        try:
            import pty
            pid, master = pty.fork()
            if pid == 0:
                os.execvpe(SKIFF, ["skiff", "login", self.registry.host], env)
            seen = b""

            def until(text):
                nonlocal seen
                while text not in seen:
                    seen += os.read(master, 4096)
            until(b"Username: ")
            os.write(master, b"me\n")
            until(b"Password: ")
            os.write(master, b"secret\n")
            until(b"Login Succeeded")
            self.assertNotIn(b"secret", seen)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
            os.close(master)
        finally:
            engine().env.clear()
            engine().env.update(saved)

    def test_credential_helpers(self):
        folder = engine().scratch + "/helpers"
        os.makedirs(folder, exist_ok=True)
        with open(folder + "/docker-credential-fake", "w") as file:
            file.write(r"""#!/usr/bin/python3
import json, os, sys
path = os.environ["FAKE_STORE"]
store = json.load(open(path)) if os.path.exists(path) else {}
verb, text = sys.argv[1], sys.stdin.read()
if verb == "get":
    if text.strip() not in store:
        print("credentials not found in native keychain"); sys.exit(1)
    print(json.dumps(store[text.strip()]))
elif verb == "store":
    value = json.loads(text); store[value["ServerURL"]] = value
elif verb == "erase":
    store.pop(text.strip(), None)
elif verb == "list":
    print(json.dumps({k: v["Username"] for k, v in store.items()}))
json.dump(store, open(path, "w"))
""")
        os.chmod(folder + "/docker-credential-fake", 0o755)
        host = self.registry.host
        extra = {"PATH": folder + ":" + os.environ["PATH"], "FAKE_STORE": folder + "/store.json"}
        for client in ("docker", "skiff"):
            with self.subTest(client=client):
                os.makedirs(self.config, exist_ok=True)
                with open(self.config + "/config.json", "w") as file:
                    json.dump({"credHelpers": {host: "fake"}}, file)
                code, out, err = self.run_client(client, "login", "-u", "me", "--password-stdin", host, input="secret", **extra)
                self.assertEqual((code, out), (0, "Login Succeeded\n"), err)
                self.assertNotIn("unencrypted", err)
                with open(folder + "/store.json") as file:
                    self.assertEqual(json.load(file)[host], {"ServerURL": host, "Username": "me", "Secret": "secret"})
                self.assertNotIn("secret", json.dumps(self.settings()))
                name = f"{host}/helped:{client}"
                self.ok("tag", IMAGE, name)
                self.good(client, "push", "-q", name, **extra)
                self.ok("rmi", name)
                self.good(client, "logout", host, **extra)
                with open(folder + "/store.json") as file:
                    self.assertEqual(json.load(file), {})


class ArchiveTests(Clients):
    def test_folders_as_archives(self):
        folder = engine().scratch + "/layout"
        shutil.rmtree(folder, ignore_errors=True)
        self.ok("tag", IMAGE, "folder/a:1")
        self.ok("tag", IMAGE, "folder/b:2")
        self.good("skiff", "save", "-o", folder + "/", "folder/a:1", "folder/b:2")
        self.assertTrue(os.path.exists(folder + "/oci-layout"))
        self.assertTrue(os.path.exists(folder + "/index.json"))
        self.ok("rmi", "folder/a:1", "folder/b:2")
        out = self.good("skiff", "load", "-i", folder)
        self.assertEqual(sorted(out.strip().split("\n")), ["Loaded image: folder/a:1", "Loaded image: folder/b:2"])
        code, _, err = self.run_client("skiff", "save", "-o", folder, "folder/a:1")
        self.assertEqual(code, 1)
        self.assertIn("is not empty", err)
        self.ok("rmi", "folder/a:1", "folder/b:2")

    def test_compressed_archives(self):
        path = engine().scratch + "/compressed.tar"
        self.ok("tag", IMAGE, "packed:1")
        self.ok("save", "-o", path, "packed:1")
        self.ok("rmi", "packed:1")
        for tool in ("gzip", "zstd", "xz -T0 -1", "bzip2 -1"):
            with self.subTest(tool=tool):
                packed = path + ".packed"
                with open(packed, "wb") as file:
                    done = subprocess.run(tool.split() + ["-c", path], stdout=file)
                if done.returncode != 0:
                    continue
                self.assertIn("Loaded image: packed:1", self.good("skiff", "load", "-i", packed))
                self.ok("rmi", "packed:1")

    def test_filters_and_formats(self):
        self.ok("tag", IMAGE, "filter/one:1")
        self.ok("tag", IMAGE, "filter/two:1")
        for args in (("images", "--filter", "reference=filter/*"), ("images", "filter/one"), ("images", "-q", "--no-trunc", "filter/one"),
                     ("images", "--digests", "filter/one"), ("images", "--format", "{{.Repository}} {{.Tag}} {{.Size}}", "filter/one"),
                     ("image", "ls", "--filter", "dangling=true"), ("history", "--no-trunc", "--human=false", "filter/one:1"),
                     ("history", "-q", "filter/one:1"), ("images", "--filter", "nope=1"), ("rmi", "nope:1"), ("rmi", "-f", "nope:1"),
                     ("images", "-a", "--format", "json", "filter/two")):
            with self.subTest(args=args):
                theirs, ours = self.both(*args)
                self.assertEqual(ours[:2], theirs[:2], ours[2])
                self.assertEqual(ours[2].replace("skiff", "docker"), theirs[2])
        self.ok("rmi", "filter/one:1", "filter/two:1")

    def test_dangling_images_have_no_name(self):
        self.ok("run", "--name", "cc", "--network", "none", IMAGE, "touch", "/first")
        first = self.ok("commit", "cc", "moving:1").out.strip()
        self.ok("rm", "cc")
        self.ok("run", "--name", "cc", "--network", "none", IMAGE, "touch", "/second")
        self.ok("commit", "cc", "moving:1")
        for client in ("docker", "skiff"):
            out = self.good(client, "images", "--filter", "dangling=true")
            self.assertRegex(out, rf"<none> +<none> +{first[7:19]}")
            self.assertEqual(self.good(client, "images", "-q", "--no-trunc", "--filter", "dangling=true").strip(), first)
        self.assertIn("Deleted: " + first, self.good("skiff", "rmi", first))
        self.ok("rm", "cc")
        self.ok("rmi", "moving:1")


class CommitTests(Clients):
    def test_changes(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", "-e", "KEEP=1", IMAGE, "sh", "-c", "echo data >/made; exec sleep 600")
        self.eventually(lambda: docker("exec", "cc", "test", "-e", "/made").code == 0)
        changes = ['CMD ["echo", "exec form"]', "ENTRYPOINT [\"/bin/env\"]", "ENV A=b C=\"d e\"", "EXPOSE 80 53/udp", "LABEL k=v", "ONBUILD RUN true",
                   "USER u", "VOLUME /data", "WORKDIR /var", "STOPSIGNAL SIGINT"]
        for client in ("docker", "skiff"):
            with self.subTest(client=client):
                args = [part for change in changes for part in ("-c", change)]
                id = self.good(client, "commit", "-m", "why", "-a", "who", *args, "cc", "changed:1").strip()
                image = self.inspect("changed:1", "image")
                self.assertEqual(image["Id"], id)
                config = image["Config"]
                self.assertEqual((config["Cmd"], config["Entrypoint"]), (["echo", "exec form"], ["/bin/env"]))
                for entry in ("A=b", "C=d e", "KEEP=1"):
                    self.assertIn(entry, config["Env"])
                self.assertEqual(sorted(config["ExposedPorts"]), ["53/udp", "80/tcp"])
                self.assertEqual((config["User"], config["WorkingDir"], config["StopSignal"]), ("u", "/var", "SIGINT"))
                self.assertEqual((list(config["Volumes"]), config["OnBuild"], config["Labels"]["k"]), (["/data"], ["RUN true"], "v"))
                self.assertEqual((image["Comment"], image["Author"]), ("why", "who"))
                # where it comes from
                self.assertEqual(config["Labels"]["org.opencontainers.image.base.name"], IMAGE)
                self.assertEqual(config["Labels"]["org.opencontainers.image.base.digest"], self.inspect(IMAGE, "image")["Id"])
                self.assertIn(self.inspect("cc")["Id"], config["Labels"]["skiff.commit.container"])
                self.assertEqual(config["Labels"]["skiff.commit.user"], "0:0")
                self.assertEqual(self.ok("run", "--rm", "--user", "0", "--entrypoint", "cat", "changed:1", "/made").out, "data\n")
                self.ok("rmi", "changed:1")
        theirs, ours = self.both("commit", "-c", "RUN true", "cc")
        self.assertEqual(ours[0], theirs[0])
        self.assertIn("RUN is not a valid change command", ours[2])

    def test_a_look_inside_does_not_change_how_the_image_starts(self):
        self.ok("create", "--name", "base", "--entrypoint", "echo", IMAGE, "hello")
        self.ok("commit", "base", "entry:1")
        self.ok("run", "--name", "cc", "--entrypoint", "sh", "--network", "none", "-v", "commitvol:/data", "entry:1", "-c", "touch /mark /data/lost")
        code, out, err = self.run_client("skiff", "commit", "cc", "entry:2")
        self.assertEqual(code, 0, err)
        self.assertIn("the image keeps its entrypoint", err)
        self.assertIn("WARNING: what is mounted is not in the image: /data (volume commitvol)", err)
        self.assertEqual(self.ok("run", "--rm", "--network", "none", "entry:2").out, "hello\n")
        # over the API it is as with docker
        self.ok("commit", "cc", "entry:3")
        self.assertEqual(self.inspect("entry:3", "image")["Config"]["Entrypoint"], ["sh"])
        self.ok("rm", "base", "cc")
        self.ok("rmi", "entry:3", "entry:2", "entry:1")
        self.ok("volume", "rm", "commitvol")

    def test_pause(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sleep", "600")
        since = str(time.time())
        self.ok("commit", "cc", "paused:1")
        self.ok("commit", "--pause=false", "cc", "paused:2")
        self.assertEqual(self.inspect("cc")["State"]["Status"], "running")
        self.ok("rmi", "paused:1", "paused:2")

    def test_diff(self):
        self.ok("run", "--name", "cc", "--network", "none", IMAGE, "sh", "-c",
                "echo x >>/etc/passwd; rm /etc/notexecutable; mkdir -p /new/sub; echo y >/new/sub/f; rm -r /home/u; chmod 700 /var; touch /tmp/t")
        for client in ("docker", "skiff"):
            self.assertEqual(self.good(client, "diff", "cc").split("\n")[:-1],
                             ["C /etc", "D /etc/notexecutable", "C /etc/passwd", "C /home", "D /home/u", "A /new", "A /new/sub", "A /new/sub/f",
                              "C /tmp", "A /tmp/t", "C /var"])
        self.ok("rm", "cc")
        self.ok("run", "-d", "--name", "cc", "--network", "none", "-v", "diffvol:/vol", IMAGE, "sh", "-c", "echo x >/vol/f; exec sleep 600")
        self.eventually(lambda: docker("exec", "cc", "test", "-e", "/vol/f").code == 0)
        self.assertEqual(self.good("skiff", "diff", "cc"), "A /vol\n")
        self.ok("rm", "-f", "cc")
        self.ok("volume", "rm", "diffvol")
