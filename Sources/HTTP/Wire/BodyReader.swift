import Linux

/// How the end of a message's body is known (RFC 9112, 6).
public enum BodyFraming: Sendable, Equatable {
    case empty
    case length(Int64)
    case chunked
    /// The end of the connection is the end of the body.
    case untilClose
}

extension RequestHead {
    /// Throws `malformed` where two readers could disagree: a length and chunks, two lengths, another coding.
    public func bodyFraming() throws -> BodyFraming { try BodyFraming.read(fields, minor: minor) ?? .empty }
}

extension ResponseHead {
    /// - Parameter method: of the request that this answers.
    public func bodyFraming(to method: String) throws -> BodyFraming {
        if method == "HEAD" || status == 204 || status == 304 || status < 200 { return .empty }
        if method == "CONNECT", (200...299).contains(status) { return .empty }
        return try BodyFraming.read(fields, minor: minor) ?? .untilClose
    }
}

extension BodyFraming {
    /// Nil where the fields say nothing.
    static func read(_ fields: HTTPFields, minor: Int) throws -> BodyFraming? {
        let codings = fields.all("Transfer-Encoding")
        let lengths = fields.all("Content-Length")
        if !codings.isEmpty {
            guard codings.count == 1, HTTPFields.same(codings[0], "chunked"), lengths.isEmpty, minor == 1 else {
                throw WireFault(.malformed, "the body's transfer encoding is ambiguous")
            }
            return .chunked
        }
        guard let text = lengths.first else { return nil }
        guard lengths.count == 1, !text.isEmpty, text.utf8.count <= 19, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int64(text)
        else { throw WireFault(.malformed, "the body's length is ambiguous") }
        return length == 0 ? .empty : .length(length)
    }
}

/// Reads one body from a channel, to its end and no further.
public final class BodyReader {
    private enum State {
        case done
        case fixed(Int64)
        case chunkSize
        case chunk(Int64)
        case open
    }

    public let framing: BodyFraming
    private let channel: Channel
    private let limits: WireLimits
    private var state: State
    /// Bytes of the body read so far.
    public private(set) var count: Int64 = 0

    public init(_ channel: Channel, _ framing: BodyFraming, limits: WireLimits = WireLimits()) {
        self.channel = channel
        self.framing = framing
        self.limits = limits
        state =
            switch framing {
            case .empty: .done
            case .length(let length): .fixed(length)
            case .chunked: .chunkSize
            case .untilClose: .open
            }
    }

    /// The body has been read to the end that its framing names.
    public var isComplete: Bool { if case .done = state { true } else { false } }

    /// The channel may carry another message now.
    public var leavesChannelUsable: Bool { isComplete && framing != .untilClose }

    /// Reads at least one byte; 0 is the end, as the framing says. A connection that ends before is `cut`.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard !buffer.isEmpty else { return 0 }
        while true {
            switch state {
            case .done: return 0
            case .open:
                let count = try channel.read(into: buffer)
                if count == 0 {
                    guard !channel.wasCut else { throw Self.cut }
                    state = .done
                }
                self.count += Int64(count)
                return count
            case .fixed(let rest): return try take(rest, buffer) { $0 == 0 ? .done : .fixed($0) }
            case .chunk(let rest): return try take(rest, buffer) { .chunk($0) }
            case .chunkSize: try nextChunk()
            }
        }
    }

    private static let cut = WireFault(.cut, "the connection ended before the body did")

    private func take(_ rest: Int64, _ buffer: UnsafeMutableRawBufferPointer, _ following: (Int64) -> State) throws -> Int {
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(rest, Int64(buffer.count)))])
        let count = try channel.read(into: part)
        guard count > 0 else { throw Self.cut }
        self.count += Int64(count)
        state = following(rest - Int64(count))
        if case .chunk(0) = state { try endOfChunk() }
        return count
    }

    private func endOfChunk() throws {
        guard try line(limit: 2).isEmpty else { throw HeadParser.malformed("the end of a chunk") }
        state = .chunkSize
    }

    private func nextChunk() throws {
        let size = try Self.chunkSize(try line(limit: limits.chunkLine))
        if size > 0 {
            state = .chunk(size)
            return
        }
        var read = 0
        while true {
            let line = try line(limit: limits.trailers)
            if line.isEmpty { break }
            read += line.count
            guard read <= limits.trailers else { throw WireFault(.tooLarge, "trailers of more than \(limits.trailers) bytes") }
            _ = try HeadParser.field(line[...])
        }
        state = .done
    }

    static func chunkSize(_ line: [UInt8]) throws -> Int64 {
        let digits = line.prefix { $0 != 0x3B && $0 != 0x20 && $0 != 0x09 }
        guard !digits.isEmpty, digits.count <= 15, line[digits.count...].allSatisfy(HeadParser.isFieldByte),
            digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0 | 0x20) }),
            let size = Int64(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw HeadParser.malformed("a chunk's size") }
        return size
    }

    private func line(limit: Int) throws -> [UInt8] {
        var line: [UInt8] = []
        while true {
            guard let byte = try channel.readByte() else { throw Self.cut }
            if byte == 0x0A {
                guard line.popLast() == 0x0D else { throw HeadParser.malformed("a line") }
                return line
            }
            guard line.count <= limit else { throw WireFault(.tooLarge, "a chunk's line of more than \(limit) bytes") }
            line.append(byte)
        }
    }

    /// Reads what is left and forgets it. False when it is more than `limit`, takes longer than `within` milliseconds, or the
    /// connection broke.
    public func drain(limit: Int64, within: Int = 5000) -> Bool {
        let deadline = Clock.monotonic + Int64(within) * 1_000_000
        let patience = channel.idleTimeout
        channel.idleTimeout = min(patience, within)
        defer { channel.idleTimeout = patience }
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 16)
        defer { space.deallocate() }
        var rest = limit
        do {
            while rest > 0, Clock.monotonic < deadline {
                let count = try read(into: space)
                if count == 0 { return true }
                rest -= Int64(count)
            }
        } catch { return false }
        return isComplete
    }

    /// The whole rest in memory. Throws `tooLarge` beyond the limit, `tooSlow` when it takes longer than `within` milliseconds.
    public func readAll(limit: Int, within: Int = 20_000) throws -> [UInt8] {
        let deadline = Clock.monotonic + Int64(within) * 1_000_000
        var bytes: [UInt8] = []
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 16)
        defer { space.deallocate() }
        while true {
            let count = try read(into: space)
            if count == 0 { return bytes }
            guard bytes.count + count <= limit else { throw WireFault(.tooLarge, "a body of more than \(limit) bytes") }
            bytes.append(contentsOf: space[..<count])
            guard Clock.monotonic < deadline else {
                throw WireFault(.tooSlow, "the answer came too slowly: \(bytes.count) bytes in \(within / 1000) s")
            }
        }
    }
}

/// Writes a body in chunks; the head said `Transfer-Encoding: chunked`.
public final class ChunkedWriter {
    private let channel: Channel

    public init(_ channel: Channel) { self.channel = channel }

    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        if bytes.isEmpty { return }
        try channel.write(Array("\(String(bytes.count, radix: 16))\r\n".utf8))
        try channel.write(bytes)
        try channel.write([0x0D, 0x0A])
    }

    /// The last chunk.
    public func finish() throws { try channel.write(Array("0\r\n\r\n".utf8)) }
}
