import TestSupport
import Testing

/// What registries, disks and kills do to pulls and pushes: scripts, since the registry that misbehaves is one
/// (`Tests/Support/faulty_registry.py`). They make namespaces and an engine of their own.
@Suite(.serialized) struct PullFaultTests {
    private func script(_ name: String) {
        let folder = String(#filePath.dropLast("PullFaultTests.swift".count))
        let result = run(["python3", folder + name, binaries], environment: ["PYTHONDONTWRITEBYTECODE": "1"], timeout: 300)
        #expect(result.status == 0, "\(result.output)\n\(result.error)")
    }

    @Test func `Whatever a registry does, a pull ends in time, in success or in one line`() { script("pull_faults.py") }

    @Test func `Transfers side by side, cancelled, resumed and refused`() { script("transfers.py") }

    @Test func `Killed at every step of a transfer, and on full disks`() { script("transfer_kills.py") }
}
