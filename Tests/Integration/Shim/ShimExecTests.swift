import Glibc
import Linux
import Model
import Testing
import TestSupport

@Suite struct ShimExecTests {
    private func sleeper() throws -> ShimDriver {
        let shim = try ShimDriver(["/bin/sleep", "100"])
        _ = try shim.start()
        return shim
    }

    @Test func anExecHasStreamsAndACode() throws {
        let shim = try sleeper()
        let client = try shim.exec("e1", ["/bin/sh", "-c", "cat; echo err >&2; exit 9"], stream: ShimStream(stdin: true))
        client.send("hello\n")
        client.halfClose()
        #expect(client.readAll() == "hello\nerr\n")
        #expect(try shim.execExit("e1").exitCode == 9)
        // Not the container's output
        #expect(try shim.log().isEmpty)
        let state = try shim.hello().execs.first
        #expect(state?.exec == "e1" && state?.exit?.exitCode == 9)
    }

    @Test func anExecSeesTheContainer() throws {
        let shim = try sleeper()
        let client = try shim.exec("e", ["/bin/sh", "-c", "hostname; cat /proc/1/comm; cat /proc/self/cgroup | wc -l"])
        let text = client.readAll()
        #expect(text.hasPrefix("test\nsleep\n"))
    }

    @Test func anExecsTerminalIsItsOwn() throws {
        let shim = try sleeper()
        let client = try shim.exec(
            "t", ["/bin/sh"], stream: ShimStream(stdin: true, detachKeys: [1]), terminal: true)
        try shim.request(.resize(exec: "t", width: 99, height: 33))
        client.send("stty size\n")
        #expect(client.expect("33 99"))
        client.send("exit 4\n")
        #expect(try shim.execExit("t").exitCode == 4)
        _ = client.readAll()
        #expect(client.isEnded)
    }

    @Test func detachKeysLeaveTheExecRunning() throws {
        let shim = try sleeper()
        let client = try shim.exec(
            "d", ["/bin/sh"], stream: ShimStream(stdin: true, detachKeys: [16, 17]), terminal: true)
        client.send("\u{10}\u{11}")
        _ = client.readAll()
        try shim.wait { if case .detached("d") = $0 { true } else { nil } }
        #expect(try shim.hello().execs.first?.exit == nil)
        try shim.request(.signal(exec: "d", number: SIGKILL, all: false))
        #expect(try shim.execExit("d").exitCode == 137)
    }

    @Test(arguments: [("/bin/none", Fault.Kind.commandNotFound), ("/etc/passwd", .commandNotExecutable)])
    func aCommandThatCannotRunIsAFault(_ command: String, _ kind: Fault.Kind) throws {
        let shim = try sleeper()
        let fault = #expect(throws: Fault.self) { _ = try shim.exec("x", [command]) }
        #expect(fault?.kind == kind)
        #expect(try shim.hello().execs.isEmpty)
        #expect(zombies(of: shim.shimPid) == 0)
    }

    @Test func fiftyExecsSideBySide() throws {
        let shim = try sleeper()
        var clients: [StreamClient] = []
        for number in 0..<50 {
            clients.append(try shim.exec("e\(number)", ["/bin/sh", "-c", "echo \(number); sleep 0.1; exit \(number)"]))
        }
        for (number, client) in clients.enumerated() {
            #expect(client.readAll() == "\(number)\n")
            #expect(try shim.execExit("e\(number)").exitCode == Int32(number))
        }
        #expect(zombies(of: shim.shimPid) == 0)
        let descriptors = Int(run(["/bin/sh", "-c", "ls /proc/\(shim.shimPid)/fd | wc -l"]).output.dropLast()) ?? 0
        #expect(descriptors < 25)
    }

    @Test func aKilledClientLeavesTheExecRunning() throws {
        let shim = try sleeper()
        let client = try shim.exec("k", ["/bin/sh", "-c", "seq 1 100000; exit 6"])
        client.hangUp()
        #expect(try shim.execExit("k").exitCode == 6)
    }

    @Test func anEndedContainerTakesItsExecsAlong() throws {
        let shim = try sleeper()
        let client = try shim.exec("e", ["/bin/sleep", "100"])
        try shim.request(.signal(exec: nil, number: SIGKILL, all: false))
        #expect(try shim.execExit("e").exitCode == 137)
        #expect(try shim.exit().exitCode == 137)
        #expect(client.readAll().isEmpty)
        #expect(shim.waitForShim() == 0)
    }

    @Test func orphansAreReaped() throws {
        let shim = try ShimDriver(["/bin/sleep", "100"]) { spec, _ in
            // Without a pid namespace orphans come to the shim
            spec.linux?.namespaces.removeAll { $0.type == .pid }
        }
        _ = try shim.start()
        let client = try shim.exec("o", ["/bin/sh", "-c", "(sleep 0.2; exit 1) & (sleep 0.1) & exit 0"])
        #expect(try shim.execExit("o").exitCode == 0)
        _ = client.readAll()
        usleep(300_000)
        #expect(zombies(of: shim.shimPid) == 0)
        // What is left of such a container goes with its first process
        _ = try shim.exec("p", ["/bin/sh", "-c", "sleep 100 & sleep 100"])
        try shim.request(.signal(exec: nil, number: SIGKILL, all: false))
        #expect(try shim.exit().exitCode == 137)
        #expect(shim.waitForShim() == 0)
    }

    @Test func execsAreRefusedWhenTheContainerIsNotRunning() throws {
        let shim = try ShimDriver(["/bin/sleep", "100"])
        let fault = #expect(throws: Fault.self) { _ = try shim.exec("e", ["true"]) }
        #expect(fault?.message == "container \(shim.id) is not running")
    }

    private func zombies(of parent: pid_t) -> Int {
        let output = run(["/bin/sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z \(parent) '"]).output
        return Int(output.dropLast()) ?? 0
    }
}
