import Linux
import Model

/// Bytes and numbers (unsigned LEB128) in order, compressed with zstd.
final class RecordWriter {
    private let sink: ZstdSink
    private var pending: [UInt8]

    /// - Parameter magic: the first bytes, which name the format and its version.
    init(_ sink: any ByteSink, magic: [UInt8], level: CInt) throws {
        self.sink = try ZstdSink(sink, level: level)
        pending = magic
    }

    func byte(_ value: UInt8) { pending.append(value) }

    func number(_ value: UInt64) { pending.appendNumber(value) }

    func bytes(_ more: some Collection<UInt8>) { pending += more }

    /// Passes on what has gathered. To be called often enough that memory stays bounded.
    func flush(unless limit: Int = 64 << 10) throws {
        guard pending.count >= limit else { return }
        try pending.withUnsafeBytes { try sink.write($0) }
        pending.removeAll(keepingCapacity: true)
    }

    func finish() throws {
        try flush(unless: 0)
        try sink.finish()
    }
}

extension [UInt8] {
    /// Unsigned LEB128
    mutating func appendNumber(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        append(UInt8(value))
    }
}

/// Reads what a `RecordWriter` wrote.
final class RecordReader {
    private let source: any ByteSource
    let path: String
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    private var start = 0
    private var end = 0

    /// Which of the formats it has.
    let version: Int

    /// - Parameter magics: the first bytes of each format, as long as one another.
    /// - Throws: `unsupported` for another format, as `kind` names it.
    init(_ path: String, magics: [[UInt8]], kind: String) throws {
        self.path = path
        let source = Decompressor(DescriptorSource(try Descriptor.open(path, [.read])))
        self.source = source
        let start = MemorySink(limit: 64)
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: magics.first?.count ?? 0, alignment: 1)
        defer { space.deallocate() }
        while start.bytes.count < space.count {
            let count = try source.read(
                into: UnsafeMutableRawBufferPointer(rebasing: space[..<(space.count - start.bytes.count)]))
            if count == 0 { break }
            try start.write(UnsafeRawBufferPointer(rebasing: space[..<count]))
        }
        guard let version = magics.firstIndex(of: start.bytes) else {
            throw Fault(.unsupported, "\(path) is no \(kind) that this skiff knows", subject: path)
        }
        self.version = version
    }

    convenience init(_ path: String, magic: [UInt8], kind: String) throws { try self.init(path, magics: [magic], kind: kind) }

    /// A part of a record, of the file `path`.
    init(_ bytes: [UInt8], of path: String) {
        self.path = path
        source = MemorySource(bytes)
        version = 0
    }

    deinit { buffer.deallocate() }

    var damaged: Fault { Fault(.system, "\(path) is damaged", subject: path) }

    func number() throws -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let byte = try byte()
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { break }
            shift += 7
            guard shift < 63 else { throw damaged }
        }
        guard value <= UInt64(Int64.max) else { throw damaged }
        return value
    }

    /// A number that counts what is in memory.
    func count(limit: Int) throws -> Int {
        let value = try number()
        guard value <= UInt64(limit) else { throw damaged }
        return Int(value)
    }

    func bytes(_ count: Int) throws -> [UInt8] {
        let sink = MemorySink(limit: 1 << 20)
        try copy(count, to: sink)
        return sink.bytes
    }

    func copy(_ count: Int, to sink: any ByteSink) throws {
        var left = count
        while left > 0 {
            try fill()
            let part = min(left, end - start)
            try sink.write(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + part)]))
            start += part
            left -= part
        }
    }

    func skip(_ count: Int) throws {
        var left = count
        while left > 0 {
            try fill()
            let part = min(left, end - start)
            start += part
            left -= part
        }
    }

    func byte() throws -> UInt8 {
        try fill()
        defer { start += 1 }
        return buffer[start]
    }

    private func fill() throws {
        if start < end { return }
        start = 0
        end = try source.read(into: buffer)
        guard end > 0 else { throw damaged }
    }
}
