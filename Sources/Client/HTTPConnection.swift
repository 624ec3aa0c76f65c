import Linux
import Model

/// How much a peer may send where the client keeps it in memory.
enum HTTPLimits {
    static let head = 64 << 10
    static let answer = 64 << 20
    static let chunkLine = 4096
}

/// The first lines of an answer.
public struct ResponseHead: Sendable {
    public var status = 0
    public var reason = ""
    /// Names in lower case.
    public var fields: [(name: String, value: String)] = []

    public init() {}

    public func field(_ name: String) -> String? { fields.first { $0.name == name }?.value }
    public var isSuccess: Bool { (200..<300).contains(status) || status == 304 || status == 101 }
}

/// What a request sends along.
public enum RequestBody: Sendable {
    case none
    case json([UInt8])
    /// A tar archive, or another stream, that the caller writes with `sendChunk` and ends with `endChunks`.
    case chunked(type: String)
    /// The connection becomes a raw stream in both directions.
    case upgrade(json: [UInt8]?)
}

/// One HTTP/1.1 connection over a Unix socket: blocking, one request at a time (RFC 9112).
public final class HTTPConnection {
    let socket: Descriptor
    private var buffer: [UInt8]
    private var start = 0
    private var end = 0
    private var framing = Framing.none
    /// Whether another request may follow on this connection.
    public private(set) var isReusable = true

    private enum Framing {
        case none
        case length(Int)
        /// Bytes left of the present chunk; nil before a chunk's size line.
        case chunked(Int?)
        case untilClose
    }

    public init(_ socket: consuming Descriptor) {
        self.socket = socket
        buffer = [UInt8](repeating: 0, count: 16 << 10)
    }

    public var descriptor: CInt { socket.raw }
    /// Bytes that came already and were not taken yet: poll(2) does not know of them.
    public var hasBuffered: Bool { start < end }

    // MARK: Sending

    public func send(_ method: String, _ target: String, _ body: RequestBody, headers: [(String, String)] = []) throws {
        var head = "\(method) \(target) HTTP/1.1\r\nHost: skiff\r\nUser-Agent: skiff\r\n"
        var content: [UInt8] = []
        switch body {
        case .none:
            if method == "POST" { head += "Content-Length: 0\r\n" }
        case .json(let bytes):
            content = bytes
            head += "Content-Type: application/json\r\nContent-Length: \(bytes.count)\r\n"
        case .chunked(let type):
            head += "Content-Type: \(type)\r\nTransfer-Encoding: chunked\r\n"
        case .upgrade(let bytes):
            content = bytes ?? []
            head +=
                "Content-Type: \(bytes == nil ? "text/plain" : "application/json")\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            head += "Content-Length: \(content.count)\r\n"
        }
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        head += "\r\n"
        isReusable = false
        try StreamCalls.writeAll(socket.raw, Array(head.utf8) + content)
    }

    public func sendChunk(_ bytes: UnsafeRawBufferPointer) throws {
        guard !bytes.isEmpty else { return }
        try StreamCalls.writeAll(socket.raw, Array((String(bytes.count, radix: 16) + "\r\n").utf8))
        try StreamCalls.writeAll(socket.raw, bytes)
        try StreamCalls.writeAll(socket.raw, [0x0D, 0x0A])
    }

    public func endChunks() throws { try StreamCalls.writeAll(socket.raw, Array("0\r\n\r\n".utf8)) }

    // MARK: Receiving

    /// Reads the head of the answer (passing over 100 Continue); its body is read with `readBody` or `readAll`.
    /// - Parameter bodyless: the answer to HEAD.
    public func receiveHead(upgraded: Bool = false, bodyless: Bool = false) throws -> ResponseHead {
        while true {
            let head = try readHead()
            if head.status / 100 == 1, head.status != 101 { continue }
            let length = head.field("content-length").flatMap { Int($0) }
            if let length, length < 0 { throw malformed("a negative Content-Length") }
            let encoding = head.field("transfer-encoding")?.lowercased()
            isReusable = head.field("connection")?.lowercased() != "close"
            if upgraded, head.status == 101 || head.status == 200 {
                framing = .untilClose
                isReusable = false
            } else if bodyless || head.status == 204 || head.status == 304 {
                framing = .none
            } else if encoding == "chunked" {
                framing = .chunked(nil)
            } else if let length {
                framing = length == 0 ? .none : .length(length)
            } else {
                framing = .untilClose
                isReusable = false
            }
            return head
        }
    }

