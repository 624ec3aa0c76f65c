import Glibc
import Testing
import TestSupport

/// What a new engine finds when the last one was killed, wherever that was.
@Suite(.serialized) struct EngineKillTests {
    /// The engine dies at a named place (`CrashPoint` in the Engine room) while a client creates, starts, stops and removes;
    /// a new one finishes or undoes what was begun, serves the same names again, and nothing is left in the end.
    @Test(arguments: [
        "create.recorded", "start.prepared", "start.spawned", "start.running", "start.recorded", "stop.signalled", "exit.seen",
        "exit.recorded", "remove.marked", "remove.cleaned",
    ])
    func `Killed at every step, the next engine leaves nothing half done`(place: String) throws {
        let engine = try EngineFixture("kill-\(place)")
        defer { engine.clean() }
        try engine.importBusybox()
        engine.end()
        try engine.start(environment: ["SKIFFD_CRASH_AT": place])
        engine.skiff("run", "-d", "--network", "none", "--name", "first", "busybox:test", "sleep", "300", timeout: 5)
        engine.skiff("stop", "-t", "0", "first", timeout: 5)
        engine.skiff("rm", "-f", "first", timeout: 5)
        engine.skiff("run", "--rm", "--network", "none", "--name", "second", "busybox:test", "true", timeout: 5)
        #expect(eventually { kill(engine.pid, 0) != 0 || Self.isZombie(engine.pid) }, "\(place) was not reached")
        engine.end(SIGKILL)

        try engine.start()
        for name in ["first", "second"] {
            engine.skiff("rm", "-f", name)
            let again = engine.skiff("run", "--network", "none", "--name", name, "busybox:test", "echo", "hello")
            #expect(again.output == "hello\n", "\(name): \(again.error)")
            #expect(engine.skiff("rm", "-f", name).status == 0)
        }
        #expect(engine.skiff("ps", "-aq").output == "")
        #expect(Self.isEmptied(engine.runRoot + "/shims"))
        #expect(Self.isEmptied(engine.dataRoot + "/containers"))
    }

    private static func isZombie(_ pid: pid_t) -> Bool {
        run(["/bin/sh", "-c", "sed 's/.*) //' /proc/\(pid)/stat"]).output.hasPrefix("Z")
    }

    private static func isEmptied(_ folder: String) -> Bool {
        eventually { run(["/bin/ls", "-A", folder]).output.isEmpty }
    }

    @Test func `A container goes on without its engine, and its end is not missed`() throws {
        let engine = try EngineFixture()
        defer { engine.clean() }
        try engine.importBusybox()
        engine.skiff("run", "-d", "--network", "none", "--name", "lives", "busybox:test", "sleep", "300")
        engine.skiff(
            "run", "-d", "--network", "none", "--name", "ends", "busybox:test", "sh", "-c", "sleep 1; exit 7")
        engine.skiff("run", "-d", "--rm", "--network", "none", "--name", "goes", "busybox:test", "sleep", "1")
        engine.skiff(
            "run", "-d", "--restart", "on-failure:1", "--network", "none", "--name", "comes", "busybox:test", "sh", "-c",
            "sleep 1; exit 3")
        let pid = engine.skiff("inspect", "-f", "{{.State.Pid}}", "lives").output
        engine.end(SIGKILL)
        usleep(2_500_000)
        try engine.start()
        #expect(engine.skiff("inspect", "-f", "{{.State.Pid}}", "lives").output == pid)
        #expect(engine.skiff("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ends").output == "exited 7\n")
        #expect(eventually { engine.skiff("inspect", "goes").status != 0 })
        #expect(eventually { engine.skiff("inspect", "-f", "{{.RestartCount}}", "comes").output == "1\n" })
    }

    @Test func `A killed shim takes its container with it, and the engine says so`() throws {
        let engine = try EngineFixture()
        defer { engine.clean() }
        try engine.importBusybox()
        engine.skiff("run", "-d", "--network", "none", "--name", "orphan", "busybox:test", "sleep", "300")
        let pid = engine.skiff("inspect", "-f", "{{.State.Pid}}", "orphan").output.split(separator: "\n").first ?? ""
        let shim = run(["/bin/sh", "-c", "sed 's/.*) //' /proc/\(pid)/stat | cut -d' ' -f2"]).output
        kill(Int32(shim.split(separator: "\n").first ?? "") ?? 0, SIGKILL)
        #expect(
            eventually {
                engine.skiff("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "orphan").output == "exited 137\n"
            })
        #expect(eventually { run(["/usr/bin/test", "-e", "/proc/\(pid)/root"]).status != 0 })
        #expect(engine.skiff("start", "orphan").status == 0)
        #expect(engine.skiff("rm", "-f", "orphan").status == 0)
    }

    @Test func `An engine hears SIGTERM though who started it had blocked it`() throws {
        let script =
            "import signal, os, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); os.execv(sys.argv[1], sys.argv[1:])"
        let engine = try EngineFixture("blocked", prefix: ["/usr/bin/env", "python3", "-c", script])
        defer { engine.clean() }
        let start = monotonic()
        engine.end()
        #expect(monotonic() - start < 5)
    }

    /// Without an engine that comes back, clients are told at once: none waits for its own patience to end.
    @Test(arguments: ["create.recorded", "start.running", "exit.seen"])
    func `A client that loses its engine is told within a second`(place: String) throws {
        let engine = try EngineFixture("lost-\(place)")
        defer {
            engine.end()
            try? engine.start()
            engine.clean()
        }
        try engine.importBusybox()
        engine.end()
        try engine.start(environment: ["SKIFFD_CRASH_AT": place])
        let start = monotonic()
        let run = engine.skiff("run", "-d", "--network", "none", "--name", "lost", "busybox:test", "sleep", "300")
        let stop = engine.skiff("stop", "-t", "0", "lost")
        #expect(monotonic() - start < 2)
        let told = (place == "exit.seen" ? stop : run)
        #expect(told.status != 0 && told.error.contains("the engine closed the connection"), "\(told.error)")
    }

    @Test func `A second engine for the same data names the first`() throws {
        let engine = try EngineFixture()
        defer { engine.clean() }
        let second = run(
            ["/bin/sh", "-c", "'\(binaries)/skiffd' --data-root '\(engine.dataRoot)' --run-root '\(engine.runRoot)2' 2>&1"],
            timeout: 10)
        #expect(second.status != 0)
        #expect(second.output.contains("process \(engine.pid)"), "\(second.output)")
    }
}
