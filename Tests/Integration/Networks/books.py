"""Whether the books agree: what the engine says, what its file holds, and what the kernel has."""
import json, os, re, subprocess

import lab


def links(space=None):
    def read():
        return json.loads(subprocess.run(["ip", "-j", "-d", "link"], capture_output=True, text=True, check=True).stdout)
    if space is None:
        return read()
    with space:
        return read()


def addresses(space):
    """{interface: addresses} in a namespace, without loopback and link-local ones."""
    with space:
        told = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True).stdout)
    return {each["ifname"]: {info["local"] for info in each.get("addr_info", ()) if info.get("scope") == "global"}
            for each in told if each.get("ifname") != "lo"}


def published_in_kernel():
    """(protocol, port) of every element of our table's maps that leads to a container, whatever the maps' names."""
    done = subprocess.run(["nft", "-n", "-j", "list", "table", "inet", "skiff"], capture_output=True, text=True)
    if done.returncode:
        return None
    found = set()
    for entry in json.loads(done.stdout)["nftables"]:
        if "map" not in entry:
            continue
        for key, _ in entry["map"].get("elem", ()):
            key = key.get("elem", {}).get("val", key) if isinstance(key, dict) else key
            words = [str(word) for word in (key["concat"] if isinstance(key, dict) and "concat" in key else [key])]
            numbers = [word for word in words if word.isdigit()]
            kinds = {"6": "tcp", "17": "udp", "132": "sctp", "tcp": "tcp", "udp": "udp", "sctp": "sctp"}
            protocol = next((kinds[word] for word in words if word in kinds), None)
            ports = [word for word in numbers if word not in ("6", "17", "132")] or numbers
            if protocol and ports:
                found.add((protocol, int(ports[-1])))
    return found


def compare(when, engine):
    """Checks; the engine must be at rest. Removed networks' bridges are deleted behind the answer's back, in a second or two."""
    lab.eventually(lambda: not any(link["ifname"].startswith("gone") for link in links()), 10)
    networks = [json.loads(engine.do("network", "inspect", name))[0] for name in engine.do("network", "ls", "-q").split()]
    internal = {network["Name"] for network in networks if network["Internal"]}
    names = engine.do("ps", "-q", "--no-trunc").split()
    told = json.loads(engine.do("inspect", *names)) if names else []
    faults, used, taken, ports = [], {}, {}, set()
    host_links = links()
    by_index = {link["ifindex"]: link for link in host_links}
    for container in told:
        name = container["Name"].lstrip("/")
        # A port waits while its container is on no network by which it could be reached: also one that it was leaving when the engine died.
        reachable = {network for network, endpoint in container["NetworkSettings"]["Networks"].items() if endpoint["EndpointID"]} - internal
        for text, bindings in (container["NetworkSettings"].get("Ports") or {}).items():
            for binding in bindings or () if reachable else ():
                ports.add((text.split("/")[1], int(binding["HostPort"])))
        space = lab.Space(name, container["State"]["Pid"])
        try:
            inside = addresses(space)
            for link in links(space):
                if link.get("link_index") and link.get("linkinfo", {}).get("info_kind") == "veth":
                    used[link["link_index"]] = name
        finally:
            space.close()
        present = set().union(*inside.values()) if inside else set()
        wanted = set()
        for network, endpoint in container["NetworkSettings"]["Networks"].items():
            for address in (endpoint.get("IPAddress"), endpoint.get("GlobalIPv6Address")):
                if not address:
                    continue
                wanted.add(address)
                if (network, address) in taken:
                    faults.append(f"{address} of {network} belongs to {name} and to {taken[network, address]}")
                taken[network, address] = name
        if present != wanted:
            faults.append(f"{name} has {sorted(present)}, the engine says {sorted(wanted)}")
    veths = {index for index, link in by_index.items() if link.get("linkinfo", {}).get("info_kind") == "veth" and link["ifname"] != "eth0"}
    for index in set(used) - veths:
        faults.append(f"{used[index]}'s interface has no end on the host")
    # A few are kept ready for containers to come.
    spare = [by_index[index]["ifname"] for index in veths - set(used)]
    if len(spare) > 16:
        faults.append(f"{len(spare)} links belong to nobody: {spare}")
    bridges = {link["ifname"] for link in host_links if link.get("linkinfo", {}).get("info_kind") == "bridge"}
    expected = {network["Options"].get("com.docker.network.bridge.name", "br-" + network["Id"][:12]) for network in networks
                if network["Driver"] == "bridge"}
    if bridges != expected:
        faults.append(f"bridges {sorted(bridges)}, the networks' are {sorted(expected)}")
    for network in networks:
        members = {value["Name"] for value in (network.get("Containers") or {}).values()}
        said = {name for (each, _), name in taken.items() if each == network["Name"]}
        if network["Driver"] == "bridge" and members != said:
            faults.append(f"{network['Name']} lists {sorted(members)}, the containers say {sorted(said)}")
    kernel = published_in_kernel()
    if kernel is None:
        faults.append("our table is not there")
    elif kernel != ports:
        faults.append(f"published in the kernel only: {sorted(kernel - ports)}, in the books only: {sorted(ports - kernel)}")
    lab.check(f"{when}: addresses, links, rules and books agree", not faults, "\n      ".join(faults[:20]))
    return len(spare), len(told)
