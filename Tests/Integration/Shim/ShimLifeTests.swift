import Glibc
import Linux
import Model
import Testing
import TestSupport

@Suite struct ShimLifeTests {
    @Test(arguments: [("true", Int32(0)), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
    func aContainersExitIsToldAndKept(_ script: String, _ code: Int32) throws {
        // A first process that signals itself is immune: a shell below it is not
        let command = script.hasPrefix("kill") ? "sh -c '\(script)'; exit $?" : script
        let shim = try ShimDriver(["/bin/sh", "-c", command])
        let started = try shim.start()
        #expect(started.pid > 0 && started.startTicks > 0)
        let record = try shim.exit()
        #expect(record.exitCode == code)
        #expect(record.startedAt == started.startedAt && record.finishedAt >= started.startedAt)
        #expect(shim.exitRecord == record)
        #expect(shim.waitForShim() == 0)
        #expect(!shim.exists(shim.bundle + "/shim.sock"))
        #expect(shim.diagnostics.isEmpty)
    }

    @Test func aKilledFirstProcessIsRecordedWithItsSignal() throws {
        let shim = try ShimDriver(["/bin/sleep", "100"])
        _ = try shim.start()
        try shim.request(.signal(exec: nil, number: SIGKILL, all: false))
        let record = try shim.exit()
        #expect(record.exitCode == 137 && record.signal == 9 && !record.oomKilled)
    }

    @Test func outputIsLoggedToTheLastByte() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "echo out; echo err >&2; seq 1 20000; printf end"])
        _ = try shim.start()
        _ = try shim.exit()
        let output = try shim.log(.init(stderr: false))
        let isWhole = output == "out\n" + (1...20000).map { "\($0)\n" }.joined() + "end"
        #expect(isWhole)
        let errors = try shim.log(.init(stdout: false))
        #expect(errors == "err\n")
    }

    @Test(arguments: [("/bin/none", Fault.Kind.commandNotFound, Int32(127)), ("/etc/passwd", .commandNotExecutable, 126)])
    func aCommandThatCannotRunIsToldByStart(_ command: String, _ kind: Fault.Kind, _ code: Int32) throws {
        let shim = try ShimDriver([command])
        let fault = #expect(throws: Fault.self) { try shim.start() }
        #expect(fault?.kind == kind)
        #expect(shim.waitForShim() == 1)
        let record = try #require(shim.exitRecord)
        #expect(record.exitCode == code && record.startedAt == nil && record.fault?.kind == kind)
        #expect(!shim.exists(shim.bundle + "/shim.sock"))
    }

    @Test func aBundleThatCannotBeMadeIsToldByStart() throws {
        let shim = try ShimDriver(["/bin/true"], lower: ["/none/such"])
        let fault = #expect(throws: Fault.self) { try shim.start() }
        #expect(fault?.message.contains("/none/such") == true)
        #expect(shim.waitForShim() == 1)
    }

    @Test func anEngineThatGoesBeforeStartLeavesNothing() throws {
        let shim = try ShimDriver(["/bin/sleep", "100"])
        #expect(try shim.hello().phase == .created)
        shim.disconnect()
        #expect(shim.waitForShim() == 0)
        #expect(!shim.exists(shim.bundle + "/shim.sock") && shim.exitRecord == nil)
    }

    @Test func theShimGoesOnWithoutAnEngineAndANewOneFindsEverything() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "while true; do echo x; sleep 0.05; done"])
        let started = try shim.start()
        shim.disconnect()
        usleep(300_000)
        try shim.reconnect()
        let hello = try shim.hello()
        #expect(hello.phase == .running && hello.pid == started.pid && hello.startTicks == started.startTicks)
        #expect(hello.startedAt == started.startedAt && hello.container == shim.id)
        try shim.request(.signal(exec: nil, number: SIGKILL, all: true))
        #expect(try shim.exit().exitCode == 137)
        #expect(try shim.log().utf8.count >= 8)
    }

    @Test func anExitWhileNobodyListensIsInItsRecord() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "sleep 0.2; exit 5"])
        _ = try shim.start()
        shim.disconnect()
        #expect(shim.waitForShim() == 0)
        #expect(shim.exitRecord?.exitCode == 5)
        #expect(!shim.exists(shim.bundle + "/shim.sock"))
    }

    @Test func signalsToTheShimDoNotEndIt() throws {
        let shim = try ShimDriver(["/bin/sleep", "100"])
        _ = try shim.start()
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE] { kill(shim.shimPid, signal) }
        #expect(try shim.hello().phase == .running)
    }

    @Test func pauseStopsAndResumeGoesOn() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "while true; do echo x; sleep 0.01; done"])
        _ = try shim.start()
        _ = eventually { (try? shim.log().isEmpty) == false }
        try shim.request(.pause)
        #expect(try shim.hello().phase == .paused)
        usleep(50_000)
        let before = try shim.log().utf8.count
        usleep(200_000)
        #expect(try shim.log().utf8.count == before)
        #expect(throws: Fault.self) { try shim.request(.pause) }
        let refused = #expect(throws: Fault.self) { _ = try shim.exec("e", ["true"]) }
        #expect(refused?.message == "container \(shim.id) is paused, unpause the container before exec")
        try shim.request(.resume)
        #expect(throws: Fault.self) { try shim.request(.resume) }
        #expect(eventually { (try? shim.log().utf8.count) ?? 0 > before })
        // Killed while paused: the end is seen
        try shim.request(.pause)
        try shim.request(.signal(exec: nil, number: SIGKILL, all: false))
        try shim.request(.resume)
        #expect(try shim.exit().exitCode == 137)
    }

    @Test func statsAndProcessesAreTold() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "sleep 100 & sleep 101; true"])
        _ = try shim.start()
        _ = eventually {
            if case .processes(let rows)? = try? shim.request(.processes) {
                rows.map { $0.command.first ?? "" } == ["/bin/sh", "sleep", "sleep"]
            } else {
                false
            }
        }
        guard case .processes(let rows) = try shim.request(.processes), case .stats(let stats) = try shim.request(.stats) else {
            Issue.record("no answer")
            return
        }
        #expect(rows.map { $0.command.first ?? "" } == ["/bin/sh", "sleep", "sleep"])
        #expect(rows.allSatisfy { $0.uid == 0 && $0.startedAt.seconds > 1_600_000_000 })
        #expect(stats.pids.current == 3)
        #expect(stats.memory.usage > 0)
    }

    @Test func wantOfMemoryIsToldAndRecorded() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "sleep 0.1; x=$(dd if=/dev/zero bs=1M count=100 | tr '\\0' x); sleep 5"]) {
            spec, _ in
            spec.linux?.resources = OCI.Resources(memory: OCI.MemoryLimits(limit: 20 << 20, swap: 20 << 20))
        }
        _ = try shim.start()
        try shim.wait { if case .oom = $0 { true } else { nil } }
        _ = try? shim.request(.signal(exec: nil, number: SIGKILL, all: true))
        let record = try shim.exit()
        #expect(record.oomKilled)
    }

    @Test func theRootIsHandedOutAndShowsTheContainersFiles() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "echo secret >/root/file; sleep 100"])
        _ = try shim.start()
        #expect(eventually { shim.exists(shim.upper + "/root/file") })
        try shim.request(.root)
        let passed = try #require(shim.lastDescriptor)
        let root = passed.next()?.release() ?? -1
        defer { close(root) }
        let file = openat(root, "root/file", O_RDONLY)
        #expect(file >= 0)
        close(file)
    }

    @Test func updatesReachTheCgroup() throws {
        let shim = try ShimDriver(["/bin/sleep", "100"])
        _ = try shim.start()
        try shim.request(.update(OCI.Resources(pids: OCI.PidsLimit(limit: 42))))
        guard case .stats(let stats) = try shim.request(.stats) else { return }
        #expect(stats.pids.limit == 42)
    }

    @Test(arguments: [[], ["--old-overlay"]]) func manyLayersAreStackedBothWays(_ arguments: [String]) throws {
        let scratch = try Scratch("layers")
        var layers: [String] = []
        for number in 0..<60 {
            let layer = scratch.folder("layer-with-a-long-name-\(String(repeating: "x", count: 64))-\(number)")
            _ = run(["/bin/sh", "-c", "echo \(number) >'\(layer)/from'; echo \(number) >'\(layer)/only-\(number)'"])
            layers.append(layer)
        }
        layers.append(try scratch.busyboxRoot("base"))
        let shim = try ShimDriver(
            ["/bin/sh", "-c", "cat /from; cat /only-59; ls -d /only-* | wc -l; echo new >/written"], arguments: arguments,
            lower: layers)
        _ = try shim.start()
        #expect(try shim.exit().exitCode == 0)
        #expect(try shim.log() == "0\n59\n60\n")
        #expect(shim.exists(shim.upper + "/written"))
        #expect(shim.diagnostics.isEmpty)
    }

    @Test func aVolatileRootCanBeUsedAgain() throws {
        let scratch = try Scratch("volatile")
        let lower = [try scratch.busyboxRoot("lower")]
        let (upper, work) = (scratch.folder("upper"), scratch.folder("work"))
        for _ in 0..<2 {
            let shim = try ShimDriver(["/bin/sh", "-c", "echo x >>/count"]) { _, config in
                config.rootfs = .overlay(lower: lower, upper: upper, work: work)
                config.volatileRoot = true
            }
            _ = try shim.start()
            #expect(try shim.exit().exitCode == 0)
            #expect(shim.waitForShim() == 0)
        }
        #expect(run(["/bin/cat", upper + "/count"]).output == "x\nx\n")
    }

    @Test func badMessagesAreAnsweredAndHarmNobody() throws {
        let shim = try ShimDriver(["/bin/sleep", "100"])
        _ = try shim.start()
        for text in [#"{"v":1,"id":77,"do":"exec"}"#, #"{"v":9,"id":78,"do":"hello"}"#] {
            _ = try SeqPacket.send(Array(text.utf8), on: shim.control)
            #expect(throws: Fault.self) { try shim.answer(to: text.contains("77") ? 77 : 78) }
        }
        #expect(throws: Fault.self) { try shim.request(.unknown("dance")) }
        #expect(throws: Fault.self) { try shim.request(.attach(ShimStream())) }
        #expect(throws: Fault.self) { try shim.request(.signal(exec: nil, number: 99, all: false)) }
        #expect(throws: Fault.self) { try shim.request(.resize(exec: nil, width: 1, height: 1)) }
        #expect(throws: Fault.self) { try shim.request(.start) }
        // Without an id nothing can be answered: that connection ends, the container does not
        _ = try SeqPacket.send(Array("nonsense".utf8), on: shim.control)
        try shim.reconnect()
        #expect(try shim.hello().phase == .running)
    }

    @Test func connectionsAreLimited() throws {
        let shim = try ShimDriver(["/bin/sleep", "100"])
        _ = try shim.start()
        var others: [CInt] = []
        for _ in 0..<40 {
            if let other = try? SeqPacket.connect(to: shim.bundle + "/shim.sock").release() { others.append(other) }
        }
        let descriptors = run(["/bin/sh", "-c", "ls /proc/\(shim.shimPid)/fd | wc -l"]).output
        #expect((Int(descriptors.dropLast()) ?? 1000) < 50)
        #expect(try shim.hello().phase == .running)
        others.forEach { close($0) }
    }
}
