import Archive
import Linux
import Model
import TestSupport
import Testing

/// A generator that makes the same sequence every time.
struct Sequence48: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }
}

/// The fuzzers' smoke run (Fuzz/): mutated archives end in entries or a fault, never in a trap or without end.
@Suite struct TarMutationTests {
    private static func seeds() -> [[UInt8]] {
        var plain = RawTar()
        plain.add("d", type: "5", mode: 0o755)
        plain.add("d/f", content: Array("content".utf8))
        plain.add("d/l", type: "2", link: "f")
        plain.add("d/h", type: "1", link: "d/f")
        var extended = RawTar()
        extended.pax([("path", "long/name"), ("mtime", "1.5"), ("SCHILY.xattr.user.a", "b"), ("size", "3")])
        extended.add("x", content: Array("abc".utf8))
        extended.add("L", type: "L", content: Array("a/long/link\u{0}".utf8))
        extended.add("y", type: "S", content: [UInt8](repeating: 1, count: 512)) { block in
            block.replaceSubrange(386..<410, with: Array("00000000000\u{0}00000001000\u{0}".utf8))
            block.replaceSubrange(483..<495, with: Array("00000002000\u{0}".utf8))
        }
        var sparse = RawTar()
        sparse.pax([
            ("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s"), ("GNU.sparse.realsize", "2000"),
        ])
        sparse.add("z", content: Array("1\n100\n5\n".utf8) + [UInt8](repeating: 0, count: 504) + Array("hello".utf8))
        return [plain.whole, extended.whole, sparse.whole]
    }

    @Test func mutatedArchivesAreReadOrRefused() throws {
        var random = Sequence48(state: 7)
        let seeds = Self.seeds()
        for seed in seeds { #expect(try !entries(seed).isEmpty) }
        for round in 0..<4000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                bytes[at] = UInt8.random(in: 0...255, using: &random)
                // Half of the headers keep a right sum, so that what is behind it is reached.
                let block = at / 512 * 512
                if Bool.random(using: &random) {
                    var header = Array(bytes[block..<(block + 512)])
                    RawTar().seal(&header)
                    bytes.replaceSubrange(block..<(block + 512), with: header)
                }
            }
            if Int.random(in: 0..<10, using: &random) == 0 {
                bytes = Array(bytes.prefix(Int.random(in: 0..<bytes.count, using: &random)))
            }
            do { _ = try entries(bytes) } catch is Fault {}
        }
    }

    @Test func mutatedArchivesUnpackInsideOrAreRefused() throws {
        let scratch = try Scratch("mutation")
        var random = Sequence48(state: 11)
        let seeds = Self.seeds()
        let letters = Array("./\u{0}af-".utf8)
        for round in 0..<300 {
            var bytes = seeds[round % seeds.count]
            let block = Int.random(in: 0..<(bytes.count / 512), using: &random) * 512
            for _ in 0..<8 {
                bytes[block + Int.random(in: 0..<12, using: &random)] = letters.randomElement(using: &random) ?? 0
                bytes[block + 157 + Int.random(in: 0..<12, using: &random)] = letters.randomElement(using: &random) ?? 0
            }
            var header = Array(bytes[block..<(block + 512)])
            RawTar().seal(&header)
            bytes.replaceSubrange(block..<(block + 512), with: header)
            do { try unpack(bytes, in: scratch, "l\(round)/l") } catch is Fault {}
        }
        let outside = run([
            "/bin/sh", "-c",
            "cd '\(scratch.path)' && find . -mindepth 3 -maxdepth 3 ! -name diff ! -name recipe ! -name replaced; find . -maxdepth 1 ! -name 'l[0-9]*' ! -name .",
        ])
        #expect(outside.output.isEmpty, "\(outside.output)")
    }

    @Test func mutatedCompressedStreamsEnd() throws {
        let scratch = try Scratch("streams")
        var random = Sequence48(state: 3)
        for tool in ["gzip -nc", "xz -0c", "zstd -qc", "bzip2 -c", "lz4 -qc"] {
            guard let seed = try? shell("head -c 20000 /dev/zero | \(tool)", in: scratch) else { continue }
            for _ in 0..<300 {
                var bytes = seed
                for _ in 0..<3 {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                let sink = MemorySink(limit: 1 << 22)
                do { try Decompressor(MemorySource(bytes)).copy(to: sink) } catch is Fault {}
            }
        }
    }
}
