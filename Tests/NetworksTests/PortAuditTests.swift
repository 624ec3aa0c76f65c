import Model
import Networks
import Testing

/// Real rule sets, read: who reaches a port, and by which rule.
@Suite struct PortAuditTests {
    @Test func ufwLetsInWhatItWasTold() throws {
        let ufw = try HostRulesFixture("ufw")
        #expect(try ufw.others(22).last == "accept by ip filter ufw-user-input")
        #expect(try ufw.audit(22).others.reach == .everybody)
        let some = try ufw.audit(8080)
        #expect(some.others.reach == .some)
        #expect(
            try ufw.others(8080) == [
                "ip saddr 10.1.0.0/16 accept by ip filter ufw-user-input", "drop by ip filter INPUT",
            ])
        #expect(try ufw.audit(8081).others.reach == .nobody)
        #expect(try ufw.others(8081) == ["drop by ip filter INPUT"])
    }

    @Test func ufwLimitsAreJudgedByTheListThatTheHostHas() throws {
        let limited = try HostRulesFixture("ufw").audit(9000).others
        let words = "recent --update --seconds 30 --hitcount 6 --name DEFAULT"
        #expect(limited.gates.first?.answers.contains { $0.verdict == .reject && $0.when.contains(words) } == true)
    }

    @Test func theHostReachesItsOwnPortsBehindUfwAndFirewalld() throws {
        for name in ["ufw", "firewalld"] {
            let fixture = try HostRulesFixture(name)
            #expect(try fixture.audit(8081).host.reach == .everybody)
            #expect(!HostPolicy(fixture.rules).gates.contains { $0.side == .loopback })
        }
    }

    @Test func ufwJudgesIPv6ByItsOwnRules() throws {
        let ufw = try HostRulesFixture("ufw")
        #expect(try ufw.audit(22, on: "::").others.reach == .some)
        #expect(
            try ufw.others(22, on: "::") == [
                "extension header 43 0x00 drop by ip6 filter ufw6-before-input", "accept by ip6 filter ufw6-user-input",
            ])
        #expect(try ufw.others(8080, on: "::").last == "drop by ip6 filter INPUT")
    }

    @Test func firewalldsZonesAndRichRules() throws {
        let firewalld = try HostRulesFixture("firewalld")
        let trusted = "ip saddr 10.77.0.0/16 accept by inet firewalld filter_IN_trusted"
        let eth0 = "iifname \"eth0\""
        let zone = "by inet firewalld filter_IN_public"
        #expect(try firewalld.audit(8080).others.reach == .everybody)
        #expect(
            try firewalld.others(9090) == [
                trusted, "\(eth0) ip saddr 10.9.0.0/16 accept \(zone)_allow", "\(eth0) reject \(zone)",
                "ip saddr 10.9.0.0/16 accept \(zone)_allow", "reject \(zone)",
            ])
        #expect(try firewalld.others(22, .udp) == [trusted, "\(eth0) reject \(zone)", "reject \(zone)"])
    }

    @Test func mapsSetsAndSeveralBaseChains() throws {
        let script = try HostRulesFixture("script")
        let own = "by inet guard input"
        let banned = "ip saddr @banned drop \(own)"
        #expect(try script.others(80) == [banned, "accept \(own)", "accept by inet guard late"])
        #expect(
            try script.others(443) == [
                banned, "accept \(own)", "ip saddr != 10.0.0.0/8 drop by inet guard late", "accept by inet guard late",
            ])
        #expect(try script.others(8081).contains("accept \(own)"))
        #expect(try script.audit(8082).others.reach == .nobody)
        #expect(
            try script.others(8083).contains("ip saddr 10.1.0.0/16 accept by inet guard office"))
        #expect(try script.others(9005).contains("ip saddr 192.0.2.0/24 accept \(own)"))
        #expect(try script.others(7006).contains("iifname \"lan*\" accept \(own)"))
        #expect(try script.others(7004).contains("drop \(own)"))
    }

    @Test func whatCannotBeJudgedIsClosedAndSaid() throws {
        let script = try HostRulesFixture("script")
        for (port, proto, word) in [(5353, .udp, "learnt"), (5555, .tcp, "skuid"), (5556, .tcp, "skuid")]
            as [(UInt16, PortProtocol, String)]
        {
            let answers = try script.audit(port, proto).others.gates.flatMap(\.answers)
            #expect(answers.contains { $0.verdict == .closed && $0.note?.contains(word) == true }, "\(port)")
        }
        #expect(try script.others(22).contains("limit up to 10 packets/second accept by inet guard input"))
    }

    @Test func loopbackAndOptOuts() throws {
        let ufw = try HostRulesFixture("ufw")
        #expect(try ufw.audit(22, on: "127.0.0.1").others.reach == .nobody)
        #expect(try ufw.audit(22, on: "127.0.0.1").host.reach == .everybody)
        let target = try #require(IPAddress("172.30.0.2"))
        let any = try #require(IPAddress("0.0.0.0"))
        let open = PublishedPort(
            binding: PortBinding(hostAddress: any, hostPort: 8081, containerPort: 80, proto: .tcp, exposure: .open),
            target: target)
        #expect(PortAudit(open, ufw.rules).others.reach == .everybody)
        #expect(PortAudit(open, HostRules()).others.reach == .everybody)
    }

    /// Where the host's rules cannot be in force, nobody else gets in, and the audit says why.
    @Test func anObstacleIsNamed() throws {
        let target = try #require(IPAddress("172.30.0.2"))
        let any = try #require(IPAddress("0.0.0.0"))
        var port = PublishedPort(
            binding: PortBinding(hostAddress: any, hostPort: 8081, containerPort: 80, proto: .tcp), target: target)
        let audit = PortAudit(port, HostRules(), obstacles: [.inbound: "no such set"])
        #expect(audit.others.reach == .nobody)
        #expect(audit.others.reason == "no such set")
        #expect(audit.host.reach == .everybody)
        #expect(PortAudit(port, HostRules(), obstacles: [.loopback: "no such set"]).host.reach == .nobody)
        port.binding.exposure = .open
        #expect(PortAudit(port, HostRules(), obstacles: [.inbound: "no such set"]).others.reach == .everybody)
    }
}
