import Model

/// How a stream is compressed.
public enum Compression: String, Sendable, CaseIterable {
    case none, gzip, zstd, xz, bzip2, lz4

    /// By the first bytes (RFC 1952, RFC 8878, xz-file-format 2.1.1.1, bzip2, lz4 frame format).
    public static func detect(_ start: some Collection<UInt8>) -> Compression {
        let bytes = Array(start.prefix(6))
        func begins(_ magic: [UInt8]) -> Bool { bytes.starts(with: magic) }
        if begins([0x1F, 0x8B]) { return .gzip }
        if begins([0x28, 0xB5, 0x2F, 0xFD]) { return .zstd }
        // A skippable zstd frame
        if bytes.count >= 4, bytes[0] & 0xF0 == 0x50, bytes[1...3].elementsEqual([0x2A, 0x4D, 0x18]) { return .zstd }
        if begins([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]) { return .xz }
        if begins([0x42, 0x5A, 0x68]), bytes.count > 3, (0x31...0x39).contains(bytes[3]) { return .bzip2 }
        if begins([0x04, 0x22, 0x4D, 0x18]) { return .lz4 }
        return .none
    }
}

/// What one call of a codec did.
struct CodecStep {
    var consumed: Int
    var produced: Int
    /// The codec stands between two compressed streams: the input may end here.
    var atBoundary: Bool
}

/// A decompressor of one format. Concatenated streams are one stream.
protocol Codec: AnyObject {
    /// Works on what there is. `last`: no more input will come after this.
    func step(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, last: Bool) throws -> CodecStep
}

/// Uncompresses a stream whose format it finds by itself. Memory is bounded: a window of 128 MiB at most.
///
/// Throws `invalid` for damaged or truncated input.
public final class Decompressor: ByteSource {
    private let source: any ByteSource
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 << 10, alignment: 4096)
    private var start = 0
    private var end = 0
    private var sourceEnded = false
    private var codec: (any Codec)?
    private var atBoundary = true
    /// Nil until the first read.
    public private(set) var compression: Compression?

    public init(_ source: any ByteSource) { self.source = source }

    deinit { buffer.deallocate() }

    /// Finds the format without giving out bytes.
    public func detect() throws -> Compression {
        if let compression { return compression }
        while end < 6, !sourceEnded { try fill() }
        let found = Compression.detect(buffer[..<end])
        compression = found
        codec =
            switch found {
            case .none: nil
            case .gzip: try GzipCodec()
            case .zstd: try ZstdCodec()
            case .xz: try XzCodec()
            case .bzip2: try Bzip2Codec()
            case .lz4: try Lz4Codec()
            }
        return found
    }

    public func read(into output: UnsafeMutableRawBufferPointer) throws -> Int {
        let compression = try detect()
        guard let codec else { return try readPlain(into: output) }
        while true {
            if start == end, !sourceEnded { try fill() }
            let input = UnsafeRawBufferPointer(rebasing: buffer[start..<end])
            if input.isEmpty, atBoundary { return 0 }
            let step = try codec.step(input, output, last: sourceEnded)
            start += step.consumed
            atBoundary = step.atBoundary
            if step.produced > 0 { return step.produced }
            if sourceEnded, start == end, !atBoundary, step.consumed == 0 {
                throw Fault(.invalid, "the archive is truncated: its \(compression.rawValue) stream has no end")
            }
            if step.consumed == 0, !input.isEmpty, sourceEnded, atBoundary { return 0 }
        }
    }

    public func abandon() { source.abandon() }

    private func readPlain(into output: UnsafeMutableRawBufferPointer) throws -> Int {
        guard start < end else { return sourceEnded ? 0 : try source.read(into: output) }
        let count = min(output.count, end - start)
        output.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<(start + count)]))
        start += count
        return count
    }

    private func fill() throws {
        if start == end {
            start = 0
            end = 0
        }
        let count = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[end...]))
        if count == 0 { sourceEnded = true }
        end += count
    }
}

func damaged(_ format: Compression, _ detail: String) -> Fault {
    Fault(.invalid, "the archive is damaged: \(format.rawValue): \(detail)")
}
