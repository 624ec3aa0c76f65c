#!/usr/bin/env python3
"""capture-rules.py - what nf_tables holds in this network namespace, as the kernel tells it, in hexadecimal, with nft's words
beside each rule. The tests of the translation of the host's rules read such files (Tests/NetworksTests/HostRules)."""
import re
import socket
import struct
import subprocess
import sys

DUMP, MULTI = 0x300, 2


def attributes(data):
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4:at + length]
        at += (length + 3) & ~3


def text(value):
    return value.rstrip(b"\0").decode()


def attribute(kind, value):
    raw = struct.pack("=HH", len(value) + 4, kind) + value
    return raw + b"\0" * (-len(raw) % 4)


def dump(kind, family=0, table=None, name=None):
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    payload = struct.pack("=BBH", family, 0, 0)
    if table:
        payload += attribute(1, table.encode() + b"\0")
    if name:
        payload += attribute(2, name.encode() + b"\0")
    link.send(struct.pack("=IHHII", 16 + len(payload), 10 << 8 | kind, 1 | DUMP, 7, 0) + payload)
    messages = []
    while True:
        data = link.recv(1 << 20)
        at = 0
        while at < len(data):
            length, type_, flags, _, _ = struct.unpack_from("=IHHII", data, at)
            if type_ == 3:
                return messages
            if type_ == 2:
                raise OSError(data[at:at + length])
            messages.append(data[at:at + length])
            at += (length + 3) & ~3


words = {}
table = None
for line in subprocess.run(["nft", "-a", "list", "ruleset"], capture_output=True, text=True).stdout.splitlines():
    if found := re.match(r"table (\S+ \S+)", line):
        table = found[1]
    elif found := re.match(r"\t\t(.*) # handle (\d+)$", line):
        words[table, int(found[2])] = found[1]

FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}


def show(message, comment):
    print(f"# {comment}\n{message.hex()}")


chains = dump(4)
tables = []
for message in chains:
    if message[16] not in FAMILIES:
        continue
    fields = dict(attributes(message[20:]))
    key = (message[16], text(fields[1]))
    if key not in tables:
        tables.append(key)
    show(message, f"chain {FAMILIES[key[0]]} {key[1]} {text(fields[3])}")
for family, table in tables:
    for message in dump(10, family, table):
        name = text(dict(attributes(message[20:]))[2])
        show(message, f"set {FAMILIES[family]} {table} {name}")
        for elements in dump(13, family, table, name):
            show(elements, f"elements {FAMILIES[family]} {table} {name}")
    for message in dump(7, family, table):
        fields = dict(attributes(message[20:]))
        handle = struct.unpack(">Q", fields[3])[0]
        said = words.get((f"{FAMILIES[family]} {table}", handle), "")
        said = re.sub(r"counter packets \d+ bytes \d+ ", "counter ", said)
        show(message, f"rule {FAMILIES[family]} {table} {text(fields[2])} {handle}: {said}")
