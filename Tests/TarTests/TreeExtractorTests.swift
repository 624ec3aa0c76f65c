import Linux
import Model
import Tar
import TestSupport
import Testing

@Suite struct TreeExtractorTests {
    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private static func entry(_ path: String, _ kind: TarEntry.Kind, _ target: String = "") -> TarEntry {
        var entry = TarEntry(path: bytes(path), kind: kind, mode: kind == .directory ? 0o755 : 0o644)
        entry.linkTarget = bytes(target)
        return entry
    }

    private static func archive(_ write: (TarWriter) throws -> Void) throws -> TarReader {
        let sink = MemorySink(limit: 1 << 20)
        let writer = TarWriter(sink)
        try write(writer)
        try writer.finish()
        return TarReader(MemorySource(sink.bytes))
    }

    private static func extractor(_ folder: String, keepsKinds: Bool = false) throws -> TreeExtractor {
        var rules = ExtractionRules()
        rules.owner = .caller
        rules.keepsKinds = keepsKinds
        rules.place = "/place"
        return TreeExtractor(root: try Descriptor.open(folder, [.read, .directory]), rules)
    }

    private static func text(_ path: String) -> String {
        (try? Files.read(path)).map { String(decoding: $0, as: UTF8.self) } ?? "<none>"
    }

    private static func folder(_ scratch: Scratch) throws -> String {
        let folder = scratch.path + "/root"
        try Files.makeFolder(folder, mode: 0o755)
        return folder
    }

    @Test func foldersAreMergedAndFilesReplaced() throws {
        let scratch = try Scratch()
        let root = try Self.folder(scratch)
        try Files.makeFolder(root + "/d", mode: 0o755)
        try writeFile(root + "/d/kept", Self.bytes("kept"))
        try writeFile(root + "/d/old", Self.bytes("old"))
        let reader = try Self.archive { writer in
            try writer.begin(Self.entry("d/", .directory))
            try writer.file("d/old", Self.bytes("new"))
            try writer.file("d/deep/er/x", Self.bytes("x"))
        }
        try Self.extractor(root).extract(reader)
        #expect(Self.text(root + "/d/kept") == "kept")
        #expect(Self.text(root + "/d/old") == "new")
        #expect(Self.text(root + "/d/deep/er/x") == "x")
    }

    @Test func kindsAreKeptWhereThatIsAsked() throws {
        let scratch = try Scratch()
        let root = try Self.folder(scratch)
        try Files.makeFolder(root + "/d", mode: 0o755)
        try writeFile(root + "/f", Self.bytes("f"))
        let file = try Self.archive { try $0.file("d", Self.bytes("x")) }
        #expect(
            #expect(throws: Fault.self) { try Self.extractor(root, keepsKinds: true).extract(file) }?.message
                == "cannot overwrite directory \"/place/d\" with non-directory \"/place\"")
        let folder = try Self.archive { try $0.begin(Self.entry("f/", .directory)) }
        #expect(
            #expect(throws: Fault.self) { try Self.extractor(root, keepsKinds: true).extract(folder) }?.message
                == "cannot overwrite non-directory \"/place/f\" with directory \"/place\"")
        try Self.extractor(root).extract(try Self.archive { try $0.file("d", Self.bytes("x")) })
        #expect(Self.text(root + "/d") == "x")
    }

    @Test func linksOnTheWayStayInTheFolder() throws {
        let scratch = try Scratch()
        let root = try Self.folder(scratch)
        let outside = scratch.path + "/outside"
        try Files.makeFolder(outside, mode: 0o755)
        try Files.makeFolder(root + "/in", mode: 0o755)
        let folder = try Descriptor.open(root, [.read, .directory])
        try folder.makeSymlink(Self.bytes("up"), to: Self.bytes("../outside"))
        try folder.makeSymlink(Self.bytes("abs"), to: Self.bytes("/in"))
        let reader = try Self.archive { writer in
            try writer.file("abs/x", Self.bytes("x"))
            try writer.begin(Self.entry("l", .symlink, outside))
        }
        try Self.extractor(root).extract(reader)
        #expect(Self.text(root + "/in/x") == "x")
        for path in ["up/y", "l/y"] {
            let reader = try Self.archive { try $0.file(path, Self.bytes("y")) }
            _ = try? Self.extractor(root).extract(reader)
            #expect(!Files.exists(outside + "/y"), "\(path) led out")
        }
        let climbing = try Self.archive { try $0.file("../outside/z", Self.bytes("z")) }
        #expect(throws: Fault.self) { try Self.extractor(root).extract(climbing) }
        #expect(!Files.exists(outside + "/z"))
    }

    @Test func whatExistsIsReplacedAndNeverWrittenTo() throws {
        let scratch = try Scratch()
        let root = try Self.folder(scratch)
        let outside = scratch.path + "/outside"
        try writeFile(outside, Self.bytes("secret"))
        let folder = try Descriptor.open(root, [.read, .directory])
        let above = try Descriptor.open(scratch.path, [.read, .directory])
        try folder.link(Self.bytes("hard"), to: above, Self.bytes("outside"))
        try folder.makeSymlink(Self.bytes("soft"), to: Self.bytes(outside))
        let reader = try Self.archive { writer in
            try writer.file("hard", Self.bytes("new"))
            try writer.file("soft", Self.bytes("new"))
        }
        try Self.extractor(root).extract(reader)
        #expect(Self.text(outside) == "secret")
        #expect(Self.text(root + "/hard") == "new")
        #expect(Self.text(root + "/soft") == "new")
    }

    @Test func namesAndHardLinksAreRenamedTogether() throws {
        let scratch = try Scratch()
        let root = try Self.folder(scratch)
        let reader = try Self.archive { writer in
            try writer.begin(Self.entry("a/", .directory))
            try writer.file("a/one", Self.bytes("1"))
            try writer.begin(Self.entry("a/two", .hardLink, "a/one"))
        }
        try Self.extractor(root).extract(reader) { Self.bytes("b") + $0.dropFirst() }
        #expect(Self.text(root + "/b/two") == "1")
        #expect(!Files.exists(root + "/a"))
    }

    @Test func aFolderIsArchivedUnderAnotherName() throws {
        let scratch = try Scratch()
        let root = try Self.folder(scratch)
        try writeFile(root + "/f", Self.bytes("f"))
        for (name, expected) in [("x", ["x/", "x/f"]), (".", ["./", "./f"]), ("/", ["/", "/f"])] {
            let sink = MemorySink(limit: 1 << 20)
            let archiver = TreeArchiver(sink, .tree)
            archiver.wholeSeconds = true
            try archiver.add(folder: try Descriptor.open(root, [.read, .directory]), as: Self.bytes(name))
            try archiver.finish()
            let reader = TarReader(MemorySource(sink.bytes))
            var paths: [String] = []
            while let entry = try reader.next() { paths.append(String(decoding: entry.path, as: UTF8.self)) }
            #expect(paths == expected)
            // Two headers, one block of content, the end: no extended headers for fractions of seconds
            #expect(sink.bytes.count == 512 * 5)
        }
    }
}
