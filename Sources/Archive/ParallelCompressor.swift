import CCompression
import Linux
import Model

/// Compresses into a sink on several threads: the input is cut into blocks of a fixed size, each of which becomes a gzip member or a
/// zstd frame of its own; readers of both formats take what follows one another as one stream. The same input makes the same
/// output, whatever the number of threads. Memory is bounded by some blocks per thread.
public final class ParallelCompressor: ByteSink {
    public enum Format: Sendable { case gzip, zstd }

    /// Bytes on their way through a thread.
    ///
    /// `@unchecked Sendable`: it is in one list of the monitor or in one thread's hands, never in two.
    private final class Block: @unchecked Sendable {
        let input: UnsafeMutableRawBufferPointer
        let output: UnsafeMutableRawBufferPointer
        var filled = 0
        var produced = 0

        init(size: Int, bound: Int) {
            input = .allocate(byteCount: size, alignment: 4096)
            output = .allocate(byteCount: bound, alignment: 4096)
        }

        deinit {
            input.deallocate()
            output.deallocate()
        }
    }

    private struct State {
        var waiting: [(index: Int, block: Block)] = []
        var done: [Int: Block] = [:]
        var free: [Block] = []
        var failure: Fault?
        var isClosed = false
        var threads = 0
    }

    private let sink: any ByteSink
    private let state = Monitor(State())
    private let format: Format
    private let size: Int
    private let bound: Int
    private var current: Block?
    private var submitted = 0
    private var written = 0
    private let most: Int

    /// - Parameters:
    ///   - level: 1 to 12 for gzip, 1 to 19 for zstd.
    ///   - threads: at least one.
    public init(_ sink: any ByteSink, _ format: Format, level: CInt, threads: Int = Processors.online) throws {
        self.sink = sink
        self.format = format
        size = format == .gzip ? 1 << 20 : 4 << 20
        bound = format == .gzip ? libdeflate_gzip_compress_bound(nil, size) : ZSTD_compressBound(size)
        let count = max(1, threads)
        most = count + 2
        for _ in 0..<count {
            state.update { $0.threads += 1 }
            do { try startThread { [state, format] in Self.run(state, format, level) } } catch {
                state.update { $0.threads -= 1 }
                guard state.update({ $0.threads }) > 0 else { throw error }
            }
        }
    }

    deinit { state.update { $0.isClosed = true } }

    private static func run(_ state: Monitor<State>, _ format: Format, _ level: CInt) {
        let codec = BlockCodec(format, level)
        while true {
            let job: (index: Int, block: Block)? = state.wait { state in
                if !state.waiting.isEmpty { return .some(state.waiting.removeFirst()) }
                return state.isClosed ? .some(nil) : nil
            }
            guard let (index, block) = job else { break }
            let input = UnsafeRawBufferPointer(rebasing: block.input[..<block.filled])
            let produced = codec?.compress(input, block.output) ?? 0
            state.update { state in
                block.produced = produced
                if produced == 0 { state.failure = Fault(.system, "a block could not be compressed") }
                state.done[index] = block
            }
        }
        state.update { $0.threads -= 1 }
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let block = try currentBlock()
            let count = min(rest.count, size - block.filled)
            UnsafeMutableRawBufferPointer(rebasing: block.input[block.filled..<(block.filled + count)])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
            block.filled += count
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            if block.filled == size { try submit(block) }
        }
    }

    private func currentBlock() throws -> Block {
        if let current { return current }
        while submitted - written >= most { try writeNext() }
        let block = state.update { $0.free.popLast() } ?? Block(size: size, bound: bound)
        block.filled = 0
        current = block
        return block
    }

    private func submit(_ block: Block) throws {
        current = nil
        let index = submitted
        submitted += 1
        state.update { $0.waiting.append((index, block)) }
        // What is ready goes out at once: the sink may be a network.
        while state.update({ $0.done[written] != nil }) { try writeNext() }
    }

    private func writeNext() throws {
        let block = try state.wait { state -> Block? in
            if let failure = state.failure { throw failure }
            return state.done.removeValue(forKey: written)
        }
        written += 1
        try sink.write(UnsafeRawBufferPointer(rebasing: block.output[..<block.produced]))
        state.update { $0.free.append(block) }
    }

    /// Writes what is left and ends the threads. Nothing may be written after it.
    public func finish() throws {
        if submitted == 0 || current?.filled ?? 0 > 0 { try submit(try currentBlock()) }
        while written < submitted { try writeNext() }
        state.update { $0.isClosed = true }
    }
}

/// The compressor of one thread.
private final class BlockCodec {
    private let gzip: OpaquePointer?
    private let zstd: OpaquePointer?
    private let level: CInt

    init?(_ format: ParallelCompressor.Format, _ level: CInt) {
        self.level = level
        gzip = format == .gzip ? libdeflate_alloc_compressor(level) : nil
        zstd = format == .zstd ? ZSTD_createCCtx() : nil
        if gzip == nil, zstd == nil { return nil }
    }

    deinit {
        if let gzip { libdeflate_free_compressor(gzip) }
        if let zstd { ZSTD_freeCCtx(zstd) }
    }

    /// 0 when the output has no room, which its bound rules out.
    func compress(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer) -> Int {
        if let gzip { return libdeflate_gzip_compress(gzip, input.baseAddress, input.count, output.baseAddress, output.count) }
        let count = ZSTD_compressCCtx(zstd, output.baseAddress, output.count, input.baseAddress, input.count, level)
        return ZSTD_isError(count) == 0 ? count : 0
    }
}
