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

    @Test func aKilledProcessIsBackWithinASecond() async throws {
        let scene = try NamesScene()
        let web = try await NamedSandbox(scene, "web", "10.9.0.2")
        let db = try await NamedSandbox(scene, "db", "10.9.0.3")
        let first = scene.process
        kill(first, SIGKILL)
        let begun = Clock.monotonic
        #expect(eventually(timeout: 3) { (try? web.ask("db", milliseconds: 50))??.suffix(4) == [10, 9, 0, 3] })
        #expect(Clock.monotonic - begun < 1_000_000_000)
        #expect(try db.ask("web")?.suffix(4) == [10, 9, 0, 2])
        #expect(scene.process != first)
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
