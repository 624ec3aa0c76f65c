import TestSupport
import Testing

/// `skiff registry serve` as its clients see it: skopeo, raw sockets, upstreams that lie, SIGKILL at any moment. A script, since Python
/// has clients and servers of HTTP at hand.
@Suite(.serialized) struct RegistryServerTests {
    @Test(arguments: ["clients", "tls", "mirror", "limits", "storm"]) func theServerHolds(_ part: String) {
        let script = String(#filePath.dropLast("RegistryServerTests.swift".count)) + "registry_server.py"
        let result = run(
            ["python3", script, binaries, part], environment: ["PYTHONDONTWRITEBYTECODE": "1"], timeout: 300)
        #expect(result.status == 0, "\(result.output)\n\(result.error)")
    }
}
