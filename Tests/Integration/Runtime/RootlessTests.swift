import Glibc
import Model
import TestSupport
import Testing

/// An ordinary user, in a user namespace of its own: as podman without root starts a runtime.
private let asUser = ["/usr/bin/setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
private let inNamespace = asUser + ["/usr/bin/unshare", "-Urm"]
private let hasUserNamespaces = run(inNamespace + ["/bin/true"]).status == 0

@Suite struct RootlessTests {
    /// Everything in a folder of the user's; the configuration as `spec --rootless` leaves it, but for what is given.
    private final class Scene {
        let scratch: Scratch
        let runtime: String
        let state: String

        init(_ name: String) throws {
            scratch = try Scratch(name)
            _ = try scratch.busyboxRoot()
            runtime = scratch.path + "/skiff-runtime"
            state = scratch.folder("state")
            for words in [["cp", "\(binaries)/skiff-runtime", runtime], ["chmod", "755", runtime, scratch.path]] {
                guard run(["/usr/bin/env"] + words).status == 0 else { throw SetupFailure("\(words)") }
            }
        }

        func configure(_ command: String, namespaces: [String], linux: String = "", terminal: Bool = false) throws {
            let kinds = namespaces.map { "{\"type\":\"\($0)\"}" }.joined(separator: ",")
            _ = try scratch.file(
                "config.json",
                """
                {"ociVersion":"1.2.0","process":{"cwd":"/","env":["PATH=/bin"],"args":["/bin/sh","-c",\(command.jsonText)],
                "capabilities":{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"]},"noNewPrivileges":true},
                "root":{"path":"rootfs"},"hostname":"rootless","mounts":[{"destination":"/proc","type":"proc","source":"proc"},
                {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
                {"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620"]},
                {"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","noexec","nodev","mode=1777","size=65536k"]},
                {"destination":"/sys","type":"none","source":"/sys","options":["rbind","nosuid","noexec","nodev","ro"]}],
                "linux":{"namespaces":[\(kinds)]\(linux)}}
                """)
            _ = run(["/bin/chown", "-R", "1000:1000", scratch.path + "/rootfs", state, scratch.path])
        }

        func runtime(_ prefix: [String], _ words: [String]) -> ProcessResult {
            run(prefix + [runtime, "--root", state] + words, timeout: 60)
        }
    }

    private static let kinds = ["pid", "ipc", "uts", "mount", "network"]

    @Test(.enabled(if: hasUserNamespaces, "needs user namespaces for users"))
    func aContainerRunsInAUsersNamespace() throws {
        let scene = try Scene("rootless")
        try scene.configure(
            "id -u; hostname; echo $$; ls /dev | head -2 | wc -l; touch /mine && stat -c %u /mine; mkdir /sys/x 2>/dev/null; exit 3",
            namespaces: Self.kinds)
        let result = scene.runtime(inNamespace, ["run", "--bundle", scene.scratch.path, "one"])
        #expect(result.status == 3, "\(result.error)")
        #expect(result.output == "0\nrootless\n1\n2\n0\n", "\(result.output)")
        // said once, and only where there is no right to make one
        let lines = result.error.split(separator: "\n")
        #expect(lines.allSatisfy { $0.contains("no cgroup of its own") } && lines.count <= 1, "\(result.error)")
        #expect(run(["/usr/bin/stat", "-c", "%u", scene.scratch.path + "/rootfs/mine"]).output == "1000\n")
        #expect(run(["/bin/ls", scene.state]).output.isEmpty)
    }

    /// A limit is never quietly left out.
    @Test(.enabled(if: hasUserNamespaces, "needs user namespaces for users"))
    func aLimitThatCannotBeSetIsRefusedByName() throws {
        let scene = try Scene("limits")
        try scene.configure("true", namespaces: Self.kinds, linux: #","resources":{"memory":{"limit":67108864}}"#)
        let result = scene.runtime(inNamespace, ["run", "--bundle", scene.scratch.path, "one"])
        #expect(result.status == 1)
        #expect(result.error.contains("cannot make cgroup"), "\(result.error)")
    }

    /// A second process, signals and the end, all from namespaces of the same user.
    @Test(.enabled(if: hasUserNamespaces, "needs user namespaces for users"))
    func theWholeLifeInOneUsersNamespace() throws {
        let scene = try Scene("life")
        try scene.configure("sleep 100", namespaces: Self.kinds)
        let rt = "'\(scene.runtime)' --root '\(scene.state)'"
        let script = """
            set -e; \(rt) create --bundle '\(scene.scratch.path)' life </dev/null >/dev/null 2>&1; \(rt) start life
            \(rt) exec life hostname; \(rt) state life | grep -o '"status": "[a-z]*"'; \(rt) kill life KILL
            for i in 1 2 3 4 5 6 7 8 9 10; do \(rt) state life | grep -q stopped && break; sleep 0.2; done; \(rt) delete life; \(rt) list -q
            """
        let result = run(inNamespace + ["/bin/sh", "-c", script], timeout: 60)
        #expect(result.status == 0, "\(result.error)")
        #expect(result.output == "rootless\n\"status\": \"running\"\n", "\(result.output)")
    }

    /// Without a namespace of the user's own nothing can be mounted: what to do is said.
    @Test func withoutRightsTheWayIsNamed() throws {
        let scene = try Scene("plain")
        try scene.configure(
            "true", namespaces: Self.kinds + ["user"],
            linux: """
                ,"uidMappings":[{"containerID":0,"hostID":1000,"size":1}],"gidMappings":[{"containerID":0,"hostID":1000,"size":1}]
                """)
        let result = scene.runtime(asUser, ["run", "--bundle", scene.scratch.path, "one"])
        #expect(result.status == 1)
        #expect(result.error.contains("without root's rights: start it in a user namespace of your own"), "\(result.error)")
        #expect(result.error.split(separator: "\n").count == 1)
    }
}
