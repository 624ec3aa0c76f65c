import Glibc
import JSON
import Model
import TestSupport
import Testing

@Suite struct HookTests {
    @Test func hooksRunInOrderWithTheState() throws {
        let scene = try RuntimeScene("hooks")
        let log = scene.scratch.path + "/log"
        let program = try scene.scratch.file("hook", "#!/bin/sh\nread -r s\necho \"$1 $s\" >>\(log)\n", mode: 0o755)
        func hook(_ name: String) -> [OCI.Hook] { [OCI.Hook(path: program, args: ["hook", name])] }
        let result = try scene.run("cat /dev/shm/state") {
            $0.hooks = OCI.Hooks(
                prestart: hook("prestart"), createRuntime: hook("createRuntime"), createContainer: hook("createContainer"),
                startContainer: [OCI.Hook(path: "/bin/sh", args: ["sh", "-c", "cat >/dev/shm/state"])],
                poststart: hook("poststart"), poststop: hook("poststop"))
        }
        #expect(result.status == 0, "\(result.error)")
        #expect(try JSONValue(json: Array(result.output.utf8))["status"]?.string == "created")
        let lines = run(["/bin/cat", log]).output.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1) }
        #expect(lines.map { $0[0] } == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"])
        let states = try lines.map { try JSONValue(json: Array($0[1].utf8)) }
        #expect(states.map { $0["status"]?.string } == ["creating", "creating", "creating", "running", "stopped"])
        #expect(states[0]["pid"]?.int ?? 0 > 1)
    }

    @Test func aHookThatFailsEndsTheCreation() throws {
        let scene = try RuntimeScene("hookfails")
        let result = try scene.run("true") {
            $0.hooks = OCI.Hooks(createRuntime: [OCI.Hook(path: "/bin/sh", args: ["sh", "-c", "echo why >&2; exit 3"])])
        }
        #expect(result.status == 1)
        #expect(result.error.contains("hooks.createRuntime[0]: /bin/sh: exit status 3: why"))
        #expect(scene.isClean())
    }

    @Test func aHookThatDoesNotEndIsKilled() throws {
        let scene = try RuntimeScene("hookslow")
        let result = try scene.run("true") {
            $0.hooks = OCI.Hooks(createRuntime: [OCI.Hook(path: "/bin/sleep", args: ["sleep", "100"], timeout: 1)])
        }
        #expect(result.status == 1)
        #expect(result.error.contains("did not end within 1 s"))
        #expect(result.seconds < 10)
        #expect(scene.isClean())
    }

    /// CVE-2025-23266: nothing of the runtime's environment, nothing of the image's.
    @Test func aHookHasItsOwnEnvironmentOnly() throws {
        let scene = try RuntimeScene("hookenv")
        let out = scene.scratch.path + "/env"
        _ = try scene.run("true") {
            $0.withProcess { $0.env.append("LD_PRELOAD=/evil.so") }
            $0.hooks = OCI.Hooks(
                createRuntime: [OCI.Hook(path: "/usr/bin/env", args: ["env"], env: ["ONLY=this"])],
                createContainer: [OCI.Hook(path: "/bin/sh", args: ["sh", "-c", "/usr/bin/env >\(out)"], env: ["ONLY=this"])])
        }
        let lines = run(["/bin/cat", out]).output.split(separator: "\n").filter { !$0.hasPrefix("PWD=") && !$0.hasPrefix("_=") }
        #expect(lines.filter { !$0.hasPrefix("SHLVL") && !$0.hasPrefix("OLDPWD") } == ["ONLY=this"])
    }
}
