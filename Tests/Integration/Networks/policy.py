#!/usr/bin/env python3
"""A published port obeys the host's own firewall: for everybody, under each rule set, it answers exactly where a program that listens on
the host at the same port would. The program is there: at the host's other address, which no rule tells apart.

    policy.py BIN_FOLDER      as root; needs nftables, iptables and ufw
"""
import os, subprocess, sys, time
sys.dont_write_bytecode = True
import lab
lab.enter()

PORTS = (8001, 8002)
stage = lab.Lab()
engine = lab.Engine(sys.argv[1])
engine.do("network", "create", "front")
flags = ["--network", "front"]
for port in PORTS:
    for address in (lab.H4, f"[{lab.H6}]"):
        for protocol in ("", "/udp"):
            flags += ["-p", f"{address}:{port}:80{protocol}"]
web, loop = engine.container("web", *flags), lab.Loop()
loop.serve(web, 80)
for port in PORTS:
    for family, address in ((lab.socket.AF_INET, lab.H4_SECOND), (lab.socket.AF_INET6, lab.H6_SECOND)):
        loop.serve(stage.host, port, (family,), "oracle", address)
WHO = {"host": stage.host, "neighbour": stage.neighbour, "outside": stage.outside}


def compare(when, hopeful=False):
    """Everybody, both protocols and families, each port: published and listening must be reached alike."""
    pairs = []
    for who, space in WHO.items():
        for protocol in ("tcp", "udp"):
            for published, listening in ((lab.H4, lab.H4_SECOND), (lab.H6, lab.H6_SECOND)):
                for port in PORTS:
                    pairs.append((lab.Probe(space, protocol, published, port, hopeful), lab.Probe(space, protocol, listening, port, hopeful), who))
    loop.ask([probe for pair in pairs for probe in pair[:2]], settle=0.8)
    wrong, reached = [], 0
    for ours, theirs, who in pairs:
        reached += " saw " in theirs.outcome
        same = (" saw " in ours.outcome) == (" saw " in theirs.outcome)
        kept = who == "host" or " saw " not in ours.outcome or ours.outcome.split()[-1] == theirs.outcome.split()[-1]
        if not same or not kept:
            wrong.append(f"{who}/{ours.protocol} {ours.address} {ours.port}: published: {ours.outcome}; a program there: {theirs.outcome}")
    lab.check(f"{when}: a published port is reached as a program there is ({reached} of {len(pairs)} are)", not wrong, "\n      " + "\n      ".join(wrong))
    return reached


def nft(when, body, chains=""):
    """An input chain of the host, in a table of its own; the ports follow within a second."""
    text = f"table inet mine\ndelete table inet mine\ntable inet mine {{ {chains}\n chain input {{ type filter hook input priority 0; {body}\n }}\n}}\n"
    done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"nft: {done.stderr}")
    time.sleep(1)
    return compare(when)


everybody = compare("no rules", hopeful=True)
lab.check("without rules everybody reaches everything", everybody == 24, everybody)
closed = nft("policy drop", "policy drop; iif lo accept; ct state established,related accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept;")
lab.check("a closed host is closed", closed == 8, closed)
COMMON = "iif lo accept; ct state established,related accept; meta l4proto ipv6-icmp accept;"
nft("one port is open", f"policy drop; {COMMON} tcp dport 8001 accept;")
nft("a port is closed", "policy accept; tcp dport 8001 drop; udp dport { 8002, 9000-9010 } reject;")
nft("by source", f"policy drop; {COMMON} ip saddr 198.51.100.0/24 tcp dport 8001-8002 accept; ip6 saddr 2001:db8:2::/64 accept;")
nft("by interface", f'policy drop; {COMMON} iifname "eth0" udp dport 8001 accept; iifname "wlan*" accept;')
nft("by a set and a map", f"policy drop; {COMMON} ip saddr @friends tcp dport @open accept; meta l4proto . th dport vmap {{ udp . 8002 : accept }};",
    "set friends { type ipv4_addr; flags interval; elements = { 203.0.113.0/28 }; }\n set open { type inet_service; elements = { 8002 }; }")
nft("by a chain of its own", f"policy accept; {COMMON} jump services; drop;",
    "chain services { tcp dport 8001 ip saddr 198.51.100.20 return; meta l4proto { tcp, udp } th dport 8001 accept;\n }")
nft("rejecting at the end", f"policy accept; {COMMON} tcp dport 8002 accept; reject with icmpx admin-prohibited;")
subprocess.run(["nft", "delete", "table", "inet", "mine"], check=True)

# iptables as people write it
RULES = ["-P INPUT DROP", "-A INPUT -i lo -j ACCEPT", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
         "-A INPUT -p tcp -m tcp --dport 8001 -s 198.51.100.20 -j ACCEPT", "-A INPUT -p udp -m multiport --dports 8002,8003 -j ACCEPT"]
for rule in RULES:
    subprocess.run(["iptables", *rule.split()], check=True)
time.sleep(1)
compare("iptables")
for rule in ("-P INPUT ACCEPT", "-F", "-X"):
    subprocess.run(["iptables", *rule.split()], check=True)

# ufw, with files of its own
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/lock"], capture_output=True)
for folder in ("/etc", "/var/lib"):
    upper = f"/run/over{folder}"
    os.makedirs(upper + "/upper")
    os.makedirs(upper + "/work")
    subprocess.run(["mount", "-t", "overlay", "-o", f"lowerdir={folder},upperdir={upper}/upper,workdir={upper}/work", "overlay", folder], check=True)


def ufw(*words):
    done = subprocess.run(["ufw", *words], capture_output=True, text=True)
    lab.check("ufw " + " ".join(words), done.returncode == 0, done.stdout + done.stderr)


ufw("--force", "enable")
time.sleep(1)
lab.check("ufw closes the host", compare("ufw as it comes") == 8)
ufw("allow", "8001/tcp")
ufw("allow", "proto", "udp", "from", "198.51.100.0/24", "to", "any", "port", "8002")
time.sleep(1)
compare("ufw with two ports")
ufw("reload")
time.sleep(1)
compare("ufw, loaded anew")
engine.kill()
compare("ufw, the engine dead")
engine.start()
ufw("--force", "disable")
time.sleep(1)
lab.check("without ufw all is open again", compare("without ufw", hopeful=True) == 24)
engine.end()
lab.finish()
