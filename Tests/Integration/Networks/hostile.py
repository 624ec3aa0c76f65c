#!/usr/bin/env python3
"""A container with a raw socket among its neighbours: it must not be taken for one of them, nor for a router, nor see what is theirs.

    hostile.py BIN_FOLDER      as root; needs busybox-static
"""
import json, socket, struct, subprocess, sys, time
sys.dont_write_bytecode = True
import lab
lab.enter()

stage = lab.Lab()
engine = lab.Engine(sys.argv[1])
engine.do("network", "create", "front")
web, evil, victim = (engine.container(name, "--network", "front") for name in ("web", "evil", "victim"))
loop = lab.Loop()
loop.serve(web, 80)
loop.serve(evil, 80)
for space in (web, victim):
    loop.serve(space, 7777)


def link(space):
    """(name, MAC) of the interface."""
    with space:
        told = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    each = next(each for each in told if each["ifname"] != "lo")
    return each["ifname"], bytes.fromhex(each["address"].replace(":", ""))


name, evil_mac = link(evil)
_, web_mac = link(web)
_, victim_mac = link(victim)
host_mac = None
with evil:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((name, 0))
ALL = b"\xff" * 6
four = lambda space: socket.inet_aton(space.four[0])


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(source, target, port, text):
    """UDP over IPv4, as a frame's payload."""
    udp = struct.pack(">HHHH", 5555, port, 8 + len(text), 0) + text
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, source, target)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + udp


def datagram6(source, target, port, text):
    udp = struct.pack(">HHHH", 5555, port, 8 + len(text), 0) + text
    pseudo = source + target + struct.pack(">IBBBB", len(udp), 0, 0, 0, 17)
    udp = udp[:6] + struct.pack(">H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    return struct.pack(">IHBB", 6 << 28, len(udp), 17, 64) + source + target + udp


def send(target, source, kind, payload, times=5):
    for _ in range(times):
        raw.send(target + source + struct.pack(">H", kind) + payload)
        time.sleep(0.01)


def hears(space, family, action):
    """Whether a datagram comes to port 7778 of the space."""
    with space:
        ear = socket.socket(family, socket.SOCK_DGRAM)
    ear.bind(("", 7778))
    ear.settimeout(0.3)
    action()
    try:
        return ear.recvfrom(2048)[1][0]
    except socket.timeout:
        return None
    finally:
        ear.close()


def reaches(when, target=web):
    probes = [lab.Probe(victim, protocol, address, 80, True) for protocol in ("tcp", "udp") for address in target.four + target.six]
    loop.ask(probes, patience=3)
    wrong = [f"{probe.protocol} {probe.address}: {probe.outcome}" for probe in probes if not probe.outcome.startswith(target.name + " saw")]
    lab.check(f"{when}: the neighbour is still reached", not wrong, wrong)


reaches("at rest")
lab.check("datagrams of one's own arrive", hears(victim, socket.AF_INET, lambda: send(victim_mac, evil_mac, 0x0800, datagram(four(evil), four(victim), 7778, b"mine"))))
heard = hears(victim, socket.AF_INET, lambda: send(victim_mac, evil_mac, 0x0800, datagram(four(web), four(victim), 7778, b"forged")))
lab.check("a neighbour's IPv4 address cannot be borrowed", heard is None, heard)
if victim.six:
    six = lambda space: socket.inet_pton(socket.AF_INET6, space.six[0])
    lab.check("IPv6 datagrams of one's own arrive",
              hears(victim, socket.AF_INET6, lambda: send(victim_mac, evil_mac, 0x86DD, datagram6(six(evil), six(victim), 7778, b"mine"))))
    heard = hears(victim, socket.AF_INET6, lambda: send(victim_mac, evil_mac, 0x86DD, datagram6(six(web), six(victim), 7778, b"forged")))
    lab.check("a neighbour's IPv6 address cannot be borrowed", heard is None, heard)

time.sleep(1.1)  # the kernel believes no change within a second of the last one
# "I am web": an answer to everybody, and to a question that nobody asked
for operation, target in ((1, ALL), (2, ALL), (2, victim_mac)):
    send(target, evil_mac, 0x0806, struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, evil_mac, four(web), target, four(victim)))
reaches("after forged ARP")
gateway = engine.inspect("victim")["NetworkSettings"]["Networks"]["front"]["Gateway"]
send(ALL, evil_mac, 0x0806, struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, evil_mac, socket.inet_aton(gateway), ALL, socket.inet_aton(gateway)))
with victim:
    neighbours = subprocess.run(["ip", "neigh", "show", gateway], capture_output=True, text=True).stdout
lab.check("nobody passes as the gateway", evil_mac.hex(":") not in neighbours, neighbours)
# Web's MAC as the source: the bridge would send web's frames to evil's port
send(ALL, web_mac, 0x0806, struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, web_mac, four(evil), b"\0" * 6, four(evil)), times=20)
reaches("after frames with the neighbour's MAC")

if victim.six:
    # A router advertisement with a prefix and a default route, from a link-local address
    link_local = socket.inet_pton(socket.AF_INET6, "fe80::666")
    everybody = socket.inet_pton(socket.AF_INET6, "ff02::1")
    prefix = struct.pack(">BBBBIII16s", 3, 4, 64, 0xC0, 3600, 3600, 0, socket.inet_pton(socket.AF_INET6, "2001:db8:bad::"))
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix + struct.pack(">BB6s", 1, 1, evil_mac)
    total = checksum(link_local + everybody + struct.pack(">IBBBB", len(body), 0, 0, 0, 58) + body)
    body = body[:2] + struct.pack(">H", total) + body[4:]
    frame = struct.pack(">IHBB", 6 << 28, len(body), 58, 255) + link_local + everybody + body
    send(bytes.fromhex("333300000001"), evil_mac, 0x86DD, frame)
    time.sleep(0.3)
    for space in (victim, stage.host):
        with space:
            told = subprocess.run("ip -6 addr; ip -6 route", shell=True, capture_output=True, text=True).stdout
        lab.check(f"{space.name} takes nobody in the network for a router", "bad::" not in told and "fe80::666" not in told, told)
    reaches("after a forged router advertisement")
raw.close()
for space in (web, evil, victim):
    loop.stop(space.name)
    space.close()
engine.end()
lab.finish()
