"""A host with an engine, its LAN with a neighbour who means harm, a router, and somebody outside: network namespaces, nothing of the machine's.

    outside 203.0.113.9 ---- 203.0.113.1 router 198.51.100.1 --+-- 198.51.100.10, .11 host ---- containers
            2001:db8:2::9          2001:db8:1::1               +-- 198.51.100.20 neighbour

All sockets are this process's own: a thread steps into a namespace, makes a socket, steps out, and one loop serves all of them. So
hundreds of probes wait side by side, and a whole matrix takes little longer than one refused connection.
"""
import atexit, contextlib, ctypes, errno, json, os, selectors, socket, struct, subprocess, sys, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../Registry"))
import scene

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
ways = threading.local()
check, finish, eventually = scene.check, scene.finish, scene.eventually


def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


class Space:
    """A network namespace, held by a descriptor. `with space:` has the calling thread, and what it starts, inside."""

    def __init__(self, name, pid=None):
        self.name = name
        if pid is not None:
            self.handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            return
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        call("unshare", CLONE_NEWNET)
        self.handle = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        ip("link set lo up")
        call("setns", back, CLONE_NEWNET)
        os.close(back)

    def __enter__(self):
        ways.__dict__.setdefault("back", []).append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        call("setns", self.handle, CLONE_NEWNET)
        return self

    def __exit__(self, *_):
        back = ways.back.pop()
        call("setns", back, CLONE_NEWNET)
        os.close(back)

    def run(self, *words, **options):
        with self:
            return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)

    def close(self):
        os.close(self.handle)


def ip(text, fails=False):
    """Lines for ip(8), in the namespace of the calling thread."""
    done = subprocess.run(["ip", "-batch", "-"], input=text, capture_output=True, text=True)
    if done.returncode and not fails:
        raise SystemExit(f"ip: {done.stderr.strip()} in\n{text}")


def sysctl(name, value):
    with open("/proc/sys/net/" + name, "w") as file:
        file.write(str(value))


H4, H4_SECOND, N4, R4, O4 = "198.51.100.10", "198.51.100.11", "198.51.100.20", "198.51.100.1", "203.0.113.9"
H6, H6_SECOND, N6, R6, O6 = "2001:db8:1::10", "2001:db8:1::11", "2001:db8:1::20", "2001:db8:1::1", "2001:db8:2::9"


class Lab:
    """The namespaces; `self.host` is the script's own. With IPv6 unless the kernel has none."""

    def __init__(self):
        self.host = Space("host", os.getpid())
        self.neighbour, self.router, self.outside = Space("neighbour"), Space("router"), Space("outside")
        self.has6 = os.path.exists("/proc/sys/net/ipv6")
        self.bridge_netfilter(False)
        for number, (space, name) in enumerate([(self.host, "eth0"), (self.neighbour, "eth0"), (self.outside, "eth0")]):
            with self.router:
                handle = f"/proc/{os.getpid()}/fd/{space.handle}"
                ip(f"link add port{number} type veth peer name {name} netns {handle}")
        with self.router:
            ip("link add lan type bridge\nlink set port0 master lan up\nlink set port1 master lan up\nlink set lan up\nlink set port2 up\n"
               f"addr add {R4}/24 dev lan\naddr add 203.0.113.1/24 dev port2")
            sysctl("ipv4/ip_forward", 1)
            if self.has6:
                ip(f"addr add {R6}/64 dev lan nodad\naddr add 2001:db8:2::1/64 dev port2 nodad")
                sysctl("ipv6/conf/all/forwarding", 1)
        for space, four, six, way4, way6 in [(self.host, (H4, H4_SECOND), (H6, H6_SECOND), R4, R6), (self.neighbour, (N4,), (N6,), R4, R6),
                                             (self.outside, (O4,), (O6,), "203.0.113.1", "2001:db8:2::1")]:
            with space:
                ip("link set lo up\nlink set eth0 up\n" + "\n".join(f"addr add {each}/24 dev eth0" for each in four)
                   + f"\nroute add default via {way4}")
                if self.has6:
                    ip("\n".join(f"addr add {each}/64 dev eth0 nodad" for each in six) + f"\nroute add default via {way6}")
        with self.neighbour:
            # Somebody with root on the LAN: loopback addresses leave by the wire.
            sysctl("ipv4/conf/all/route_localnet", 1)
            ip("route del local 127.0.0.0/8 dev lo table local\nroute del local 127.0.0.1 dev lo table local\n"
               f"route add 127.0.0.0/8 via {H4}")

    def bridge_netfilter(self, is_on):
        """Whether frames on the host's bridges pass its IP rules too: dockerd and Kubernetes want it, others do without."""
        for family in ("iptables", "ip6tables"):
            with contextlib.suppress(FileNotFoundError), self.host:
                with open("/proc/sys/net/bridge/bridge-nf-call-" + family, "w") as file:
                    file.write(str(int(is_on)))

    def routes_to(self, subnets):
        """Neighbour and router know a way to the containers' own addresses: past every published port."""
        for space in (self.neighbour, self.router):
            for subnet in subnets:
                way = H6 if ":" in subnet else H4
                with space:
                    ip(f"route replace {subnet} via {way}")


