import Archive
import Linux
import Model
import TestSupport
import Testing

@Suite struct TarReaderTests {
    @Test(arguments: ["v7", "ustar", "gnu", "oldgnu", "pax"])
    func everyFormatOfGNUTarIsRead(_ format: String) throws {
        let scratch = try Scratch("tar-\(format)")
        // ustar has room for long names, but not for long links; v7 for neither, and not for FIFOs.
        let count = format == "v7" ? 3 : format == "ustar" ? 45 : 60
        let long = String(repeating: "d", count: count) + "/" + String(repeating: "e", count: count)
        let fifo = format == "v7" ? "true" : "mkfifo t/p && touch -d @1234567890 t/p"
        let bytes = try shell(
            """
            mkdir -p "t/\(long)" && printf hello >"t/\(long)/f" && ln -s f "t/\(long)/s" && ln "t/\(long)/f" "t/\(long)/h" &&
            \(fifo) && tar --format=\(format) --sort=name -C t -cf - .
            """, in: scratch)
        let found = try entries(bytes)
        let names = found.map { text($0.entry.path) }
        #expect(names.contains("./\(long)/f"))
        let file = try #require(found.first { text($0.entry.path) == "./\(long)/f" })
        #expect(text(file.content) == "hello")
        #expect(file.entry.size == 5)
        let link = try #require(found.first { text($0.entry.path) == "./\(long)/h" })
        #expect(link.entry.kind == .hardLink)
        #expect(text(link.entry.linkTarget) == "./\(long)/f")
        let symlink = try #require(found.first { text($0.entry.path) == "./\(long)/s" })
        #expect(symlink.entry.kind == .symlink)
        #expect(text(symlink.entry.linkTarget) == "f")
        if format != "v7" {
            let fifo = try #require(found.first { text($0.entry.path) == "./p" })
            #expect(fifo.entry.kind == .fifo)
            #expect(fifo.entry.modified == FileTime(seconds: 1_234_567_890))
        }
    }

    @Test(arguments: [
        "--format=gnu --sparse", "--format=pax --sparse --sparse-version=0.0", "--format=pax --sparse --sparse-version=0.1",
        "--format=pax --sparse --sparse-version=1.0",
    ])
    func sparseFilesKeepTheirHoles(_ flags: String) throws {
        let scratch = try Scratch("sparse")
        let bytes = try shell(
            """
            mkdir t && truncate -s 5M t/s && for i in $(seq 0 29); do printf "run$i" | dd of=t/s bs=1 seek=$((i * 131072)) conv=notrunc status=none; done &&
            tar \(flags) -C t -cf - s
            """, in: scratch)
        #expect(bytes.count < 1 << 20)
        try unpack(bytes, in: scratch)
        #expect(try shell("cmp t/s layer/diff/s && stat -c %s layer/diff/s", in: scratch) == Array("5242880\n".utf8))
        let blocks = Int(text(try shell("stat -c %b layer/diff/s", in: scratch)).dropLast()) ?? 99999
        #expect(blocks < 4096)
        #expect(try rebuild(in: scratch) == bytes)
    }

    @Test func paxRecordsWinOverTheHeader() throws {
        var tar = RawTar()
        tar.pax([
            ("path", "real"), ("uid", "70000"), ("gid", "4000000000"), ("mtime", "1.5"), ("atime", "-1.25"),
            ("SCHILY.xattr.user.k", "v=1\n2"), ("size", "3"), ("comment", "ignored"),
        ])
        tar.add("stub", content: Array("abc".utf8), size: 0)
        let entry = try #require(try entries(tar.whole).first)
        #expect(text(entry.entry.path) == "real")
        #expect(entry.entry.uid == 70000)
        #expect(entry.entry.gid == 4_000_000_000)
        #expect(entry.entry.modified == FileTime(seconds: 1, nanoseconds: 500_000_000))
        #expect(entry.entry.accessed == FileTime(seconds: -2, nanoseconds: 750_000_000))
        #expect(entry.entry.attributes == [.init(name: Array("user.k".utf8), value: Array("v=1\n2".utf8))])
        #expect(text(entry.content) == "abc")
    }

    @Test func base256NumbersAreRead() throws {
        var tar = RawTar()
        tar.add("f") { block in
            block.replaceSubrange(108..<116, with: [0x80, 0, 0, 0, 0xEE, 0x6B, 0x28, 0])
            block.replaceSubrange(136..<148, with: [UInt8](repeating: 0xFF, count: 12))
        }
        let entry = try #require(try entries(tar.whole).first?.entry)
        #expect(entry.uid == 4_000_000_000)
        #expect(entry.modified.seconds == -1)
    }

    @Test func contentThatIsNotReadIsSkipped() throws {
        var tar = RawTar()
        tar.add("a", content: [UInt8](repeating: 1, count: 700_000))
        tar.add("b")
        let reader = TarReader(MemorySource(tar.whole))
        #expect(text(try #require(try reader.next()).path) == "a")
        #expect(text(try #require(try reader.next()).path) == "b")
        #expect(try reader.next() == nil)
        #expect(try reader.next() == nil)
    }

