import Glibc
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
            try Self.endpoint(CNIChain(named: "net", in: folder).add(place), place)
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
        let next = CNIChain.Place(container: .random(), interface: "eth1", namespace: place.namespace)
        let again = try scene.host.run { try Self.endpoint(CNIChain(named: "net", in: folder).add(next), next) }
        #expect(again.interface == "eth1")
    }

    private static func endpoint(_ result: JSONValue, _ place: CNIChain.Place) throws -> EndpointRecord {
        try CNIChain.endpoint(EndpointRecord(id: .random(), network: .random(), networkName: "cni:net"), result, place)
    }

    /// Chains without a bridge, each with the neighbour that it reaches.
    @Test(
        .enabled(if: isInstalled, "containernetworking-plugins is not installed"),
        arguments: [
            (
                #"{"type":"ptp","ipam":{"type":"host-local","ranges":[[{"subnet":"10.88.1.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}"#,
                "10.88.1.2", "10.88.1.1"
            ),
            (
                #"{"type":"macvlan","master":"lan0","mode":"bridge","ipam":{"type":"static","#
                    + #""addresses":[{"address":"198.51.100.70/24","gateway":"198.51.100.2"}],"routes":[{"dst":"0.0.0.0/0"}]},"#
                    + #""dns":{"nameservers":["198.51.100.2"],"search":["lan.example"]}}"#,
                "198.51.100.70", "198.51.100.2"
            ),
        ])
    func otherKindsOfLinksComeAndGo(_ plugin: String, _ address: String, _ gateway: String) throws {
        let scratch = try Scratch()
        let scene = try NetworkScene()
        let text = plugin.replacing("\"host-local\"", with: "\"host-local\",\"dataDir\":\"\(scratch.path)/ipam\"")
        let chain = try CNIChain(
            JSONValue(json: Array(#"{"cniVersion":"1.0.0","name":"net","plugins":[\#(text)]}"#.utf8)), file: "test")
        let sandbox = try NamespaceThread()
        let place = CNIChain.Place(
            container: .random(), interface: "eth0", namespace: "/proc/\(ownProcessID)/fd/\(sandbox.namespace.raw)")
        let result = try scene.host.run { try chain.add(place) }
        let endpoint = try Self.endpoint(result, place)
        #expect(endpoint.ipv4?.address.description == address)
        #expect(endpoint.ipv4?.gateway?.description == gateway)
        #expect(endpoint.resolver?.search == (text.contains("lan.example") ? ["lan.example"] : nil))
        let ping = try sandbox.run { run(["/bin/sh", "-c", "busybox ping -c 1 -W 3 \(gateway)"]) }
        #expect(ping.status == 0, "\(ping.output)")
        try scene.host.run { try chain.check(place, previous: result) }
        // Somebody takes the address away
        _ = try sandbox.run { run(["/bin/sh", "-c", "ip addr flush dev eth0"]) }
        #expect(throws: Fault.self) { try scene.host.run { try chain.check(place, previous: result) } }
        try scene.host.run { try chain.delete(place, previous: result) }
        #expect(try sandbox.run { try NetlinkSocket(.route).link(named: "eth0") } == nil)
    }

    // MARK: By the engine

    private static let shop = """
        {"cniVersion":"1.0.0","name":"shop","plugins":[
          {"type":"bridge","bridge":"cni8","isGateway":true,"ipMasq":true,"hairpinMode":true,
           "dns":{"nameservers":["10.87.0.1"],"search":["cni.example"]},
           "ipam":{"type":"host-local","dataDir":"SCRATCH/ipam",
           "ranges":[[{"subnet":"10.87.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
          {"type":"portmap","capabilities":{"portMappings":true},"snat":true},
          {"type":"firewall"},{"type":"tuning","capabilities":{"mac":true},"sysctl":{"net.ipv4.conf.IFNAME.log_martians":"1"}}]}
        """

    /// An engine that finds these chains under /etc/cni/net.d.
    private func engine(_ name: String, _ scratch: Scratch, _ chains: [String: String]) throws -> EngineFixture {
        let folder = scratch.folder("etc/cni/net.d")
        for (name, text) in chains {
            _ = try scratch.file("etc/cni/net.d/\(name).conflist", text.replacing("SCRATCH", with: scratch.path))
        }
        let top = folder.dropLast("/cni/net.d".count)
        let script = """
            mkdir -p '\(top).work'; mount -t tmpfs none '\(top).work'; mkdir '\(top).work/u' '\(top).work/w'
            mount -t overlay -o "lowerdir=\(top):/etc,upperdir=\(top).work/u,workdir=\(top).work/w" overlay /etc; exec "$@"
            """
        let engine = try EngineFixture(name, prefix: ["/usr/bin/unshare", "--mount", "/bin/sh", "-ec", script, "-"])
        try engine.importBusybox()
        return engine
    }

    private func addresses(_ scratch: Scratch) -> [String] {
        run(["/bin/sh", "-c", "ls '\(scratch.path)/ipam/shop' | grep '^10' || :"]).output.split(separator: "\n").map(
            String.init)
    }

    private static func rules() -> String { run(["/bin/sh", "-c", "iptables-save 2>/dev/null"]).output }

    @Test(.enabled(if: isInstalled && hasTables, "containernetworking-plugins and the kernel's nf_tables are needed"))
    func aChainPublishesPortsAndGivesNamesAndForgetsAll() throws {
        let scratch = try Scratch("cni")
        let engine = try engine("cni", scratch, ["10-shop": Self.shop])
        defer { engine.clean() }
        let web = engine.skiff(
            "run", "-d", "--name", "web", "--network", "cni:shop", "-p", "18080:80", "--mac-address", "02:00:00:00:87:01",
            "busybox:test", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
        #expect(web.status == 0, "\(web.error)\(engine.log)")
        #expect(addresses(scratch) == ["10.87.0.2"])
        #expect(engine.skiff("port", "web").output == "80/tcp -> 0.0.0.0:18080\n")
        #expect(engine.skiff("exec", "web", "ip", "link").output.contains("02:00:00:00:87:01"))
        #expect(engine.skiff("exec", "web", "cat", "/etc/resolv.conf").output.contains("search cni.example"))
        let fetch = "curl -s -m 3 http://10.87.0.1:18080/passwd"
        #expect(run(["/bin/sh", "-c", fetch]).output.contains("nobody"))
        // The same port for another is refused before anything is made
        let second = engine.skiff(
            "run", "-d", "--name", "second", "--network", "cni:shop", "-p", "18080:80", "busybox:test", "sleep", "300")
        #expect(second.status == 125 && second.error.contains("18080"), "\(second.error)")
        #expect(addresses(scratch) == ["10.87.0.2"])
        #expect(Self.rules().contains("18080"))
        // Neighbours on the chain know one another's names
        let seen = engine.skiff("run", "--rm", "--network", "cni:shop", "busybox:test", "nslookup", "web.")
        #expect(seen.output.contains("10.87.0.2"), "\(seen.output)\(seen.error)")
        // Stopped and started, it has everything again
        #expect(engine.skiff("restart", "-t", "0", "web").status == 0)
        #expect(addresses(scratch).count == 1)
        #expect(run(["/bin/sh", "-c", fetch]).output.contains("nobody"))
        #expect(engine.skiff("rm", "-f", "web", "second").status == 0)
        #expect(eventually { addresses(scratch).isEmpty })
        #expect(eventually { !Self.rules().contains("18080") && !Self.rules().contains("10.87.0.2/32") }, "\(Self.rules())")
    }

    @Test(.enabled(if: isInstalled && hasTables, "containernetworking-plugins and the kernel's nf_tables are needed"))
    func whatADeadEngineLeftIsDeletedAndTheLivingIsChecked() throws {
        let scratch = try Scratch("cni-kill")
        let engine = try engine("cni-kill", scratch, ["10-shop": Self.shop])
        defer { engine.clean() }
        for (name, port) in [("lives", "18081:80"), ("dies", "18082:80")] {
            let started = engine.skiff(
                "run", "-d", "--name", name, "--network", "cni:shop", "-p", port, "busybox:test", "busybox", "httpd", "-f",
                "-h",
                "/etc")
            #expect(started.status == 0, "\(started.error)")
        }
        let pids = ["lives", "dies"].map { engine.skiff("inspect", "-f", "{{.State.Pid}}", $0).output.dropLast() }
        engine.end(SIGKILL)
        let dying = try #require(pid_t(pids[1]))
        // 0 would be this test and all that it belongs to
        try #require(dying > 1)
        kill(dying, SIGKILL)
        _ = run(["/bin/sh", "-c", "nsenter -t \(pids[0]) -n ip addr add 10.99.0.1/24 dev eth0"])
        _ = run(["/bin/sh", "-c", "rm '\(scratch.path)/etc/cni/net.d/10-shop.conflist'"])
        try engine.start()
        // Deleted by what was noted, though the chain's file is gone
        #expect(eventually { addresses(scratch).count == 1 }, "\(engine.log)")
        #expect(eventually { !Self.rules().contains("18082") })
        #expect(run(["/bin/sh", "-c", "curl -s -m 3 http://10.87.0.1:18081/passwd"]).output.contains("nobody"))
        // portmap before 1.2 misses rules for IPv6 that it has not made
        #expect(!engine.log.contains("CNI plugin bridge"), "\(engine.log)")
        engine.end(SIGKILL)
        _ = run(["/bin/sh", "-c", "nsenter -t \(pids[0]) -n ip addr flush dev eth0"])
        try engine.start()
        #expect(eventually { engine.log.contains("is not as CNI network shop made it: CNI plugin bridge") }, "\(engine.log)")
        #expect(engine.skiff("rm", "-f", "lives", "dies").status == 0)
        #expect(eventually { addresses(scratch).isEmpty })
        #expect(eventually { !Self.rules().contains("18081") }, "\(Self.rules())")
    }

    @Test(.enabled(if: isInstalled && hasTables, "containernetworking-plugins and the kernel's nf_tables are needed"))
    func aRunningContainerComesToAChainAndLeavesIt() throws {
        let scratch = try Scratch("cni-hot")
        let engine = try engine("cni-hot", scratch, ["10-shop": Self.shop])
        defer { engine.clean() }
        let started = engine.skiff("run", "-d", "--name", "box", "busybox:test", "sleep", "300")
        #expect(started.status == 0, "\(started.error)")
        func routes() -> String { engine.skiff("exec", "box", "ip", "route").output }
        let before = routes()
        for _ in 0..<2 {
            let joined = engine.skiff("network", "connect", "cni:shop", "box")
            #expect(joined.status == 0, "\(joined.error)")
            let inside = engine.skiff("exec", "box", "ip", "-o", "-4", "addr").output
            #expect(inside.contains("eth1    inet 10.87.0."), "\(inside)")
            #expect(addresses(scratch).count == 1)
            #expect(engine.skiff("exec", "box", "ping", "-c", "1", "-W", "3", "10.87.0.1").status == 0)
            let left = engine.skiff("network", "disconnect", "cni:shop", "box")
            #expect(left.status == 0, "\(left.error)")
            #expect(addresses(scratch).isEmpty)
            #expect(routes() == before)
        }
    }

    @Test func aMissingPluginOrChainIsNamed() throws {
        let scratch = try Scratch("cni-bad")
        let chain = #"{"cniVersion":"1.0.0","name":"bad","plugins":[{"type":"skiff-no-such-plugin"}]}"#
        let engine = try engine("cni-bad", scratch, ["bad": chain])
        defer { engine.clean() }
        let refused = engine.skiff("run", "--rm", "--network", "cni:bad", "busybox:test", "true")
        #expect(refused.status == 125)
        #expect(
            refused.error.contains("CNI plugin skiff-no-such-plugin of network bad is not in /opt/cni/bin"), "\(refused.error)")
        #expect(
            engine.skiff("run", "--rm", "--network", "cni:none", "busybox:test", "true").error.contains("cni:none not found"))
        #expect(engine.skiff("run", "--rm", "busybox:test", "true").status == 0)
    }
}
