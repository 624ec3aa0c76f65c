#!/usr/bin/env python3
"""`skiff logs -f`, `run` and `exec` while skiffd is killed and started again; and skiff starting skiffd by itself.

    engine_death.py BIN_FOLDER      as root; in mount and network namespaces of its own
"""
import json, os, signal, subprocess, sys, time
sys.dont_write_bytecode = True
import engine as support

support.enter()
ENGINE = support.Engine(sys.argv[1])
SKIFF = ENGINE.skiff
failures = []


skiff = ENGINE.run


def check(name, good, detail=""):
    print(("ok   " if good else "FAIL ") + name + ("" if good else f": {detail}"), flush=True)
    if not good: failures.append(name)


# Eight clients at once start one engine
clients = [subprocess.Popen([SKIFF, "ps"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)]
results = [client.communicate(timeout=60) + (client.returncode,) for client in clients]
check("eight clients start an engine", all(result[2] == 0 for result in results), results)
engines = subprocess.run(["pgrep", "-x", "skiffd"], capture_output=True, text=True).stdout.split()


def is_ours(pid):
    """Whether the process lives, in this mount namespace: what others' tests leave to be reaped has none."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino == os.stat("/proc/self/ns/mnt").st_ino
    except FileNotFoundError:
        return False


mine = [pid for pid in engines if is_ours(pid)]
check("one engine", len(mine) == 1, mine)

ENGINE.import_busybox("img:1")
skiff("run", "-d", "--network", "none", "--name", "count", "img:1", "sh", "-c", "i=0; while [ $i -lt 60 ]; do echo line $i; i=$((i+1)); sleep 0.1; done; exit 7")
logs = subprocess.Popen([SKIFF, "logs", "-f", "count"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
attached = subprocess.Popen([SKIFF, "run", "--network", "none", "--name", "attached", "img:1", "sh", "-c", "i=0; while [ $i -lt 50 ]; do echo row $i; i=$((i+1)); sleep 0.1; done; exit 9"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
time.sleep(1)
executed = subprocess.Popen([SKIFF, "exec", "count", "sh", "-c", "i=0; while [ $i -lt 40 ]; do echo step $i; i=$((i+1)); sleep 0.1; done; exit 5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
time.sleep(0.5)
def api(path):
    done = subprocess.run(["curl", "-s", "--unix-socket", "/run/skiff/skiff.sock", "http://x" + path], capture_output=True)
    return json.loads(done.stdout or b"{}")


execs = api("/containers/count/json").get("ExecIDs") or []
check("one exec runs", len(execs) == 1, execs)
before = api(f"/exec/{execs[0]}/json") if execs else {}
for _ in range(3):
    ENGINE.kill()
    time.sleep(1)
check("a running exec is known to the next engine", before.get("Running") and api(f"/exec/{execs[0]}/json") == before, before)
check("with its command", before.get("ProcessConfig", {}).get("entrypoint") == "sh", before)
out, err = logs.communicate(timeout=60)
check("logs -f loses and repeats no line", out == b"".join(b"line %d\n" % i for i in range(60)), (out[-200:], err, logs.returncode))
out, err = attached.communicate(timeout=60)
check("an attached run goes on", out == b"".join(b"row %d\n" % i for i in range(50)), (out[-200:], err))
check("and keeps its exit code", attached.returncode == 9, (attached.returncode, err))
out, err = executed.communicate(timeout=60)
check("exec goes on", out == b"".join(b"step %d\n" % i for i in range(40)), (out[-200:], err))
check("and keeps its exit code", executed.returncode == 5, (executed.returncode, err))
done = skiff("wait", "count")
check("no exit code is lost", done.stdout == b"7\n", done)
skiff("rm", "-f", "count", "attached")

# Who is told to end ends, with and without a terminal
skiff("run", "-d", "--network", "none", "--name", "idle", "img:1", "sleep", "1000")
for words in (["stats"], ["stats", "idle"], ["logs", "-f", "idle"], ["events"], ["wait", "idle"]):
    watcher = subprocess.Popen([SKIFF, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1)
    watcher.send_signal(signal.SIGTERM)
    try:
        watcher.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        watcher.kill()
    check(f"{' '.join(words)} ends by SIGTERM", watcher.returncode == -signal.SIGTERM, watcher.returncode)
skiff("rm", "-f", "idle")

# Without an engine that can be started: one clear line
ENGINE.end()
lonely = "/run/skiff-test/lonely"
os.makedirs(lonely)
subprocess.run(["cp", SKIFF, lonely])
done = subprocess.run([lonely + "/skiff", "ps"], capture_output=True, env={"PATH": "/nonexistent"})
check("no skiffd to be found is said", done.returncode == 1 and b"no skiffd is beside skiff or in PATH" in done.stderr, done)
with open(lonely + "/skiffd", "w") as file: file.write("#!/bin/sh\necho it does not work; exit 3\n")
os.chmod(lonely + "/skiffd", 0o755)
done = subprocess.run([lonely + "/skiff", "ps"], capture_output=True, env={"PATH": "/nonexistent"})
check("an engine that fails is quoted", done.returncode == 1 and b"ended with status 3" in done.stderr and b"it does not work" in done.stderr, done)
done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", SKIFF, "ps"], capture_output=True)
check("others are told about permissions", done.returncode == 1 and b"root" in done.stderr, done)
sys.exit(1 if failures else 0)
