import CCompression
import Model

/// RFC 1952 with zlib; members may follow one another, and zeros after the last.
final class GzipCodec: Codec {
    private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    private var between = true

    init() throws {
        stream.initialize(to: z_stream())
        // 15 bits of window, +16: gzip only
        guard inflateInit2_(stream, 31, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK else {
            stream.deallocate()
            throw Fault(.unavailable, "no memory for gzip")
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    func step(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, last: Bool) throws -> CodecStep {
        if between, input.allSatisfy({ $0 == 0 }) {
            return CodecStep(consumed: input.count, produced: 0, atBoundary: true)
        }
        stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress?.assumingMemoryBound(to: Bytef.self))
        stream.pointee.avail_in = UInt32(clamping: input.count)
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: Bytef.self)
        stream.pointee.avail_out = UInt32(clamping: output.count)
        let code = inflate(stream, Z_NO_FLUSH)
        let step = CodecStep(
            consumed: input.count - Int(stream.pointee.avail_in), produced: output.count - Int(stream.pointee.avail_out),
            atBoundary: code == Z_STREAM_END)
        between = code == Z_STREAM_END
        switch code {
        case Z_STREAM_END: inflateReset(stream)
        case Z_OK, Z_BUF_ERROR: break
        default: throw damaged(.gzip, stream.pointee.msg.map { String(cString: $0) } ?? "code \(code)")
        }
        return step
    }
}

/// RFC 8878 with libzstd.
final class ZstdCodec: Codec {
    private let stream: OpaquePointer
    private var atBoundary = true

    init() throws {
        guard let stream = ZSTD_createDStream() else { throw Fault(.unavailable, "no memory for zstd") }
        self.stream = stream
        ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, 27)
    }

    deinit { ZSTD_freeDStream(stream) }

    func step(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, last: Bool) throws -> CodecStep {
        var from = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var to = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let code = ZSTD_decompressStream(stream, &to, &from)
        guard ZSTD_isError(code) == 0 else { throw damaged(.zstd, String(cString: ZSTD_getErrorName(code))) }
        if from.pos > 0 || to.pos > 0 { atBoundary = code == 0 }
        return CodecStep(consumed: from.pos, produced: to.pos, atBoundary: atBoundary)
    }
}

/// The xz container with liblzma; 192 MiB of memory at most (`xz -9` needs 65).
final class XzCodec: Codec {
    private let stream = UnsafeMutablePointer<lzma_stream>.allocate(capacity: 1)

    init() throws {
        stream.initialize(to: lzma_stream())
        // 0x08: LZMA_CONCATENATED, a macro with a cast
        guard lzma_stream_decoder(stream, 192 << 20, 0x08) == LZMA_OK else {
            stream.deallocate()
            throw Fault(.unavailable, "no memory for xz")
        }
    }

    deinit {
        lzma_end(stream)
        stream.deallocate()
    }

    func step(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, last: Bool) throws -> CodecStep {
        stream.pointee.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_in = input.count
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = output.count
        let code = lzma_code(stream, last ? LZMA_FINISH : LZMA_RUN)
        switch code {
        case LZMA_OK, LZMA_STREAM_END, LZMA_BUF_ERROR: break
        case LZMA_MEMLIMIT_ERROR: throw damaged(.xz, "it needs more than 192 MiB of memory to unpack")
        default: throw damaged(.xz, "code \(code.rawValue)")
        }
        return CodecStep(
            consumed: input.count - stream.pointee.avail_in, produced: output.count - stream.pointee.avail_out,
            atBoundary: code == LZMA_STREAM_END)
    }
}

/// bzip2 with libbz2; streams may follow one another (pbzip2).
final class Bzip2Codec: Codec {
    private let stream = UnsafeMutablePointer<bz_stream>.allocate(capacity: 1)

    init() throws {
        stream.initialize(to: bz_stream())
        guard BZ2_bzDecompressInit(stream, 0, 0) == BZ_OK else {
            stream.deallocate()
            throw Fault(.unavailable, "no memory for bzip2")
        }
    }

    deinit {
        BZ2_bzDecompressEnd(stream)
        stream.deallocate()
    }

    func step(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, last: Bool) throws -> CodecStep {
        stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress?.assumingMemoryBound(to: CChar.self))
        stream.pointee.avail_in = UInt32(clamping: input.count)
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: CChar.self)
        stream.pointee.avail_out = UInt32(clamping: output.count)
        let code = BZ2_bzDecompress(stream)
        let step = CodecStep(
            consumed: input.count - Int(stream.pointee.avail_in), produced: output.count - Int(stream.pointee.avail_out),
            atBoundary: code == BZ_STREAM_END)
        switch code {
        case BZ_OK: break
        case BZ_STREAM_END:
            BZ2_bzDecompressEnd(stream)
            stream.initialize(to: bz_stream())
            guard BZ2_bzDecompressInit(stream, 0, 0) == BZ_OK else { throw Fault(.unavailable, "no memory for bzip2") }
        default: throw damaged(.bzip2, "code \(code)")
        }
        return step
    }
}

/// The lz4 frame format with liblz4.
final class Lz4Codec: Codec {
    private let context: OpaquePointer
    private var atBoundary = true

    init() throws {
        var context: OpaquePointer?
        guard LZ4F_isError(LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))) == 0, let context else {
            throw Fault(.unavailable, "no memory for lz4")
        }
        self.context = context
    }

    deinit { LZ4F_freeDecompressionContext(context) }

    func step(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, last: Bool) throws -> CodecStep {
        var produced = output.count
        var consumed = input.count
        let code = LZ4F_decompress(context, output.baseAddress, &produced, input.baseAddress, &consumed, nil)
        guard LZ4F_isError(code) == 0 else { throw damaged(.lz4, String(cString: LZ4F_getErrorName(code))) }
        if consumed > 0 || produced > 0 { atBoundary = code == 0 }
        return CodecStep(consumed: consumed, produced: produced, atBoundary: atBoundary)
    }
}

/// Compresses into a sink with zstd, one frame.
public final class ZstdSink: ByteSink {
    private let sink: any ByteSink
    private let stream: OpaquePointer
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 << 10, alignment: 16)

    public init(_ sink: any ByteSink, level: CInt) throws {
        guard let stream = ZSTD_createCStream() else { throw Fault(.unavailable, "no memory for zstd") }
        self.sink = sink
        self.stream = stream
        ZSTD_CCtx_setParameter(stream, ZSTD_c_compressionLevel, level)
    }

    deinit {
        ZSTD_freeCStream(stream)
        buffer.deallocate()
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws { try run(bytes, ZSTD_e_continue) }

    /// Ends the frame. Nothing may be written after it.
    public func finish() throws { try run(UnsafeRawBufferPointer(start: nil, count: 0), ZSTD_e_end) }

    private func run(_ bytes: UnsafeRawBufferPointer, _ directive: ZSTD_EndDirective) throws {
        var from = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        while true {
            var to = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
            let rest = ZSTD_compressStream2(stream, &to, &from, directive)
            guard ZSTD_isError(rest) == 0 else { throw Fault(.system, "zstd: \(String(cString: ZSTD_getErrorName(rest)))") }
            if to.pos > 0 { try sink.write(UnsafeRawBufferPointer(rebasing: buffer[..<to.pos])) }
            if directive == ZSTD_e_end ? rest == 0 : from.pos == from.size { return }
        }
    }
}
