import Glibc
import Linux
import Model
import Networks
import Synchronization
import TestSupport
import Testing

/// Published ports obey the host's rules for input: what a program of the host that listens there would get is what the
/// container gets. The program is really started, in the same place, and asked first.
@Suite(.enabled(if: hasTables, "this kernel lacks CONFIG_NF_TABLES_INET or CONFIG_NFT_NAT")) struct InputPolicyTests {
    @Test func aDefaultDenyClosesWhatIsPublished() async throws {
        let scene = try NetworkScene()
        try scene.load(
            """
            table inet filter { chain input { type filter hook input priority 0; policy drop;
              iifname "lo" accept
              ct state established,related accept
              tcp dport 8080 ip saddr 198.51.100.0/24 accept
            }
            }
            """)
        let service = try await scene.started()
        let container = try await SceneContainer(service, "web", ports: [.port(8080, 80), .port(8081, 80)])
        let server = try EchoServer(container.thread, 80)
        let address = NetworkScene.hostAddress
        #expect(try scene.fromNeighbour(address, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(try scene.fromNeighbour(address, 8081, milliseconds: 300) == .silence)
        #expect(try scene.fromHost("127.0.0.1", 8081) == .answered(seenAs: "172.30.0.1"))
        #expect(try scene.fromHost(address, 8081) == .answered(seenAs: address))
        // By the host's address a container is a stranger like others.
        #expect(try container.talk(address, 8081, milliseconds: 300) == .silence)
        let all = try await service.auditPorts()
        let audit = all.filter { $0.binding.hostAddress.v4 != nil }
        #expect(audit.map(\.others.reach) == [.some, .nobody])
        #expect(audit.map(\.host.reach) == [.everybody, .everybody])
        // Nobody has an IPv4 address there.
        #expect(all.allSatisfy { $0.binding.hostAddress.v4 != nil || $0.others.reach == .nobody })
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    @Test func aPortThatIsOpenIsPastThePolicy() async throws {
        let scene = try NetworkScene()
        try scene.load("table ip filter { chain INPUT { type filter hook input priority 0; policy drop; }\n}")
        let service = try await scene.started()
        var open = PortRequest.port(8080, 80)
        open.exposure = .open
        let container = try await SceneContainer(service, "web", ports: [open, .port(8081, 80)])
        let server = try EchoServer(container.thread, 80)
        #expect(
            try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8081, milliseconds: 300) == .silence)
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    /// Within a second, also for what was published before.
    @Test func changesOfTheHostsRulesAreFollowed() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(service, "web", ports: [.port(8080, 80)])
        let server = try EchoServer(container.thread, 80)
        func answers() throws -> Bool {
            try scene.fromNeighbour(NetworkScene.hostAddress, 8080, milliseconds: 100)
                == .answered(seenAs: NetworkScene.neighbourAddress)
        }
        #expect(try answers())
        try scene.load(
            """
            table inet filter { set allowed { type ipv4_addr; }
              chain input { type filter hook input priority 0; policy drop; ip saddr @allowed accept; }
            }
            """)
        #expect(eventually(timeout: 1) { (try? answers()) == false })
        try scene.load("add element inet filter allowed { \(NetworkScene.neighbourAddress) }")
        #expect(eventually(timeout: 1) { (try? answers()) == true })
        try scene.load("delete element inet filter allowed { \(NetworkScene.neighbourAddress) }")
        #expect(eventually(timeout: 1) { (try? answers()) == false })
        try scene.load("flush ruleset")
        #expect(eventually(timeout: 1.5) { (try? answers()) == true })
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    @Test func rejectionsAreKept() async throws {
        let scene = try NetworkScene()
        try scene.load(
            """
            table inet filter { chain input { type filter hook input priority 0; policy accept;
              tcp dport 8080 reject with tcp reset
              udp dport 5353 reject
            }
            }
            """)
        let service = try await scene.started()
        let container = try await SceneContainer(service, "web", ports: [.port(8080, 80), .port(5353, 53, .udp)])
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .refused)
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 5353, .udp) == .refused)
        #expect(try scene.fromHost(NetworkScene.hostAddress, 8080) == .refused)
        withExtendedLifetime(container) {}
        await service.shutdown()
    }

    /// Rules at random, packets at random: the verdict for a listener of the host is that for the published port.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func verdictsAreThoseOfAListenerOfTheHost(seed: UInt64) async throws {
        var random = RuleDice(seed: seed)
        let scene = try NetworkScene()
        try scene.neighbour.run {
            let socket = try NetlinkSocket(.route)
            let link = try socket.link(named: "eth0")
            for address in RuleDice.sources {
                guard let parsed = IPv4Address(address) else { continue }
                try socket.transact([RouteRequest.add(address: parsed, prefix: 32, link: link?.index ?? 0)])
            }
        }
        try scene.host.run {
            guard system("ip route add 10.0.0.0/8 dev lan0") == 0 else { throw KernelFault("ip route", errno: EINVAL) }
            // Refusals by ICMP are rationed; a verdict is not to depend on how many came before.
            try NetSysctl.write("ipv4/icmp_ratelimit", "0")
            // Before Linux 6.13 one number for all namespaces, which is not ours to set.
            try? NetSysctl.write("ipv4/icmp_msgs_per_sec", "100000")
        }
        let service = try await scene.started()
        let idle = try await SceneContainer(service, "idle")
        for round in 0..<4 {
            let script = seed % 3 == 0 ? random.iptables() : random.script()
            try scene.load("flush ruleset")
            if seed % 3 == 0 { try scene.loadIptables(script) } else { try scene.load(script) }
            #expect(eventually(timeout: 2) { (try? scene.elements("bridges")) == 1 })
            let probes = random.probes(scene, idle)
            var servers: [EchoServer] = []
            for port in RuleDice.ports {
                servers.append(try EchoServer(scene.host, port))
                servers.append(try EchoServer(scene.host, port, .udp))
                // Bound to every address alone, it would answer a container from the bridge's.
                servers.append(try EchoServer(scene.host, port, .udp, address: "198.51.100.1"))
            }
            let wanted = try PolicyProbe.ask(probes)
            servers = []
            usleep(50_000)
            let ports = RuleDice.ports.flatMap { [PortRequest.port($0, $0), .port($0, $0, .udp)] }
            let container = try await SceneContainer(service, "web\(round)", ports: ports)
            for port in RuleDice.ports {
                servers.append(try EchoServer(container.thread, port))
                servers.append(try EchoServer(container.thread, port, .udp))
            }
            usleep(600_000)
            let found = try PolicyProbe.ask(probes)
            for (probe, (wanted, found)) in zip(probes, zip(wanted, found)) where wanted != found {
                Issue.record("\(probe): a listener \(wanted), the published port \(found), by\n\(script)")
            }
            withExtendedLifetime(servers) {}
            await service.release(container.lease.record.id)
        }
        withExtendedLifetime(idle) {}
        await service.shutdown()
    }
}

