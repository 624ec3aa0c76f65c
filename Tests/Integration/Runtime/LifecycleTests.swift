import Glibc
import JSON
import Model
import TestSupport
import Testing

@Suite struct LifecycleTests {
    @Test func aContainerIsCreatedStartedKilledDeleted() throws {
        let scene = try RuntimeScene("life")
        let folder = try scene.bundle(scene.spec("sleep 1000"))
        let out = scene.scratch.path + "/out"
        let state = scene.scratch.folder("state")
        let created = run([
            "/bin/sh", "-c",
            "exec \(binaries)/skiff-runtime --root \(state) create --pid-file \(out).pid -b \(folder) life </dev/null >\(out) 2>&1",
        ])
        #expect(created.status == 0, "\(run(["/bin/cat", out]).output)")
        #expect(try scene.state("life")["status"]?.string == "created")
        #expect(run(["/bin/cat", out + ".pid"]).output == "\(try scene.state("life")["pid"]?.int ?? 0)")
        #expect(scene.runtime(["exec", "life", "echo", "early"]).output == "early\n")
        #expect(scene.runtime(["start", "life"]).status == 0)
        #expect(try scene.state("life")["status"]?.string == "running")
        #expect(scene.runtime(["start", "life"]).error.contains("already running"))
        #expect(scene.runtime(["delete", "life"]).error.contains("that is not stopped: running"))
        #expect(scene.runtime(["pause", "life"]).status == 0)
        #expect(try scene.state("life")["status"]?.string == "paused")
        #expect(scene.runtime(["exec", "life", "true"]).status == 255)
        #expect(scene.runtime(["resume", "life"]).status == 0)
        #expect(scene.runtime(["kill", "life", "KILL"]).status == 0)
        #expect(eventually { (try? scene.state("life")["status"]?.string) == "stopped" })
        #expect(scene.runtime(["exec", "life", "true"]).error.contains("stopped container"))
        #expect(scene.runtime(["delete", "life"]).status == 0)
        #expect(scene.runtime(["delete", "life"]).error.contains("does not exist"))
        #expect(scene.runtime(["delete", "--force", "life"]).status == 0)
        #expect(scene.isClean())
    }

    @Test func anIdIsUsedOnce() throws {
        let scene = try RuntimeScene("twice")
        let id = try scene.start()
        let again = scene.runtime(["run", "--bundle", try scene.bundle(scene.spec("true")), id])
        #expect(again.status == 1)
        #expect(again.error.contains("already exists"))
        #expect(try scene.state(id)["status"]?.string == "running")
    }

    @Test(arguments: ["../x", "", ".", "..", "a/b", "a b", "a\u{e9}"])
    func badIdsAreRefused(_ id: String) throws {
        let scene = try RuntimeScene("badid")
        let result = scene.runtime(["run", "--bundle", try scene.bundle(scene.spec("true")), id])
        #expect(result.status == 1)
        #expect(result.error.contains("invalid container ID format"))
    }

    @Test func listsShowWhatRuns() throws {
        let scene = try RuntimeScene("list")
        #expect(scene.runtime(["list", "--format", "json"]).output == "null\n")
        let id = try scene.start()
        #expect(scene.runtime(["list", "-q"]).output == id + "\n")
        let rows = try JSONValue(json: Array(scene.runtime(["list", "-f", "json"]).output.utf8))
        #expect(rows[0]?["id"]?.string == id)
        #expect(rows[0]?["owner"]?.string == "root")
        #expect(scene.runtime(["list"]).output.hasPrefix("ID "))
        let pids = try JSONValue(json: Array(scene.runtime(["ps", "--format", "json", id]).output.utf8))
        #expect(pids.array?.count ?? 0 >= 1)
        let stats = try JSONValue(json: Array(scene.runtime(["events", "--stats", id]).output.utf8))
        #expect(stats["type"]?.string == "stats")
    }

    @Test func execHasItsFlags() throws {
        let scene = try RuntimeScene("exec")
        let id = try scene.start()
        let result = scene.runtime([
            "exec", "--cwd", "/tmp", "-e", "A=b", "-u", "1000:100", "-g", "5", id, "sh", "-c", "pwd; echo $A; id",
        ])
        #expect(result.output == "/tmp\nb\nuid=1000(u) gid=100 groups=5\n", "\(result.error)")
        #expect(scene.runtime(["exec", id, "sh", "-c", "exit 5"]).status == 5)
        #expect(scene.runtime(["exec", id, "nosuch"]).status == 255)
        #expect(scene.runtime(["exec", id, "sh", "-c", "kill -9 $$"]).status == 137)
        #expect(scene.runtime(["exec", "--cwd", "/proc/self/fd/7", id, "pwd"]).status == 255)
        let process = try scene.scratch.file("p.json", #"{"args":["sh","-c","echo $X"],"cwd":"/","env":["X=y","PATH=/bin"]}"#)
        #expect(scene.runtime(["exec", "--process", process, id]).output == "y\n")
        #expect(scene.runtime(["exec", id, "sh", "-c", "echo $$"]).output != "1\n")
    }

    @Test func signalsAreForwarded() throws {
        let scene = try RuntimeScene("signal")
        let folder = try scene.bundle(scene.spec("trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done"))
        let process = try RunningProcess([
            binaries + "/skiff-runtime", "--root", scene.scratch.folder("state"), "run", "-b", folder, "signal",
        ])
        var byte: UInt8 = 0
        #expect(read(process.output, &byte, 1) == 1)
        process.signal(SIGTERM)
        let result = process.finish(timeout: 20)
        #expect(result.status == 9)
        #expect(result.output.contains("got"))
    }

    @Test func theLogIsJSONForEngines() throws {
        let scene = try RuntimeScene("log")
        let log = scene.scratch.path + "/log.json"
        let result = scene.runtime(["--log", log, "--log-format", "json", "state", "nosuch"])
        #expect(result.status == 1)
        let line = try JSONValue(json: Array(run(["/bin/cat", log]).output.utf8))
        #expect(line["level"]?.string == "error")
        #expect(line["msg"]?.string == "container does not exist: nosuch")
        #expect(line["time"]?.string?.hasSuffix("Z") == true)
    }

    @Test func aKnownFieldThatCannotBeHonouredIsNamed() throws {
        let scene = try RuntimeScene("refused")
        let rdt = try scene.run("true") { $0.withLinux { $0.intelRdt = OCI.IntelRdt(closID: "x") } }
        #expect(rdt.error.contains("linux.intelRdt"))
        let folder = scene.scratch.folder("malformed")
        _ = try scene.scratch.file(
            "malformed/config.json",
            #"{"ociVersion":"1.2.0","process":{"cwd":"/","args":["a"],"rlimits":[{"type":"RLIMIT_NOFILE","soft":1}]}}"#)
        let malformed = scene.runtime(["run", "-b", folder, "malformed"])
        #expect(malformed.error.contains("process.rlimits[0]: hard is missing"))
        #expect(scene.isClean())
    }
}
