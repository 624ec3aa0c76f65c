import Archive
import Linux
import Model
import TestSupport
import Testing

@Suite struct LayerUnpackerTests {
    private func content(_ path: String) -> String? { (try? read(path)).map(text) }

    @Test func atreeIsUnpackedAsItWas() throws {
        let scratch = try Scratch("tree")
        let bytes = try shell(
            """
            mkdir -p t/a/b t/ro && echo one >t/a/b/f && ln -s ../b/f t/a/s && ln t/a/b/f t/a/h && chmod 4711 t/a/b/f && chmod 1777 t/a &&
            touch -h -d '2001-02-03 04:05:06.123456789' t/a/s && touch -d '2001-02-03 04:05:06.987654321' t/a/b/f t/a/b t/ro && chmod 555 t/ro &&
            printf '\\377' >"t/$(printf 'bad\\377name')" && tar --format=pax --sort=name -C t -cf - .
            """, in: scratch)
        let result = try unpack(bytes, in: scratch)
        #expect(result.entries == 8)
        #expect(result.warnings.isEmpty)
        let list =
            "find . -printf '%p %y %m %s %T@ %n %l\\n' | grep -v '^\\. ' | sed 's/\\( d [0-9]* \\)[0-9]*/\\1/' | LC_ALL=C sort"
        #expect(try shell("cd layer/diff && \(list)", in: scratch) == shell("cd t && \(list)", in: scratch))
        #expect(try rebuild(in: scratch) == bytes)
    }

    // moby CVE-2014-6407, 9356, 9357, 9358, 2015-3627, 3629, 2021-41089; containerd 2021-32760, 2025-47290; umoci 2021-29136
    @Test func nothingOutsideIsTouchedWhateverTheArchiveSays() throws {
        let scratch = try Scratch("escape")
        let outside = scratch.folder("outside")
        _ = try scratch.file("outside/secret", "untouched", mode: 0o600)
        let hostile: [(String, String?, (inout RawTar) -> Void)] = [
            ("dotdot", "it leads out of the archive's root", { $0.add("../../outside/new", content: [1]) }),
            ("dotdot-late", "it leads out of the archive's root", { $0.add("a/../../outside/new", content: [1]) }),
            ("dotdot-dir", "it leads out of the archive's root", { $0.add("..", type: "5") }),
            ("absolute", nil, { $0.add(outside + "/new", content: [1]) }),
            (
                "symlink", "symbolic link that leads nowhere",
                { tar in
                    tar.add("x", type: "2", link: outside)
                    tar.add("x/new", content: [1])
                }
            ),
            (
                "symlink-dotdot", "symbolic link that leads nowhere",
                { tar in
                    tar.add("x", type: "2", link: "../../outside")
                    tar.add("x/new", content: [1])
                }
            ),
            (
                "symlink-chain", "symbolic link that leads nowhere",
                { tar in
                    tar.add("a", type: "2", link: "b/..")
                    tar.add("b", type: "2", link: "/../../outside")
                    tar.add("a/new", content: [1])
                    tar.add("b/secret", content: [1])
                }
            ),
            (
                "final-symlink", nil,
                { tar in
                    tar.add("f", type: "2", link: outside + "/secret")
                    tar.add("f", content: Array("mine".utf8))
                }
            ),
            ("hardlink-out", "a hard link to", { $0.add("h", type: "1", link: "../../outside/secret") }),
            ("hardlink-absolute", nil, { $0.add("h", type: "1", link: outside + "/secret") }),
            (
                "hardlink-by-symlink", nil,
                { tar in
                    tar.add("s", type: "2", link: outside)
                    tar.add("h", type: "1", link: "s/secret")
                    tar.add("h", content: Array("overwritten".utf8))
                }
            ),
            (
                "hardlink-to-symlink", nil,
                { tar in
                    tar.add("s", type: "2", link: outside + "/secret")
                    tar.add("h", type: "1", link: "s", mode: 0o777)
                    tar.add("h", content: Array("overwritten".utf8))
                }
            ),
            (
                "chmod", nil,
                { tar in
                    tar.add("s", type: "2", link: outside + "/secret", mode: 0o777)
                    tar.add("s", type: "1", link: "s", mode: 0o777)
                    tar.add("d", type: "2", link: outside, mode: 0o777)
                    tar.add("d", type: "5", mode: 0o777)
                }
            ),
            (
                "dir-through-symlink", "symbolic link that leads nowhere",
                { tar in
                    tar.add("d", type: "2", link: outside)
                    tar.add("d/sub", type: "5", mode: 0o777)
                }
            ),
            (
                "whiteout-out", "symbolic link that leads nowhere",
                { tar in
                    tar.add("d", type: "2", link: outside)
                    tar.add("d/.wh.secret")
                }
            ),
            ("whiteout-dotdot", "a whiteout of nothing", { $0.add(".wh...") }),
            ("whiteout-dot", "a whiteout of nothing", { $0.add("d/.wh..") }),
            ("whiteout-empty", "a whiteout of nothing", { $0.add("d/.wh.") }),
            (
                "proc", "symbolic link that leads nowhere",
                { tar in
                    tar.add("p", type: "2", link: "/proc/self/root")
                    tar.add("p" + outside + "/new", content: [1])
                }
            ),
            (
                "file-as-folder", "its folder cannot be made",
                { tar in
                    tar.add("f", content: [1])
                    tar.add("f/g", content: [1])
                }
            ),
            (
                "loop", "its folder cannot be made",
                { tar in
                    tar.add("l", type: "2", link: "l")
                    tar.add("l/x", content: [1])
                }
            ),
            (
                "nul", "its path has a NUL byte",
                { tar in
                    tar.pax([("path", "a\u{0}b")])
                    tar.add("x")
                }
            ),
            ("empty-link", "a symbolic link to nothing", { $0.add("x", type: "2") }),
            ("root-file", "the root can only be a directory", { $0.add("./", type: "2", link: "x") }),
            (
                "long-name", "archive entry",
                { tar in
                    tar.pax([("path", String(repeating: "n", count: 300))])
                    tar.add("x", content: [1])
                }
            ),
        ]
        for (name, refusal, make) in hostile {
            var tar = RawTar()
            make(&tar)
            if let refusal {
                let fault = #expect(throws: Fault.self, "\(name)") { try unpack(tar.whole, in: scratch, name) }
                #expect(fault?.message.contains(refusal) == true, "\(name): \(fault?.message ?? "")")
                #expect(fault?.message.contains("\n") == false)
            } else {
                #expect(throws: Never.self, "\(name)") { try unpack(tar.whole, in: scratch, name) }
            }
            #expect(content(outside + "/secret") == "untouched", "\(name)")
            #expect(text(try shell("stat -c '%a %h' outside/secret; ls outside", in: scratch)) == "600 1\nsecret\n", "\(name)")
        }
        #expect(content(scratch.path + "/final-symlink/diff/f") == "mine")
        #expect(try read(scratch.path + "/absolute/diff" + outside + "/new") == [1])
    }

