import JSON
import Linux
import Model
import Networks
import TestSupport
import Testing

@Suite struct CNIChainTests {
    private func chain(_ text: String) throws -> CNIChain {
        try CNIChain(JSONValue(json: Array(text.utf8)), file: "test", programs: ["/nonexistent"])
    }

    private func fault(_ body: () throws -> Void) -> Fault? {
        do { try body() } catch { return error as? Fault }
        return nil
    }

    @Test func aPluginGetsTheListsNameAndVersionAndTheResultSoFar() throws {
        let chain = try chain(
            #"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge","bridge":"cni0","capabilities":{"x":true}}]}"#)
        let plugin = try JSONValue(json: Array(#"{"type":"bridge","bridge":"cni0","capabilities":{"x":true}}"#.utf8))
        #expect(
            chain.configuration(plugin, previous: nil).jsonText
                == #"{"cniVersion":"1.0.0","name":"net","type":"bridge","bridge":"cni0"}"#)
        let previous = try JSONValue(json: Array(#"{"ips":[]}"#.utf8))
        #expect(!chain.publishesPorts)
        #expect(chain.configuration(plugin, previous: previous).jsonText.hasSuffix(#","prevResult":{"ips":[]}}"#))
    }

    @Test func aResultBecomesTheEndpoint() throws {
        let text = """
            {"cniVersion":"1.0.0","interfaces":[{"name":"cni0","mac":"00:11:22:33:44:55"},{"name":"veth1"},
            {"name":"eth0","mac":"99:88:77:66:55:44","sandbox":"/proc/1/fd/9"}],
            "ips":[{"address":"10.1.0.5/16","gateway":"10.1.0.1","interface":2},{"address":"10.2.0.5/16","interface":2},
            {"address":"fd01::5/64","gateway":"fd01::1","interface":2},{"address":"10.9.9.9/8","interface":0}],
            "routes":[{"dst":"10.9.0.0/16"},{"dst":"0.0.0.0/0"}],
            "dns":{"nameservers":["10.1.0.53","no address\\nnameserver 6.6.6.6"],"search":["shop.example","a b"],
            "domain":"example","options":["ndots:2","x\\noptions evil"]}}
            """
        let empty = EndpointRecord(id: .random(), network: .random(), networkName: "cni:net")
        let place = CNIChain.Place(container: .random(), interface: "eth0", namespace: "/proc/1/fd/9")
        let endpoint = try CNIChain.endpoint(empty, JSONValue(json: Array(text.utf8)), place)
        #expect(endpoint.interface == "eth0")
        #expect(endpoint.mac?.description == "99:88:77:66:55:44")
        #expect(endpoint.ipv4?.address.description == "10.1.0.5")
        #expect(endpoint.ipv4?.prefix == 16)
        #expect(endpoint.ipv4?.gateway?.description == "10.1.0.1")
        #expect(endpoint.ipv6?.address.description == "fd01::5")
        // no route leads there
        #expect(endpoint.ipv6?.gateway == nil)
        #expect(
            endpoint.resolver
                == EndpointResolver(servers: ["10.1.0.53"], search: ["shop.example"], options: ["ndots:2"]))
        let bad = try JSONValue(json: Array(#"{"ips":[{"address":"10.1.0.5"}]}"#.utf8))
        #expect(throws: Fault.self) { try CNIChain.endpoint(empty, bad, place) }
    }

    @Test(arguments: [
        #"{"plugins":[{"type":"bridge"}]}"#, #"{"name":"n","plugins":[]}"#, #"{"name":"n","plugins":[{"bridge":"x"}]}"#,
        #"{"name":"n","plugins":[{"type":"../../bin/sh"}]}"#, #"{"name":"../n","plugins":[{"type":"bridge"}]}"#,
    ])
    func whatIsNoChainIsRefused(_ text: String) {
        #expect(fault { _ = try chain(text) }?.kind == .invalid)
    }

    @Test func anAnswerOfTheFirstVersionsIsUnderstood() throws {
        let text = #"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/16","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0"}]}}"#
        let empty = EndpointRecord(id: .random(), network: .random(), networkName: "cni:net")
        let place = CNIChain.Place(container: .random(), interface: "eth0", namespace: "")
        let endpoint = try CNIChain.endpoint(empty, JSONValue(json: Array(text.utf8)), place)
        #expect(endpoint.ipv4?.address.description == "10.1.0.5")
        #expect(endpoint.ipv4?.gateway?.description == "10.1.0.1")
    }

    @Test func aPluginHearsOfPortsAndMACWhereItCanDoWithThem() throws {
        let chain = try chain(
            #"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"a"},{"type":"b","capabilities":{"portMappings":true}}]}"#)
        let wishes = CNIChain.Wishes(
            ports: [
                PortBinding(hostAddress: .v4(.any), hostPort: 8080, containerPort: 80, proto: .tcp),
                PortBinding(hostAddress: .v4(.loopback), hostPort: 53, containerPort: 5353, proto: .udp),
            ], mac: MACAddress("02:00:00:00:00:07"))
        func configured(_ plugin: String) throws -> JSONValue {
            try chain.configuration(JSONValue(json: Array(plugin.utf8)), wishes, previous: nil)
        }
        #expect(chain.publishesPorts)
        #expect(!chain.assignsMAC)
        #expect(try configured(#"{"type":"a"}"#)["runtimeConfig"] == nil)
        #expect(
            try configured(#"{"type":"b","capabilities":{"portMappings":true}}"#)["runtimeConfig"]?.jsonText
                == #"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},"#
                + #"{"hostPort":53,"containerPort":5353,"protocol":"udp","hostIP":"127.0.0.1"}]}"#)
        #expect(
            try configured(#"{"type":"c","capabilities":{"mac":true}}"#)["runtimeConfig"]?.jsonText
                == #"{"mac":"02:00:00:00:00:07"}"#)
    }

    /// A plugin of the test's own: a shell script.
    private func plugin(_ script: String, in scratch: Scratch) throws -> CNIChain {
        _ = try scratch.file("act", "#!/bin/sh\n" + script + "\n", mode: 0o755)
        return try CNIChain(
            JSONValue(json: Array(#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"act"}]}"#.utf8)), file: "test",
            programs: [scratch.path])
    }

    private static let place = CNIChain.Place(container: .random(), interface: "eth0", namespace: "")

    @Test func aPluginThatFailsSaysWhyInOneLine() throws {
        let scratch = try Scratch()
        let angry = try plugin(#"printf '%s' '{"code":7,"msg":"no\nroom","details":"at\u001b[31m all"}'; exit 1"#, in: scratch)
        #expect(
            fault { _ = try angry.check(Self.place, previous: .null) }?.message
                == "CNI plugin act of network net failed (CHECK): no room: at [31m all")
        let mute = try plugin("echo first >&2; echo 'the last word' >&2; exit 3", in: scratch)
        #expect(
            fault { try mute.delete(Self.place) }?.message
                == "CNI plugin act of network net failed (DEL): it ended with status 3: the last word")
        let odd = try plugin("echo surprise", in: scratch)
        #expect(fault { _ = try odd.add(Self.place) }?.message.contains("its answer is no JSON: surprise") == true)
    }

    @Test func aPluginThatHangsIsKilledWithWhatItStarted() throws {
        let scratch = try Scratch()
        var chain = try plugin(
            "echo $$ >\(scratch.path)/pid; sleep 100 & echo $! >>\(scratch.path)/pid; sleep 100", in: scratch)
        chain.patience = 300_000_000
        let begun = Clock.monotonic
        let message = fault { try chain.delete(Self.place) }?.message
        #expect(message?.contains("it was killed after 0.3 s without an answer") == true, "\(message ?? "")")
        #expect(Clock.monotonic - begun < 5_000_000_000)
        let pids = String(decoding: try readFile(scratch.path + "/pid", limit: 100), as: UTF8.self).split(separator: "\n")
        #expect(pids.count == 2)
        for pid in pids.compactMap({ CInt($0) }) {
            #expect(eventually(timeout: 5) { [nil, UInt8(ascii: "Z")].contains(Processes.stat(pid)?.state) })
        }
    }

    @Test func whatAPluginLeavesRunningIsNotWaitedFor() throws {
        let scratch = try Scratch()
        let chain = try plugin(#"sleep 3 & echo '{"cniVersion":"1.0.0","ips":[]}'"#, in: scratch)
        let begun = Clock.monotonic
        #expect(try chain.add(Self.place)["ips"]?.array?.isEmpty == true)
        #expect(Clock.monotonic - begun < 2_000_000_000)
    }

    @Test func aPluginThatTalksWithoutEndIsStopped() throws {
        let scratch = try Scratch()
        let chain = try plugin("exec yes", in: scratch)
        #expect(fault { try chain.delete(Self.place) }?.message.contains("because it said more than 1 MiB") == true)
        let deep = try plugin("head -c 100000 /dev/zero | tr '\\0' '['", in: scratch)
        #expect(fault { _ = try deep.add(Self.place) }?.message.contains("its answer is no JSON") == true)
    }

    @Test func anUnknownChainAndAMissingPluginAreNamed() throws {
        let scratch = try Scratch()
        #expect(fault { _ = try CNIChain(named: "net", in: scratch.path) }?.kind == .notFound)
        let chain = try chain(#"{"name":"net","type":"nothing"}"#)
        let place = CNIChain.Place(container: .random(), interface: "eth0", namespace: "")
        #expect(fault { try chain.delete(place) }?.message.contains("CNI plugin nothing of network net is not in") == true)
    }
}
