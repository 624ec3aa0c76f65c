import Glibc
import Model
import TestSupport
import Testing

/// Images that are made to lead the runtime astray.
@Suite struct HostileRootTests {
    /// CVE-2019-19921, CVE-2023-27561, CVE-2026-41579
    @Test(arguments: ["proc", "sys", "dev"])
    func aLinkInPlaceOfAKernelFolderIsRefused(_ name: String) throws {
        let scene = try RuntimeScene("link" + name)
        _ = run(["/bin/sh", "-c", "rm -rf \(scene.root)/\(name); ln -s /etc \(scene.root)/\(name)"])
        let result = try scene.run("true")
        #expect(result.status == 1)
        #expect(result.error.contains("symbolic link"))
        #expect(scene.isClean())
    }

    /// CVE-2025-31133: what stands at /dev/null must be the null device before it masks anything.
    @Test func aFalseNullDeviceIsRefused() throws {
        let scene = try RuntimeScene("null")
        _ = run(["/bin/sh", "-c", "mkdir -p \(scene.root)/dev; ln -s /etc/passwd \(scene.root)/dev/null"])
        let result = try scene.run("true") { $0.mounts.removeAll { $0.destination.hasPrefix("/dev") } }
        #expect(result.status == 1)
        #expect(scene.isClean())
    }

    /// CVE-2021-30465, CVE-2024-45310: a path that changes between a folder and a link while it is mounted on.
    @Test func aDestinationThatIsExchangedNeverLeadsOut() throws {
        let scene = try RuntimeScene("race")
        let victim = scene.scratch.folder("victim")
        _ = run(["/bin/sh", "-c", "mkdir -p \(scene.root)/a/b; ln -s \(victim) \(scene.root)/evil"])
        let race = try RunningProcess([
            "/bin/sh", "-c",
            "cd \(scene.root); while :; do mv -T a/b a/c 2>/dev/null; ln -sfn /../../..\(victim) a/b; rm -f a/b; mv -T a/c a/b; done",
        ])
        defer {
            race.signal(SIGKILL)
            _ = race.finish()
        }
        for _ in 0..<15 {
            let result = try scene.run("test -e /a/b/inside && echo inside; true") {
                $0.mounts.append(
                    OCI.Mount(destination: "/a/b/inside", type: "tmpfs", source: "tmpfs", options: ["nodev", "size=64k"]))
            }
            // Mounted inside, or refused; outside never.
            #expect(result.status == 0 || result.status == 1)
            #expect(access(victim + "/inside", F_OK) != 0)
        }
    }

    /// CVE-2019-5736: the program that enters cannot be written to from inside, and stays what it was.
    @Test func theRuntimeCannotBeOverwritten() throws {
        let scene = try RuntimeScene("selfexe")
        let before = run(["/usr/bin/sha256sum", binaries + "/skiff-runtime"]).output
        let id = try scene.start(
            "while :; do for p in /proc/[0-9]*; do (: >$p/exe) 2>/dev/null && echo written >>/tmp/won; done; done"
        ) {
            $0.withProcess { $0.capabilities?.bounding.append("CAP_SYS_PTRACE") }
        }
        for _ in 0..<10 { _ = scene.runtime(["exec", id, "true"]) }
        let own = scene.runtime(["exec", id, "/proc/self/exe", "--version"])
        #expect(own.status == 0 || own.status == 255)
        _ = scene.runtime(["delete", "--force", id])
        #expect(run(["/usr/bin/sha256sum", binaries + "/skiff-runtime"]).output == before)
        let copies = run([
            "/bin/sh", "-c",
            "sha256sum /run/skiff-runtime/sealed/* /dev/shm/skiff-runtime-sealed/* 2>/dev/null | cut -d' ' -f1",
        ])
        if !copies.output.isEmpty { #expect(copies.output.contains(before.prefix(64))) }
    }

    /// CVE-2021-43784
    @Test func anOversizedConfigurationIsRefused() throws {
        let scene = try RuntimeScene("oversized")
        let folder = scene.scratch.folder("big")
        _ = try scene.scratch.file(
            "big/config.json", #"{"ociVersion":"1.2.0","annotations":{"a":""# + String(repeating: "x", count: 9 << 20) + "\"}}")
        let result = scene.runtime(["run", "--bundle", folder, "big"])
        #expect(result.status == 1)
        #expect(result.error.contains("larger than"))
    }
}