def enter():
    """Starts the script anew in namespaces of its own, with an empty /run."""
    if not os.environ.get("SKIFF_IN_NAMESPACE"):
        os.environ["SKIFF_IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", "--propagation", "private", sys.executable] + sys.argv)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)


class Engine(scene.Engine):
    """skiffd on the lab's host; commands fail loudly unless asked not to."""

    def __init__(self, binaries, flags=()):
        super().__init__(binaries, flags)
        self.ended = False
        atexit.register(self.end)
        self.start()
        root = self.scratch + "/root"
        for folder in ("bin", "etc", "dev", "proc", "sys", "tmp"):
            os.makedirs(f"{root}/{folder}")
        subprocess.run(["cp", "/bin/busybox", root + "/bin/busybox"], check=True)
        for name in ("sh", "sleep", "true", "cat", "ip", "nslookup", "hostname"):
            os.symlink("busybox", f"{root}/bin/{name}")
        subprocess.run(["tar", "-C", root, "-cf", self.scratch + "/box.tar", "."], check=True)
        self.do("import", self.scratch + "/box.tar", "box")

    def end(self):
        """Also when the script fails: no container stays."""
        if not self.ended:
            self.ended = True
            if not self.alive:
                self.start()
            super().end()

    def do(self, *words, timeout=60):
        done = self.skiff(*words, timeout=timeout)
        if done.code:
            raise SystemExit(f"skiff {' '.join(words)}: {done}\n{self.tail()}")
        return done.out.strip()

    def inspect(self, name):
        return json.loads(self.do("inspect", name))[0]

    def container(self, name, *flags):
        """A container that sleeps; answers its Space, with its addresses per network."""
        self.do("run", "-d", "--name", name, *flags, "box", "sleep", "100000")
        return self.space(name)

    def space(self, name):
        space = Space(name, self.inspect(name)["State"]["Pid"])
        return self.describe(space)

    def describe(self, space):
        told = self.inspect(space.name)
        space.networks = told["NetworkSettings"]["Networks"]
        space.four = [each["IPAddress"] for each in space.networks.values() if each.get("IPAddress")]
        space.six = [each["GlobalIPv6Address"] for each in space.networks.values() if each.get("GlobalIPv6Address")]
        return space


# Servers and probes

