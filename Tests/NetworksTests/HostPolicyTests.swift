import Linux
import Model
import Networks
import Testing

/// What becomes of the host's rules in our table.
@Suite struct HostPolicyTests {
    @Test func aHostWithoutRulesCostsNothing() {
        #expect(HostPolicy(HostRules()).gates.isEmpty)
    }

    /// ICMP, what has no consequence and empty chains are left out.
    @Test func onlyWhatMayMeanPublishedPortsIsCopied() throws {
        let rules = try HostRulesFixture("ufw").rules
        let policy = HostPolicy(rules)
        #expect(policy.gates.map(\.families) == [[2], [10]])
        let copied = policy.gates.flatMap(\.chains).reduce(0) { $0 + $1.rules.count }
        let all = rules.tables.values.flatMap { $0.rules.values }.reduce(0) { $0 + $1.count }
        #expect(copied < all * 2 / 3)
        let names = Set(policy.gates.flatMap { $0.chains.map(\.name) })
        #expect(names.contains("in0_ufw-user-input"))
        #expect(!names.contains("in0_ufw-track-input"))
    }

    /// A copy of an unchanged set of rules is the same, so that nothing is sent to the kernel.
    @Test func theSameRulesMakeTheSamePolicy() throws {
        #expect(HostPolicy(try HostRulesFixture("firewalld").rules) == HostPolicy(try HostRulesFixture("firewalld").rules))
        #expect(HostPolicy(try HostRulesFixture("firewalld").rules) != HostPolicy(try HostRulesFixture("ufw").rules))
    }

    @Test func severalBaseChainsKeepTheirOrder() throws {
        let policy = HostPolicy(try HostRulesFixture("script").rules)
        #expect(policy.gates.filter { $0.side == .inbound }.map { $0.chains.first?.name } == ["in0_input", "in1_late"])
        #expect(policy.gates.first?.dropsByDefault == true)
        let sets = Set(policy.gates.flatMap { $0.sets.map(\.name) })
        #expect(sets.isSuperset(of: ["in0_banned", "in0_open", "in0_way"]))
        #expect(!sets.contains("in0_learnt"))
    }

    @Test func oldTablesWithRulesCloseTheirFamily() {
        var rules = HostRules()
        rules.legacy = [10]
        #expect(HostPolicy(rules).gates.map(\.families) == [[10]])
        rules.legacyLoopback = [10]
        #expect(HostPolicy(rules).gates.map(\.side) == [.inbound, .loopback])
    }

    /// Of a refused policy only those sides are closed of which something might be dropped, one before both.
    @Test func whatTheKernelRefusesIsClosedForTheSidesItWouldMean() throws {
        let ufw = HostPolicy(try HostRulesFixture("ufw").rules)
        #expect(ufw.substitutes("no").map { Set($0.obstacles.keys) } == [[.inbound]])
        #expect(ufw.substitutes("no").first?.gates.map(\.side) == [.inbound])
        let script = HostPolicy(try HostRulesFixture("script").rules)
        #expect(script.substitutes("no").map { Set($0.obstacles.keys) } == [[.inbound], [.loopback], [.inbound, .loopback]])
        #expect(Set(script.substitutes("no")[0].gates.map(\.side)) == [.inbound, .loopback])
    }
}
