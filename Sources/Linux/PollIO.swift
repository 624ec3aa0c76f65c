import CKernel
import Glibc

/// What came of a read or a write that does not block.
public enum IOResult: Equatable, Sendable {
    /// So many bytes, at least one.
    case moved(Int)
    /// Nothing can be moved now.
    case wouldBlock
    /// Nothing will come any more, or nobody reads.
    case end
}

/// Reading and writing in a loop that must not block.
public enum PollIO {
    /// Reads what is there, up to the buffer's size. A pty whose last user has gone (EIO) and a lost connection are an end. read(2)
    public static func read(_ descriptor: CInt, into buffer: UnsafeMutableRawBufferPointer) throws -> IOResult {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count > 0 { return .moved(count) }
            if count == 0 { return .end }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case EIO, ECONNRESET, ENOTCONN, EPIPE, ETIMEDOUT: return .end
            default: throw KernelFault("read", errno: errno)
            }
        }
    }

    /// Writes what fits. The caller has a SIGPIPE handler or does not mind. write(2)
    public static func write(_ descriptor: CInt, _ bytes: UnsafeRawBufferPointer) throws -> IOResult {
        guard bytes.count > 0 else { return .moved(0) }
        while true {
            let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
            if count >= 0 { return .moved(count) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case EPIPE, ECONNRESET, EIO, ENOTCONN, ETIMEDOUT: return .end
            default: throw KernelFault("write", errno: errno)
            }
        }
    }

    /// Writes all of it to a blocking descriptor. write(2)
    public static func writeAll(_ bytes: [UInt8], to descriptor: CInt) throws {
        try bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let part = UnsafeRawBufferPointer(rebasing: rest)
                let count = try kernel("write") { Glibc.write(descriptor, part.baseAddress, part.count) }
                rest = rest.dropFirst(count)
            }
        }
    }

    /// fcntl(2) F_SETFL
    public static func setNonblocking(_ descriptor: CInt, _ on: Bool = true) throws {
        try kernel("fcntl F_SETFL") { ck_set_nonblocking(descriptor, on ? 1 : 0) }
    }

    /// No more bytes will be written to a socket; the other end reads an end. shutdown(2)
    public static func shutdownWrite(_ socket: CInt) { _ = shutdown(socket, CInt(SHUT_WR)) }
}

/// A pipe, both ends close-on-exec. pipe(2)
public struct Pipe: ~Copyable {
    public var input: Descriptor?
    public var output: Descriptor?

    public init() throws {
        var ends: [CInt] = [-1, -1]
        try kernel("pipe2") { ck_pipe(&ends) }
        input = Descriptor(owning: ends[0])
        output = Descriptor(owning: ends[1])
    }

    /// The end to read from; nil once taken.
    public mutating func takeInput() -> Descriptor? { input.take() }
    /// The end to write to; nil once taken.
    public mutating func takeOutput() -> Descriptor? { output.take() }
}

/// A page-aligned buffer outside the heap, whose pages are given back when nobody needs them. mmap(2)
public final class PageBuffer {
    public let bytes: UnsafeMutableRawBufferPointer

    public init(size: Int) throws {
        let address = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let address, address != UnsafeMutableRawPointer(bitPattern: -1) else { throw KernelFault("mmap", errno: errno) }
        bytes = UnsafeMutableRawBufferPointer(start: address, count: size)
    }

    deinit { munmap(bytes.baseAddress, bytes.count) }

    /// The content is lost, the memory is free. madvise(2)
    public func discard() { madvise(bytes.baseAddress, bytes.count, MADV_DONTNEED) }
}

public enum Clock {
    /// Nanoseconds since 1970. clock_gettime(2) CLOCK_REALTIME
    public static var realtime: Int64 { ck_clock_realtime() }
    /// Nanoseconds since some point in the past; never goes back. CLOCK_MONOTONIC
    public static var monotonic: Int64 { ck_clock_monotonic() }
}
