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
        #expect(chain.configuration(plugin, previous: previous).jsonText.hasSuffix(#","prevResult":{"ips":[]}}"#))
    }

    @Test func aResultBecomesTheEndpoint() throws {
        let text = """
            {"cniVersion":"1.0.0","interfaces":[{"name":"cni0","mac":"00:11:22:33:44:55"},{"name":"veth1"},
            {"name":"eth0","mac":"99:88:77:66:55:44","sandbox":"/proc/1/fd/9"}],
            "ips":[{"address":"10.1.0.5/16","gateway":"10.1.0.1","interface":2},{"address":"fd01::5/64","interface":2}]}
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
        let bad = try JSONValue(json: Array(#"{"ips":[{"address":"10.1.0.5"}]}"#.utf8))
        #expect(throws: Fault.self) { try CNIChain.endpoint(empty, bad, place) }
    }

    @Test(arguments: [
        #"{"plugins":[{"type":"bridge"}]}"#, #"{"name":"n","plugins":[]}"#, #"{"name":"n","plugins":[{"bridge":"x"}]}"#,
        #"{"name":"n","plugins":[{"type":"../../bin/sh"}]}"#,
    ])
    func whatIsNoChainIsRefused(_ text: String) {
        #expect(fault { _ = try chain(text) }?.kind == .invalid)
    }

    @Test func anUnknownChainAndAMissingPluginAreNamed() throws {
        let scratch = try Scratch()
        #expect(fault { _ = try CNIChain(named: "net", in: scratch.path) }?.kind == .notFound)
        let chain = try chain(#"{"name":"net","type":"nothing"}"#)
        let place = CNIChain.Place(container: .random(), interface: "eth0", namespace: "")
        #expect(fault { try chain.delete(place) }?.message.contains("CNI plugin nothing of network net is not in") == true)
    }
}