    @Test func overlaysOwnMarksCannotBeSmuggledIn() throws {
        let scratch = try Scratch("marks")
        var tar = RawTar()
        tar.pax([
            ("SCHILY.xattr.trusted.overlay.redirect", "/etc"), ("SCHILY.xattr.user.overlay.opaque", "y"),
            ("SCHILY.xattr.user.fine", "1"),
        ])
        tar.add("d", type: "5", mode: 0o755)
        let result = try unpack(tar.whole, in: scratch)
        #expect(result.warnings.filter { $0.contains("overlay") }.count == 2)
        let names = try Descriptor.open(scratch.path + "/layer/diff", [.read]).attributeNames(of: Array("d".utf8)).map(text)
        #expect(!names.contains { $0.contains("overlay") })
    }

    @Test func whiteoutsBecomeOverlays() throws {
        let scratch = try Scratch("whiteout")
        var tar = RawTar()
        tar.add("d/.wh.gone")
        tar.add("d/kept", content: [1])
        tar.add("d/.wh.kept")
        tar.add("o", type: "5", mode: 0o755)
        tar.add("o/.wh..wh..opq")
        tar.add(".wh..wh.plnk")
        tar.add(".wh.again")
        tar.add("again", type: "5", mode: 0o755)
        try unpack(tar.whole, in: scratch)
        let root = try Descriptor.open(scratch.path + "/layer/diff", [.read, .directory])
        let folder = try root.open(inRoot: Array("d".utf8), [.read, .directory])
        #expect(try folder.status(of: Array("gone".utf8))?.isWhiteout == true)
        #expect(try folder.status(of: Array("kept".utf8))?.kind == .regular)
        #expect(try root.names().map(text) == ["again", "d", "o"])
        let opaque = Array("user.overlay.opaque".utf8)
        if try root.attribute(of: Array("o".utf8), opaque) != nil {
            #expect(try root.attribute(of: Array("again".utf8), opaque) == Array("y".utf8))
        }
    }

