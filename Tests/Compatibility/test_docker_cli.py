"""docker's own command line against our socket."""
import json
import os
import re
import signal
import subprocess
import threading
import time

from engine import Case, Terminal, docker, engine

IMAGE = "busybox:test"


class SystemTests(Case):
    def test_version(self):
        out = self.ok("version").out
        self.assertIn("Server", out)
        self.assertRegex(self.ok("version", "--format", "{{.Server.APIVersion}} {{.Server.Os}}").out, r"^1\.\d+ linux\n$")

    def test_info(self):
        info = json.loads(self.ok("info", "--format", "{{json .}}").out)
        self.assertEqual(info["OSType"], "linux")
        self.assertGreater(info["NCPU"], 0)
        self.assertGreaterEqual(info["Images"], 1)
        self.assertEqual(self.ok("info").code, 0)

    def test_system_df(self):
        self.assertIn("Images", self.ok("system", "df").out)

    def test_system_prune(self):
        self.ok("create", "--name", "made", IMAGE, "true")
        self.assertIn("Total reclaimed space", self.ok("system", "prune", "-f").out)
        self.assertEqual(self.ok("ps", "-aq").out, "")

    def test_what_is_not_built_says_so(self):
        # the one thing that docker's CLI asks for without more: an empty context for the classic builder
        self.fails(1, "not built yet", "build", "-", input="FROM scratch\n", env={"DOCKER_BUILDKIT": "0"})

    def test_events(self):
        since = str(time.time())
        self.ok("run", "--rm", "--name", "ev", "--network", "none", IMAGE, "true")
        out = self.ok("events", "--since", since, "--until", str(time.time() + 0.2), "--format", "{{.Type}} {{.Action}}").out
        for action in ("container create", "container start", "container die", "container destroy"):
            self.assertIn(action, out)

    def test_events_are_followed(self):
        process = subprocess.Popen(["docker", "events", "--filter", "event=die", "--format", "{{.Actor.Attributes.exitCode}}"],
                                   env=engine().env, stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(0.3)
            docker("run", "--rm", "--network", "none", IMAGE, "sh", "-c", "exit 7")
            self.assertEqual(process.stdout.readline(), "7\n")
        finally:
            process.kill()
            process.communicate()

    def test_old_and_new_versions_of_the_api(self):
        self.assertEqual(docker("ps", env={"DOCKER_API_VERSION": "1.24"}).code, 0)
        self.assertIn("is too new", docker("ps", env={"DOCKER_API_VERSION": "1.99"}).err)
        self.assertIn("is too old", docker("ps", env={"DOCKER_API_VERSION": "1.10"}).err)

    def test_networks(self):
        out = self.ok("network", "ls", "--format", "{{.Name}} {{.Driver}}").out.split("\n")
        for line in ("bridge bridge", "host host", "none null"):
            self.assertIn(line, out)
        bridge = json.loads(self.ok("network", "inspect", "bridge").out)[0]
        self.assertTrue(bridge["IPAM"]["Config"][0]["Subnet"])
        self.fails(1, "network nope not found", "network", "inspect", "nope")

    def test_volumes(self):
        self.ok("volume", "create", "--label", "a=b", "v1")
        self.assertIn("v1", self.ok("volume", "ls", "-q", "--filter", "label=a=b").out)
        self.ok("run", "--rm", "-v", "v1:/data", "--network", "none", IMAGE, "sh", "-c", "echo kept >/data/f")
        self.assertEqual(self.ok("run", "--rm", "-v", "v1:/data", "--network", "none", IMAGE, "cat", "/data/f").out, "kept\n")
        self.ok("volume", "rm", "v1")
        self.fails(1, "no such volume", "volume", "inspect", "v1")


class RunTests(Case):
    def test_output_and_input(self):
        self.assertEqual(self.ok("run", "--rm", IMAGE, "echo", "hello").out, "hello\n")
        self.assertEqual(self.ok("run", "--rm", "-i", IMAGE, "cat", input="hello\n").out, "hello\n")
        result = self.ok("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2")
        self.assertEqual((result.out, result.err), ("out\n", "err\n"))

    def test_much_input_and_output(self):
        data = os.urandom(3 << 20).hex()
        self.assertEqual(self.ok("run", "--rm", "-i", "--network", "none", IMAGE, "cat", input=data).out, data)

    def test_exit_codes(self):
        self.assertEqual(docker("run", "--rm", IMAGE, "sh", "-c", "exit 3").code, 3)
        self.fails(127, "executable file not found", "run", "--rm", IMAGE, "no-such-command")
        self.fails(126, "(?i)permission denied", "run", "--rm", IMAGE, "/etc/notexecutable")
        self.fails(126, "(?i)is a directory|permission denied", "run", "--rm", IMAGE, "/etc")
        self.fails(125, "(?i)unable to find image", "run", "--rm", "no-such-image", "true")
        self.fails(125, "(?i)no such|not exist|bind source", "run", "--rm", "--mount", "type=bind,src=/no/such/path,dst=/x", IMAGE, "true")
        self.assertEqual(docker("run", "--rm", IMAGE, "sh", "-c", "sh -c 'kill -9 $$'; exit $?").code, 137)
        self.assertEqual(docker("ps", "-aq").out, "")

    def test_detached(self):
        id = self.ok("run", "-d", "--name", "web", IMAGE, "sleep", "60").out.strip()
        self.assertRegex(id, "^[0-9a-f]{64}$")
        self.assertRegex(self.ok("ps").out, r'busybox:test +"sleep 60" .*Up .* web')
        self.assertEqual(self.inspect("web")["Id"], id)
        self.assertEqual(self.inspect("/web")["State"]["Status"], "running")

    def test_environment_user_workdir(self):
        self.assertEqual(self.ok("run", "--rm", "-e", "A=b c", IMAGE, "sh", "-c", 'echo "$A"').out, "b c\n")
        self.assertEqual(self.ok("run", "--rm", "-u", "u", IMAGE, "id", "-u").out, "1000\n")
        self.assertEqual(self.ok("run", "--rm", "-w", "/var", IMAGE, "pwd").out, "/var\n")
        self.assertEqual(self.ok("run", "--rm", "-h", "box", IMAGE, "hostname").out, "box\n")
        self.fails(125, "(?i)unable to find user nobodyknows", "run", "--rm", "-u", "nobodyknows", IMAGE, "true")

    def test_the_engines_signal_settings_stay_with_the_engine(self):
        out = self.ok("run", "--rm", IMAGE, "grep", "-E", "Sig(Ign|Blk)", "/proc/self/status").out
        self.assertEqual(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n")

    def test_no_descriptor_of_the_engine_is_inherited(self):
        out = self.ok("run", "--rm", IMAGE, "sh", "-c", "ls /proc/self/fd").out
        self.assertEqual(out.split(), ["0", "1", "2", "3"])

    def test_names_are_unique(self):
        self.ok("create", "--name", "one", IMAGE, "true")
        self.fails(125, r'Conflict\. The container name "/one" is already in use', "run", "--name", "one", IMAGE, "true")

    def test_read_only_and_tmpfs(self):
        self.assertNotEqual(docker("run", "--rm", "--read-only", IMAGE, "touch", "/x").code, 0)
        self.ok("run", "--rm", "--read-only", "--tmpfs", "/run", IMAGE, "touch", "/run/x")

    def test_removal_after_the_end(self):
        self.ok("run", "-d", "--rm", "--name", "gone", IMAGE, "true")
        self.eventually(lambda: docker("inspect", "gone").code == 1)

    def test_memory_limit_is_seen(self):
        self.ok("run", "-d", "--name", "mem", "-m", "64m", IMAGE, "sleep", "60")
        self.assertEqual(self.inspect("mem")["HostConfig"]["Memory"], 64 << 20)

    def test_restart_policy(self):
        self.ok("run", "-d", "--name", "again", "--restart", "on-failure:2", "--network", "none", IMAGE, "sh", "-c", "exit 1")
        self.eventually(lambda: self.inspect("again")["RestartCount"] == 2 and self.inspect("again")["State"]["Status"] == "exited")

    def test_published_port(self):
        self.ok("run", "-d", "--name", "web", "-p", "18080:80", IMAGE, "sh", "-c",
                "mkdir /w; echo page >/w/index.html; exec httpd -f -p 80 -h /w")
        self.assertRegex(self.ok("port", "web").out, r"80/tcp -> 0\.0\.0\.0:18080")

        def fetch():
            done = subprocess.run(["curl", "-s", "-m", "2", "http://127.0.0.1:18080/"], capture_output=True, text=True)
            return done.stdout == "page\n"
        self.eventually(fetch)
        self.fails(125, "(?i)port is already allocated|address already in use", "run", "--rm", "-p", "18080:80", IMAGE, "true")


class LifeTests(Case):
    def test_stop_start_restart_kill(self):
        self.ok("run", "-d", "--name", "cc", IMAGE, "sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
        self.eventually(lambda: "up" in docker("logs", "cc").out)
        self.ok("stop", "cc")
        self.assertEqual(self.inspect("cc")["State"]["ExitCode"], 5)
        self.ok("stop", "cc")
        self.ok("start", "cc")
        self.ok("start", "cc")
        self.assertTrue(self.inspect("cc")["State"]["Running"])
        before = self.inspect("cc")["State"]["StartedAt"]
        self.eventually(lambda: docker("logs", "cc").out.count("up") == 2)
        self.ok("restart", "cc")
        self.assertNotEqual(self.inspect("cc")["State"]["StartedAt"], before)
        self.ok("kill", "-s", "KILL", "cc")
        self.eventually(lambda: self.inspect("cc")["State"]["ExitCode"] == 137)
        self.fails(1, "is not running", "kill", "cc")

    def test_stop_with_timeout_kills(self):
        self.ok("run", "-d", "--name", "cc", IMAGE, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")
        self.eventually(lambda: "up" in docker("logs", "cc").out)
        began = time.monotonic()
        self.ok("stop", "-t", "1", "cc")
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(self.inspect("cc")["State"]["ExitCode"], 137)

    def test_wait(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c", "sleep 0.3; exit 9")
        self.assertEqual(self.ok("wait", "cc").out, "9\n")
        self.assertEqual(self.ok("wait", "cc").out, "9\n")

    def test_pause(self):
        self.ok("run", "-d", "--name", "cc", IMAGE, "sleep", "60")
        self.ok("pause", "cc")
        self.assertIn("(Paused)", self.ok("ps").out)
        self.fails(1, "(?i)is paused", "exec", "cc", "true")
        self.ok("unpause", "cc")
        self.ok("exec", "cc", "true")

    def test_rename(self):
        self.ok("create", "--name", "aa", IMAGE, "true")
        self.ok("rename", "aa", "bb")
        self.assertEqual(self.inspect("bb")["Name"], "/bb")
        self.fails(1, "(?i)no such container: aa", "container", "inspect", "aa")

    def test_removal(self):
        self.ok("run", "-d", "--name", "cc", IMAGE, "sleep", "60")
        self.fails(1, "(?i)cannot remove container .*container is running", "rm", "cc")
        self.assertEqual(self.ok("rm", "-f", "cc").out, "cc\n")
        self.fails(1, "No such container: cc", "rm", "cc")
        # `rm -f` of nothing is fine for docker's CLI
        self.assertEqual(docker("rm", "-f", "cc").code, 0)

    def test_top_and_stats(self):
        self.ok("run", "-d", "--name", "cc", IMAGE, "sleep", "60")
        out = self.ok("top", "cc").out
        self.assertIn("PID", out)
        self.assertIn("sleep 60", out)
        self.assertRegex(self.ok("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "cc").out, r"^cc 1\n")

    def test_update(self):
        self.ok("run", "-d", "--name", "cc", "-m", "64m", IMAGE, "sleep", "60")
        self.ok("update", "--memory", "96m", "--memory-swap", "96m", "cc")
        self.assertEqual(self.inspect("cc")["HostConfig"]["Memory"], 96 << 20)

    def test_lists(self):
        self.ok("run", "-d", "--name", "run1", "--label", "k=v", IMAGE, "sleep", "60")
        self.ok("create", "--name", "made", IMAGE, "true")
        names = lambda *filters: sorted(self.ok("ps", "-a", "--format", "{{.Names}}", *filters).out.split())
        self.assertEqual(names(), ["made", "run1"])
        self.assertEqual(names("--filter", "status=running"), ["run1"])
        self.assertEqual(names("--filter", "label=k=v"), ["run1"])
        self.assertEqual(names("--filter", "name=mad"), ["made"])
        self.assertEqual(names("--filter", f"ancestor={IMAGE}"), ["made", "run1"])
        self.assertEqual(names("-n", "1"), ["made"])
        self.assertEqual(self.ok("ps", "-q").out.count("\n"), 1)
        self.fails(1, "invalid filter", "ps", "--filter", "nope=1")

    def test_prune(self):
        self.ok("create", "--name", "made", IMAGE, "true")
        self.assertIn("Deleted Containers", self.ok("container", "prune", "-f").out)
        self.assertEqual(self.ok("ps", "-aq").out, "")

    def test_diff_export(self):
        self.ok("run", "--name", "cc", "--network", "none", IMAGE, "touch", "/root/new")
        self.assertIn("A /root/new", self.ok("diff", "cc").out)
        path = engine().scratch + "/export.tar"
        self.ok("export", "-o", path, "cc")
        listed = subprocess.run(["tar", "-tf", path], capture_output=True, text=True).stdout
        self.assertIn("root/new", listed)


class LogsTests(Case):
    def test_logs(self):
        self.ok("run", "--name", "cc", "--network", "none", IMAGE, "sh", "-c", "for i in 1 2 3; do echo line $i; done; echo bad >&2")
        self.assertEqual(self.ok("logs", "cc").out, "line 1\nline 2\nline 3\n")
        self.assertEqual(self.ok("logs", "cc").err, "bad\n")
        self.assertEqual(self.ok("logs", "--tail", "2", "cc").out + self.ok("logs", "--tail", "2", "cc").err, "line 3\nbad\n")
        self.assertRegex(self.ok("logs", "-t", "cc").out, r"(?m)^\d{4}-\d\d-\d\dT[\d:.]+Z line 1$")
        self.assertEqual(self.ok("logs", "--since", "1h", "cc").out.count("\n"), 3)
        self.assertEqual(self.ok("logs", "--until", "1h", "cc").out, "")

    def test_follow(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")
        self.assertEqual(self.ok("logs", "-f", "cc").out, "1\n2\n3\n4\n5\n")


class ExecTests(Case):
    def setUp(self):
        super().setUp()
        self.ok("run", "-d", "--name", "cc", IMAGE, "sleep", "600")

    def test_output_input_codes(self):
        self.assertEqual(self.ok("exec", "cc", "echo", "hi").out, "hi\n")
        self.assertEqual(self.ok("exec", "-i", "cc", "cat", input="in").out, "in")
        self.assertEqual(docker("exec", "cc", "sh", "-c", "exit 4").code, 4)
        self.fails(127, "executable file not found", "exec", "cc", "no-such-command")
        self.fails(126, "(?i)permission denied", "exec", "cc", "/etc/notexecutable")
        self.fails(1, "No such container: nope", "exec", "nope", "true")

    def test_options(self):
        self.assertEqual(self.ok("exec", "-u", "1000:1000", "-w", "/var", "-e", "X=y", "cc", "sh", "-c", "id -u; pwd; echo $X").out,
                         "1000\n/var\ny\n")

    def test_detached(self):
        self.ok("exec", "-d", "cc", "sh", "-c", "echo done >/tmp/f")
        self.eventually(lambda: docker("exec", "cc", "cat", "/tmp/f").out == "done\n")

    def test_much_output(self):
        out = self.ok("exec", "cc", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done").out
        self.assertEqual(out, "".join(f"line {i}\n" for i in range(20000)))

    def test_in_parallel(self):
        results = [None] * 8

        def run(index):
            results[index] = docker("exec", "cc", "echo", str(index)).out
        threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [f"{i}\n" for i in range(8)])


class TerminalTests(Case):
    def test_run(self):
        terminal = Terminal("run", "--rm", "-it", IMAGE, "sh")
        terminal.expect(r"# ")
        terminal.send("stty size; tty\n")
        terminal.expect(r"24 80\r\n/dev/(console|pts/0)")
        terminal.resize(40, 100)
        time.sleep(0.3)
        terminal.send("stty size\n")
        terminal.expect(r"40 100")
        terminal.send("exit 6\n")
        self.assertEqual(terminal.wait(), 6)

    def test_control_c(self):
        terminal = Terminal("run", "--rm", "-it", IMAGE, "sh", "-c", "trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.1; done")
        terminal.expect("up")
        terminal.send("\x03")
        terminal.expect("caught")
        self.assertEqual(terminal.wait(), 3)

    def test_exec(self):
        self.ok("run", "-d", "--name", "cc", IMAGE, "sleep", "600")
        terminal = Terminal("exec", "-it", "cc", "sh")
        terminal.expect("# ")
        terminal.send("echo $((6*7))\n")
        terminal.expect(r"\n42\r")
        terminal.send("exit 2\n")
        self.assertEqual(terminal.wait(), 2)

    def test_detach_and_attach(self):
        terminal = Terminal("run", "-it", "--name", "cc", IMAGE, "sh")
        terminal.expect("# ")
        terminal.send("\x10\x11")
        self.assertEqual(terminal.wait(), 0)
        self.assertTrue(self.inspect("cc")["State"]["Running"])
        again = Terminal("attach", "cc")
        time.sleep(0.3)
        again.send("echo back$((1+1))\n")
        again.expect("back2")
        again.send("exit\n")
        self.assertEqual(again.wait(), 0)


class AttachTests(Case):
    def test_without_terminal(self):
        self.ok("create", "-i", "--name", "cc", IMAGE, "cat")
        process = subprocess.Popen(["docker", "start", "-ai", "cc"], env=engine().env, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        out, _ = process.communicate("through\n", timeout=20)
        self.assertEqual(out, "through\n")

    def test_output_only(self):
        self.ok("run", "-d", "--name", "cc", IMAGE, "sh", "-c", "while :; do echo tick; sleep 0.1; done")
        process = subprocess.Popen(["docker", "attach", "--no-stdin", "--sig-proxy=false", "cc"], env=engine().env,
                                   stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "tick\n")
        process.kill()
        process.communicate()
        self.assertTrue(self.inspect("cc")["State"]["Running"])


class ImageTests(Case):
    def test_list_inspect_history(self):
        self.assertRegex(self.ok("images").out, r"busybox +test +[0-9a-f]{12}")
        image = self.inspect(IMAGE, "image")
        self.assertRegex(image["Id"], "^sha256:[0-9a-f]{64}$")
        self.assertEqual(image["RepoTags"], [IMAGE])
        self.assertIn("IMAGE", self.ok("history", IMAGE).out)
        self.fails(1, "No such image: nope", "image", "inspect", "nope")

    def test_tag_and_rmi(self):
        self.ok("tag", IMAGE, "other/name:v1")
        self.assertEqual(self.ok("rmi", "other/name:v1").out, "Untagged: other/name:v1\n")
        self.fails(1, "No such image: other/name:v1", "rmi", "other/name:v1")

    def test_an_image_in_use_stays(self):
        tar = engine().scratch + "/small.tar"
        subprocess.run(["tar", "-cf", tar, "-C", "/bin", "busybox"], check=True)
        self.ok("import", "-c", 'CMD ["/busybox", "true"]', tar, "used:1")
        self.ok("create", "--name", "cc", "used:1")
        self.fails(1, "(?i)conflict", "rmi", "used:1")
        self.ok("rm", "cc")
        self.assertIn("Deleted: sha256:", self.ok("rmi", "used:1").out)

    def test_import_from_stdin(self):
        with open(engine().scratch + "/busybox.tar", "rb") as tar:
            done = subprocess.run(["docker", "import", "-c", "ENV A=b", "-c", "WORKDIR /var", "-m", "why", "-", "imported:1"],
                                  stdin=tar, env=engine().env, capture_output=True, text=True)
        self.assertRegex(done.stdout, "^sha256:[0-9a-f]{64}\n$", done.stderr)
        self.assertEqual(self.ok("run", "--rm", "imported:1", "sh", "-c", "echo $A; pwd").out, "b\n/var\n")
        self.ok("rmi", "imported:1")

    def test_commit(self):
        self.ok("run", "--name", "cc", IMAGE, "sh", "-c", "echo changed >/root/f")
        id = self.ok("commit", "-m", "why", "-c", "ENV K=v", "cc", "changed:1").out.strip()
        self.assertRegex(id, "^sha256:[0-9a-f]{64}$")
        self.assertEqual(self.ok("run", "--rm", "changed:1", "sh", "-c", "cat /root/f; echo $K").out, "changed\nv\n")
        self.assertIn("why", self.ok("history", "changed:1").out)
        self.ok("rm", "cc")
        self.ok("rmi", "changed:1")

    def test_save_and_load(self):
        path = engine().scratch + "/saved.tar"
        self.ok("tag", IMAGE, "saved:1")
        self.ok("save", "-o", path, "saved:1")
        self.ok("rmi", "saved:1")
        self.assertIn("Loaded image: saved:1", self.ok("load", "-i", path).out)
        self.assertEqual(self.ok("run", "--rm", "saved:1", "echo", "x").out, "x\n")
        self.ok("rmi", "saved:1")

    def test_a_truncated_archive_is_refused(self):
        path = engine().scratch + "/saved-whole.tar"
        self.ok("save", "-o", path, IMAGE)
        size = os.path.getsize(path)
        os.truncate(path, size // 2)
        self.assertNotEqual(docker("load", "-i", path).code, 0)


class DaemonDeathTests(Case):
    """Last in the alphabet of what matters: the engine goes, the containers stay."""

    def test_streams_and_logs_survive(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c",
                "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done")
        attached = subprocess.Popen(["docker", "attach", "--no-stdin", "cc"], env=engine().env, stdout=subprocess.PIPE, text=True)
        first = int(attached.stdout.readline())
        engine().kill()
        numbers = [int(attached.stdout.readline()) for _ in range(10)]
        self.assertEqual(numbers, list(range(first + 1, first + 11)))
        engine().start()
        self.assertTrue(self.inspect("cc")["State"]["Running"])
        self.assertIn(str(first + 5), self.ok("logs", "cc").out.split())
        self.ok("exec", "cc", "true")
        attached.kill()
        attached.communicate()

    def test_an_exit_meanwhile_is_known_afterwards(self):
        self.ok("run", "-d", "--name", "cc", "--network", "none", IMAGE, "sh", "-c", "sleep 0.5; exit 8")
        self.ok("run", "-d", "--rm", "--name", "rr", "--network", "none", IMAGE, "sleep", "0.5")
        engine().kill()
        time.sleep(1)
        engine().start()
        self.assertEqual(self.ok("wait", "cc").out, "8\n")
        self.eventually(lambda: docker("inspect", "rr").code == 1, timeout=2)
