import Engine
import Glibc
import Linux
import Model
import Testing

/// With a kernel and a parser of paper.
struct AppArmorLoaderTests {
    private final class Paper {
        let folder: String
        var loader: AppArmorLoader

        init(parser: String?) throws {
            folder = try FileCalls.makeTemporaryFolder("/tmp/skiff-apparmor-XXXXXX")
            loader = AppArmorLoader(layout: Layout(dataRoot: folder, runRoot: folder))
            loader.kernelSwitch = folder + "/enabled"
            loader.loadedProfiles = folder + "/profiles"
            loader.parsers = [folder + "/parser"]
            try write("enabled", "Y\n")
            if let parser {
                try write("parser", "#!/bin/sh\necho run >>\(folder)/runs\n\(parser)\n")
                chmod(folder + "/parser", 0o755)
            }
        }

        deinit {
            for name in ["enabled", "profiles", "parser", "runs", "text", "apparmor-default", "apparmor-default.new"] {
                unlink(folder + "/" + name)
            }
            rmdir(folder)
        }

        func write(_ name: String, _ text: String) throws { try writeFile(folder + "/" + name, Array(text.utf8)) }
        func text(_ name: String) -> String {
            String(decoding: (try? readFile(folder + "/" + name, limit: 1 << 20)) ?? [], as: UTF8.self)
        }
    }

    @Test func `Nothing happens where AppArmor is off`() throws {
        let paper = try Paper(parser: "true")
        try paper.write("enabled", "N\n")
        #expect(paper.loader.run() == .absent)
        #expect(paper.text("runs") == "")
    }

    @Test func `The parser gets the profile on its standard input, once`() throws {
        let paper = try Paper(parser: "cat >$(dirname $0)/text; echo 'skiff-default (enforce)' >$(dirname $0)/profiles")
        #expect(paper.loader.run() == .ready)
        #expect(paper.text("text") == DefaultAppArmor.source())
        #expect(paper.loader.run() == .ready)
        #expect(paper.text("runs") == "run\n")
        // somebody has removed it
        try paper.write("profiles", "other (enforce)\n")
        #expect(paper.loader.run() == .ready)
        #expect(paper.text("runs") == "run\nrun\n")
        // an engine of another version was here
        try paper.write("apparmor-default", "profile skiff-default { }")
        #expect(paper.loader.run() == .ready)
        #expect(paper.text("runs") == "run\nrun\nrun\n")
    }

    @Test func `A parser that fails is quoted`() throws {
        let paper = try Paper(parser: "echo first; echo no policy for you >&2; exit 3")
        guard case .unusable(let reason) = paper.loader.run() else { throw Fault(.system, "it was loaded") }
        #expect(reason.hasSuffix("/parser failed: no policy for you"))
    }

    @Test func `Without a parser the package is named`() throws {
        let paper = try Paper(parser: nil)
        guard case .unusable(let reason) = paper.loader.run() else { throw Fault(.system, "it was loaded") }
        #expect(reason.contains("apt-get install apparmor"))
    }
}
