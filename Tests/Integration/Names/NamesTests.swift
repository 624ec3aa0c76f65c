import Glibc
import Linux
import Model
import Names
import Networks
import Testing
import TestSupport

/// The resolver as containers see it: 127.0.0.11 in namespaces of the test's own, the real process behind it.
@Suite(.serialized) struct NamesTests {
    @Test func containersFindOneAnother() async throws {
        let scene = try NamesScene()
        let web = try await NamedSandbox(scene, "web", "10.9.0.2", aliases: ["www", "service"])
        let db = try await NamedSandbox(scene, "db", "10.9.0.3", aliases: ["service"])
        let stranger = try await NamedSandbox(scene, "other", "10.8.0.2", network: "n2") { $0.forwards = false }
        #expect(try web.dig("db") == ["10.9.0.3"])
        #expect(try db.dig("www") == ["10.9.0.2"])
        #expect(try db.dig("web.net-n1") == ["10.9.0.2"])
        #expect(try Set(web.dig("service")) == ["10.9.0.2", "10.9.0.3"])
        #expect(try db.dig("-x 10.9.0.2") == ["web.net-n1."])
        #expect(try web.dig("db AAAA").isEmpty)
        #expect(try web.shell("dig @127.0.0.11 db AAAA").output.contains("status: NOERROR"))
        #expect(try web.dig("+tcp db") == ["10.9.0.3"])
        #expect(try stranger.shell("dig @127.0.0.11 +time=2 +tries=1 web").output.contains("status: NXDOMAIN"))
        await scene.end()
    }

    @Test func aServiceTakesTurns() async throws {
        let scene = try NamesScene()
        let client = try await NamedSandbox(scene, "client", "10.9.0.2")
        for number in 3...5 { _ = try await NamedSandbox(scene, "c\(number)", "10.9.0.\(number)", aliases: ["app"]) }
        var firsts: [UInt8: Int] = [:]
        for _ in 0..<60 { if let answer = try client.ask("app") { firsts[answer[answer.count - 33], default: 0] += 1 } }
        #expect(firsts.count == 3)
        #expect(firsts.values.allSatisfy { $0 > 5 })
        await scene.end()
    }

    /// Without nf_tables the resolver itself is at port 53.
    @Test(.enabled(if: hasTables, "ports are exchanged by nf_tables")) func aProgramInTheContainerMayHavePort53() async throws {
        let scene = try NamesScene()
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        try web.thread.run {
            let datagrams = try DatagramSocket.bind(.v4(.any), port: 53)
            let listener = try DatagramSocket.listen(.v4(.any), port: 53, backlog: 1)
            var probe = try NamesProbe()
            #expect(try probe.ask("web")?.suffix(4) == [10, 9, 0, 2])
            withExtendedLifetime((datagrams.raw, listener.raw)) {}
        }
        await scene.end()
    }

    @Test func theProcessHasNoPrivileges() async throws {
        let scene = try NamesScene()
        _ = try await NamedSandbox(scene, "web", "10.9.0.2")
        let status = String(decoding: try Files.read("/proc/\(scene.process)/status", limit: 1 << 16), as: UTF8.self)
        func field(_ name: String) -> String {
            status.split(separator: "\n").first { $0.hasPrefix(name + ":") }.map { String($0.dropFirst(name.count + 1)) } ?? ""
        }
        let user = String(NamesLink.Settings.unprivileged)
        #expect(field("Uid").split(separator: "\t").allSatisfy { $0 == user })
        #expect(field("Gid").split(separator: "\t").allSatisfy { $0 == user })
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] { #expect(field(set) == "\t0000000000000000", "\(set)") }
        #expect(field("NoNewPrivs") == "\t1")
        #expect(field("Seccomp") == "\t2")
        #expect(field("Threads") == "\t1")
        await scene.end()
    }

    @Test func strangersMayNotSpeakToTheProcess() async throws {
        let scene = try NamesScene()
        _ = try await NamedSandbox(scene, "web", "10.9.0.2")
        let code = """
            import socket, sys, os
            os.setgid(65534); os.setuid(65534)
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try: s.connect("\(scene.folder)/names.sock")
            except PermissionError: sys.exit(7)
            s.send(b'{"serial":1,"list":true}'); sys.exit(0 if s.recv(100) else 7)
            """
        #expect(run(["/usr/bin/env", "python3", "-c", code]).status == 7)
        await scene.end()
    }

    // MARK: Other servers

