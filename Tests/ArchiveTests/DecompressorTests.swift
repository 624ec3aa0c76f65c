import Archive
import Linux
import Model
import TestSupport
import Testing

@Suite struct DecompressorTests {
    private static let tools: [(Compression, String)] = [
        (.gzip, "gzip -c"), (.xz, "xz -c"), (.bzip2, "bzip2 -c"), (.zstd, "zstd -qc"), (.lz4, "lz4 -qc"),
    ]

    /// Half a megabyte, half of which does not compress.
    private static let sample: [UInt8] = {
        var state: UInt64 = 42
        return (0..<500_000).map { index in
            state = state &* 6_364_136_223_846_793_005 &+ 1
            return index % 2000 < 1000 ? UInt8(truncatingIfNeeded: state >> 33) : 0x61
        }
    }()

    private func compressed(_ tool: String, _ scratch: Scratch) throws -> [UInt8]? {
        guard run(["/bin/sh", "-c", "command -v \(tool.prefix { $0 != " " })"]).status == 0 else { return nil }
        let sink = DescriptorSink(try Descriptor.open(scratch.path + "/plain", [.write, .create, .truncate]))
        try Self.sample.withUnsafeBytes { try sink.write($0) }
        return try shell("\(tool) plain", in: scratch)
    }

    private func uncompress(_ bytes: [UInt8]) throws -> [UInt8] {
        let sink = MemorySink(limit: 1 << 24)
        try Decompressor(MemorySource(bytes)).copy(to: sink)
        return sink.bytes
    }

    @Test(arguments: tools) func eachFormatIsFoundAndUndone(_ format: Compression, _ tool: String) throws {
        let scratch = try Scratch("compress")
        guard let bytes = try compressed(tool, scratch) else { return }
        #expect(Compression.detect(bytes) == format)
        #expect(try uncompress(bytes) == Self.sample)
        // What pigz, pbzip2, pzstd and `cat a.gz b.gz` make
        #expect(try uncompress(bytes + bytes).count == 2 * Self.sample.count)
    }

    @Test(arguments: tools) func aCutStreamIsATruncation(_ format: Compression, _ tool: String) throws {
        let scratch = try Scratch("cut")
        guard let bytes = try compressed(tool, scratch) else { return }
        for length in [7, 20, bytes.count / 2, bytes.count - 1] {
            let fault = #expect(throws: Fault.self) { try uncompress(Array(bytes[..<length])) }
            #expect(fault?.message == "the archive is truncated: its \(format.rawValue) stream has no end", "\(length)")
        }
    }

    @Test(arguments: tools) func damageIsFound(_ format: Compression, _ tool: String) throws {
        let scratch = try Scratch("damage")
        guard var bytes = try compressed(tool, scratch) else { return }
        for index in stride(from: bytes.count / 3, to: bytes.count / 3 + 64, by: 3) { bytes[index] ^= 0x5A }
        let fault = #expect(throws: Fault.self) { try uncompress(bytes) }
        #expect(fault?.message.hasPrefix("the archive is") == true)
    }

    @Test func zerosAfterGzipAreFineAndGarbageIsNot() throws {
        let scratch = try Scratch("garbage")
        guard let bytes = try compressed("gzip -c", scratch) else { return }
        #expect(try uncompress(bytes + [UInt8](repeating: 0, count: 3000)) == Self.sample)
        #expect(throws: Fault.self) { try uncompress(bytes + Array("garbage".utf8)) }
    }

    @Test func whatIsNotCompressedPassesThrough() throws {
        for bytes in [[], [0x1F], Array("plain text".utf8), Self.sample] { #expect(try uncompress(bytes) == bytes) }
    }

    @Test func aReaderAheadGivesTheSameBytesAndTheFaultAtTheirEnd() throws {
        let ahead = try ReadAhead(MemorySource(Self.sample))
        let sink = MemorySink(limit: 1 << 24)
        try ahead.copy(to: sink)
        ahead.close()
        #expect(sink.bytes == Self.sample)

        final class Failing: ByteSource {
            var left = 3
            func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
                left -= 1
                guard left > 0 else { throw Fault(.cancelled, "gone") }
                buffer[0] = 9
                return 1
            }
        }
        let failing = try ReadAhead(Failing())
        let rest = MemorySink(limit: 10)
        #expect(throws: Fault.self) { try failing.copy(to: rest) }
        #expect(rest.bytes == [9, 9])
        failing.close()
    }

    /// A source whose second read returns, full, only after it was abandoned.
    private final class Late: ByteSource, Sendable {
        let state = Monitor((reads: 0, isAbandoned: false))

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            let isLate = state.update { state in
                state.reads += 1
                return state.reads == 2
            }
            if isLate { _ = state.wait { $0.isAbandoned ? true : nil } }
            return buffer.count
        }

        func abandon() { state.update { $0.isAbandoned = true } }
        func awaitSecondRead() { _ = state.wait { $0.reads > 1 ? true : nil } }
    }

    /// Runs `body` on a thread; whether it ended within ten seconds.
    private func ends(_ body: @escaping @Sendable () -> Void) async throws -> Bool {
        let isDone = Monitor(false)
        try startThread {
            body()
            isDone.update { $0 = true }
        }
        for _ in 0..<1000 where !isDone.update({ $0 }) { try await Task.sleep(for: .milliseconds(10)) }
        return isDone.update { $0 }
    }

    /// A pull onto a full disk hung: the thread that reads ahead took the end back that `abandon` had set while it read.
    @Test func aReaderAheadThatIsAbandonedInTheMidstOfAReadEnds() async throws {
        let late = Late()
        let ahead = try ReadAhead(late, buffers: 4)
        struct Handed: @unchecked Sendable { let ahead: ReadAhead }
        let handed = Handed(ahead: ahead)
        late.awaitSecondRead()
        ahead.abandon()
        let ended = try await ends {
            #expect(throws: Fault.self) { try handed.ahead.copy(to: MemorySink(limit: 1 << 20)) }
            handed.ahead.close()
        }
        #expect(ended)
    }

    @Test func aPipeThatIsAbandonedLetsBothSidesGo() async throws {
        let pipe = BytePipe(capacity: 10)
        async let ended = ends {
            #expect(throws: Fault.self) { try pipe.copy(to: MemorySink(limit: 1)) }
        }
        pipe.abandon()
        #expect(try await ended)
        #expect(throws: Fault.self) { try [1, 2, 3].withUnsafeBytes { try pipe.write($0) } }
    }

    @Test func aStreamHasBackPressureAndBothSidesMayGiveUp() async throws {
        let stream = ByteStream(capacity: 1000)
        async let sent: Void = {
            for _ in 0..<100 { try await stream.send([UInt8](repeating: 5, count: 300)) }
            stream.finish()
        }()
        let received = try await withCheckedThrowingContinuation { (done: CheckedContinuation<Int, any Error>) in
            do {
                try startThread {
                    let sink = MemorySink(limit: 1 << 20)
                    do {
                        try stream.copy(to: sink)
                        done.resume(returning: sink.bytes.count)
                    } catch { done.resume(throwing: error) }
                }
            } catch { done.resume(throwing: error) }
        }
        try await sent
        #expect(received == 30_000)

        let abandoned = ByteStream(capacity: 10)
        abandoned.abandon()
        await #expect(throws: Fault.self) { try await abandoned.send([1]) }
        let failed = ByteStream()
        failed.fail(Fault(.cancelled, "the client went away"))
        #expect(throws: Fault.self) { try failed.copy(to: MemorySink(limit: 1)) }
    }
}
