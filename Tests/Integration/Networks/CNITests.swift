import JSON
import Linux
import Model
import Networks
import TestSupport
import Testing

/// Real plugins (Debian's containernetworking-plugins) in a host of the test's own.
@Suite struct CNITests {
    static let isInstalled = CNIChain.programs.contains { (try? Descriptor.open($0 + "/bridge", .read)) != nil }

    @Test(.enabled(if: isInstalled, "containernetworking-plugins is not installed"))
    func aChainMakesAnInterfaceAndTakesItAway() throws {
        let scratch = try Scratch()
        let scene = try NetworkScene()
        try writeFile(
            scratch.path + "/10-net.conflist",
            Array(
                """
                {"cniVersion":"0.4.0","name":"net","plugins":[
                  {"type":"bridge","bridge":"cni9","isGateway":true,
                   "ipam":{"type":"host-local","dataDir":"\(scratch.path)/ipam","ranges":[[{"subnet":"10.88.0.0/24"}]],
                   "routes":[{"dst":"0.0.0.0/0"}]}},
                  {"type":"tuning","sysctl":{"net.ipv4.conf.eth0.log_martians":"1"}}]}
                """.utf8))
        let sandbox = try NamespaceThread()
        let place = CNIChain.Place(
            container: .random(), interface: "eth0", namespace: "/proc/\(ownProcessID)/fd/\(sandbox.namespace.raw)")
        let folder = scratch.path
        let endpoint = try scene.host.run {
            try CNIChain(named: "net", in: folder).add(
                place, to: EndpointRecord(id: .random(), network: .random(), networkName: "cni:net"))
        }
        #expect(endpoint.ipv4?.address.description == "10.88.0.2")
        #expect(endpoint.ipv4?.gateway?.description == "10.88.0.1")
        try sandbox.run {
            let socket = try NetlinkSocket(.route)
            let eth0 = try #require(try socket.link(named: "eth0"))
            #expect(eth0.mac == endpoint.mac)
            #expect(try socket.addresses().contains { $0.link == eth0.index && $0.address == endpoint.addresses.first })
            #expect(try NetSysctl.read("ipv4/conf/eth0/log_martians") == "1")
        }
        // Deleted without its namespace, as after a crash; and once more.
        for _ in 0..<2 {
            try scene.host.run {
                try CNIChain(named: "net", in: folder).delete(
                    CNIChain.Place(container: place.container, interface: "eth0", namespace: ""))
            }
        }
        let again = try scene.host.run {
            try CNIChain(named: "net", in: folder).add(
                CNIChain.Place(container: .random(), interface: "eth1", namespace: place.namespace),
                to: EndpointRecord(id: .random(), network: .random(), networkName: "cni:net"))
        }
        #expect(again.interface == "eth1")
    }
}
