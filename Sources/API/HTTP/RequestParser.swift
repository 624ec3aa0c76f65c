import NIOCore

/// Text that is no HTTP/1.x request, with the status that the answer gets. The connection is closed after it.
public struct RequestFault: Error, Equatable {
    public let status: Int
    public let message: String

    public init(status: Int, message: String) {
        self.status = status
        self.message = message
    }
}

/// What a request may ask of its reader.
public struct RequestLimits: Sendable {
    /// Bytes of the request line and all fields. `X-Registry-Config` may be long; Go's server allows 1 MiB.
    public var head = 256 << 10
    public var fieldCount = 256
    /// Bytes of a chunk's size line with its extension, and of all trailers.
    public var chunkLine = 1024
    public init() {}
}

/// Reads HTTP/1.x requests one at a time (RFC 9112).
///
/// It stops after each request until `nextRequest()`: what follows the request stays in the buffer untouched, because it may
/// be the first bytes of a hijacked stream, with or without an `Upgrade` field, and not a request at all. Parsers that run
/// ahead (llhttp) take those bytes for a malformed request.
///
/// Stricter than Go where leniency would let two readers disagree: a request with both a length and chunks, with two
/// lengths, with folded fields or blanks before a colon is refused.
public struct RequestParser {
    public enum Event: Equatable {
        case needsMore
        case head(RequestHead, RequestBodyLength)
        case body(ByteBuffer)
        case end
    }

    private enum State {
        case head(scanned: Int)
        case fixed(Int)
        case chunkSize
        case chunk(Int)
        case chunkEnd
        case trailers(Int)
        case complete
        case reported
    }

    private var state = State.head(scanned: 0)
    private let limits: RequestLimits

    public init(limits: RequestLimits = RequestLimits()) { self.limits = limits }

    /// Allows the next request to be read. Only after `.end`.
    public mutating func nextRequest() { state = .head(scanned: 0) }

    /// True when a part of a head was read but not all of it.
    public func isInsideHead(_ buffer: ByteBuffer) -> Bool {
        if case .head = state { return buffer.readableBytes > 0 }
        return false
    }

    /// The next part, or `.needsMore`. After `.end` it answers `.needsMore` until `nextRequest()`.
    public mutating func next(_ buffer: inout ByteBuffer) throws -> Event {
        while true {
            switch state {
            case .head(let scanned): return try head(&buffer, scanned)
            case .fixed(let rest): return body(&buffer, rest) { $0 == 0 ? .complete : .fixed($0) }
            case .chunk(let rest): return body(&buffer, rest) { $0 == 0 ? .chunkEnd : .chunk($0) }
            case .chunkSize:
                guard let line = try line(&buffer, limits.chunkLine) else { return .needsMore }
                let size = try Self.chunkSize(line)
                state = size == 0 ? .trailers(0) : .chunk(size)
            case .chunkEnd:
                guard let line = try line(&buffer, 2) else { return .needsMore }
                guard line.isEmpty else { throw RequestFault(status: 400, message: "malformed chunked encoding") }
                state = .chunkSize
            case .trailers(let read):
                guard let line = try line(&buffer, limits.chunkLine) else { return .needsMore }
                if line.isEmpty {
                    state = .complete
                } else {
                    guard read + line.count <= limits.chunkLine else {
                        throw RequestFault(status: 431, message: "trailers are too large")
                    }
                    state = .trailers(read + line.count)
                }
            case .complete:
                state = .reported
                return .end
            case .reported: return .needsMore
            }
        }
    }

    private mutating func body(_ buffer: inout ByteBuffer, _ rest: Int, _ following: (Int) -> State) -> Event {
        let count = min(rest, buffer.readableBytes)
        guard count > 0, let slice = buffer.readSlice(length: count) else { return .needsMore }
        state = following(rest - count)
        return .body(slice)
    }

    /// One line without its end (CRLF, or LF alone as RFC 9112 2.2 allows); nil when it is not complete yet.
    private func line(_ buffer: inout ByteBuffer, _ limit: Int) throws -> ArraySlice<UInt8>? {
        let view = buffer.readableBytesView.prefix(limit + 2)
        guard let feed = view.firstIndex(of: 0x0A) else {
            guard view.count < limit + 2 else { throw RequestFault(status: 400, message: "malformed chunked encoding") }
            return nil
        }
        var line = Array(view[..<feed])[...]
        buffer.moveReaderIndex(forwardBy: line.count + 1)
        if line.last == 0x0D { line.removeLast() }
        return line
    }

    private static func chunkSize(_ line: ArraySlice<UInt8>) throws -> Int {
        var size = 0
        var digits = 0
        for byte in line {
            guard let digit = Lexis.hex(byte) else {
                // a chunk extension follows a semicolon, perhaps after blanks
                guard byte == UInt8(ascii: ";") || Lexis.isBlank(byte) else {
                    throw RequestFault(status: 400, message: "invalid byte in chunk length")
                }
                break
            }
            digits += 1
            guard digits <= 15 else { throw RequestFault(status: 400, message: "http chunk length too large") }
            size = size << 4 | digit
        }
        guard digits > 0 else { throw RequestFault(status: 400, message: "malformed chunked encoding") }
        return size
    }