extension NetworkScene {
    /// Gives the host rules in nft's words.
    func load(_ script: String) throws { try run("nft -f -", script) }

    /// In iptables-restore's words.
    func loadIptables(_ script: String) throws { try run("iptables-nft-restore", script) }

    private func run(_ command: String, _ input: String) throws {
        try host.run {
            guard let pipe = popen(command, "w") else { throw KernelFault("popen", errno: errno, command) }
            fputs(input + "\n", pipe)
            guard pclose(pipe) == 0 else { throw KernelFault(command, errno: EINVAL, input) }
        }
    }
}

/// One attempt of many that are made at once.
struct PolicyProbe: CustomStringConvertible, Sendable {
    enum Answer: Sendable, Equatable { case answered, refused, silent }

    let from: NamespaceThread
    let place: String
    let source: String?
    let target: String
    let port: UInt16
    let proto: PortProtocol

    var description: String { "\(place) \(source ?? "") to \(target):\(port)/\(proto)" }

    static func ask(_ probes: [PolicyProbe]) throws -> [Answer] {
        var answers = [Answer](repeating: .silent, count: probes.count)
        for place in Set(probes.map(\.place)) {
            let own = probes.indices.filter { probes[$0].place == place }
            guard let thread = own.first.map({ probes[$0].from }) else { continue }
            let found = try thread.run { ask(own.map { probes[$0] }, milliseconds: 350) }
            for (index, answer) in zip(own, found) { answers[index] = answer }
        }
        return answers
    }