    @Test func laterEntriesReplaceEarlierOnesAndTheTarCanStillBeMadeAgain() throws {
        let scratch = try Scratch("replace")
        var tar = RawTar()
        tar.add("f", content: Array("first".utf8))
        tar.add("f", content: Array("second".utf8))
        tar.add("d/sub/x", content: Array("inside".utf8))
        tar.add("l", type: "2", link: "d")
        tar.add("l/sub/y", content: Array("by link".utf8))
        tar.add("d", content: Array("file now".utf8))
        tar.add("l", type: "5", mode: 0o755)
        tar.add("f", type: "2", link: "d")
        tar.add("empty")
        tar.raw([UInt8](repeating: 0, count: 9 * 512))
        try unpack(tar.bytes, in: scratch)
        #expect(content(scratch.path + "/layer/diff/d") == "file now")
        #expect(content(scratch.path + "/layer/diff/f") == "file now")
        #expect(try rebuild(in: scratch) == tar.bytes)
    }

    @Test func linksToFilesOfOtherLayersAreReported() throws {
        let scratch = try Scratch("foreign")
        var tar = RawTar()
        tar.add("a/h", type: "1", link: "/lower/f")
        tar.add("d", type: "5", mode: 0o755)
        tar.add("h2", type: "1", link: "d/none")
        let result = try unpack(tar.whole, in: scratch)
        #expect(result.foreignLinks.map { text($0.path) + ">" + text($0.target) } == ["a/h>lower/f", "h2>d/none"])
        var folder = RawTar()
        folder.add("d", type: "5", mode: 0o755)
        folder.add("h", type: "1", link: "d")
        let fault = #expect(throws: Fault.self) { try unpack(folder.whole, in: scratch, "folder") }
        #expect(fault?.message == "archive entry \"h\": a hard link to a directory")
    }

    @Test func devicesAreLeftOutForAUser() throws {
        let scratch = try Scratch("device")
        var tar = RawTar()
        tar.add("null", type: "3", mode: 0o666)
        let result = try unpack(tar.whole, in: scratch)
        #expect(result.warnings == ["device null left out: only root makes devices"])
    }

    @Test func anACLInTextBecomesTheKernels() throws {
        let scratch = try Scratch("acl")
        var tar = RawTar()
        tar.pax([("SCHILY.acl.access", "user::rw-,user:alice:r--:1234,group::r--,mask::r--,other::---")])
        tar.add("f", mode: 0o640)
        let result = try unpack(tar.whole, in: scratch)
        let root = try Descriptor.open(scratch.path + "/layer/diff", [.read, .directory])
        if result.warnings.isEmpty {
            let value = try #require(try root.attribute(of: Array("f".utf8), Array("system.posix_acl_access".utf8)))
            #expect(value.count == 4 + 5 * 8)
            #expect(Array(value[12..<20]) == [2, 0, 4, 0, 0xD2, 0x04, 0, 0])
        }
        var bad = RawTar()
        bad.pax([("SCHILY.acl.access", "user:alice:rwx")])
        bad.add("f")
        let fault = #expect(throws: Fault.self) { try unpack(bad.whole, in: scratch, "bad") }
        #expect(fault?.message == "archive entry \"f\": its ACL is malformed")
    }

    @Test func aTreeAsATarUnpacksToTheSameTree() throws {
        let scratch = try Scratch("archiver")
        _ = try shell(
            "mkdir -p t/d/e && echo x >t/d/f && ln t/d/f t/d/e/h && ln -s f t/d/s && chmod 750 t/d && touch -d @1.5 t/d/f",
            in: scratch)
        let sink = MemorySink(limit: 1 << 20)
        try TreeArchiver(sink, .tree).archive(try Descriptor.open(scratch.path + "/t", [.read, .directory]))
        try unpack(sink.bytes, in: scratch)
        let list = "find . -mindepth 1 -printf '%p %y %m %T@ %n %l\\n' | LC_ALL=C sort | grep -v ' d '"
        #expect(try shell("cd layer/diff && \(list)", in: scratch) == shell("cd t && \(list)", in: scratch))
    }
}