    @Test func otherNamesComeFromTheHostsServers() async throws {
        let scene = try NamesScene()
        let server = try FakeNameServer(in: scene.host) { FakeNameServer.address($0) }
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        #expect(try web.dig("example.org") == ["9.9.9.9"])
        #expect(try web.dig("-x 10.9.0.77").isEmpty)
        server.end()
        #expect(server.seen.withLock { $0.count } == 1)
        await scene.end()
    }

    @Test func anInternalNetworkAsksNobody() async throws {
        let scene = try NamesScene()
        let server = try FakeNameServer(in: scene.host) { FakeNameServer.address($0) }
        let web = try await NamedSandbox(scene, "web", "10.9.0.2") { $0.forwards = false }
        #expect(try web.shell("dig @127.0.0.11 +time=2 +tries=1 secret.example.org").output.contains("status: SERVFAIL"))
        #expect(try web.shell("dig @127.0.0.11 +time=2 +tries=1 secret").output.contains("status: NXDOMAIN"))
        #expect(try web.dig("+tcp secret2.example.org TXT").isEmpty)
        #expect(try web.dig("web") == ["10.9.0.2"])
        server.end()
        #expect(server.seen.withLock { $0.isEmpty })
        await scene.end()
    }

    /// A name server of the test's own, a program in the sandbox: `big.…` comes over TCP alone.
    /// Its pid.
    private func server(in sandbox: NamedSandbox, _ address: String, _ answer: String) throws -> pid_t {
        let script = String(#filePath.dropLast("NamesTests.swift".count)) + "name_server.py"
        let started = try sandbox.shell("python3 '\(script)' \(address) \(answer) >/dev/null 2>&1 </dev/null & echo $!")
        #expect(eventually { (try? sandbox.shell("ss -Hlun").output.contains("\(address):53 ")) == true })
        return try #require(pid_t(started.output.dropLast()))
    }

    @Test func aServerOnLoopbackIsTheContainersOwn() async throws {
        let scene = try NamesScene()
        let hosts = try FakeNameServer(in: scene.host) { FakeNameServer.address($0) }
        let plain = try await NamedSandbox(scene, "plain", "10.9.0.2")
        let own = try await NamedSandbox(scene, "own", "10.9.0.3") { $0.servers = ["127.0.0.1"] }
        let closed = try await NamedSandbox(scene, "closed", "10.9.0.4") {
            $0.servers = ["127.0.0.1"]
            $0.forwards = false
        }
        // Nobody listens there, and nobody else is asked
        #expect(try own.ask("example.org")?[3] == 0x82)
        #expect(hosts.seen.withLock { $0.isEmpty })
        let servers = [try server(in: own, "127.0.0.1", "7.7.7.7"), try server(in: closed, "127.0.0.1", "6.6.6.6")]
        defer { for pid in servers { kill(pid, SIGKILL) } }
        #expect(try own.dig("example.org") == ["7.7.7.7"])
        #expect(try own.dig("+tcp example.org") == ["7.7.7.7"])
        #expect(try own.dig("plain") == ["10.9.0.2"])
        // Too long for a datagram, so the client comes over TCP, and so do we
        for _ in 0..<3 { #expect(try own.dig("big.example.org").count == 60) }
        // Without a way out, what the container itself knows
        #expect(try closed.dig("example.org") == ["6.6.6.6"])
        // Many at once, over one socket
        let many = try own.shell("for i in $(seq 40); do dig @127.0.0.11 +short +tries=1 n$i.example.org & done; wait")
        #expect(many.output.split(separator: "\n") == [Substring](repeating: "7.7.7.7", count: 40))
        #expect(hosts.seen.withLock { $0.isEmpty })
        #expect(try plain.dig("example.org") == ["9.9.9.9"])
        // The same after the process has died
        kill(scene.process, SIGKILL)
        #expect(eventually(timeout: 3) { (try? own.dig("example.org")) == ["7.7.7.7"] })
        #expect(try own.dig("big.example.org").count == 60)
        hosts.end()
        await scene.end()
    }

    @Test func theResolverDoesNotAskItself() async throws {
        let scene = try NamesScene()
        let server = try FakeNameServer(in: scene.host) { FakeNameServer.address($0) }
        let web = try await NamedSandbox(scene, "web", "10.9.0.2") { $0.servers = ["127.0.0.11"] }
        #expect(try web.dig("example.org") == ["9.9.9.9"])
        server.end()
        await scene.end()
    }

    @Test func whereNoServerListensTheAnswerComesAtOnce() async throws {
        let scene = try NamesScene()
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        let begun = Clock.monotonic
        #expect(try web.ask("example.org")?[3] == 0x82)
        #expect(Clock.monotonic - begun < 200_000_000)
        await scene.end()
    }

    @Test func aDeadServerIsPassedOver() async throws {
        let scene = try NamesScene(resolvConf: "nameserver 127.0.0.2\nnameserver 127.0.0.1\n")
        let dead = try FakeNameServer(in: scene.host, at: "127.0.0.2") { _ in nil }
        let server = try FakeNameServer(in: scene.host) { FakeNameServer.address($0) }
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        let begun = Clock.monotonic
        #expect(try web.ask("example.org")?.suffix(4) == [9, 9, 9, 9])
        let first = Clock.monotonic
        #expect(first - begun < 600_000_000)
        #expect(try web.ask("example.org")?.suffix(4) == [9, 9, 9, 9])
        #expect(Clock.monotonic - first < 150_000_000)
        dead.end()
        server.end()
        await scene.end()
    }

    @Test func aLyingServerIsNotBelieved() async throws {
        let scene = try NamesScene()
        let server = try FakeNameServer(in: scene.host) { query in
            var wrong = FakeNameServer.address(query)
            wrong[1] ^= 1
            return wrong
        }
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        #expect(try web.ask("example.org", milliseconds: 1500) == nil)
        server.end()
        await scene.end()
    }

    // MARK: Deaths

    @Test func namesGoOnWhenTheEngineIsGone() async throws {
        let scene = try NamesScene()
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        let process = scene.process
        await scene.link.close()
        #expect(try web.ask("web")?.suffix(4) == [10, 9, 0, 2])
        // the next engine finds the process and what it holds, and takes away what is no more
        let gone = try await NamedSandbox.known(scene, web)
        let second = try scene.secondLink()
        try await second.restore([(gone, web.door)])
        #expect(kill(process, 0) == 0)
        #expect(try web.ask("web")?.suffix(4) == [10, 9, 0, 2])
        await scene.end(second)
    }

    /// From death to the first answer, in milliseconds, a dozen times.
    private func recoveries(_ scene: NamesScene, _ sandboxes: [NamedSandbox]) -> [Int64] {
        (0..<12).map { turn in
            let process = scene.process
            let asker = sandboxes[turn * 7 % sandboxes.count]
            NetClock.sleep(milliseconds: 250)
            kill(process, SIGKILL)
            let begun = Clock.monotonic
            #expect(
                eventually(timeout: 5) { (try? asker.ask("c0", milliseconds: 1000))??.suffix(4) == [10, 9, 0, 2] })
            let spent = (Clock.monotonic - begun) / 1_000_000
            #expect(scene.process != process)
            return spent
        }.sorted()
    }

    @Test(arguments: [1, 50])
    func aKilledProcessIsBackAtOnce(_ count: Int) async throws {
        let scene = try NamesScene()
        var sandboxes: [NamedSandbox] = []
        for number in 0..<count {
            sandboxes.append(try await NamedSandbox(scene, "c\(number)", "10.9.0.\(number + 2)"))
        }
        let kept = recoveries(scene, sandboxes)
        print("death to answer, \(count) sandboxes: median \(kept[6]) ms, longest \(kept[11]) ms")
        #expect(kept[10] < 200)
        // An engine that came later has to make all sockets anew, the first time
        await scene.link.close()
        let second = try scene.secondLink()
        try await second.restore(sandboxes.map { ($0.record.withLock { $0 }, $0.door) })
        let begun = Clock.monotonic
        kill(scene.process, SIGKILL)
        #expect(eventually(timeout: 5) { (try? sandboxes[0].ask("c0", milliseconds: 20))??.suffix(4) == [10, 9, 0, 2] })
        let first = (Clock.monotonic - begun) / 1_000_000
        for sandbox in sandboxes { #expect(try sandbox.ask("c0")?.suffix(4) == [10, 9, 0, 2]) }
        let restored = recoveries(scene, sandboxes)
        print("after a restart of the engine: first \(first) ms, then median \(restored[6]) ms")
        #expect(first < 200)
        #expect(restored[10] < 200)
        await scene.end(second)
    }

    @Test func whatIsAskedWhileNobodyAnswersIsAnsweredAfterwards() async throws {
        let scene = try NamesScene()
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        kill(scene.process, SIGKILL)
        // One query, not repeated, and a connection
        #expect(try web.ask("web", milliseconds: 3000)?.suffix(4) == [10, 9, 0, 2])
        #expect(try web.dig("+tcp web") == ["10.9.0.2"])
        await scene.end()
    }

    @Test func aProcessThatHangsIsReplaced() async throws {
        let scene = try NamesScene()
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        let stuck = scene.process
        kill(stuck, SIGSTOP)
        let db = try await NamedSandbox(scene, "db", "10.9.0.3")
        #expect(scene.process != stuck)
        #expect(eventually(timeout: 3) { Processes.stat(stuck)?.state != UInt8(ascii: "T") })
        for _ in 0..<20 { #expect(try web.ask("db", milliseconds: 500)?.suffix(4) == [10, 9, 0, 3]) }
        #expect(try db.ask("web")?.suffix(4) == [10, 9, 0, 2])
        await scene.end()
    }

    @Test func aSandboxThatIsRemovedLosesItsNamespace() async throws {
        let scene = try NamesScene()
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        #expect(try web.ask("web") != nil)
        await scene.link.close(web.id)
        // refused at once: nobody has the port any more
        #expect(try web.ask("web", milliseconds: 500) == nil)
        #expect(try web.shell("ss -Hlun src 127.0.0.11 2>/dev/null").output.isEmpty)
        await scene.end()
    }

    // MARK: Floods

    @Test func aFloodOfOneDoesNotSlowTheOthers() async throws {
        let scene = try NamesScene()
        let quiet = try await NamedSandbox(scene, "quiet", "10.9.0.2")
        let loud = try await NamedSandbox(scene, "loud", "10.9.0.3")
        let flood = Flood()
        try flood.begin(in: loud)
        var times: [Int64] = []
        var lost = 0
        let memory = residentKilobytes(scene.process)
        // The first probe warms up.
        try quiet.thread.run { _ = try NamesProbe() }
        for _ in 0..<400 {
            let begun = Clock.monotonic
            if try quiet.ask("loud", milliseconds: 1000) == nil { lost += 1 }
            times.append(Clock.monotonic - begun)
            NetClock.sleep(milliseconds: 2)
        }
        let sent = flood.end()
        times.sort()
        let p99 = times[times.count * 99 / 100]
        print(
            "flood of \(sent) queries: p50 \(times[times.count / 2] / 1000) us, p99 \(p99 / 1000) us, lost \(lost), "
                + "memory \(memory) -> \(residentKilobytes(scene.process)) KiB")
        #expect(lost == 0)
        #expect(p99 < 50_000_000)
        #expect(residentKilobytes(scene.process) < memory + 8_192)
        await scene.end()
    }

    @Test func setUpCostsLittle() async throws {
        let scene = try NamesScene()
        let threads = try (0..<20).map { _ in try NamespaceThread() }
        let spent = try threads.map { thread in
            try thread.run {
                let begun = Clock.monotonic
                let sockets = try NamesSockets.open()
                let ended = Clock.monotonic
                #expect((sockets.obstacle == nil) == hasTables)
                return ended - begun
            }
        }.sorted()
        print("sockets of a sandbox: median \(spent[10] / 1000) us, first \(spent[19] / 1000) us")
        await scene.end()
    }
}

extension NamedSandbox {
    static func known(_ scene: NamesScene, _ sandbox: NamedSandbox) async throws -> NamesSandbox {
        sandbox.record.withLock { $0 }
    }
}

private func residentKilobytes(_ pid: CInt) -> Int {
    let text = String(decoding: (try? Files.read("/proc/\(pid)/status", limit: 1 << 16)) ?? [], as: UTF8.self)
    let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
    return Int(line.filter(\.isNumber)) ?? 0
}

/// As many queries as a sandbox can send.
private final class Flood: Sendable {
    private let isEnded = Monitor(false)
    private let sent = Monitor<Int?>(nil)

    func begin(in sandbox: NamedSandbox) throws {
        let namespace = try sandbox.thread.namespace.duplicate().release()
        try startThread { [isEnded, sent] in
            let namespace = Descriptor(owning: namespace)
            var count = 0
            if (try? NetNamespace.enter(namespace.raw)) != nil, var probe = try? NamesProbe() {
                while !isEnded.update({ $0 }) {
                    for number in 0..<100 { probe.send(number % 2 == 0 ? "quiet" : "nowhere\(count).example.org") }
                    count += 100
                }
            }
            sent.update { $0 = count }
        }
    }

    func end() -> Int {
        isEnded.update { $0 = true }
        return sent.wait { $0 }
    }
}
