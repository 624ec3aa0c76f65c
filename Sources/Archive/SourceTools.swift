import Linux
import Model

/// Shows the first bytes of a source before they are read.
public final class PeekingSource: ByteSource {
    private let source: any ByteSource
    private var start: [UInt8] = []
    private var position = 0

    public init(_ source: any ByteSource) { self.source = source }

    /// At most `count` bytes from the start, fewer when the source is shorter. Only before the first read.
    public func peek(_ count: Int) throws -> [UInt8] {
        while start.count < count {
            let wanted = count - start.count
            let more = try [UInt8](unsafeUninitializedCapacity: wanted) { buffer, used in
                used = try source.read(into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: wanted))
            }
            if more.isEmpty { break }
            start += more
        }
        return start
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard position < start.count else { return try source.read(into: buffer) }
        let count = min(buffer.count, start.count - position)
        start.withUnsafeBytes {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[position..<(position + count)]))
        }
        position += count
        return count
    }

    public func abandon() { source.abandon() }
}

/// Passes a source on and writes what passes to a sink.
public final class TeeSource: ByteSource {
    private let source: any ByteSource
    private let sink: any ByteSink

    public init(_ source: any ByteSource, _ sink: any ByteSink) {
        self.source = source
        self.sink = sink
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = try source.read(into: buffer)
        try sink.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        return count
    }

    public func abandon() { source.abandon() }
}

/// Passes bytes on to a sink and hashes what passes.
public final class HashingSink: ByteSink {
    private let sink: any ByteSink
    public let hash: ContentHash

    public init(_ sink: any ByteSink, _ algorithm: Digest.Algorithm = .sha256) {
        self.sink = sink
        self.hash = ContentHash(algorithm)
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        hash.update(bytes)
        try sink.write(bytes)
    }
}
