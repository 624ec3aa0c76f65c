import Glibc

/// A connection to systemd's manager or to a bus, for a few calls one after the other (D-Bus Specification).
public final class DBusConnection {
    private let socket: Descriptor
    private let destination: String?
    private var serial: UInt32 = 0
    private var buffer: [UInt8] = []
    /// Signals that came while a reply was awaited.
    private var signals: [DBusMessage] = []

    /// What the other side refused, by its name for it.
    public struct Refusal: Error, Sendable, CustomStringConvertible {
        public let name: String
        public let message: String
        public var description: String { message.isEmpty ? name : message }
    }

    /// `destination` is the peer's name on a bus; nil for a peer at the socket's other end.
    public init(path: String, destination: String?) throws {
        socket = try Sockets.connect(path)
        self.destination = destination
        try authenticate()
        if destination != nil {
            _ = try call(
                "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", [], destination: "org.freedesktop.DBus")
        }
    }

    /// AUTH EXTERNAL: the kernel tells the peer who we are; the user id goes as hexadecimal digits of its decimal ones.
    /// BEGIN goes along at once, as sd-bus does it: systemd lets a call lie that it has read in one piece with BEGIN.
    private func authenticate() throws {
        let user = String(getuid()).utf8.map { String($0, radix: 16) }.joined()
        try write(Array("\0AUTH EXTERNAL \(user)\r\nBEGIN\r\n".utf8))
        var line: [UInt8] = []
        while !line.suffix(2).elementsEqual([0x0D, 0x0A]) {
            guard line.count < 1024, let byte = try take(1)?.first else {
                throw KernelFault("dbus", errno: EPROTO, "no answer")
            }
            line.append(byte)
        }
        guard line.starts(with: "OK".utf8) else {
            throw KernelFault("dbus", errno: EACCES, String(decoding: line.dropLast(2), as: UTF8.self))
        }
    }

    /// Calls a method and waits for its answer, at most half a minute.
    public func call(
        _ path: String, _ interface: String, _ member: String, _ arguments: [DBusValue], destination: String? = nil
    ) throws -> [DBusValue] {
        serial += 1
        let call = DBusCall(
            destination: destination ?? self.destination, path: path, interface: interface, member: member, arguments: arguments
        )
        try write(call.message(serial: serial))
        while let message = try next() {
            if message.kind == .signal { signals.append(message) }
            guard message.replySerial == serial else { continue }
            if message.kind == .reply { return message.body }
            var text = ""
            if case .string(let words)? = message.body.first { text = words }
            throw Refusal(name: message.errorName ?? "", message: text)
        }
        throw KernelFault("dbus", errno: ETIMEDOUT, member)
    }

    /// The body of the first signal of that name for which `matches` holds; nil after half a minute without one.
    public func signal(_ member: String, where matches: ([DBusValue]) -> Bool) throws -> [DBusValue]? {
        while true {
            while !signals.isEmpty {
                let signal = signals.removeFirst()
                if signal.member == member && matches(signal.body) { return signal.body }
            }
            guard let message = try next() else { return nil }
            if message.kind == .signal { signals.append(message) }
        }
    }

    private func next() throws -> DBusMessage? {
        while true {
            guard let head = try take(16), let length = DBusMessage.length(of: head) else { return nil }
            guard let rest = try take(length - 16) else { return nil }
            if let message = DBusMessage(head + rest) { return message }
        }
    }

    private func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count { sent += try Sockets.send(socket.raw, sent == 0 ? bytes : Array(bytes[sent...])) }
    }

    /// Exactly so many bytes; nil when they do not come.
    private func take(_ count: Int) throws -> [UInt8]? {
        while buffer.count < count {
            var poll = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
            let ready = try kernel("poll") { Glibc.poll(&poll, 1, 30_000) }
            guard ready == 1 else { return nil }
            let part = try Sockets.receive(socket.raw, limit: 65536)
            if part.bytes.isEmpty { return nil }
            buffer += part.bytes
        }
        defer { buffer.removeFirst(count) }
        return Array(buffer[..<count])
    }
}
