import TestSupport
import Testing

/// Who reaches what, before and after each disturbance, and what many connections cost: scripts, since they serve and probe hundreds
/// of sockets in a dozen namespaces. Hosts, LAN and outside are namespaces too (`lab.py`).
@Suite(.serialized, .enabled(if: hasTables, "this kernel lacks CONFIG_NF_TABLES_INET or CONFIG_NFT_NAT"))
struct NetworkMatrixTests {
    /// Each with an engine and namespaces of its own, so they run side by side.
    /// - `matrix.py`: the table of what must connect, at rest and after flushes, reloads, random changes and kills of the engine.
    /// - `policy.py`: a published port is reached as a program that listens on the host would be.
    /// - `hostile.py`: a container that forges packets deceives none of its neighbours.
    @Test func `Everybody reaches what the table says, whatever happens`() throws {
        try pass(["matrix.py", "policy.py", "hostile.py"])
    }

    /// `flood.py`: 20,000 connections and a flood of datagrams through published ports.
    @Test func `Many connections leave nothing behind`() throws {
        try pass(["flood.py"])
    }

    private func pass(_ names: [String]) throws {
        let folder = String(#filePath.dropLast("NetworkMatrixTests.swift".count))
        let scripts = try names.map { name in
            try RunningProcess(["python3", folder + name, binaries], environment: ["PYTHONDONTWRITEBYTECODE": "1"])
        }
        for (name, script) in zip(names, scripts) {
            let result = script.finish(timeout: 300)
            #expect(result.status == 0, "\(name)\n\(result.output)\n\(result.error)")
        }
    }
}
