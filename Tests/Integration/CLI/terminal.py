#!/usr/bin/env python3
"""Terminal behaviour of `skiff` against a running engine: raw mode, restore, resize, detach, signals, pipes, exit codes.

    terminal.py SKIFF HOST IMAGE [CASE…]   against a running engine; IMAGE has sh, cat, stty, sleep, head, wc, od
    terminal.py BIN_FOLDER                 as root: with an engine of its own
"""
import sys
sys.dont_write_bytecode = True
import fcntl, os, pty, re, select, signal, struct, subprocess, sys, termios, time

own = None
if len(sys.argv) == 2:
    import engine
    engine.enter()
    own = engine.Engine(sys.argv[1])
    own.import_busybox("busybox:test")
    SKIFF, HOST, IMAGE = own.skiff, "unix:///run/skiff/skiff.sock", "busybox:test"
else:
    SKIFF, HOST, IMAGE = sys.argv[1:4]
BASE = [SKIFF, "-H", HOST]
PREFIX = f"climode{os.getpid()}"
failures = []


class Terminal:
    """A client in a terminal of its own."""

    def __init__(self, *words, rows=33, columns=101):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.slave_name = os.ttyname(slave)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.output = b""
        pid = os.fork()
        if pid == 0:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for fd in (0, 1, 2): os.dup2(slave, fd)
            os.closerange(3, 256)
            os.execv(SKIFF, BASE + list(words))
        self.pid = pid

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        os.write(self.master, text if isinstance(text, bytes) else text.encode())

    def expect(self, pattern, seconds=15):
        deadline = time.time() + seconds
        while not re.search(pattern, self.output):
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.time()))
            if not ready:
                raise AssertionError(f"{pattern!r} did not come, but {self.output!r}")
            try:
                self.output += os.read(self.master, 65536)
            except OSError:
                raise AssertionError(f"{pattern!r} did not come before the end: {self.output!r}")
        found = re.search(pattern, self.output)
        self.output = self.output[found.end():]
        return found

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def wait(self, seconds=15):
        deadline = time.time() + seconds
        while time.time() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if select.select([self.master], [], [], 0.02)[0]:
                self.output += os.read(self.master, 65536)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("the client did not end")

    def check_restored(self):
        assert termios.tcgetattr(self.slave) == self.before, "the terminal was not restored"


def skiff(*words, **options):
    return subprocess.run(BASE + list(words), capture_output=True, timeout=60, **options)


def test(function):
    start = time.time()
    try:
        function()
        print(f"ok   {function.__name__} ({time.time() - start:.2f} s)")
    except Exception as error:
        failures.append(function.__name__)
        print(f"FAIL {function.__name__}: {error}")
    finally:
        skiff("rm", "-f", PREFIX)


def raw_mode_and_exit_code():
    client = Terminal("run", "--rm", "-it", "--name", PREFIX, IMAGE, "sh")
    client.expect(rb"[#$] ")
    assert client.is_raw(), "not in raw mode"
    client.send("tty; exit 42\n")
    client.expect(rb"/dev/")
    assert client.wait() == 42
    client.check_restored()


def size_at_start_and_resize():
    client = Terminal("run", "--rm", "-it", "--name", PREFIX, IMAGE, "sh")
    client.expect(rb"[#$] ")
    for attempt in range(20):
        client.send("stty size\n")
        if client.expect(rb"(\d+) (\d+)\r").groups() == (b"33", b"101"): break
        time.sleep(0.1)
    else:
        raise AssertionError("the first size did not arrive")
    client.resize(40, 120)
    os.kill(client.pid, signal.SIGWINCH)
    for attempt in range(20):
        client.send("stty size\n")
        if client.expect(rb"(\d+) (\d+)\r").groups() == (b"40", b"120"): break
        time.sleep(0.1)
    else:
        raise AssertionError("the new size did not arrive")
    client.send("exit\n")
    assert client.wait() == 0


def interrupt_goes_to_the_process():
    client = Terminal("run", "--rm", "-it", "--name", PREFIX, IMAGE, "sh")
    client.expect(rb"[#$] ")
    client.send("sleep 100\n")
    time.sleep(0.3)
    client.send(b"\x03")
    client.send("echo alive $?; exit\n")
    client.expect(rb"alive 130")
    client.wait()


def detach_keys_leave_it_running():
    client = Terminal("run", "-it", "--name", PREFIX, IMAGE, "sh")
    client.expect(rb"[#$] ")
    client.send(b"\x10")
    client.send(b"\x11")
    assert client.wait() == 0
    client.check_restored()
    assert skiff("inspect", "-f", "{{.State.Running}}", PREFIX).stdout == b"true\n"
    client = Terminal("attach", "--detach-keys", "ctrl-x,q", PREFIX)
    client.send("echo again\n")
    client.expect(rb"again\r\n.*again|again")
    client.send(b"\x18q")
    client.wait()
    client.check_restored()
    assert skiff("inspect", "-f", "{{.State.Running}}", PREFIX).stdout == b"true\n"
    client = Terminal("attach", PREFIX)
    client.send("exit 3\n")
    assert client.wait() == 3


