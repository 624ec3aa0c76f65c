import Archive
import Linux
import Model

/// A content as it is received: what a file has of it already, then what comes, which goes into the file; all of it hashed.
final class ReceivedContent: ByteSource {
    private let file: Descriptor
    private let descriptor: ContentDescriptor
    private let hash: ContentHash
    private let fetcher: any ContentFetcher
    private let observe: (Int64) -> Void
    /// Bytes that are read from the file first.
    private var stored: Int64
    private var source: (any ByteSource)?
    private var told: Int64 = 0
    private var finished: Digest?
    private let isAbandoned = Monitor(false)

    init(
        _ file: consuming Descriptor, _ stored: Int64, _ descriptor: ContentDescriptor, _ hash: ContentHash,
        _ fetcher: any ContentFetcher, _ observe: @escaping (Int64) -> Void
    ) {
        self.file = file
        self.stored = stored
        self.descriptor = descriptor
        self.hash = hash
        self.fetcher = fetcher
        self.observe = observe
    }

    var isComplete: Bool { hash.count == descriptor.size }
    /// The source itself said that it cannot be what was asked for.
    private(set) var isRefused = false

    /// Of everything that was read.
    func digest() throws -> Digest {
        if let finished { return finished }
        let digest = try hash.finish()
        finished = digest
        return digest
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let position = hash.count
        if position == descriptor.size { return 0 }
        if position < stored {
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(stored - position, Int64(buffer.count)))])
            let count = try file.read(into: part)
            guard count > 0 else { throw Fault(.system, "the file of a partly received layer became shorter") }
            hash.update(UnsafeRawBufferPointer(rebasing: part[..<count]))
            tell()
            return count
        }
        let count: Int
        do {
            let source = try self.source ?? open(from: position)
            self.source = source
            count = try source.read(into: buffer)
        } catch {
            if !isAbandoned.update({ $0 }) { isRefused = true }
            throw error
        }
        guard count > 0, position + Int64(count) <= descriptor.size else {
            throw Fault(.invalid, "layer \(descriptor.digest) is not as long as its manifest says")
        }
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        try file.writeAll(bytes)
        hash.update(bytes)
        tell()
        return count
    }

    private func tell() {
        guard hash.count - told >= 256 << 10 || hash.count == descriptor.size else { return }
        told = hash.count
        observe(told)
    }

    private func open(from position: Int64) throws -> any ByteSource {
        let source = try fetcher.open(descriptor, from: position)
        // `abandon` on another thread may have come before there was anything to interrupt.
        if isAbandoned.update({ $0 }) { fetcher.interrupt() }
        return source
    }

    func abandon() {
        isAbandoned.update { $0 = true }
        fetcher.interrupt()
    }
}