    private static func ask(_ probes: [PolicyProbe], milliseconds: Int) -> [Answer] {
        var answers = [Answer](repeating: .silent, count: probes.count)
        var polls = probes.map { pollfd(fd: $0.open(), events: Int16(POLLIN), revents: 0) }
        defer { for poll in polls where poll.fd >= 0 { close(poll.fd) } }
        for index in polls.indices where polls[index].fd == -111 {
            answers[index] = .refused
            polls[index].fd = -1
        }
        let open = polls.map(\.fd)
        defer { for fd in open where fd >= 0 && !polls.contains(where: { $0.fd == fd }) { close(fd) } }
        var left = milliseconds
        while left > 0 {
            if poll(&polls, nfds_t(polls.count), 50) == 0 { left -= 50 }
            for index in polls.indices where polls[index].fd >= 0 && polls[index].revents != 0 {
                var buffer = [UInt8](repeating: 0, count: 64)
                let count = recv(polls[index].fd, &buffer, 64, 0)
                answers[index] = count > 0 ? .answered : errno == ECONNREFUSED ? .refused : .silent
                polls[index].fd = -1
            }
        }
        return answers
    }

    /// -111 when the kernel refused at once.
    private func open() -> CInt {
        let raw = socket(AF_INET, CInt((proto == .tcp ? SOCK_STREAM : SOCK_DGRAM).rawValue) | 0o2004000, 0)
        func call(_ address: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) -> CInt {
            var name = Talk.socketAddress(address, port)
            return withUnsafePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        if let source { _ = call(source, 0) { bind(raw, $0, $1) } }
        if call(target, port, { connect(raw, $0, $1) }) != 0, errno != EINPROGRESS {
            let code = errno
            close(raw)
            return code == ECONNREFUSED ? -111 : -1
        }
        if proto == .udp { send(raw, "?", 1, 0) }
        return raw
    }
}

/// Rules by dice, the same for the same seed.
struct RuleDice {
    static let ports: [UInt16] = [7001, 7002, 7003, 7010]
    static let sources = ["10.1.0.5", "10.2.0.5", "10.2.9.9"]

    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 }