    @Test func whateverIsCutOffIsATruncation() throws {
        var tar = RawTar()
        tar.pax([("path", "some/file")])
        tar.add("x", content: [UInt8](repeating: 7, count: 1500))
        for length in stride(from: 1, to: tar.bytes.count, by: 97) where length % 512 != 0 || length > 512 {
            let fault = #expect(throws: Fault.self) { try entries(Array(tar.bytes[..<length])) }
            #expect(fault?.message.hasPrefix("the archive is truncated") == true, "\(length): \(fault?.message ?? "")")
        }
    }

    @Test func theFaultNamesTheEntry() throws {
        var unknown = RawTar()
        unknown.add("dir/odd", type: "M")
        let type = #expect(throws: Fault.self) { try entries(unknown.whole) }
        #expect(type?.message == "archive entry \"dir/odd\": unknown type 'M'")

        var damaged = RawTar()
        damaged.add("fine")
        damaged.raw([UInt8](repeating: 0x41, count: 512))
        let header = #expect(throws: Fault.self) { try entries(damaged.whole) }
        #expect(header?.message == "the archive is damaged: bad header after \"fine\"")

        let noTar = #expect(throws: Fault.self) { try entries([UInt8](repeating: 0x41, count: 5000)) }
        #expect(noTar?.message == "it is no tar archive (nor a compressed one)")
    }

    // Memory and inode exhaustion: every number that an archive says is bounded before it is used.
    @Test func bombsAreRefused() throws {
        var limits = TarLimits()
        limits.entries = 10
        var many = RawTar()
        for index in 0..<11 { many.add("f\(index)") }
        let count = #expect(throws: Fault.self) { try entries(many.whole, limits: limits) }
        #expect(count?.message == "the archive has more than 10 entries")

        var path = RawTar()
        path.pax([("path", String(repeating: "a/", count: 3000))])
        path.add("x")
        let long = #expect(throws: Fault.self) { try entries(path.whole) }
        #expect(long?.message.contains("longer than 4096 bytes") == true)

        var header = RawTar()
        header.add("x", type: "x", size: 1 << 30)
        #expect(throws: Fault.self) { try entries(header.whole) }
        var name = RawTar()
        name.add("x", type: "L", size: 1 << 30)
        #expect(throws: Fault.self) { try entries(name.whole) }

        var size = RawTar()
        size.pax([("GNU.sparse.size", "9223372036854775807"), ("GNU.sparse.map", "0,0")])
        size.add("x")
        #expect(throws: Fault.self) { try entries(size.whole) }
        var negative = RawTar()
        negative.pax([("size", "-1")])
        negative.add("x")
        #expect(throws: Fault.self) { try entries(negative.whole) }
        var map = RawTar()
        map.pax([("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")])
        map.add("x", content: Array("999999999\n".utf8) + [UInt8](repeating: 0x30, count: 502))
        #expect(throws: Fault.self) { try entries(map.whole) }
    }

    @Test(arguments: [
        "5 a=b\n", "0 a=b\n", "-6 a=b\n", "999999 a=b\n", "6 a=b\n6", "6 ab=\n\n", "x a=b\n", "13 mtime=1.x\n",
        "14 uid=notnum\n", "22 uid=4294967296000\n", "14 GNU.sparse.map=1\n",
    ])
    func malformedExtendedHeadersAreRefused(_ records: String) {
        var tar = RawTar()
        tar.add("x", type: "x", content: Array(records.utf8))
        tar.add("f")
        #expect(throws: Fault.self) { try entries(tar.whole) }
    }

    @Test func whatTheWriterWritesTheReaderAndGNUTarRead() throws {
        let scratch = try Scratch("writer")
        let sink = MemorySink(limit: 1 << 20)
        let writer = TarWriter(sink)
        var entry = TarEntry(path: Array((String(repeating: "é", count: 80) + "/f").utf8), kind: .file, mode: 0o4755)
        entry.uid = 3_000_000_000
        entry.size = 3
        entry.modified = FileTime(seconds: 1_700_000_000, nanoseconds: 123_456_789)
        entry.attributes = [.init(name: Array("user.a".utf8), value: [0, 1, 0x0A])]
        try writer.begin(entry)
        try [UInt8]("abc".utf8).withUnsafeBytes { try writer.content($0) }
        try writer.finish()
        let read = try #require(try entries(sink.bytes).first)
        #expect(read.entry.path == entry.path)
        #expect(read.entry.uid == entry.uid)
        #expect(read.entry.mode == 0o4755)
        #expect(read.entry.modified == entry.modified)
        #expect(read.entry.attributes == entry.attributes)
        #expect(text(read.content) == "abc")
        let file = DescriptorSink(try Descriptor.open(scratch.path + "/w.tar", [.write, .create]))
        try sink.bytes.withUnsafeBytes { try file.write($0) }
        #expect(text(try shell("tar -xOf w.tar", in: scratch)) == "abc")
    }
}