class Loop:
    """Serves and probes from one thread: whoever connects is told who answers and which address was seen."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.servers = []

    def serve(self, space, port, families=(socket.AF_INET, socket.AF_INET6), name=None, address=None):
        """TCP and UDP listeners on every address of a namespace, or on one."""
        name = name or space.name
        with space:
            for family in families:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    server = socket.socket(family, kind)
                    server.setblocking(False)
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if family == socket.AF_INET6:
                        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    server.bind((address or ("0.0.0.0" if family == socket.AF_INET else "::"), port))
                    if kind == socket.SOCK_STREAM:
                        server.listen(512)
                        react = self.accept
                    else:
                        # The answer leaves from the address that was asked, whichever the host has.
                        if family == socket.AF_INET:
                            server.setsockopt(socket.IPPROTO_IP, 8, 1)              # IP_PKTINFO
                        else:
                            server.setsockopt(socket.IPPROTO_IPV6, 49, 1)           # IPV6_RECVPKTINFO
                        react = self.echo
                    self.selector.register(server, selectors.EVENT_READ, (react, name))
                    self.servers.append((name, server))

    def stop(self, name):
        for each, server in [pair for pair in self.servers if pair[0] == name]:
            self.selector.unregister(server)
            server.close()
            self.servers.remove((each, server))

    def accept(self, server, name, _):
        with contextlib.suppress(OSError):
            connection, client = server.accept()
            with connection:
                connection.send(f"{name} {client[0]}\n".encode())

    def echo(self, server, name, _):
        with contextlib.suppress(OSError):
            data, ancillary, _, client = server.recvmsg(2048, 256)
            answer = f"{name} {client[0]}\n".encode()
            back = []
            for level, kind, value in ancillary:
                if (level, kind) == (socket.IPPROTO_IP, 8):
                    _, chosen, _ = struct.unpack("=i4s4s", value)
                    back = [(level, kind, struct.pack("=i4s4s", 0, chosen, b"\0" * 4))]
                elif (level, kind) == (socket.IPPROTO_IPV6, 50):
                    back = [(level, kind, value[:16] + struct.pack("=i", 0))]
            server.sendmsg([answer], back, 0, client)

    def ask(self, probes, settle=1.2, patience=6.0, hopeful=lambda probe: probe.hopeful):
        """Runs all probes side by side. What is hoped for has `patience` seconds; the others are given up after `settle`."""
        begun = time.monotonic()
        open_probes = set()
        for probe in probes:
            probe.begin()
            if probe.outcome is None:
                open_probes.add(probe)
                self.selector.register(probe.socket, selectors.EVENT_READ, (probe.react, None))
        resend = begun + 0.3
        while open_probes:
            now = time.monotonic()
            waiting = [probe for probe in open_probes if hopeful(probe)]
            if now - begun > (patience if waiting else settle):
                break
            for key, events in self.selector.select(0.05):
                react, name = key.data
                react(key.fileobj, name, events)
            for probe in [probe for probe in open_probes if probe.outcome is not None]:
                open_probes.discard(probe)
                self.selector.unregister(probe.socket)
                probe.socket.close()
            if time.monotonic() > resend:
                resend += 0.3
                for probe in open_probes:
                    probe.again()
        for probe in open_probes:
            probe.outcome = "silence"
            self.selector.unregister(probe.socket)
            probe.socket.close()
        return probes

    def pump(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, events in self.selector.select(max(0, end - time.monotonic())):
                react, name = key.data
                react(key.fileobj, name, events)


class Probe:
    """One attempt of `space` to reach address and port. `outcome`: "NAME saw ADDRESS", or how it failed."""

    def __init__(self, space, protocol, address, port, hopeful=False):
        self.space, self.protocol, self.address, self.port, self.hopeful = space, protocol, address, port, hopeful
        self.outcome = self.socket = None

    def begin(self):
        self.outcome = None
        with self.space:
            self.socket = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET,
                                        socket.SOCK_STREAM if self.protocol == "tcp" else socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        try:
            self.socket.connect((self.address, self.port))
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(error)
        if self.outcome is None:
            self.again()
        if self.outcome is not None:
            self.socket.close()

    def again(self):
        """Datagrams get lost, and the first ones wake neighbour discovery."""
        if self.protocol == "udp":
            try:
                self.socket.send(b"?")
            except OSError as error:
                self.fail(error)

    def fail(self, error):
        names = {errno.ECONNREFUSED: "refused", errno.ETIMEDOUT: "silence", errno.EPERM: "not allowed", errno.EACCES: "not allowed"}
        self.outcome = names.get(error.errno, "no way: " + os.strerror(error.errno or 0))

    def react(self, *_):
        try:
            text = self.socket.recv(2048).decode()
            name, _, seen = text.strip().partition(" ")
            self.outcome = f"{name} saw {seen}" if seen else "cut off"
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(error)
