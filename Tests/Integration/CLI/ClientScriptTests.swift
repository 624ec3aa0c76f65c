import TestSupport
import Testing

/// The client in terminals, with pipes and signals, and across the death of the engine: scripts, since Python has pseudo terminals
/// at hand. They make namespaces and an engine of their own.
@Suite(.serialized) struct ClientScriptTests {
    private func script(_ name: String) {
        let folder = String(#filePath.dropLast("ClientScriptTests.swift".count))
        let result = run(["python3", folder + name, binaries], environment: ["PYTHONDONTWRITEBYTECODE": "1"], timeout: 300)
        #expect(result.status == 0, "\(result.output)\n\(result.error)")
    }

    @Test func terminals() { script("terminal.py") }

    @Test func theEngineMayDie() { script("engine_death.py") }
}
