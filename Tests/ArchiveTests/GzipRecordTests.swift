import Archive
import Linux
import Model
import TestSupport
import Testing

@Suite struct GzipRecordTests {
    /// Text with many repetitions near and far, some noise between.
    static func text(_ size: Int, seed: UInt64 = 1) -> [UInt8] {
        var state = seed
        func next() -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33)
        }
        let words = (0..<700).map { _ in (0..<(2 + next() % 9)).map { _ in UInt8(97 + next() % 26) } }
        var bytes: [UInt8] = []
        while bytes.count < size {
            switch next() % 40 {
            case 0: bytes += (0..<(next() % 300)).map { _ in UInt8(truncatingIfNeeded: next()) }
            case 1: bytes += [UInt8](repeating: UInt8(next() % 256), count: next() % 900)
            case 2 where bytes.count > 40_000:
                let start = bytes.count - 1 - next() % 40_000
                bytes += bytes[start..<min(bytes.count, start + next() % 600)]
            default: bytes += words[next() % 700] + [32]
            }
        }
        return Array(bytes[..<size])
    }

    private func record(_ gzip: [UInt8], _ scratch: Scratch) throws -> String {
        let path = scratch.path + "/record"
        let file = try Descriptor.open(path, [.write, .create, .truncate], permissions: 0o600)
        try GzipRecord.make(to: DescriptorSink(file)) { MemorySource(gzip) }
        return path
    }

    /// Makes the file again from plain bytes that come in pieces of a size.
    private func remake(_ plain: [UInt8], _ record: String, piece: Int = 1 << 16, threads: Int = 2) throws -> [UInt8] {
        let sink = MemorySink(limit: 1 << 28)
        let remaker = try GzipRemaker(sink, record: record, threads: threads)
        var from = 0
        while from < plain.count {
            let to = min(plain.count, from + piece)
            try plain[from..<to].withUnsafeBytes { try remaker.write($0) }
            from = to
        }
        try remaker.finish()
        return sink.bytes
    }

    /// What a program makes of the bytes; nil where there is none.
    private func compressed(_ plain: [UInt8], _ command: String, _ scratch: Scratch) throws -> [UInt8]? {
        let path = scratch.path + "/plain"
        try writeFile(path, plain)
        guard run(["/bin/sh", "-c", "command -v \(command.prefix { $0 != " " })"]).status == 0 else { return nil }
        guard run(["/bin/sh", "-c", "\(command) <'\(path)' >'\(path).gz'"], timeout: 60).status == 0 else {
            throw SetupFailure(command)
        }
        return try readFile(path + ".gz")
    }

    @Test(arguments: [
        "gzip -n", "gzip -1", "gzip -3n", "gzip -4", "gzip -9n", "pigz -n -p 3", "pigz -9 -p 2 -b 64",
        "python3 -c 'import gzip,sys; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read()))'",
        """
        python3 -c 'import zlib,sys; c=zlib.compressobj(6,8,31,9); d=sys.stdin.buffer.read(); sys.stdout.buffer.write(c.compress(d)+c.flush())'
        """,
    ]) func whatACompressorMadeIsMadeAgainBitByBit(_ command: String) throws {
        let scratch = try Scratch()
        let plain = Self.text(900_000)
        guard let gzip = try compressed(plain, command, scratch) else { return }
        let path = try record(gzip, scratch)
        #expect(try remake(plain, path) == gzip)
        #expect(try remake(plain, path, piece: 777) == gzip)
        // The guesses are right nearly always: the record is a small part of what it stands for.
        let size = try readFile(path).count
        #expect(size * 20 < gzip.count, "\(command): \(size) of \(gzip.count)")
    }

    /// Segments of a megabyte, with all their edges: bits of a byte shared with the neighbour, histories, members that begin anywhere.
    @Test(arguments: [
        "gzip -n", "gzip -1", "pigz -n -p 2",
        "python3 -c 'import gzip,sys; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read(), 9))'",
    ])
    func segmentsAreMadeSideBySide(_ command: String) throws {
        let scratch = try Scratch()
        let zeros = [UInt8](repeating: 0, count: 3_000_000)
        let noise = (0..<1_500_000).map { _ in UInt8.random(in: 0...255) }
        let plain = Self.text(2_700_000) + noise + zeros + Self.text(1_400_000, seed: 5)
        guard let gzip = try compressed(plain, command, scratch),
            let small = try compressed(Self.text(40_000), command, scratch)
        else { return }
        for (plain, gzip) in [(plain, gzip), (Self.text(40_000) + plain + Self.text(40_000), small + gzip + small)] {
            let path = try record(gzip, scratch)
            for threads in [1, 2, 5] { #expect(try remake(plain, path, threads: threads) == gzip) }
            #expect(try remake(plain, path, piece: 4_000_000) == gzip)
            #expect(try readFile(path).count * 20 < gzip.count)
            #expect(throws: (any Error).self) { _ = try remake(Array(plain.dropLast(9)), path) }
            #expect(throws: (any Error).self) { _ = try remake(plain + [1], path) }
        }
    }

    @Test func whatSkiffItselfPushesIsMadeAgain() throws {
        let scratch = try Scratch()
        let plain = Self.text(3_000_000)
        let sink = MemorySink(limit: 1 << 24)
        let compressor = try ParallelCompressor(sink, .gzip, level: 1, threads: 2)
        try plain.withUnsafeBytes { try compressor.write($0) }
        try compressor.finish()
        let path = try record(sink.bytes, scratch)
        #expect(try remake(plain, path) == sink.bytes)
        #expect(try readFile(path).count * 20 < sink.bytes.count)
    }

    @Test(arguments: [0, 1, 5, 300, 65_535, 65_536, 200_000]) func anySizeIsMadeAgain(_ size: Int) throws {
        let scratch = try Scratch()
        for plain in [Self.text(size), (0..<size).map { _ in UInt8.random(in: 0...255) }] {
            guard let gzip = try compressed(plain, "gzip -n", scratch) else { return }
            #expect(try remake(plain, try record(gzip, scratch), piece: 100) == gzip)
        }
    }

    @Test func membersNamesAndZerosAfterTheEndAreKept() throws {
        let scratch = try Scratch()
        let (one, two) = (Self.text(70_000, seed: 3), Self.text(5000, seed: 4))
        let first = try #require(try compressed(one, "gzip -9", scratch))
        let second = try #require(try compressed(two, "gzip -1", scratch))
        // FNAME and FCOMMENT
        let named = Array(second[..<3]) + [0x18] + second[4..<10] + Array("name\0why\0".utf8) + second[10...]
        let gzip = first + named + [UInt8](repeating: 0, count: 700)
        #expect(try remake(one + two, try record(gzip, scratch)) == gzip)
    }

    @Test func whatIsNoGzipFileIsRefused() throws {
        let scratch = try Scratch()
        let gzip = try #require(try compressed(Self.text(100_000), "gzip -n", scratch))
        var wrong = [Self.text(1000), Array(gzip.dropLast(40)), Array(gzip[..<9]), gzip + Array("more".utf8), [], [0x1F]]
        var flipped = gzip
        flipped[gzip.count / 2] ^= 0x55
        wrong.append(flipped)
        for bytes in wrong {
            do {
                let path = try record(bytes, scratch)
                // A flipped bit may leave a stream that can be read: it is made again as it is then, from other bytes.
                #expect(bytes == flipped || bytes.isEmpty, "\(bytes.prefix(8))")
                _ = try? remake(Self.text(100_000), path)
            } catch let fault as Fault { #expect(fault.kind == .invalid, "\(fault)") }
        }
    }

    @Test func aDamagedRecordAndOtherBytesAreAFaultAndNeverACrash() throws {
        let scratch = try Scratch()
        let plain = Self.text(150_000)
        let gzip = try #require(try compressed(plain, "gzip -n", scratch))
        let path = try record(gzip, scratch)
        let good = try readFile(path)
        #expect(throws: (any Error).self) { _ = try remake(Array(plain.dropLast(9)), path) }
        #expect(throws: (any Error).self) { _ = try remake(plain + [1, 2, 3], path) }
        #expect((try? remake(plain.reversed(), path)) != gzip)
        for index in stride(from: 0, to: good.count, by: max(1, good.count / 60)) {
            var bad = good
            bad[index] ^= 0x41
            try writeFile(path, bad)
            if let made = try? remake(plain, path) { #expect(made.count < 4 * gzip.count) }
        }
    }

    /// Records that an earlier skiff has written must lead to the same files for ever: what the predictors guess is part of the format.
    @Test(arguments: [0, 1, 2, 3]) func recordsOfTheFirstFormatHold(_ index: Int) throws {
        let scratch = try Scratch()
        let (digest, record) = Self.kept[index]
        let path = scratch.path + "/record"
        try writeFile(path, try #require(Base64Text.decode(record.joined())))
        let made = try remake(Self.text(90_000, seed: 7), path)
        #expect(try ContentHash.digest(of: made).hex == digest)
    }

    /// Of `text(90_000, seed: 7)`: the digest of the gzip file, its record.
    private static let kept: [(String, [String])] = [
        // zlib and GNU gzip
        (
            "c4109e9711eb1561780a6950b134530d38f40dbc87a47ee7cdc5578ac51ebf03",
            [
                "c2tpZmYtZ3ppcCAxCgEIEIABgAEfAQofiwgAAAAAAAADBQD4BV0rDc/pXNeCDmiUaAjKfpBWUUOpoaSIeR5iqLld8/yueWxQRGPa",
                "CG2RliSGihwtqqkiJT12W41WzHMQDWqIWWvueb9IyL7Ov3POdfaPnftPvu/61rXW+77ruZ/7fp4ngCACBQDuBZ0rj9OxbvfWIUTK",
                "FuIeS4gJIUvZRiq9ZIjGkuVen3vf90SvrTGWFAknS8a+jH3KGEOyhazhpZLChJcwyPKK87v3+5zzOX+cz6fz6dSZ6y+GZ577uZ/7",
                "d13f7/f6XheAIAIFANUFvSuPpnpv9w2UnJQMiTipVKZSaDBESUkhFRkr9sZmT/be9mRLKlGmoqgIJSQVmeoQyRSSZCjSgAyZnUSm",
                "VHfv33zXXXet+8d93/O+5/X80WrV2pX8ft/v8zyfCYAgAgUA2QW9Kw+rMe/7pRokKmMtdBiSQguyVMoeIjVhkoyzL/d9n327j7ET",
                "UTEYja2kBTMYxJAtSVmyZCsqJknFpImiLJnn3u/f817P875zvde8T2be8/3LRTjnXr6/7/JZAIAgAgUA1AW9K4+LOf//Odp0OHIf",
                "qZGUoyg5Iq0cRbKO0kHIzHzm/Mx9fWZGjhDdkaMcudIhVCjkLrqUY3dJK7JSREq73YTffOZz/r6P7z728dvH/rB2nv846zHN8X6/",
                "jucBgCACBAH2BAIBCGrlGSyQXwEABg==",
            ]
        ),
        // Go from level 2 on
        (
            "1f25c4f079d4e6f265f11ca3fd55ae215e031f19af37e534f29ec03319d1ee86",
            [
                "c2tpZmYtZ3ppcCAxCgIAEIABgAEjAQofiwgAAAAAAAD/BQCvBL23Dq9izfJGcQ/u+uLu7q4HdwhW7u6Fu7trgAR3PbgTOLhzcAsW",
                "nAS3+6Sq9t7VM988d+53e/p092T90c9pINlSVe+SnyyAgAECBQDyBb3vjori3P/GQhS7xl5gREXshdg1osauqKigYpvdmS0zszs7",
                "O3XHigZFUOw92JBibxhLbKggCJZERWPBiKhEUblBBRX1Pey053ffm/e+v3tyozH7+UfPoZxly/N8y6cA1i0CAwEAAQhq5RkskF8B",
                "AAY=",
            ]
        ),
        // Go level 1
        (
            "af6e812704e7b72bada419dca9270a8cbf6498ae59e8a07d415a7074c7574548",
            [
                "c2tpZmYtZ3ppcCAxCgQAAIICARwBCh+LCAAAAAAABP8FAIgEvb8A1+pMtoVR3N2dwt3dfQEJ7g7T3X2iwd09uLtDcLfgTnB3Z+F6",
                "n/npPPfe/Z99zt+7dY3uhjRk2SfvWzVqjFH3lQECBQD3Bb3zjoriftu+jShq7BorjESx994ihtiNUYxYsM1Obzu97IgFDRZQsdeo",
                "ERTQ2KJYYy+AiprEGgtGxYix/oKKWN8zu7Ozc96TnOd5nzfxMWbvP8RzLGfPws73e9/3dX0uwSkCAwEAAQhq5RkskF8BAAY=",
            ]
        ),
        // libdeflate 1
        (
            "bed7e80b14c12246a2c489078ffc1b02fef84900b5165468e92c57c39fdb574b",
            [
                "c2tpZmYtZ3ppcCAxCgMAACACHgEKH4sIAAAAAAAE/wUAtAS9t4yOI8vSRc0sM+MxMzMzMzMERwZnRAaamZlRBpkZy8yWXWZmtkwy",
                "W2Z8Kygj5t03b925t6erukf7R69qV8mSMjPO2fujDfUWAJFvAgUB5AW96w6KIs3bGFhETJgjjIgYURQDBhZcBcWACktQVJyZ7ok9",
                "05O6e6bFgC6IRMWEARMSxIABzAmUJKi7q6JrwBVxxewtkhT1q879Xai7urrzDPP8o1WGGmam3/cXngC5JAIBCGrlGSyQXwEABg==",
            ]
        ),
    ]
}
