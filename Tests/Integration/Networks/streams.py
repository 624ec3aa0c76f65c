"""What must not be interrupted: connections that count, names that are asked, ports that are tried, all in the background.

A thread holds both ends of every stream, so the engine may be killed, and the script may wait, while they go on.
"""
import os, selectors, socket, struct, threading, time

TICK = 0.01


class Stream:
    """TCP: sends numbers and wants each back in order. A stream has broken when the connection ends or a number is missing."""

    def __init__(self, name, space, address, port):
        self.name, self.sent, self.back, self.fault, self.gap = name, 0, 0, None, 0.0
        try:
            with space:
                self.socket = socket.create_connection((address, port), timeout=5)
        except OSError as error:
            self.socket, self.fault = None, f"never began: {error}"
            return
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.rest, self.last = b"", time.monotonic()

    def tick(self):
        if self.fault:
            return
        try:
            if self.sent - self.back < 1000:
                self.socket.send(struct.pack(">Q", self.sent))
                self.sent += 1
        except BlockingIOError:
            pass
        except OSError as error:
            self.fault = f"ended at {self.back}: {error}"

    def react(self):
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.fault = f"ended at {self.back}: {error}"
            return
        if not data:
            self.fault = f"closed at {self.back}"
        self.rest += data
        while len(self.rest) >= 8:
            number, self.rest = struct.unpack(">Q", self.rest[:8])[0], self.rest[8:]
            if number != self.back:
                self.fault = f"{number} instead of {self.back}"
            self.back += 1
            now = time.monotonic()
            self.gap, self.last = max(self.gap, now - self.last), now


class Repeated:
    """Something short, done again and again; each must succeed within `patience` seconds. `make` answers a non-blocking socket; `good`
    judges what is read from it, None is content with the connection."""

    def __init__(self, name, every, patience, make, good):
        self.name, self.every, self.patience, self.make, self.good = name, every, patience, make, good
        self.tried = self.done = 0
        self.fault, self.gap, self.due, self.socket, self.begun = None, 0.0, time.monotonic(), None, 0.0


class Background:
    def __init__(self):
        self.selector, self.streams, self.repeated, self.servers = selectors.DefaultSelector(), [], [], []
        self.stopping, self.thread = threading.Event(), threading.Thread(target=self.loop, daemon=True)
        self.connections = []

    def echo_server(self, space, port):
        with space:
            for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                server = socket.socket(family, socket.SOCK_STREAM)
                if family == socket.AF_INET6:
                    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                server.bind((address, port))
                server.listen(128)
                server.setblocking(False)
                self.selector.register(server, selectors.EVENT_READ, self.accept)

    def accept(self, server):
        try:
            connection, _ = server.accept()
        except OSError:
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections.append(connection)
        self.selector.register(connection, selectors.EVENT_READ, self.repeat)

    def repeat(self, connection):
        try:
            data = connection.recv(65536)
            if data:
                connection.send(data)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.selector.unregister(connection)
        connection.close()

    def stream(self, name, space, address, port):
        """Before `start`: the server's thread must run for it, so the connection is made by `start`."""
        self.streams.append((name, space, address, port))

    def repeat_connection(self, name, space, address, port):
        def make():
            with space:
                client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            client.setblocking(False)
            client.connect_ex((address, port))
            return client
        self.repeated.append(Repeated(name, 0.025, 1.5, make, None))

    def repeat_name(self, name, space, asked, expected):
        """A question for the A record of `asked`; the answer must hold the four bytes `expected`."""
        labels = b"".join(bytes([len(part)]) + part.encode() for part in asked.split("."))
        question = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0" + labels + b"\0\0\x01\0\x01"

        def make():
            with space:
                client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.setblocking(False)
            client.connect(("127.0.0.11", 53))
            client.send(question)
            return client
        self.repeated.append(Repeated(name, 0.025, 1.0, make, lambda data: socket.inet_aton(expected) in data))

    def start(self):
        self.thread.start()
        self.streams = [Stream(*each) for each in self.streams]
        for stream in [stream for stream in self.streams if stream.socket]:
            self.selector.register(stream.socket, selectors.EVENT_READ, lambda _, stream=stream: stream.react())
        self.ready = [stream for stream in self.streams if stream.socket]

    def loop(self):
        self.ready = []
        following = time.monotonic()
        while not self.stopping.is_set():
            for key, _ in self.selector.select(max(0, following - time.monotonic())):
                key.data(key.fileobj)
            now = time.monotonic()
            if now >= following:
                following = now + TICK
                for stream in self.ready:
                    stream.tick()
                for each in self.repeated:
                    self.again(each, now)

    def again(self, each, now):
        if each.socket is None:
            if now >= each.due:
                each.begun, each.due = now, now + each.every
                each.tried += 1
                try:
                    each.socket = each.make()
                except OSError as error:
                    each.fault = each.fault or f"try {each.tried}: {error}"
                    return
                if each.good is None:
                    self.selector.register(each.socket, selectors.EVENT_WRITE, lambda _: self.connected(each))
                else:
                    self.selector.register(each.socket, selectors.EVENT_READ, lambda _: self.answered(each))
        elif now - each.begun > each.patience:
            each.fault = each.fault or f"try {each.tried}: nothing in {each.patience} s"
            self.over(each)

    def connected(self, each):
        number = each.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            each.fault = each.fault or f"try {each.tried}: {os.strerror(number)}"
        else:
            each.done += 1
        # Reset, so that a thousand of them leave nothing waiting.
        each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.over(each)

    def answered(self, each):
        try:
            data = each.socket.recv(2048)
            if each.good(data):
                each.done += 1
            else:
                each.fault = each.fault or f"try {each.tried}: answered {data[:64].hex()}"
        except OSError as error:
            each.fault = each.fault or f"try {each.tried}: {error}"
        self.over(each)

    def over(self, each):
        each.gap = max(each.gap, time.monotonic() - each.begun)
        self.selector.unregister(each.socket)
        each.socket.close()
        each.socket = None

    def conclude(self, check, when, longest):
        """Waits for what is under way, ends the thread, and checks; `longest`: seconds that an answer may have taken at most."""
        time.sleep(0.3)
        self.stopping.set()
        self.thread.join(5)
        for stream in self.streams:
            good = not stream.fault and stream.back > 10 and stream.sent - stream.back < 200 and stream.gap < longest
            check(f"{when}: the connection {stream.name} goes on", good,
                  f"{stream.fault or 'no fault'}; {stream.back} of {stream.sent} came back, the longest silence {stream.gap:.2f} s")
        for each in self.repeated:
            check(f"{when}: {each.name} at any time", not each.fault and each.done > 10, f"{each.fault}; {each.done} of {each.tried}, slowest {each.gap:.2f} s")
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
