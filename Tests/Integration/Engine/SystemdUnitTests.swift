import Glibc
import TestSupport
import Testing

private func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Only where the machine is thrown away afterwards: programs and units are installed, services run.
private let mayInstall = exists("/run/systemd/private") && getenv("SKIFF_TEST_UNITS") != nil

/// What `make install` puts on a machine with systemd.
@Suite(
    .serialized,
    .enabled(if: mayInstall, "needs systemd as PID 1 of a machine to throw away (SKIFF_TEST_UNITS=1, make test-guest)"))
struct SystemdUnitTests {
    private let source = getenv("SKIFF_SOURCE_DIR").map { String(cString: $0) } ?? ""

    private func install(_ words: String...) {
        let result = run(["/bin/bash", "\(source)/Scripts/install.sh"] + words)
        #expect(result.status == 0, "\(result.error)")
        #expect(run(["/bin/systemctl", "daemon-reload"]).status == 0)
    }

    private func systemctl(_ words: String...) {
        let result = run(["/bin/systemctl"] + words, timeout: 90)
        #expect(result.status == 0, "systemctl \(words): \(result.error)")
    }

    private func isActive(_ unit: String) -> Bool { run(["/bin/systemctl", "is-active", unit]).output == "active\n" }

    @discardableResult
    private func skiff(_ words: String...) -> ProcessResult { run(["/usr/local/bin/skiff"] + words, timeout: 90) }

    /// Counts, one line at a time.
    private static let counting = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"

    @Test func containersOutliveTheEnginesService() throws {
        let scratch = try Scratch("units")
        install()
        defer {
            skiff("rm", "-f", "counts", "stays")
            systemctl("stop", "skiffd.service", "skiffd.socket")
            install("--remove")
            _ = run(["/bin/rm", "-rf", "/var/lib/skiff"])
        }
        systemctl("start", "skiffd.socket")
        #expect(isActive("skiffd.socket") && !isActive("skiffd.service"))
        // the first word on the socket starts the engine
        #expect(skiff("version").status == 0)
        #expect(isActive("skiffd.service"))
        let root = try scratch.busyboxRoot("image")
        #expect(run(["/bin/sh", "-c", "tar -C '\(root)' -cf - . | /usr/local/bin/skiff import - busybox:test"]).status == 0)
        let started = skiff(
            "run", "-d", "--name", "counts", "--network", "none", "busybox:test", "/bin/sh", "-c", Self.counting)
        #expect(started.status == 0, "\(started.error)")
        let pid = skiff("inspect", "-f", "{{.State.Pid}}", "counts").output
        let number = try #require(pid_t(pid.dropLast()))
        #expect(number > 1)

        for steps in [
            [["stop", "skiffd.service", "skiffd.socket"], ["start", "skiffd.socket"]],
            [["restart", "skiffd.service"]],
            // the engine alone: without this all processes of the unit are meant, shims too
            [["kill", "--kill-whom=main", "-s", "KILL", "skiffd.service"]],
        ] {
            for words in steps {
                let result = run(["/bin/systemctl"] + words, timeout: 90)
                #expect(result.status == 0, "\(words): \(result.error)")
                #expect(kill(number, 0) == 0, "the container ended with \(words)")
            }
            // killed, it is started again by systemd, after RestartSec
            #expect(
                eventually(timeout: 30) {
                    skiff("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "counts").output == "running " + pid
                })
            #expect(skiff("exec", "counts", "echo", "inside").output == "inside\n")
            #expect(skiff("run", "--rm", "--network", "none", "busybox:test", "echo", "new").output == "new\n")
        }
        // not a line was lost meanwhile
        let lines = skiff("logs", "counts").output.split(separator: "\n")
        #expect(lines.count > 10)
        #expect(lines.enumerated().allSatisfy { $0.element == "line \($0.offset + 1)" })
        #expect(skiff("rm", "-f", "counts").status == 0)
        #expect(eventually(timeout: 10) { kill(number, 0) != 0 })
    }

    /// Its sandbox (no root, system call filter, private devices) lets it work.
    @Test func theRegistrysServiceAnswers() {
        install()
        defer {
            systemctl("stop", "skiff-registry.service")
            install("--remove")
        }
        systemctl("start", "skiff-registry.service")
        #expect(isActive("skiff-registry.service"))
        // the machine's own network namespace: the tests have another
        let answer = run(["/bin/nsenter", "-t", "1", "-n", "curl", "-si", "http://127.0.0.1:5000/v2/"])
        #expect(answer.output.hasPrefix("HTTP/1.1 200"), "\(answer.output)\(answer.error)")
    }
}