    private mutating func roll(_ count: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(count))
    }

    private mutating func pick(_ words: [String]) -> String { words[roll(words.count)] }

    func probes(_ scene: NetworkScene, _ container: SceneContainer) -> [PolicyProbe] {
        var probes: [PolicyProbe] = []
        for port in Self.ports {
            for proto in [PortProtocol.tcp, .udp] {
                func add(_ from: NamespaceThread, _ place: String, _ source: String?, _ target: String) {
                    probes.append(
                        PolicyProbe(from: from, place: place, source: source, target: target, port: port, proto: proto))
                }
                for source in Self.sources + [NetworkScene.neighbourAddress] {
                    add(scene.neighbour, "neighbour", source, NetworkScene.hostAddress)
                }
                add(scene.host, "host", nil, "127.0.0.1")
                add(scene.host, "host", nil, NetworkScene.hostAddress)
                add(container.thread, "container", nil, NetworkScene.hostAddress)
            }
        }
        return probes
    }

    private mutating func match() -> String {
        pick([
            "", "", "iifname \"lo\"", "iifname \"lan0\"", "iifname \"l*\"", "iifname != \"lo\"", "iifname \"skiff0\"",
            "ip saddr 10.1.0.0/16", "ip saddr 10.2.0.0/16", "ip saddr != 10.2.0.0/24", "ip saddr { 10.1.0.5, 198.51.100.2 }",
            "ip saddr 10.1.0.0-10.2.0.9", "ip daddr 198.51.100.1", "ip daddr 127.0.0.0/8", "ct state new",
            "ct state established,related", "ct state { new, invalid }", "fib daddr type local", "fib saddr type local",
            "meta nfproto ipv6", "meta mark 7", "ct status dnat", "meta pkttype host", "ip ttl > 10", "icmp type echo-request",
        ])
    }

    private mutating func port() -> String {
        pick([
            "", "tcp dport 7001", "udp dport 7001", "tcp dport { 7002, 7003 }", "tcp dport 7002-7009", "th dport 7010",
            "tcp dport != 7003", "udp dport { 7001-7003, 7010 }", "meta l4proto tcp", "meta l4proto { tcp, udp }",
            "tcp flags & (syn | ack) == syn", "ip saddr . tcp dport { 10.1.0.0/16 . 7001-7003, 198.51.100.2 . 7010 }",
        ])
    }

    private mutating func rule(_ chains: [String]) -> String {
        if roll(8) == 0 {
            return
                "tcp dport vmap { 7001 : \(pick(["accept", "drop", "return"])), 7002-7003 : \(pick(["drop", "accept"] + chains.map { "jump \($0)" })), 7010 : accept }"
        }
        let verdict = self.verdict(chains)
        let proto = verdict.contains("tcp reset") ? "meta l4proto tcp" : ""
        let match = match()
        // No packet is both.
        let port = match.contains("icmp") ? "" : port()
        return "\(match) \(port) \(proto) \(pick(["", "counter", "log prefix \"x \""])) \(verdict)"
    }

    private mutating func verdict(_ chains: [String]) -> String {
        let jumps = chains.flatMap { ["jump \($0)", "goto \($0)"] }
        return pick(["accept", "accept", "drop", "reject", "return"] + jumps)
    }

    private mutating func rules(_ chains: [String], _ count: Int) -> String {
        (0..<count).map { _ in "    " + rule(chains) }.joined(separator: "\n")
    }

    /// Two tables with a few chains, in nft's words.
    mutating func script() -> String {
        let keep = "    ct state established,related accept\n"
        return """
            table inet one {
              chain third {
            \(rules([], 2))
              }
              chain second {
            \(rules(["third"], 3))
              }
              chain input { type filter hook input priority \(pick(["0", "-5", "filter"])); policy \(pick(["accept", "drop"]));
            \(keep)\(rules(["second", "third"], 5))
              }
            }
            table ip two {
              chain late { type filter hook input priority 20; policy \(pick(["accept", "accept", "drop"]));
            \(keep)\(rules([], 2))
              }
            }
            """
    }

    /// The same for iptables-restore.
    mutating func iptables() -> String {
        func test() -> String {
            pick([
                "-i lo", "-i lan0", "-i l+", "! -i lo", "-i skiff0", "-s 10.1.0.0/16", "! -s 10.2.0.0/16", "-d 198.51.100.1",
                "-m conntrack --ctstate NEW", "-m state --state NEW", "-m addrtype --dst-type LOCAL",
                "-m addrtype ! --src-type LOCAL", "-m iprange --src-range 10.1.0.0-10.2.0.9", "-m ttl --ttl-gt 10",
                "-m comment --comment words", "-m mark --mark 7", "-m pkttype --pkt-type unicast", "",
            ])
        }
        func proto() -> String {
            pick([
                "", "-p tcp --dport 7001", "-p udp --dport 7001", "-p tcp -m multiport --dports 7002,7003",
                "-p tcp -m multiport ! --dports 7001,7010", "-p udp -m multiport --dports 7001:7003,7010",
                "-p tcp --dport 7002:7009",
                "-p tcp ! --dport 7003", "-p tcp --syn", "-p icmp", "-p tcp -m multiport --ports 7001,7010",
            ])
        }
        func rule(_ chain: String, _ targets: [String]) -> String {
            "-A \(chain) \(proto()) \(test()) -j \(pick(["ACCEPT", "ACCEPT", "DROP", "REJECT", "RETURN", "LOG"] + targets))"
        }
        var lines = ["*filter", ":INPUT \(pick(["ACCEPT", "DROP"])) [0:0]", ":first - [0:0]", ":second - [0:0]"]
        lines.append("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
        lines += (0..<5).map { _ in rule("INPUT", ["first", "second"]) }
        lines += (0..<3).map { _ in rule("first", ["second"]) }
        lines += (0..<2).map { _ in rule("second", []) }
        return (lines + ["COMMIT"]).joined(separator: "\n")
    }
}
