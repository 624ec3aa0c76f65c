import JSON
import Model
import Testing

@Suite struct PathStatTests {
    @Test func theHeaderIsWhatDockersClientsRead() throws {
        var stat = PathStat()
        stat.name = "f"
        stat.size = 5
        stat.mode = PathStat.permissions(0o4755)
        stat.modified = Timestamp(nanoseconds: 1_700_000_000_500_000_000)
        let text = String(decoding: Base64Text.decode(stat.encoded) ?? [], as: UTF8.self)
        #expect(text == #"{"name":"f","size":5,"mode":8389101,"mtime":"2023-11-14T22:13:20.5Z","linkTarget":""}"#)
        #expect(PathStat(encoded: stat.encoded) == stat)
        #expect(PathStat(encoded: "no base64!") == nil)
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("\u{FF}\u{FE}", "w7/Dvg=="),
    ]) func base64(_ plain: String, _ text: String) {
        #expect(Base64Text.encode(Array(plain.utf8)) == text)
        #expect(Base64Text.decode(text) == Array(plain.utf8))
        #expect(Base64Text.decode(text.prefix { $0 != "=" }) == Array(plain.utf8))
        #expect(Base64Text.decode(Base64Text.encode(Array(plain.utf8), urlSafe: true)) == Array(plain.utf8))
    }

    @Test(arguments: ["Z", "Zg=a", "Z g=", "Zg\u{E9}="]) func malformedBase64(_ text: String) {
        #expect(Base64Text.decode(text) == nil)
    }

    @Test(arguments: [
        ("/a//b/../c/", "/a/c"), ("../a/..", ".."), ("/../..", "/"), ("", "."), ("a/./b", "a/b"), ("/", "/"),
    ]) func cleaning(_ path: String, _ clean: String) { #expect(CopyPath.clean(path) == clean) }

    @Test(arguments: [
        ("/a/b", "/a", "b"), ("/a/b/", "/a", "b"), ("/a/b/.", "/a/b", "."), ("/", "/", "/"), ("a", ".", "a"), (".", ".", "."),
        ("/.", "/", "."),
    ]) func splitting(_ path: String, _ folder: String, _ base: String) {
        let split = CopyPath.split(path)
        #expect(split.folder == folder)
        #expect(split.base == base)
    }

    @Test(arguments: [("/a", "a/", "/a/"), ("/a", "a/.", "/a/."), ("/", "/", "/"), ("/", "/.", "/."), ("/a", "a", "/a")])
    func theEndOfAPathIsKept(_ clean: String, _ original: String, _ result: String) {
        #expect(CopyPath.keepingEnd(clean, of: original) == result)
    }
}
