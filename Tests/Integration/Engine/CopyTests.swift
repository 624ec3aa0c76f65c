import Glibc
import TestSupport
import Testing

/// `cp` while somebody in the container works against it (CVE-2018-15664, CVE-2019-10152, CVE-2026-41568): nothing outside the
/// container's root is read or written.
@Suite(.serialized) struct CopyTests {
    /// Exchanges two names without a pause, as a process of the container can, until its input ends.
    private static let racer = """
        import ctypes, os, select, sys
        libc = ctypes.CDLL(None, use_errno=True)
        folder = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
        print("up", flush=True)
        while not select.select([0], [], [], 0)[0]:
            for _ in range(500): libc.renameat2(folder, b"a", folder, b"b", 2)
        """

    private static func started(_ engine: EngineFixture, _ script: String) throws -> String {
        engine.skiff(
            "run", "-d", "--network", "none", "--name", "box", "busybox:test", "sh", "-c", script + "; touch /done; sleep 300")
        #expect(eventually { engine.skiff("exec", "box", "test", "-e", "/done").status == 0 })
        return engine.skiff("inspect", "-f", "{{.State.Pid}}", "box").output.trimmed
    }

    @Test(arguments: [true, false])
    func `A folder that is exchanged for a link to the host leads nowhere`(relative: Bool) throws {
        let engine = try EngineFixture("race-\(relative)")
        defer { engine.clean() }
        try engine.importBusybox()
        let outside = engine.scratch.folder("outside")
        _ = try engine.scratch.file("outside/f", "secret of the host")
        let source = try engine.scratch.file("source", "from outside")
        let target = relative ? "../../../../../../../.." + outside : outside
        let pid = try Self.started(engine, "mkdir -p /race/a; echo inside >/race/a/f; ln -s \(target) /race/b")
        let process = try RunningProcess(["/usr/bin/python3", "-c", Self.racer, "/proc/\(pid)/root/race"])
        defer { _ = process.finish() }
        for _ in 0..<60 {
            engine.skiff("cp", source, "box:/race/a/")
            engine.skiff("cp", source, "box:/race/a/deep/er")
            #expect(!engine.skiff("cp", "box:/race/a/f", "-").output.contains("secret"))
            #expect(!engine.skiff("cp", "box:/race", "-").output.contains("secret"))
        }
        #expect(run(["/bin/ls", "-A", outside]).output == "f\n")
        #expect(run(["/bin/cat", outside + "/f"]).output == "secret of the host")
        #expect(engine.skiff("exec", "box", "true").status == 0)
    }

    @Test func `A file that is exchanged for a device is not read as one`() throws {
        let engine = try EngineFixture()
        defer { engine.clean() }
        try engine.importBusybox()
        // A device of the machine that gives out bytes: /dev/zero stands for a disk
        let pid = try Self.started(engine, "mkdir /race; printf 12345678 >/race/a; mknod /race/b c 1 5")
        let process = try RunningProcess(["/usr/bin/python3", "-c", Self.racer, "/proc/\(pid)/root/race"])
        defer { _ = process.finish() }
        let out = engine.scratch.folder("out")
        for turn in 0..<60 {
            let path = "\(out)/\(turn)"
            engine.skiff("cp", "box:/race/a", path)
            guard run(["/usr/bin/test", "-f", path]).status == 0 else { continue }
            #expect(run(["/bin/cat", path]).output == "12345678")
        }
        for reference in ["commit", "export"] {
            let result =
                reference == "commit"
                ? engine.skiff("commit", "--pause=false", "box", "raced:1")
                : engine.skiff("export", "-o", out + "/x.tar", "box")
            #expect(result.status == 0, "\(result.error)")
        }
    }

    @Test func `A copy from a stopped container leaves no mount and no second superblock`() throws {
        let engine = try EngineFixture()
        defer { engine.clean() }
        try engine.importBusybox()
        let source = try engine.scratch.file("source", "put before")
        engine.skiff(
            "create", "--network", "none", "--name", "box", "-v", "vol:/data", "busybox:test", "cat", "/data/x", "/etc/x")
        for place in ["/data/x", "/etc/x"] {
            let result = engine.skiff("cp", source, "box:" + place)
            #expect(result.status == 0, "\(result.error)")
        }
        #expect(!run(["/bin/cat", "/proc/\(engine.pid)/mountinfo"]).output.contains("overlay " + engine.dataRoot))
        #expect(engine.skiff("start", "-a", "box").output == "put beforeput before")
        #expect(engine.skiff("cp", "box:/etc/x", "-").output.contains("put before"))
        #expect(!run(["/bin/sh", "-c", "ls -l /proc/\(engine.pid)/fd"]).output.contains("/etc"))
    }
}

extension String {
    fileprivate var trimmed: String { String(split(separator: "\n").first ?? "") }
}