    private func readHead() throws -> ResponseHead {
        var head = ResponseHead()
        let first = try line(limit: HTTPLimits.head)
        let parts = first.split(separator: " ", maxSplits: 2)
        guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), let status = Int(parts[1]), (100..<600).contains(status) else {
            throw malformed("the status line \"\(first.prefix(60))\"")
        }
        head.status = status
        head.reason = parts.count > 2 ? String(parts[2]) : ""
        var size = first.utf8.count
        while true {
            let text = try line(limit: HTTPLimits.head)
            if text.isEmpty { return head }
            size += text.utf8.count
            guard size <= HTTPLimits.head, let colon = text.firstIndex(of: ":") else { throw malformed("the header") }
            let value = text[text.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            head.fields.append((text[..<colon].lowercased(), String(value)))
        }
    }

    /// The next bytes of the body, at most `maximum`; nil at its end. A body that ends too early is a fault of kind `unavailable`.
    /// - Parameter use: is given the bytes where they lie.
    public func readBody<T>(maximum: Int = .max, _ use: (UnsafeRawBufferPointer) throws -> T) throws -> T? {
        var allowed = maximum
        switch framing {
        case .none: return nil
        case .length(let left): allowed = min(allowed, left)
        case .chunked(let left):
            let size = try left ?? chunkSize()
            if size == 0 { return nil }
            framing = .chunked(size)
            allowed = min(allowed, size)
        case .untilClose: break
        }
        if start == end, try fill() == 0 {
            if case .untilClose = framing {
                framing = .none
                return nil
            }
            throw Fault(.unavailable, "the engine closed the connection in the middle of an answer")
        }
        let count = min(allowed, end - start)
        let range = start..<(start + count)
        start += count
        switch framing {
        case .length(let left): framing = left == count ? .none : .length(left - count)
        case .chunked(let left):
            let rest = (left ?? count) - count
            // The line break behind a chunk is read with the next chunk's size, so that its data is given out at once.
            pendingBreak = rest == 0
            framing = .chunked(rest == 0 ? nil : rest)
        case .none, .untilClose: break
        }
        return try buffer.withUnsafeBytes { try use(UnsafeRawBufferPointer(rebasing: $0[range])) }
    }

    /// The line break behind a chunk's data has not been read yet.
    private var pendingBreak = false

    private func chunkSize() throws -> Int {
        if pendingBreak {
            guard try line(limit: HTTPLimits.chunkLine).isEmpty else { throw malformed("a chunk without its end") }
            pendingBreak = false
        }
        let text = try line(limit: HTTPLimits.chunkLine)
        let digits = text.prefix { $0 != ";" }.trimmingSpaces()
        guard let size = Int(digits, radix: 16), size >= 0 else { throw malformed("the chunk size \"\(text.prefix(20))\"") }
        if size == 0 {
            while try !line(limit: HTTPLimits.chunkLine).isEmpty {}
            framing = .none
        }
        return size
    }

    /// The whole body; a larger one than `limit` is a fault.
    public func readAll(limit: Int = 64 << 20) throws -> [UInt8] {
        var content: [UInt8] = []
        while try readBody({ content.append(contentsOf: $0) }) != nil {
            guard content.count <= limit else { throw Fault(.system, "the engine's answer is larger than \(limit) bytes") }
        }
        return content
    }

    /// The bytes that came along with the head of an upgraded connection, so that the caller can go on with the descriptor itself.
    public func takeBuffered() -> [UInt8] {
        defer { start = end }
        return Array(buffer[start..<end])
    }

    // MARK: The buffer

    /// Reads more; 0 at the end of the stream.
    @discardableResult
    private func fill() throws -> Int {
        if start == end {
            start = 0
            end = 0
        } else if end == buffer.count {
            if start > 0 {
                buffer.replaceSubrange(0..<(end - start), with: Array(buffer[start..<end]))
                end -= start
                start = 0
            } else {
                buffer += [UInt8](repeating: 0, count: buffer.count)
            }
        }
        let from = end
        let count = try buffer.withUnsafeMutableBytes {
            try StreamCalls.read(socket.raw, into: UnsafeMutableRawBufferPointer(rebasing: $0[from...]))
        }
        end += count
        return count
    }

    /// Larger reads, for streams.
    public func useLargeBuffer() {
        if buffer.count < 256 << 10 { buffer += [UInt8](repeating: 0, count: (256 << 10) - buffer.count) }
    }

    private func line(limit: Int) throws -> String {
        var looked = start
        while true {
            if let found = buffer[looked..<end].firstIndex(of: 0x0A) {
                let stop = found > start && buffer[found - 1] == 0x0D ? found - 1 : found
                let text = String(decoding: buffer[start..<stop], as: UTF8.self)
                start = found + 1
                return text
            }
            guard end - start < limit else { throw malformed("a line longer than \(limit) bytes") }
            let seen = end - start
            if try fill() == 0 { throw Fault(.unavailable, "the engine closed the connection") }
            looked = start + seen
        }
    }

    private func malformed(_ what: String) -> Fault { Fault(.system, "the engine's answer is no HTTP: \(what)") }
}

extension StringProtocol {
    package func trimmingSpaces() -> String {
        var text = Substring(self)
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
