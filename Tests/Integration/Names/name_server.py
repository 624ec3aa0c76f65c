#!/usr/bin/env python3
"""name_server.py ADDRESS ANSWER: a name server for tests, over UDP and TCP at port 53 of an address. Every name with a dot has the address ANSWER;
`big.` anything has sixty, which over UDP is said to be too long; `v6.` anything has an IPv6 address alone. It ends by itself after two minutes."""
import os, socket, struct, sys, threading

timer = threading.Timer(120, os._exit, (0,))
timer.daemon = True
timer.start()
address, answer = sys.argv[1:3]


def reply(query, stream):
    end = 12
    labels = []
    while query[end]:
        labels.append(query[end + 1:end + 1 + query[end]].decode().lower())
        end += query[end] + 1
    kind = struct.unpack(">H", query[end + 1:end + 3])[0]
    question = query[12:end + 5]
    records = []
    if labels and labels[0] == "v6":
        if kind == 28:
            records = [(28, socket.inet_pton(socket.AF_INET6, "2001:db8::6"))]
    elif kind == 1:
        count = 60 if labels and labels[0] == "big" else 1
        records = [(1, socket.inet_aton(answer if count == 1 else "10.60.0.%d" % (n + 1))) for n in range(count)]
    cut = len(records) > 1 and not stream
    if cut:
        records = []
    if len(labels) < 2:
        records = []
    flags = 0x8180 | (0x0200 if cut else 0) | (3 if len(labels) < 2 else 0)
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
    return head + question + b"".join(b"\xc0\x0c" + struct.pack(">HHIH", t, 1, 30, len(d)) + d for t, d in records)


def streams(listener):
    while True:
        client = listener.accept()[0]
        client.settimeout(5)
        try:
            while True:
                head = client.recv(2, socket.MSG_WAITALL)
                if len(head) < 2:
                    break
                query = client.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL)
                data = reply(query, True)
                client.sendall(struct.pack(">H", len(data)) + data)
        except OSError:
            pass
        client.close()


family = socket.AF_INET6 if ":" in address else socket.AF_INET
listener = socket.socket(family, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((address, 53))
listener.listen(8)
threading.Thread(target=streams, args=(listener,), daemon=True).start()
datagrams = socket.socket(family, socket.SOCK_DGRAM)
datagrams.bind((address, 53))
while True:
    query, peer = datagrams.recvfrom(4096)
    datagrams.sendto(reply(query, False), peer)
