import TestSupport
import Testing

/// What registries, disks and kills do to pulls and pushes: scripts, since the registry that misbehaves is one
/// (`Tests/Support/faulty_registry.py`). They make namespaces and an engine of their own, and mostly wait: they run side by side.
@Suite(.serialized) struct PullFaultTests {
    /// - `pull_faults.py`: whatever a registry does, a pull ends in time, in success or in one line.
    /// - `transfers.py`: pulls side by side, cancelled, resumed, refused; pushes to a registry that misbehaves.
    /// - `transfer_kills.py`: SIGKILL at every step of a transfer; full disks.
    /// - `live_registries.py`: certificates, logins, tokens, mirrors, proxies and uploads with docker-registry and our own server.
    @Test func `Transfers survive registries, disks and kills`() throws {
        let folder = String(#filePath.dropLast("PullFaultTests.swift".count))
        let names = ["pull_faults.py", "transfers.py", "transfer_kills.py", "live_registries.py"]
        let scripts = try names.map { name in
            try RunningProcess(["python3", folder + name, binaries], environment: ["PYTHONDONTWRITEBYTECODE": "1"])
        }
        for (name, script) in zip(names, scripts) {
            let result = script.finish(timeout: 300)
            #expect(result.status == 0, "\(name)\n\(result.output)\n\(result.error)")
        }
    }
}
