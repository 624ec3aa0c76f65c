"""A fake engine on a Unix socket that records what a client sends and answers just enough."""
import json, os, socket, threading


class Recorder:
    def __init__(self, path):
        self.path, self.requests, self.lock = path, [], threading.Lock()
        if os.path.exists(path):
            os.unlink(path)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def close(self):
        self.socket.close()
        os.unlink(self.path)

    def take(self):
        with self.lock:
            taken, self.requests = self.requests, []
        return taken

    def serve(self, connection):
        stream = connection.makefile("rb")
        try:
            while self.one(connection, stream):
                pass
        except (OSError, ValueError):
            pass
        connection.close()

    def one(self, connection, stream):
        line = stream.readline()
        if not line:
            return False
        method, target, _ = line.decode().split()
        headers = {}
        while True:
            field = stream.readline().strip()
            if not field:
                break
            name, value = field.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        body = b""
        if "content-length" in headers:
            body = stream.read(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while True:
                size = int(stream.readline(), 16)
                body += stream.read(size)
                stream.readline()
                if size == 0:
                    break
        with self.lock:
            self.requests.append((method, target, body))
        status, answer = self.answer(method, target, body)
        head = f"HTTP/1.1 {status}\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
        connection.sendall(head.encode() + (b"" if method == "HEAD" else answer))
        return True

    def answer(self, method, target, body):
        if "/containers/create" in target:
            return "201 Created", json.dumps({"Id": "a" * 64, "Warnings": []}).encode()
        if "/_ping" in target:
            return "200 OK", b"OK"
        return "200 OK", b"{}"
