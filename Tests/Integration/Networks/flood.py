#!/usr/bin/env python3
"""Many connections and many datagrams through published ports: all arrive, and neither the engine nor the kernel keeps them.

    flood.py BIN_FOLDER [CONNECTIONS]      as root; 20,000 unless told
"""
import os, select, socket, struct, sys, threading, time
sys.dont_write_bytecode = True
import lab
lab.enter()

COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
stage = lab.Lab()
engine = lab.Engine(sys.argv[1])
web = engine.container("web", "-p", "8001:80", "-p", "8002:53/udp")
stopping = threading.Event()


def processes():
    """Resident kB of the engine and of whatever it keeps running, by command."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
            if not any(engine.runs.encode() in word or engine.data.encode() in word for word in words) or b"skiff" not in words[0]:
                continue
            for line in open(f"/proc/{pid}/status"):
                if line.startswith("VmRSS:"):
                    found[f"{pid} {os.path.basename(words[0].decode())} {words[1].decode()}"] = int(line.split()[1])
        except (OSError, IndexError):
            continue
    return found


def serve_tcp():
    """Answers one line and closes, on four listeners of one port."""
    with web:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("0.0.0.0", 80))
        server.listen(4096)
    server.settimeout(0.2)
    while not stopping.is_set():
        try:
            connection, client = server.accept()
        except (socket.timeout, OSError):
            continue
        connection.send(client[0].encode())
        connection.close()


def tracked():
    return int(open("/proc/sys/net/netfilter/nf_conntrack_count").read())


def connect_many(count):
    """Connections one after the other, 64 open at a time; each reads the address that it was seen as. Ends each by a reset: the port
    is free at once, and the kernel forgets the flow in seconds."""
    poll, waiting, begun, done, wrong = select.epoll(), {}, 0, 0, 0
    linger = struct.pack("ii", 1, 0)
    while done < count:
        while begun < count and len(waiting) < 64:
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex((lab.H4, 8001))
            poll.register(client, select.EPOLLIN)
            waiting[client.fileno()] = client
            begun += 1
        events = poll.poll(5)
        if not events:
            return done, wrong + len(waiting)
        for handle, _ in events:
            client = waiting.pop(handle)
            try:
                wrong += client.recv(64) != lab.N4.encode()
            except OSError:
                wrong += 1
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.close()
            done += 1
    return done, wrong


def checked_growth(when, before, limit):
    after = processes()
    grown = {name: after.get(name, 0) - size for name, size in before.items()}
    lab.check(f"{when}: nobody's memory grows", all(size < limit for size in grown.values()) and len(after) >= len(before),
              f"kB more: {grown}, before {before}")


server = threading.Thread(target=serve_tcp, daemon=True)
server.start()
with stage.neighbour:
    warm = connect_many(500)
before, begun = processes(), time.monotonic()
lab.check("the engine and the container's shim are looked at", len(before) >= 2, before)
with stage.neighbour:
    done, wrong = connect_many(COUNT)
elapsed = time.monotonic() - begun
print(f"{done} connections in {elapsed:.1f} s ({done / elapsed:.0f} per second), {tracked()} flows tracked", flush=True)
lab.check(f"{COUNT} connections through a published port", done == COUNT and wrong == 0, f"{done} done, {wrong} wrong")
checked_growth("after the connections", before, 4096)

# Datagrams: to a published port from many ports, to a port that is not published, and to one behind which nobody listens
with web:
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sink.bind(("0.0.0.0", 53))
    sink.setblocking(False)
received = [0]


def drain():
    while not stopping.is_set():
        if select.select([sink], [], [], 0.1)[0]:
            try:
                while True:
                    sink.recv(2048)
                    received[0] += 1
            except BlockingIOError:
                pass


drainer = threading.Thread(target=drain, daemon=True)
drainer.start()
limit = int(open("/proc/sys/net/netfilter/nf_conntrack_max").read())
with stage.neighbour:
    senders = []
    for index in range(200):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setblocking(False)
        senders.append(sender)
slowest, sent, until, turn = 0.0, 0, time.monotonic() + (2 if COUNT <= 50_000 else 30), 0
while time.monotonic() < until:
    turn += 1
    for sender in senders:
        for port in (8002, 8002, 8002, 4000 + turn % 1000):
            try:
                sender.sendto(b"x" * 64, (lab.H4, port))
                sent += 1
            except OSError:
                pass
    if turn % 10 == 0:
        # Somebody else's connection in the middle of it
        at = time.monotonic()
        with stage.outside:
            client = socket.create_connection((lab.H4, 8001), timeout=10)
        good = client.recv(64) == lab.O4.encode()
        client.close()
        slowest = max(slowest, time.monotonic() - at if good else 99)
time.sleep(0.3)
print(f"{sent} datagrams, {received[0]} received, {tracked()} flows tracked, the slowest connection beside them {slowest * 1000:.0f} ms", flush=True)
lab.check("a flood of datagrams arrives", received[0] > sent / 10, f"{received[0]} of {sent}")
lab.check("a flood of datagrams holds nobody else up", slowest < 1.5, f"{slowest:.2f} s")
lab.check("the kernel's table of flows stays bounded", tracked() < limit, tracked())
checked_growth("after the datagrams", before, 4096)
at = time.monotonic()
lab.check("the engine answers afterwards", engine.skiff("ps").code == 0 and time.monotonic() - at < 2)
stopping.set()
server.join()
drainer.join()
for handle in senders + [sink]:
    handle.close()
web.close()
engine.end()
lab.finish()
