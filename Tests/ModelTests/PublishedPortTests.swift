import Model
import Testing

@Suite struct PublishedPortTests {
    @Test func theAPIsFormsAreUnderstood() throws {
        let plain = try PortRequest(key: "80", hostIP: "", hostPort: "8080")
        #expect(plain == PortRequest(containerPort: 80, hostPorts: 8080...8080))
        let full = try PortRequest(key: "53/udp", hostIP: "127.0.0.1", hostPort: "8000-8010")
        #expect(full == PortRequest(containerPort: 53, proto: .udp, hostAddress: .v4(.loopback), hostPorts: 8000...8010))
        #expect(try PortRequest(key: "80/TCP", hostIP: "0.0.0.0", hostPort: "").hostPorts == nil)
        #expect(try PortRequest(key: "80/tcp", hostIP: "::1", hostPort: "0").hostAddress == .v6(.loopback))
    }

    @Test(arguments: [
        ("", "", ""), ("0/tcp", "", ""), ("65536", "", ""), ("80/dccp", "", ""), ("80/tcp/x", "", ""), ("-80", "", ""),
        ("80", "nowhere", ""), ("80", "1.2.3", ""), ("80", "", "x"), ("80", "", "70000"), ("80", "", "90-80"),
        ("80", "", "1-2-3"),
        ("80", "", "-1"), ("80", "", "+1"),
    ])
    func whatIsNoPortIsRefused(_ key: String, _ address: String, _ port: String) {
        #expect(throws: Fault.self) { try PortRequest(key: key, hostIP: address, hostPort: port) }
    }

    @Test func bindingsSurviveJSON() throws {
        let binding = PortBinding(hostAddress: .v4(.any), hostPort: 8080, containerPort: 80, proto: .udp)
        #expect(
            binding.jsonText
                == #"{"hostAddress":"0.0.0.0","hostPort":8080,"containerPort":80,"protocol":"udp","exposure":"host-policy"}"#)
        #expect(try PortBinding(json: binding.json) == binding)
        let old = #"{"hostAddress":"0.0.0.0","hostPort":8080,"containerPort":80,"protocol":"udp"}"#
        #expect(try PortBinding(json: Array(old.utf8)) == binding)
    }
}
