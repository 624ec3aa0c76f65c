import Glibc
import Linux

/// A client that sends and receives bytes as they are.
final class RawClient {
    private var socket: CInt
    private var buffer: [UInt8] = []

    init(_ path: String) throws { socket = try Sockets.connect(path).release() }

    deinit { close() }

    func close() {
        if socket >= 0 { _ = Glibc.close(socket) }
        socket = -1
    }

    func closeOutput() { _ = shutdown(socket, CInt(SHUT_WR)) }

    func send(_ text: String) async { await send(Array(text.utf8)) }

    // Neither sending nor receiving blocks a thread: the server under test runs on the same few.

    func send(_ bytes: [UInt8]) async {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
            }
            if count < 0, errno != EAGAIN { return }
            if count < 0 { try? await Task.sleep(for: .milliseconds(1)) } else { sent += count }
        }
    }

    /// What came up to and with `end`, or up to the end of the stream, or within the time.
    func receive(until end: String? = nil, count: Int? = nil, seconds: Int = 10) async -> String {
        let mark = end.map { Array($0.utf8) }
        var chunk = [UInt8](repeating: 0, count: 65536)
        let deadline = ContinuousClock.now + .seconds(seconds)
        while true {
            if let count, buffer.count >= count { return take(count) }
            if let mark, let at = find(mark) { return take(at + mark.count) }
            let got = recv(socket, &chunk, chunk.count, CInt(MSG_DONTWAIT))
            if got > 0 {
                buffer += chunk[..<got]
            } else if got < 0, errno == EAGAIN {
                if ContinuousClock.now > deadline { return take(buffer.count) + "<timeout>" }
                try? await Task.sleep(for: .milliseconds(1))
            } else {
                return take(buffer.count)
            }
        }
    }

    /// True when the other side has closed and nothing is left.
    func isAtEnd() async -> Bool { await receive().isEmpty }

    private func find(_ mark: [UInt8]) -> Int? {
        guard buffer.count >= mark.count else { return nil }
        return (0...(buffer.count - mark.count)).first { Array(buffer[$0..<($0 + mark.count)]) == mark }
    }

    private func take(_ count: Int) -> String {
        defer { buffer.removeFirst(count) }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// Head and body of one answer whose length is given.
    func answer() async -> (head: String, body: String) {
        let head = await receive(until: "\r\n\r\n")
        guard let range = head.firstRange(of: "Content-Length: ") else { return (head, "") }
        let length = Int(head[range.upperBound...].prefix { $0.isNumber }) ?? 0
        return (head, length == 0 ? "" : await receive(count: length))
    }

    /// The bodies of the next answers.
    func bodies(_ count: Int) async -> [String] {
        var bodies: [String] = []
        for _ in 0..<count { bodies.append(await answer().body) }
        return bodies
    }
}