def held_back_key_is_passed_on():
    client = Terminal("run", "--rm", "-it", "--name", PREFIX, IMAGE, "sh", "-c", "stty raw -echo; echo ready; head -c 3 | od -An -tx1")
    client.expect(rb"ready")
    client.send(b"\x10ab")
    client.expect(rb"10 61 62")
    client.wait()


def restored_when_the_client_is_ended():
    for number in (signal.SIGTERM, signal.SIGHUP):
        client = Terminal("run", "-it", "--sig-proxy=false", "--name", PREFIX, IMAGE, "sh")
        client.expect(rb"[#$] ")
        assert client.is_raw()
        os.kill(client.pid, number)
        assert client.wait() == -number
        client.check_restored()
        skiff("rm", "-f", PREFIX)


def restored_when_the_client_crashes():
    client = Terminal("run", "-it", "--name", PREFIX, IMAGE, "sh")
    client.expect(rb"[#$] ")
    os.kill(client.pid, signal.SIGSEGV)
    client.wait()
    client.check_restored()


def exec_in_a_terminal():
    skiff("run", "-d", "--name", PREFIX, IMAGE, "sleep", "1000")
    client = Terminal("exec", "-it", PREFIX, "sh", rows=22, columns=77)
    client.expect(rb"[#$] ")
    for attempt in range(20):
        client.send("stty size\n")
        if client.expect(rb"(\d+) (\d+)\r").groups() == (b"22", b"77"): break
        time.sleep(0.1)
    else:
        raise AssertionError("the size did not arrive")
    client.send("exit 9\n")
    assert client.wait() == 9
    client.check_restored()
    client = Terminal("exec", "-it", PREFIX, "sh")
    client.expect(rb"[#$] ")
    client.send(b"\x10\x11")
    client.wait()
    client.check_restored()


def terminal_needs_a_terminal():
    done = skiff("run", "--rm", "-it", IMAGE, "true", stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and b"the input device is not a TTY" in done.stderr, done


def output_of_a_terminal_without_input():
    done = skiff("run", "--rm", "-t", IMAGE, "echo", "hi", stdin=subprocess.DEVNULL)
    assert done.stdout == b"hi\r\n", done


def pipes():
    data = os.urandom(3 << 20)
    assert skiff("run", "-i", "--rm", IMAGE, "cat", input=data).stdout == data
    skiff("run", "-d", "--name", PREFIX, IMAGE, "sleep", "1000")
    assert skiff("exec", "-i", PREFIX, "cat", input=data).stdout == data
    done = skiff("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7), done
    assert skiff("run", "--rm", "-i", IMAGE, "wc", "-c", input=b"").stdout.strip() == b"0"
    done = subprocess.run(f"{' '.join(BASE)} run --rm {IMAGE} head -c 300000000 /dev/zero | head -c 1000 | wc -c", shell=True, capture_output=True, timeout=60)
    assert done.stdout.strip() == b"1000", done


def signals_are_forwarded():
    client = subprocess.Popen(
        BASE + ["run", "--rm", "--name", PREFIX, IMAGE, "sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.1; done"],
        stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(signal.SIGUSR1)
    assert client.stdout.readline() == b"got\n"
    assert client.wait(timeout=10) == 5


def signal_deaths_become_128_plus():
    client = subprocess.Popen(BASE + ["run", "--rm", "--name", PREFIX, IMAGE, "sh", "-c", "echo ready; sleep 1000; :"], stdout=subprocess.PIPE)
    client.stdout.readline()
    skiff("kill", "-s", "KILL", PREFIX)
    assert client.wait(timeout=10) == 137


def exit_codes():
    assert skiff("run", "--rm", IMAGE, "/nosuchcommand").returncode == 127
    assert skiff("run", "--rm", IMAGE, "/etc").returncode == 126
    assert skiff("run", "--rm", "--nosuchflag", IMAGE).returncode == 125
    assert skiff("run", "--rm", "nosuchimage:x", "true").returncode == 125


def start_attached():
    skiff("create", "-i", "--name", PREFIX, IMAGE, "sh", "-c", "cat; exit 4")
    done = skiff("start", "-ai", PREFIX, input=b"hello\n")
    assert (done.stdout, done.returncode) == (b"hello\n", 4), done


def logs_follow():
    skiff("run", "-d", "--name", PREFIX, IMAGE, "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; echo e >&2")
    done = skiff("logs", "-f", PREFIX)
    assert (done.stdout, done.stderr) == (b"1\n2\n3\n4\n5\n", b"e\n"), done
    assert skiff("logs", "--tail", "2", PREFIX).stdout == b"5\n"
    assert re.match(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 1\n", skiff("logs", "-t", PREFIX).stdout)


for case in (raw_mode_and_exit_code, size_at_start_and_resize, interrupt_goes_to_the_process, detach_keys_leave_it_running,
             held_back_key_is_passed_on, restored_when_the_client_is_ended, restored_when_the_client_crashes, exec_in_a_terminal,
             terminal_needs_a_terminal, output_of_a_terminal_without_input, pipes, signals_are_forwarded,
             signal_deaths_become_128_plus, exit_codes, start_attached, logs_follow):
    if len(sys.argv) < 5 or case.__name__ in sys.argv[4:]:
        test(case)
if own: own.end()
sys.exit(1 if failures else 0)
