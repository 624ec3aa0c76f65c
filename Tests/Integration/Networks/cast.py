"""Who may reach what: the containers of the matrix, and the table of what must connect. See lab.py for the hosts."""
import ipaddress, re

import lab
from lab import H4, H4_SECOND, H6, H6_SECOND, N4, N6, O4, O6, Probe

# What must be so and is not yet: pattern of a row's name -> why. A row that is named here and right fails too: switch it on.
KNOWN = {}

# The same where br_netfilter has bridges pass frames through IP rules.
WITH_BRIDGE_NETFILTER = {}


class Cast:
    """Containers on networks:

        front   web (published in three ways), mate (a plain neighbour of web), both
        side    stranger, both (connected while it runs)
        vault   locked, keyhole: --internal; locked asks for a published port all the same
        bridge  guest, published
        quiet   mute, deaf: containers may not talk to each other
    """

    def __init__(self, engine, stage):
        self.engine, self.stage, self.loop = engine, stage, lab.Loop()
        self.people = {"host": stage.host, "neighbour": stage.neighbour, "outside": stage.outside}
        engine.do("network", "create", "front")
        engine.do("network", "create", "side")
        engine.do("network", "create", "--internal", "vault")
        engine.do("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "quiet")
        six = [f"[{address}]:{port}:80{protocol}" for address, port in (("::1", 8002), (H6_SECOND, 8003)) for protocol in ("", "/udp")]
        for name, network, ports in [
                ("web", "front", ["8001:80", "8001:80/udp", "8009:89", "127.0.0.1:8002:80", "127.0.0.1:8002:80/udp",
                                  f"{H4_SECOND}:8003:80", f"{H4_SECOND}:8003:80/udp"] + six),
                ("mate", "front", []), ("both", "front", []), ("stranger", "side", []), ("locked", "vault", ["8004:80", "8004:80/udp"]),
                ("keyhole", "vault", []), ("guest", "bridge", ["8005:80", "8005:80/udp"]),
                ("mute", "quiet", ["8006:80", "8006:80/udp"]), ("deaf", "quiet", [])]:
            flags = ["--network", network] if network != "bridge" else []
            for port in ports:
                flags += ["-p", port]
            self.people[name] = engine.container(name, *flags)
        engine.do("network", "connect", "side", "both")
        engine.describe(self.people["both"])
        self.gateways = set()
        self.subnets = []
        for name in ("front", "side", "vault", "quiet", "bridge"):
            for config in lab.json.loads(engine.do("network", "inspect", name))[0]["IPAM"]["Config"]:
                self.subnets.append(config["Subnet"])
                if config.get("Gateway"):
                    self.gateways.add(config["Gateway"].split("/")[0])
        stage.routes_to(self.subnets)
        for name in ("web", "mate", "both", "stranger", "locked", "keyhole", "guest", "mute", "deaf"):
            self.loop.serve(self.people[name], 80)
        self.loop.serve(self.people["web"], 81)

    def container(self, name, family, network=None):
        space = self.people[name]
        told = space.networks[network or next(iter(space.networks))]
        return told["IPAddress" if family == 4 else "GlobalIPv6Address"]

    def gateway(self, network, family):
        for config in lab.json.loads(self.engine.do("network", "inspect", network))[0]["IPAM"]["Config"]:
            if (":" in config["Subnet"]) == (family == 6):
                return config["Gateway"].split("/")[0]

    def seen(self, who, family, hairpin=False):
        """The addresses as which the asked one may see `who`."""
        if who == "host" or hairpin:
            return self.gateways | {H4, H4_SECOND, H6, H6_SECOND}
        if who in ("neighbour", "outside"):
            return {{"neighbour": (N4, N6), "outside": (O4, O6)}[who][family == 6]}
        space = self.people[who]
        return set(space.four if family == 4 else space.six)

    def table(self):
        """Rows: (what, who, protocol, family, address, port, expected). `expected`: None for closed, else (name, addresses seen)."""
        rows = []
        for family in (4, 6) if self.stage.has6 else (4,):
            host, second, local = (H4, H4_SECOND, "127.0.0.1") if family == 4 else (H6, H6_SECOND, "::1")
            vault_gateway = self.gateway("vault", family)
            front = {"web", "mate", "both"}
            for who in self.people:
                on_host, confined = who == "host", who in ("locked", "keyhole")
                space = self.people[who]
                if hasattr(space, "four") and not (space.four if family == 4 else space.six):
                    rows.append((f"{who} has an address", who, "ip", family, next(iter(space.networks)), 0, (who, None)))
                    continue
                far = who in ("neighbour", "outside")

                def add(what, address, port, expected, seen=None):
                    for protocol in ("tcp", "udp"):
                        rows.append((what, who, protocol, family, address, port, (expected, seen) if expected else None))

                def published(what, address, port, name, network_mates, reach=True):
                    hairpin = who in network_mates
                    add(what, address, port, name if reach and not confined else None, self.seen(who, family, hairpin))

                published("published on every address", host, 8001, "web", front)
                published("published on every address, by the second", second, 8001, "web", front)
                published("published on one address", second, 8003, "web", front)
                add("published on one address, by another", host, 8003, None)
                add("published on loopback, by the LAN's address", host, 8002, None)
                if self.container("guest", family):
                    published("the default network's, published", host, 8005, "guest", {"guest"})
                published("published where containers may not talk", host, 8006, "mute", {"mute", "deaf"})
                add("published on an internal network", host, 8004, None)
                add("not published, by the host's address", host, 81, None)
                if on_host:
                    published("published on every address, by loopback", local, 8001, "web", front)
                    published("published on loopback", local, 8002, "web", front)
                    add("published on one address, by loopback", local, 8003, None)
                elif family == 4 and who == "neighbour":
                    add("published on loopback, by a route to 127.0.0.1", local, 8002, None)
                    add("published on every address, by a route to 127.0.0.1", local, 8001, None)
                if confined and vault_gateway:
                    add("published on every address, by the internal gateway", vault_gateway, 8001, None)
                # Past the published ports, straight to the containers' addresses
                direct = {"web": ("front", front), "stranger": ("side", {"stranger", "both"}), "locked": ("vault", {"locked", "keyhole"}),
                          "guest": ("bridge", {"guest"}), "mute": ("quiet", {"mute"})}
                for name, (network, mates) in direct.items():
                    address = self.container(name, family)
                    if not address:
                        continue
                    may = on_host or who in mates
                    add(f"{name}'s own address", address, 80, name if may else None, self.seen(who, family))
                    if name == "web":
                        add("web's own address, a port that is not published", address, 81, "web" if may else None, self.seen(who, family))
                if not far and not on_host and not confined and who in ("web", "stranger", "guest"):
                    add("to the neighbour on the LAN", N4 if family == 4 else N6, 90, "neighbour", {H4, H6, H4_SECOND, H6_SECOND})
                    add("to somebody outside", O4 if family == 4 else O6, 90, "outside", {H4, H6, H4_SECOND, H6_SECOND})
                if confined:
                    add("from an internal network to the LAN", N4 if family == 4 else N6, 90, None)
                    add("from an internal network to outside", O4 if family == 4 else O6, 90, None)
        return rows


def known(row, more={}):
    return next((why for pattern, why in {**KNOWN, **more}.items() if re.search(pattern, row)), None)


class Matrix:
    """Asks all rows of the table, and says what differs in a form that can be read."""

    def __init__(self, cast):
        # Made once: it is asked while the engine is dead, too.
        self.cast, self.met, self.rows, self.first = cast, {}, cast.table(), None
        for name in ("neighbour", "outside"):
            cast.loop.serve(cast.people[name], 90)

    def run(self, when, known_too={}):
        rows, probes = self.rows, []
        for what, who, protocol, family, address, port, expected in rows:
            if protocol == "ip":
                continue
            hopeful = expected is not None and not known(f"{what} | from {who} | {protocol} IPv{family}", known_too)
            probes.append(Probe(self.cast.people[who], protocol, address, port, hopeful))
        self.cast.loop.ask(probes)
        wrong, iterator = {}, iter(probes)
        for what, who, protocol, family, address, port, expected in rows:
            if protocol == "ip":
                outcome, good = "no address", False
            else:
                outcome = next(iterator).outcome
                name, _, seen = outcome.partition(" saw ")
                good = (name == expected[0] and seen in expected[1]) if expected else not seen
            row = f"{what} | from {who} | {protocol} IPv{family}"
            if known(row, known_too):
                self.met.setdefault(row, []).append(good)
            elif not good:
                if not expected:
                    wanted = "closed"
                else:
                    wanted = f"{expected[0]} sees " + ("the host" if len(expected[1] or []) > 3 else "the client's own address")
                wrong.setdefault((what, f"{address} {port}", wanted), []).append((who, protocol, family, outcome))
        lines = []
        for (what, where, wanted), seen in wrong.items():
            lines.append(f"  {what} ({where}): expected: {wanted}")
            for outcome in dict.fromkeys(each[3] for each in seen):
                cells = [f"{who}/{protocol}{family}" for who, protocol, family, other in seen if other == outcome]
                lines.append(f"      {outcome:<34} {' '.join(cells)}")
        if wrong and wrong == self.first:
            lines = ["  as at rest"]
        self.first = wrong if self.first is None else self.first
        lab.check(f"{when}: {len(probes)} probes", not wrong, "\n" + "\n".join(lines))
        return not wrong

    def conclude(self):
        """What was expected to fail and never did."""
        for pattern, why in KNOWN.items():
            rows = {row: results for row, results in self.met.items() if re.search(pattern, row)}
            if rows and all(all(each) for each in rows.values()):
                lab.check(f"known fault '{pattern}' ({why}) is gone: remove it", False)
