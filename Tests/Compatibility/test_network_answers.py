"""The same requests to dockerd (of the peers, where they are made) and to us: status and message of each answer are compared."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from engine import Case, busybox_tar, engine

PEERS = pathlib.Path(os.environ.get("SKIFF_PEERS", "/var/cache/skiff-peers"))
V4 = {"Subnet": "10.211.1.0/24"}


def network(name, ipam=None, **members):
    body = {"Name": name, **members}
    if ipam is not None:
        body["IPAM"] = {"Config": ipam}
    return ("POST", "/networks/create", body)


def container(name, mode=None, endpoints=None, **host):
    body = {"Image": "busybox:test", "Cmd": ["sleep", "600"], "StopSignal": "KILL", "HostConfig": dict(host)}
    if mode:
        body["HostConfig"]["NetworkMode"] = mode
    if endpoints is not None:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return ("POST", "/containers/create?name=" + name, body)


def connect(name, box, endpoint=None):
    return ("POST", f"/networks/{name}/connect", {"Container": box, "EndpointConfig": endpoint})


def disconnect(name, box, force=False):
    return ("POST", f"/networks/{name}/disconnect", {"Container": box, "Force": force})


def start(name):
    return ("POST", f"/containers/{name}/start", None)


def get(path):
    return ("GET", path, None)


def remove(name):
    return ("DELETE", "/networks/" + name, None)


# In this order, on an engine without networks or containers of the user's.
REQUESTS = [
    network("bridge"), network("host"), network("none"), network("default"), network(""), network(" "),
    network("a/b"), network("a b"), network("-a"),
    network("x", Driver="nope"), network("x", Driver="host"), network("x", Driver="null"), network("x", Driver="overlay"),
    network("x", Scope="swarm"), network("x", Scope="global"), network("x", Scope="local2"), network("x", Ingress=True),
    network("x", [{"Subnet": "nonsense"}]), network("x", [{"Subnet": "10.211.1.7/24"}]), network("x", [{}]),
    network("x", [{"Gateway": "10.211.1.1"}]),
    network("x", [{**V4, "Gateway": "10.212.1.1"}]), network("x", [{**V4, "Gateway": "nonsense"}]),
    network("x", [{**V4, "Gateway": "fd00::1"}]),
    network("x", [{**V4, "IPRange": "10.211.2.0/28"}]), network("x", [{**V4, "IPRange": "10.211.0.0/16"}]),
    network("x", [{**V4, "IPRange": "10.211.1.3/28"}]), network("x", [{**V4, "IPRange": "nonsense"}]),
    network("x", [{**V4, "IPRange": "fd00::/64"}]),
    network("x", [{**V4, "AuxiliaryAddresses": {"a": "10.212.0.1"}}]),
    network("x", [{**V4, "AuxiliaryAddresses": {"a": "nonsense"}}]),
    network("x", [{**V4, "Gateway": "10.9.9.9", "IPRange": "10.9.9.0/28"}]),
    network("x", [V4, V4]), network("x", [V4, {"Subnet": "10.211.1.0/25"}]),
    network("x", [{"Subnet": "fd12::/64"}], EnableIPv6=True, Options={"com.docker.network.bridge.enable_icc": "maybe"}),
    network("x", [{"Subnet": "fd12::7/64"}], EnableIPv6=True),
    network("x", [{"Subnet": "fd12::/64", "Gateway": "fd13::1"}], EnableIPv6=True),
    network("x", Options={"com.docker.network.bridge.enable_icc": "maybe"}),
    network("x", Options={"com.docker.network.bridge.enable_ip_masquerade": "2"}),
    network("x", Options={"com.docker.network.driver.mtu": "big"}), network("x", Options={"com.docker.network.driver.mtu": "-1"}),
    network("x", Options={"com.docker.network.bridge.host_binding_ipv4": "nonsense"}),
    network("x", Driver="macvlan", Options={"macvlan_mode": "nope"}), network("x", Driver="macvlan", Options={"parent": "lo"}),
    network("x", Driver="ipvlan", Options={"ipvlan_mode": "nope"}), network("x", Driver="ipvlan", Options={"ipvlan_flag": "nope"}),
    network("x", ConfigOnly=True, Internal=True), network("x", ConfigFrom={"Network": "nope"}),
    network("conf", [{"Subnet": "10.211.9.0/24"}], ConfigOnly=True, EnableIPv6=False, Labels={"k": "v"}),
    network("x", ConfigOnly=True, ConfigFrom={"Network": "conf"}), network("x", [V4], ConfigFrom={"Network": "conf"}),
    network("x", ConfigFrom={"Network": "conf"}, Options={"com.docker.network.driver.mtu": "1400"}),
    network("from", ConfigFrom={"Network": "conf"}), remove("conf"), get("/networks/conf"), get("/networks/from"), remove("from"), remove("conf"),
    network("one", [V4], EnableIPv6=False), network("one"), network("one", [{"Subnet": "10.211.2.0/24"}]), network("over", [V4]), network("over", [{"Subnet": "10.211.0.0/16"}]),
    network("two", [{"Subnet": "10.211.3.0/24"}], EnableIPv6=False),
    get("/networks/one"), get("/networks/nope"), get("/networks?filters=" + '{"nope":["x"]}'),
    get("/networks?filters=" + '{"type":["nope"]}'), get("/networks?filters=" + '{"dangling":["nope"]}'),
    get("/networks?filters=" + '{"driver":["nope"]}'),
    remove("bridge"), remove("host"), remove("none"), remove("nope"),
    container("lost", "nope"), start("lost"), connect("one", "nope"), connect("nope", "lost"),
    container("bad", "one", {"one": {"IPAMConfig": {"IPv4Address": "10.99.0.1"}}}),
    container("bad", "one", {"one": {"IPAMConfig": {"IPv4Address": "nonsense"}}}),
    container("bad", "one", {"one": {"IPAMConfig": {"IPv6Address": "nonsense"}}}),
    container("bad", "one", {"one": {"IPAMConfig": {"IPv6Address": "fd00::1"}}}),
    container("bad", "one", {"one": {"IPAMConfig": {"LinkLocalIPs": ["nonsense"]}}}),
    container("bad", "one", {"one": {"IPAMConfig": {"IPv4Address": "10.99.0.1"}, "MacAddress": "nonsense"}}),
    container("bad", "one", {"one": {"MacAddress": "nonsense"}}), container("bad", "one", {"one": None}),
    container("bad", "bridge", {"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}}),
    container("bad", "bridge", {"bridge": {"Aliases": ["a"]}}),
    container("bad", "host", Links=["lost"]),
    container("bad", "container:lost", Links=["lost"]), container("bad", "container:lost", PublishAllPorts=True),
    container("c1", "one", {"one": {"Aliases": ["alias1"]}}), start("c1"), container("c2", "one"), start("c2"),
    connect("one", "c1"), connect("two", "c1", {"IPAMConfig": {"IPv4Address": "10.211.3.77"}}),
    connect("two", "c2", {"IPAMConfig": {"IPv4Address": "10.211.3.77"}}),
    connect("two", "c2", {"IPAMConfig": {"IPv4Address": "10.211.3.1"}}), connect("two", "c2", {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}),
    connect("two", "c2", {"MacAddress": "nonsense"}), connect("host", "c2"), connect("none", "c2"), connect("bridge", "c2", {"Aliases": ["b"]}),
    connect("bridge", "c2"), disconnect("bridge", "c2"), disconnect("two", "c2"), disconnect("two", "nope"), disconnect("two", "nope", True),
    disconnect("nope", "c2"), disconnect("two", "c2", True),
    remove("one"), remove("two"), container("host1", "host"), start("host1"), connect("one", "host1"), disconnect("host", "host1"),
    container("none1", "none"), start("none1"), connect("one", "none1"),
    container("join1", "container:c1"), start("join1"), connect("one", "join1"), disconnect("one", "join1"),
    container("stop1", "one"), connect("one", "stop1"), connect("two", "stop1"), disconnect("two", "stop1"), disconnect("two", "stop1"), connect("host", "stop1"), connect("none", "stop1"),
    get("/networks/one?verbose=true"), get("/networks/one?verbose=maybe"), get("/networks/one?scope=swarm"),
    ("POST", "/networks/prune?filters=" + '{"nope":["x"]}', None), ("POST", "/networks/prune?filters=" + '{"until":["nonsense"]}', None),
    ("POST", "/networks/prune", None),
    ("POST", "/networks/one/connect", {}), ("POST", "/networks/create", None),
]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def ask(path, method, target, body):
    connection = UnixConnection(path)
    try:
        content = None if body is None else json.dumps(body)
        target = target.replace('"', "%22").replace("{", "%7B").replace("}", "%7D")
        connection.request(method, target, content, {"Content-Type": "application/json"} if content is not None else {})
        answer = connection.getresponse()
        text = answer.read().decode()
        try:
            value = json.loads(text) if text else None
        except ValueError:
            value = text
        return answer.status, value
    finally:
        connection.close()


def message(status, value):
    """What of an answer is compared."""
    if isinstance(value, dict) and "message" in value and status >= 400:
        return re.sub(r"[0-9a-f]{64}", "ID64", re.sub(r"id:\"[0-9a-f]{12}\"", 'id:"ID12"', value["message"])).rstrip()
    return shape(value)


def shape(value, key=""):
    """JSON without what is different each time."""
    if isinstance(value, dict):
        if key == "Containers":
            return sorted((shape(item) for item in value.values()), key=lambda item: item["Name"])
        return {name: shape(item, name) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return sorted(value) if key == "NetworksDeleted" else [shape(item) for item in value]
    if key in ("Id", "EndpointID", "MacAddress", "Created", "IPv4Address", "IPv6Address"):
        return "…" if value else value
    return value


class Peer:
    """dockerd in a copy of the peers' root, in a network namespace of its own."""

    def __init__(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="skiff-compat-peer-"))
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self.scratch], check=True)
        for name in ("up", "work", "root"):
            (self.scratch / name).mkdir()
        self.root = self.scratch / "root"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir={PEERS}/root,upperdir={self.scratch}/up,workdir={self.scratch}/work", self.root], check=True)
        for kind in ("proc", "sys", "dev"):
            subprocess.run(["mount", "--rbind", "/" + kind, self.root / kind], check=True)
        for place in ("run", "tmp", "var/lib"):
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self.root / place], check=True)
        self.socket = str(self.root / "run/docker.sock")
        log = open(self.scratch / "dockerd.log", "wb")
        self.daemon = subprocess.Popen(
            ["unshare", "--net", "chroot", str(self.root), "sh", "-c", "ip link set lo up; exec dockerd -H unix:///run/docker.sock --data-root /tmp/docker --exec-root /run/docker"
             " --pidfile /run/docker.pid --storage-driver vfs"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        deadline = time.time() + 40
        while True:
            try:
                if ask(self.socket, "GET", "/_ping", None)[0] == 200:
                    break
            except OSError:
                pass
            if time.time() > deadline or self.daemon.poll() is not None:
                raise RuntimeError("dockerd does not start: " + (self.scratch / "dockerd.log").read_text()[-2000:])
            time.sleep(0.3)

    def stop(self):
        for box in ask(self.socket, "GET", "/containers/json?all=1", None)[1]:
            ask(self.socket, "DELETE", f"/containers/{box['Id']}?force=1", None)
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(30)
        subprocess.run(["umount", "-R", "-l", self.scratch], check=False)
        self.scratch.rmdir()


def answers(path):
    found = []
    for method, target, body in REQUESTS:
        status, value = ask(path, method, target, body)
        if status == 201 and target == "/networks/create" and body["Name"] == "x":
            ask(path, "DELETE", "/networks/x", None)
        if status == 201 and "name=bad" in target:
            ask(path, "DELETE", "/containers/bad?force=1", None)
        found.append((status, message(status, value)))
    return found


# Where we answer otherwise, and why. By method, target and body.
OTHERWISE = [
    # a driver's wrong option is the caller's fault, not ours
    (lambda target, body, theirs: theirs[0] == 500 and "requested" in str(theirs[1]) or "valid macvlan parent" in str(theirs[1]), 400, None),
    (lambda target, body, theirs: '"type"' in target, 400, None),
    # newer than the peers' 26.1: its words of 28 and later
    (lambda target, body, theirs: "Pool overlaps" in str(theirs[1]), 403, re.compile("invalid pool request: Pool overlaps with other one on this address space")),
    (lambda target, body, theirs: "Address already in use" in str(theirs[1]), 403, re.compile("Address already in use: 10")),
    (lambda target, body, theirs: "has active endpoints" in str(theirs[1]), 403, re.compile(r'error while removing network: network \w+ has active endpoints \(name:"')),
    (lambda target, body, theirs: target == "/networks/host/connect" and theirs[0] == 400, 400,
     "cannot connect container to host network - container must be created in host network mode"),
    (lambda target, body, theirs: "network nope not found" in str(theirs[1]) and target.endswith("/start"), 404,
     "failed to set up container networking: network nope not found"),
    # a network that is not there is not found, also for a container that does not run
    (lambda target, body, theirs: target == "/networks/nope/connect", 404, "network nope not found"),
    # an endpoint without settings is one
    (lambda target, body, theirs: "EndpointsConfig is nil" in str(theirs[1]), 201, None),
]


@unittest.skipUnless((PEERS / "root/usr/sbin/dockerd").exists() or (PEERS / "root/usr/bin/dockerd").exists(), "the peers' root is missing: Scripts/peers.sh makes it")
class NetworkAnswerTests(Case):
    maxDiff = None

    def test_status_and_message_are_dockerds(self):
        peer = Peer()
        try:
            tar = engine().scratch + "/busybox.tar"
            if not os.path.exists(tar):
                busybox_tar(tar)
            connection = UnixConnection(peer.socket)
            with open(tar, "rb") as body:
                connection.request("POST", "/images/create?fromSrc=-&repo=busybox&tag=test", body, {"Content-Type": "application/x-tar"})
                self.assertEqual(connection.getresponse().status, 200)
            theirs = answers(peer.socket)
        finally:
            peer.stop()
        ours = answers(engine().socket)
        for (method, target, body), their, our in zip(REQUESTS, theirs, ours):
            with self.subTest(f"{method} {target} {json.dumps(body)}"):
                status, text = their
                for applies, other, words in OTHERWISE:
                    if applies(target, body, their):
                        status, text = other, words
                        break
                self.assertEqual(our[0], status, f"{our}, dockerd: {their}")
                if isinstance(text, re.Pattern):
                    self.assertRegex(our[1], text)
                elif isinstance(text, str):
                    self.assertEqual(our[1], text)
                elif isinstance(text, dict):
                    # members that dockerd 26.1 has
                    self.assertEqual(self.members(our[1], text), text)

    @staticmethod
    def members(ours, theirs):
        """Of our answer what the other one has as well; an empty collection is as good as none."""
        if isinstance(theirs, dict) and isinstance(ours, dict):
            return {name: NetworkAnswerTests.members(ours.get(name), value) for name, value in theirs.items()}
        if isinstance(theirs, list) and isinstance(ours, list) and len(ours) == len(theirs):
            return [NetworkAnswerTests.members(one, other) for one, other in zip(ours, theirs)]
        return theirs if not ours and not theirs and type(ours) is not bool else ours

    def tearDown(self):
        super().tearDown()
        ask(engine().socket, "POST", "/networks/prune", None)


if __name__ == "__main__":
    unittest.main()
