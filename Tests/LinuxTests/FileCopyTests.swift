import Glibc
import Linux
import Testing

private func fileSystem(_ path: String) -> Int {
    guard let folder = try? Files.open(path, [.path, .directory]) else { return 0 }
    return (try? Files.fileSystem(of: folder.raw)).map { Int($0) } ?? 0
}

@Suite struct FileCopyTests {
    /// Between file systems of different kinds copy_file_range(2) answers EXDEV: the bytes go by hand.
    @Test(.enabled(if: fileSystem("/dev/shm") != fileSystem("/var/tmp"), "needs two kinds of file systems"))
    func aFileGoesToAnotherFileSystem() throws {
        var folders: [String] = []
        for place in ["/dev/shm", "/var/tmp"] {
            var template = Array("\(place)/file-copy.XXXXXX".utf8CString)
            folders.append(String(cString: try #require(mkdtemp(&template))))
        }
        defer {
            for folder in folders {
                unlink(folder + "/file")
                rmdir(folder)
            }
        }
        let content = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 * 31 >> 3) }
        let descriptor = open(folders[0] + "/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0o640)
        #expect(write(descriptor, content, content.count) == content.count)
        close(descriptor)
        let from = try Files.open(folders[0], [.readOnly, .directory])
        let to = try Files.open(folders[1], [.readOnly, .directory])
        try FileCopy.copy(Array("file".utf8), from: from, to: to)
        #expect(try Files.read(folders[1] + "/file", limit: 1 << 20) == content)
    }
}
