import Glibc
import TestSupport
import Testing

private func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

private let mayRun =
    exists("/run/systemd/private") && getenv("SKIFF_TEST_UNITS") != nil && exists("/usr/lib/systemd/systemd-resolved")

/// A machine whose /etc/resolv.conf is systemd-resolved's: its stub at 127.0.0.53 answers this machine alone.
@Suite(
    .serialized,
    .enabled(
        if: mayRun,
        "needs systemd-resolved and systemd as PID 1 of a machine to throw away (SKIFF_TEST_UNITS=1, make test-guest)"))
struct ResolvedTests {
    private static let folder = String(#filePath.dropLast("ResolvedTests.swift".count))
    /// systemd's services are in the machine's own network, the tests are not.
    private static let machine = ["/usr/bin/nsenter", "-t", "1", "-n"]

    @discardableResult
    private func onMachine(_ script: String) -> ProcessResult {
        let result = run(Self.machine + ["/bin/sh", "-c", script], timeout: 90)
        #expect(result.status == 0, "\(script): \(result.output)\(result.error)")
        return result
    }

    private func useServer(_ address: String) {
        onMachine(
            """
            mkdir -p /run/systemd/resolved.conf.d
            printf '[Resolve]\\nDNS=\(address)\\nFallbackDNS=\\nDomains=shop.example\\nDNSSEC=no\\nLLMNR=no\\nMulticastDNS=no\\nCache=no\\n' \
                >/run/systemd/resolved.conf.d/test.conf
            systemctl restart systemd-resolved
            """)
        let path = "/run/systemd/resolve/resolv.conf"
        #expect(eventually { run(["/bin/cat", path]).output.contains("nameserver \(address)\n") })
    }

    @Test func namesGoByTheStubAndFilesAroundIt() throws {
        let servers = [("10.53.0.1", "7.7.7.7"), ("10.53.0.2", "6.6.6.6")]
        onMachine("ip link set lo up; for a in 10.53.0.1 10.53.0.2; do ip addr add $a/32 dev lo 2>/dev/null || :; done")
        var pids: [pid_t] = []
        for (address, answer) in servers {
            let started = onMachine(
                "python3 '\(Self.folder)name_server.py' \(address) \(answer) >/dev/null 2>&1 </dev/null & echo $!")
            pids.append(try #require(pid_t(started.output.dropLast())))
        }
        onMachine(
            "mv /etc/resolv.conf /etc/resolv.conf.before 2>/dev/null || :; ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf"
        )
        defer {
            for pid in pids { kill(pid, SIGKILL) }
            onMachine(
                "rm -f /etc/resolv.conf; mv /etc/resolv.conf.before /etc/resolv.conf 2>/dev/null || :; systemctl stop systemd-resolved"
            )
        }
        useServer("10.53.0.1")
        #expect(run(["/bin/cat", "/etc/resolv.conf"]).output.contains("nameserver 127.0.0.53"))
        let engine = try EngineFixture("resolved", prefix: Self.machine)
        defer { engine.clean() }
        try engine.importBusybox()
        #expect(engine.skiff("network", "create", "shop").status == 0)
        let client = engine.skiff("run", "-d", "--name", "client", "--network", "shop", "busybox:test", "sleep", "600")
        #expect(client.status == 0, "\(client.error)")
        func lookup(_ name: String) -> String { engine.skiff("exec", "client", "nslookup", name).output }
        #expect(lookup("outside.example").contains("7.7.7.7"), "\(engine.log)")
        // Nobody but the stub knows this name
        #expect(lookup("_localdnsstub.").contains("127.0.0.53"))
        // busybox asks by UDP alone: as much as fits
        #expect(lookup("big.example").contains("10.60.0.1\n"))
        #expect(engine.skiff("exec", "client", "cat", "/etc/resolv.conf").output.contains("nameserver 127.0.0.11\n"))
        #expect(engine.skiff("exec", "client", "cat", "/etc/resolv.conf").output.contains("search shop.example\n"))
        // The default network's containers cannot reach the stub: they get the servers behind it
        func file() -> String { engine.skiff("run", "--rm", "busybox:test", "cat", "/etc/resolv.conf").output }
        #expect(file().contains("nameserver 10.53.0.1\n") && !file().contains("127.0.0.53"), "\(file())")
        let stays = engine.skiff("run", "-d", "--name", "stays", "busybox:test", "sleep", "600")
        #expect(stays.status == 0)

        useServer("10.53.0.2")
        #expect(eventually { lookup("outside.example").contains("6.6.6.6") })
        #expect(file().contains("nameserver 10.53.0.2\n") && !file().contains("10.53.0.1"))
        #expect(engine.skiff("restart", "-t", "0", "stays").status == 0)
        #expect(engine.skiff("exec", "stays", "cat", "/etc/resolv.conf").output.contains("nameserver 10.53.0.2\n"))

        // While resolved is away nothing is answered, and not for long
        onMachine("systemctl stop systemd-resolved")
        let begun = monotonic()
        #expect(!lookup("outside.example").contains("6.6.6.6"))
        #expect(monotonic() - begun < 20)
        // The machine no longer uses the stub: followed from the next second on
        onMachine("rm /etc/resolv.conf; echo 'nameserver 10.53.0.1' >/etc/resolv.conf")
        #expect(eventually { lookup("outside.example").contains("7.7.7.7") })
    }
}
