"""Times commands: reads JSON {"runs": n, "command": [...]} lines, answers lists of milliseconds. Runs inside or outside the peers' root."""
import json, os, sys, time

devnull = os.open(os.devnull, os.O_RDWR)
actions = [(os.POSIX_SPAWN_DUP2, devnull, 0), (os.POSIX_SPAWN_DUP2, devnull, 1), (os.POSIX_SPAWN_DUP2, devnull, 2)]


def once(command, environment):
    start = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, environment, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    return (time.perf_counter() - start) * 1000, os.waitstatus_to_exitcode(status)


def parallel(commands, clients, environment):
    """All commands, at most `clients` at a time; the milliseconds of the whole."""
    start = time.perf_counter()
    waiting, running, failed = list(reversed(commands)), set(), 0
    while waiting or running:
        while waiting and len(running) < clients:
            command = waiting.pop()
            running.add(os.posix_spawnp(command[0], command, environment, file_actions=actions))
        pid, status = os.waitpid(-1, 0)
        if pid in running:
            running.discard(pid)
            failed += status != 0
    return (time.perf_counter() - start) * 1000, failed


for line in sys.stdin:
    request = json.loads(line)
    environment = dict(os.environ, **request.get("environment", {}))
    if "commands" in request:
        elapsed, failed = parallel(request["commands"], request["clients"], environment)
        print(json.dumps({"times": [elapsed], "failed": failed}), flush=True)
        continue
    times, failed = [], 0
    for _ in range(request["runs"]):
        for command in request.get("before", []):
            once(command, environment)
        elapsed, code = once(request["command"], environment)
        times.append(elapsed)
        failed += code != 0
    print(json.dumps({"times": times, "failed": failed}), flush=True)
