#!/usr/bin/env python3
"""The matrix of issue 5: who reaches what, before and after each disturbance.

    matrix.py BIN_FOLDER      as root; needs busybox-static, nftables, nmap
    MATRIX_CHANGES (20) random changes of networks, MATRIX_KILLS (4) of the engine while others change them, MATRIX_SEED
"""
import os, random, re, subprocess, sys, time
sys.dont_write_bytecode = True
import lab
lab.enter()
import books, cast, storm, streams

CHANGES, KILLS = int(os.environ.get("MATRIX_CHANGES", "20")), int(os.environ.get("MATRIX_KILLS", "4"))
SEED = int(os.environ.get("MATRIX_SEED", random.SystemRandom().randrange(1 << 30)))
print(f"seed {SEED}", flush=True)
stage = lab.Lab()
engine = lab.Engine(sys.argv[1])
players = cast.Cast(engine, stage)
matrix = cast.Matrix(players)
people = players.people
matrix.run("at rest")
books.compare("at rest", engine)
stage.bridge_netfilter(True)
matrix.run("with br_netfilter", cast.WITH_BRIDGE_NETFILTER)
stage.bridge_netfilter(False)


def comes_back(when, limit):
    """A published port answers again within `limit` seconds."""
    begun = time.monotonic()
    while True:
        probe = lab.Probe(stage.outside, "tcp", lab.H4, 8001, True)
        players.loop.ask([probe], patience=0.3)
        took = time.monotonic() - begun
        if probe.outcome.startswith("web saw") or took > limit + 5:
            break
    # what one probe that began just before may wait
    lab.check(f"{when}: ports are back within {limit} s", took <= limit + 0.3, f"{took:.2f} s")


# An eye from outside
def open_ports(address, space=stage.outside, ports="1-9999", udp=False):
    flags = (["-6"] if ":" in address else []) + (["-sU", "-p", "8001-8012"] if udp else ["-sS", "-p", ports])
    with space:
        scan = subprocess.Popen(["nmap", "-n", "-Pn", *flags, "--max-retries", "2", "--min-rate", "3000", "--host-timeout", "20s", "-oG", "-", address],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while scan.poll() is None:
        players.loop.pump(0.02)
    out, err = scan.communicate()
    lab.check(f"nmap of {address} ends well", scan.returncode == 0 and "Host:" in out, out + err)
    return {int(port) for port in re.findall(r"(\d+)/open/", out)}


everywhere = {8001, 8005, 8006}
for address, expected in ((lab.H4, everywhere), (lab.H4_SECOND, everywhere | {8003}), (lab.H6, everywhere if players.container("guest", 6) else everywhere - {8005})):
    if not cast.known(f"nmap | {address}"):
        seen = open_ports(address)
        lab.check(f"nmap from outside: {address} shows what is published, and nothing else", seen == expected, f"{sorted(seen)}, not {sorted(expected)}")
seen = open_ports(lab.H4, udp=True)
lab.check("nmap from outside: UDP ports", seen == {8001, 8005, 8006}, sorted(seen))
for name in ("web", "guest", "locked"):
    seen = open_ports(players.container(name, 4), ports="79-90", space=stage.neighbour)
    lab.check(f"nmap from a neighbour that has a route to {name}: nothing is open", not seen, sorted(seen))

# Somebody else's firewall
RELOAD = """flush ruleset
table inet filter {
  chain input { type filter hook input priority filter; policy accept; ct state established,related accept; }
  chain forward { type filter hook forward priority filter; policy accept; }
}
"""
subprocess.run(["nft", "flush", "ruleset"], check=True)
comes_back("rules flushed by somebody", 1)
matrix.run("after a flush of all rules")
subprocess.run(["nft", "-f", "-"], input=RELOAD, text=True, check=True)
comes_back("rules loaded anew", 1)
matrix.run("after nftables.service loaded its rules")
subprocess.run(["nft", "delete", "table", "inet", "filter"], check=True)
for words in ("-F", "-t nat -F", "-X"):
    subprocess.run(["iptables", *words.split()], capture_output=True)
matrix.run("after iptables -F")

# Random changes
changes = storm.Changes(engine, SEED).run(CHANGES)
lab.check(f"{CHANGES} random changes of networks: none fails", not changes.faults, "\n".join(changes.faults[:5]))
books.compare("amid random changes", engine)
changes.end()
matrix.run("after random changes")
books.compare("after random changes", engine)

# Death of the engine, under what must go on
background = streams.Background()
for space in ("web", "stranger", "outside"):
    background.echo_server(people[space], 89)
for name, space, address, port in [
        ("from the neighbour to a published port", "neighbour", lab.H4, 8009), ("from outside to a published port", "outside", lab.H4, 8009),
        ("from the host to a published port", "host", "127.0.0.1", 8009), ("from another network to a published port", "stranger", lab.H4, 8009),
        ("from a container to its neighbour", "mate", players.container("web", 4), 89), ("from a container to outside", "guest", lab.O4, 89),
        ("from outside to a published port, IPv6", "outside", lab.H6, 8009),
        ("from a container to its neighbour, IPv6", "mate", players.container("web", 6), 89)]:
    if address and not cast.known(f"stream | {name}"):
        background.stream(name, people[space], address, port)
background.repeat_connection("a new connection to a published port", stage.neighbour, lab.H4, 8009)
if not cast.known("stream | a container's name"):
    background.repeat_name("a container's name is known", people["mate"], "web", players.container("web", 4))
background.start()
engine.kill()
time.sleep(0.2)
matrix.run("while the engine is dead")
engine.start()
matrix.run("after the engine was killed")
for _ in range(2):
    engine.kill()
    time.sleep(0.1)
    engine.start()
    time.sleep(0.2)
books.compare("after three kills", engine)

changes = storm.kills(engine, SEED, KILLS)
faults = [fault for each in changes for fault in each.faults]
lab.check(f"{KILLS} kills while networks change: nothing hangs", not faults, "\n".join(faults[:5]))
books.compare("after kills amid changes", engine)
for each in changes:
    each.end()
matrix.run("after kills amid changes")
books.compare("after kills and a clean-up", engine)
background.conclude(lab.check, "under all kills", 1.5)
matrix.conclude()
engine.end()
lab.finish()
