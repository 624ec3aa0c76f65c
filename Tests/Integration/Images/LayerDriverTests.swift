import Images
import Linux
import Model
import TestSupport
import Testing

@Suite(.serialized) struct LayerDriverTests {
    /// A btrfs of the test's own in a loop device.
    static func mountBtrfs(_ scratch: Scratch, at folder: String, megabytes: Int = 400) throws {
        let image = scratch.path + "/btrfs.img"
        let script = """
            truncate -s \(megabytes)M '\(image)' && mkfs.btrfs -q '\(image)' && mkdir -p '\(folder)' && mount -o loop '\(image)' '\(folder)'
            """
        let made = run(["/bin/sh", "-c", script])
        guard made.status == 0 else { throw SetupFailure("cannot make a btrfs: \(made.error)") }
        scratch.defer_ { _ = run(["/bin/umount", "-l", folder]) }
    }

    @Test(arguments: ["overlay2", "btrfs", "copy"]) func theContractIsKept(_ name: String) throws {
        let scratch = try Scratch("driver-" + name)
        let folder = scratch.path + "/fs"
        if name == "btrfs" {
            try Self.mountBtrfs(scratch, at: folder)
        } else {
            _ = run(["/bin/mkdir", "-p", folder])
            _ = run(["/bin/mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder])
            scratch.defer_ { _ = run(["/bin/umount", "-l", folder]) }
        }
        let driver = try LayerDrivers.choose(name, dataRoot: folder)
        #expect(driver.name == name)
        try LayerDriverContract(driver: driver, folder: folder).verify()
        scratch.clean()
    }

    @Test func whatTheMachineCannotDoIsRefused() throws {
        let scratch = try Scratch("driver-refused")
        #expect(throws: Fault.self) { try LayerDrivers.choose("zfs", dataRoot: scratch.path) }
        #expect(throws: Fault.self) { try LayerDrivers.choose("btrfs", dataRoot: "/proc") }
        #expect(try LayerDrivers.choose(nil, dataRoot: scratch.path).name == "overlay2")
        scratch.clean()
    }

    /// The whole engine over each driver: run, write, diff, commit, export, remove; and every byte has a record.
    @Test(arguments: ["overlay2", "btrfs", "copy"]) func containersRunOn(_ name: String) throws {
        let engine = try EngineFixture("driver-engine-" + name)
        engine.end()
        if name == "btrfs" {
            _ = run(["/bin/rm", "-rf", engine.dataRoot])
            try Self.mountBtrfs(engine.scratch, at: engine.dataRoot)
        }
        try engine.start(flags: ["--storage-driver", name])
        try engine.importBusybox("busybox:test")
        #expect(engine.skiff("info", "-f", "{{.Driver}}").output == name + "\n")
        let ran = engine.skiff("run", "--name", "c1", "busybox:test", "sh", "-c", "echo hi >/new; rm /bin/sleep; echo $((6*7))")
        #expect(ran.output == "42\n", "\(ran.error)")
        let diff = engine.skiff("diff", "c1").output.split(separator: "\n").map(String.init)
        #expect(diff == ["C /bin", "D /bin/sleep", "A /new"], "\(diff)")
        // Again: what it wrote is there.
        #expect(engine.skiff("start", "-a", "c1").output == "42\n")
        #expect(engine.skiff("commit", "c1", "app:1").status == 0)
        #expect(engine.skiff("run", "--rm", "app:1", "sh", "-c", "cat /new; ls /bin/sleep").output == "hi\n")
        let exported = run([
            "/bin/sh", "-c", "'\(binaries)/skiff' -H 'unix://\(engine.socket)' export c1 | tar -tf - | grep -c ^new$",
        ])
        #expect(exported.output == "1\n")
        // A running one
        #expect(
            engine.skiff("run", "-d", "--name", "r1", "app:1", "sh", "-c", "echo 1 >/running; while :; do read x; done").status
                == 0)
        #expect(eventually(timeout: 5) { engine.skiff("diff", "r1").output == "A /running\n" })
        #expect(engine.skiff("commit", "r1", "app:2").status == 0)
        #expect(engine.skiff("run", "--rm", "app:2", "cat", "/running", "/new").output == "1\nhi\n")
        let check = engine.skiff("system", "check", "-q")
        #expect(check.status == 0, "\(check.output)\(check.error)")
        #expect(engine.skiff("system", "df").output.contains("Unaccounted     0 "))
        // Another driver's containers are not touched.
        engine.end()
        let other = name == "copy" ? "overlay2" : "copy"
        let refused = run(
            [
                binaries + "/skiffd", "--data-root", engine.dataRoot, "--run-root", engine.runRoot, "--cgroup-parent",
                testCgroup,
                "--storage-driver", other,
            ], timeout: 20)
        #expect(refused.status != 0 && refused.error.contains("was made with the storage driver \(name)"), "\(refused.error)")
        try engine.start(flags: ["--storage-driver", name])
        _ = engine.skiff("rm", "-f", "c1", "r1")
        #expect(engine.skiff("image", "prune", "-af").status == 0)
        let empty = eventually(timeout: 10) {
            run(["/bin/sh", "-c", "cd '\(engine.dataRoot)'; ls layers containers tmp; ls chains 2>/dev/null"]).output
                .split(separator: "\n").filter { !$0.hasSuffix(":") && !$0.isEmpty }.isEmpty
        }
        #expect(empty, "something stays")
        engine.clean()
    }
}
