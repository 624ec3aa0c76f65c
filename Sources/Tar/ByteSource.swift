import Linux
import Model

/// Bytes that are read in order, by one thread at a time, which may block.
public protocol ByteSource: AnyObject {
    /// Reads at least one byte into the buffer, which is not empty; 0 is the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int

    /// Nobody will read any more: whoever produces the bytes need not wait, and a `read` in progress on another thread throws.
    func abandon()
}

extension ByteSource {
    public func abandon() {}
}

/// Where bytes go in order, from one thread at a time, which may block.
public protocol ByteSink: AnyObject {
    /// Takes all of the bytes.
    func write(_ bytes: UnsafeRawBufferPointer) throws
}

/// Bytes that are in memory.
public final class MemorySource: ByteSource {
    private let bytes: [UInt8]
    private var position = 0

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, bytes.count - position)
        bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[position..<(position + count)])) }
        position += count
        return count
    }
}

/// Collects bytes in memory, up to a limit.
public final class MemorySink: ByteSink {
    public private(set) var bytes: [UInt8] = []
    private let limit: Int

    public init(limit: Int) { self.limit = limit }

    public func write(_ more: UnsafeRawBufferPointer) throws {
        guard bytes.count + more.count <= limit else {
            throw Fault(.invalid, "more than \(limit) bytes where a small document was expected")
        }
        bytes.append(contentsOf: more)
    }
}

/// Bytes of a file, pipe or socket.
public final class DescriptorSource: ByteSource {
    private let descriptor: Descriptor

    public init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int { try descriptor.read(into: buffer) }
}

/// Writes to a file, pipe or socket.
public final class DescriptorSink: ByteSink {
    private let descriptor: Descriptor

    public init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

    public func write(_ bytes: UnsafeRawBufferPointer) throws { try descriptor.writeAll(bytes) }

    /// fsync(2)
    public func sync() throws { try descriptor.sync() }
}

extension ByteSource {
    /// Reads to the end and writes everything to a sink.
    public func copy(to sink: any ByteSink) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            let count = try read(into: buffer)
            if count == 0 { return }
            try sink.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }
}