    // MARK: Head

    private mutating func head(_ buffer: inout ByteBuffer, _ scanned: Int) throws -> Event {
        // empty lines before a request are passed over (RFC 9112, 2.2)
        var scanned = scanned
        while scanned == 0, let byte = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self), byte == 0x0D || byte == 0x0A {
            buffer.moveReaderIndex(forwardBy: 1)
        }
        guard let end = Self.headEnd(buffer.readableBytesView, from: max(0, scanned - 3), limit: limits.head) else {
            guard buffer.readableBytes < limits.head else {
                throw RequestFault(status: 431, message: "request header fields too large")
            }
            scanned = buffer.readableBytes
            state = .head(scanned: scanned)
            return .needsMore
        }
        guard let bytes = buffer.readBytes(length: end) else { return .needsMore }
        let head = try Self.parse(bytes, limits)
        let length = try Self.bodyLength(head)
        switch length {
        case .none, .fixed(0): state = .complete
        case .fixed(let count): state = .fixed(count)
        case .chunked: state = .chunkSize
        }
        return .head(head, length)
    }

    /// The number of bytes up to and with the empty line that ends the head.
    private static func headEnd(_ view: ByteBufferView, from: Int, limit: Int) -> Int? {
        view.prefix(limit).withUnsafeBytes { bytes in
            var index = from
            while index < bytes.count {
                guard bytes[index] == 0x0A else {
                    index += 1
                    continue
                }
                if index + 1 < bytes.count, bytes[index + 1] == 0x0A { return index + 2 }
                if index + 2 < bytes.count, bytes[index + 1] == 0x0D, bytes[index + 2] == 0x0A { return index + 3 }
                index += 1
            }
            return nil
        }
    }

    private static func parse(_ bytes: [UInt8], _ limits: RequestLimits) throws -> RequestHead {
        var lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false).map { line in
            line.last == 0x0D ? line.dropLast() : line
        }[...]
        guard let first = lines.popFirst() else { throw RequestFault(status: 400, message: "malformed HTTP request") }
        var head = try requestLine(first)
        for line in lines where !line.isEmpty {
            guard head.fields.count < limits.fieldCount else {
                throw RequestFault(status: 431, message: "too many request header fields")
            }
            head.fields.append(try field(line))
        }
        return head
    }

    private static func requestLine(_ line: ArraySlice<UInt8>) throws -> RequestHead {
        let words = line.split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count == 3, !words[0].isEmpty, words[0].count <= 32, words[0].allSatisfy(Lexis.isToken), !words[1].isEmpty,
            words[1].allSatisfy({ $0 > 0x20 && $0 != 0x7F })
        else {
            throw RequestFault(status: 400, message: "malformed HTTP request")
        }
        let minor: Int
        switch String(decoding: words[2], as: UTF8.self) {
        case "HTTP/1.1": minor = 1
        case "HTTP/1.0": minor = 0
        case let text where text.hasPrefix("HTTP/"):
            throw RequestFault(status: 505, message: "unsupported protocol version \(text)")
        default: throw RequestFault(status: 400, message: "malformed HTTP version")
        }
        return RequestHead(
            method: String(decoding: words[0], as: UTF8.self), target: String(decoding: words[1], as: UTF8.self),
            minorVersion: minor, fields: [])
    }

    private static func field(_ line: ArraySlice<UInt8>) throws -> RequestHead.Field {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
            line[..<colon].allSatisfy(Lexis.isToken)
        else { throw RequestFault(status: 400, message: "malformed header field") }
        var value = line[(colon + 1)...]
        while let byte = value.first, Lexis.isBlank(byte) { value.removeFirst() }
        while let byte = value.last, Lexis.isBlank(byte) { value.removeLast() }
        guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
            throw RequestFault(status: 400, message: "malformed header field")
        }
        let name = line[..<colon].map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        return RequestHead.Field(name: String(decoding: name, as: UTF8.self), value: String(decoding: value, as: UTF8.self))
    }

    private static func bodyLength(_ head: RequestHead) throws -> RequestBodyLength {
        if head.minorVersion == 1, head["host"] == nil {
            throw RequestFault(status: 400, message: "missing required Host header")
        }
        let lengths = Set(head.fields.lazy.filter { $0.name == "content-length" }.map(\.value))
        let codings = head.fields.filter { $0.name == "transfer-encoding" }
        if !codings.isEmpty {
            guard codings.count == 1, codings[0].value.lowercased() == "chunked" else {
                throw RequestFault(status: 501, message: "unsupported transfer encoding")
            }
            guard lengths.isEmpty, head.minorVersion == 1 else {
                throw RequestFault(status: 400, message: "a request has either a length or chunks")
            }
            return .chunked
        }
        guard let text = lengths.first else { return .none }
        guard lengths.count == 1, text.utf8.count <= 18, !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int(text)
        else { throw RequestFault(status: 400, message: "bad Content-Length") }
        return .fixed(length)
    }
}
