import Testing
import TestSupport

/// Every refusal is one line in docker's words, and leaves nothing behind.
@Suite(.serialized) struct EngineRefusalTests {
    @Test func `Refusals of run`() throws {
        let engine = try EngineFixture()
        defer { engine.clean() }
        try engine.importBusybox()
        let cases: [(arguments: [String], status: Int32, text: String)] = [
            (["busybox:test", "nosuch"], 127, "executable file not found in $PATH"),
            (["busybox:test", "/etc"], 126, "permission denied"),
            (
                ["-u", "nobody7", "busybox:test", "true"], 125,
                "unable to find user nobody7: no matching entries in passwd file"
            ),
            (["-u", "4294967296", "busybox:test", "true"], 125, "uids and gids must be in range 0-2147483647"),
            (["-w", "relative", "busybox:test", "true"], 125, "it needs to be an absolute path"),
            (
                ["--mount", "type=bind,source=/no/such,target=/x", "busybox:test", "true"], 125,
                "invalid mount config for type \"bind\": bind source path does not exist: /no/such"
            ),
            (["--restart", "always", "busybox:test", "true"], 125, ""),
            (["nosuchimage:x", "true"], 125, "nosuchimage"),
            (["--cap-add", "FOO", "busybox:test", "true"], 125, "unknown capability"),
            (["-m", "1m", "busybox:test", "true"], 125, "Minimum memory limit allowed is 6MB"),
        ]
        for (arguments, status, text) in cases {
            let result = run(
                [binaries + "/skiff", "-H", "unix://" + engine.socket, "run", "--rm", "--network", "none"] + arguments)
            #expect(result.status == status, "\(arguments): \(result.error)")
            #expect(result.error.contains(text), "\(arguments): \(result.error)")
        }
        #expect(eventually { engine.skiff("ps", "-aq").output.isEmpty })
        #expect(eventually { run(["/bin/ls", "-A", engine.runRoot + "/shims"]).output.isEmpty })
    }

    @Test func `A name belongs to one container, however many want it at once`() throws {
        let engine = try EngineFixture()
        defer { engine.clean() }
        try engine.importBusybox()
        let command = "\(binaries)/skiff -H unix://\(engine.socket) run --rm --network none --name same busybox:test echo ran"
        let storm = "seq 50 | xargs -P 8 -I{} sh -c '\(command) 2>&1'"
        let result = run(["/bin/sh", "-c", storm], timeout: 120)
        let lines = result.output.split(separator: "\n").filter { !$0.isEmpty && !$0.contains("--help") }
        #expect(lines.contains("ran"))
        #expect(lines.allSatisfy { $0 == "ran" || $0.contains("Conflict. The container name \"/same\" is already in use") })
        #expect(eventually { engine.skiff("ps", "-aq").output.isEmpty })
    }
}
