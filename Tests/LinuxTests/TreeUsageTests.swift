import Linux
import Testing

@Suite struct TreeUsageTests {
    /// A folder of a test's own below /tmp, removed at the end.
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = try FileCalls.makeTemporaryFolder("/tmp/skiff-usage-XXXXXX")
        defer { try? removeTree(folder) }
        try body(folder)
    }

    @Test func aFileWithSeveralNamesCountsOnce() throws {
        try withFolder { path in
            try writeFile(path + "/a", [UInt8](repeating: 1, count: 1000))
            let folder = try Descriptor.open(path, [.read, .directory])
            try folder.link(Array("b".utf8), to: folder, Array("a".utf8))
            try folder.makeSymlink(Array("c".utf8), to: Array("nowhere".utf8))
            var usage = TreeUsage()
            try usage.add(path: path)
            #expect(usage.content == 1000)
            #expect(usage.files == 4)
            #expect(usage.bytes == 1000 + 7 + (try folder.status().size))
            #expect(usage.freed == usage.bytes)
        }
    }

    @Test func whatHasNamesElsewhereComesNotFree() throws {
        try withFolder { path in
            try Descriptor.makeDirectories(path + "/in")
            try writeFile(path + "/in/a", [UInt8](repeating: 1, count: 1000))
            let inside = try Descriptor.open(path + "/in", [.read, .directory])
            let outside = try Descriptor.open(path, [.read, .directory])
            try outside.link(Array("b".utf8), to: inside, Array("a".utf8))
            var usage = TreeUsage()
            try usage.add(path: path + "/in")
            #expect(usage.bytes - usage.freed == 1000)
            try usage.add(path: path + "/b")
            #expect(usage.bytes == usage.freed)
        }
    }

    @Test func whatIsNotThereIsNothing() throws {
        var usage = TreeUsage()
        try usage.add(path: "/nonexistent/at/all")
        try usage.add(path: "/tmp/skiff-surely-absent")
        #expect(usage == TreeUsage())
    }
}
