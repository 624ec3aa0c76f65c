import Linux
import Model
import Networks
import Testing

/// Where containers are let pass in chains that drop by default what is forwarded. Rules are written as words here: `accept`,
/// `drop`, `return`, `log`, `jump X`, `goto X`; `?` before one means that it asks for something; `skiff0>` and `>skiff0` are rules
/// that an engine has added.
@Suite struct ForwardPlanTests {
    private static let table = TablesName(family: 2, name: "filter")

    private static func rule(_ chain: String, _ handle: UInt64, _ words: String, mark: String = "skiff") -> TablesRule {
        if words.hasSuffix(">") || words.hasPrefix(">") {
            let name = words.filter { $0 != ">" }
            let pass = ForwardPass(words.hasSuffix(">") ? .from : .to, name)
            return TablesRule(chain: chain, handle: handle, expressions: pass.expressions, comment: mark)
        }
        var expressions: [TablesExpression] = [.counter]
        if words.hasPrefix("?") { expressions += [.load(.transport), .compare([6])] }
        let parts = words.drop { $0 == "?" }.split(separator: " ").map(String.init)
        let verdicts: [String: TablesExpression] = [
            "accept": .verdict(.accept), "drop": .verdict(.drop), "return": .verdict(.leave),
            "reject": .reject(.unreachable(3)), "log": .log(prefix: "x ", level: 4),
        ]
        if parts.first == "jump" { expressions.append(.verdict(.jump(parts.last ?? ""))) }
        if parts.first == "goto" { expressions.append(.verdict(.goto(parts.last ?? ""))) }
        if let verdict = verdicts[parts.first ?? ""] { expressions.append(verdict) }
        return TablesRule(chain: chain, handle: handle, expressions: expressions)
    }

    /// Chains of words; the first is the base chain. Handles count from 1.
    private static func rules(
        _ chains: [(String, [String])], drops: Bool, owned: Bool = false, others: [String] = [], mark: String = "skiff"
    ) -> ForwardRules {
        var handle: UInt64 = 0
        var made: [String: [TablesRule]] = [:]
        for (chain, words) in chains {
            made[chain] = words.map { word in
                handle += 1
                return rule(chain, handle, word, mark: mark)
            }
        }
        var rules = ForwardRules()
        rules.gates = [
            ForwardRules.Gate(
                table: table, chain: chains[0].0,
                entry: TablesChain.Entry(hook: .forward, priority: 0, dropsByDefault: drops))
        ]
        rules.tables[table] = ForwardRules.Table(rules: made, others: others, isOwned: owned)
        return rules
    }

    private static func place(_ rules: ForwardRules) -> String? {
        guard let gate = rules.gates.first, let table = rules.tables[gate.table] else { return nil }
        return ForwardWalk(table, family: 2).place(in: gate).map {
            "\($0.chain) \($0.before.map(String.init) ?? "end"): \($0.end)"
        }
    }

    @Test(
        arguments: [
            // The policy alone
            ([("FORWARD", [])], true, "FORWARD end: policy drop"), ([("FORWARD", [])], false, nil),
            ([("FORWARD", ["?accept", "?drop"])], true, "FORWARD end: policy drop"),
            // Logs of what is dropped come after
            ([("FORWARD", ["?accept", "?log", "log"])], true, "FORWARD 2: policy drop"),
            (
                [("FORWARD", ["?accept", "jump empty", "jump logs"]), ("empty", []), ("logs", ["?log"])], true,
                "FORWARD 2: policy drop"
            ),
            // A last rule that means all
            ([("FORWARD", ["?accept", "reject"])], false, "FORWARD 2: reject (handle 2 of FORWARD)"),
            ([("FORWARD", ["?accept", "log", "drop", "accept"])], false, "FORWARD 2: drop (handle 3 of FORWARD)"),
            ([("FORWARD", ["?drop", "accept"])], true, nil), ([("FORWARD", ["?drop"])], false, nil),
            // In a chain that does nothing else
            ([("FORWARD", ["?accept", "jump no"]), ("no", ["log", "drop"])], true, "FORWARD 2: drop (handle 4 of no)"),
            // In one that says more
            (
                [
                    ("FORWARD", ["jump zones", "drop"]), ("zones", ["?goto a", "goto b"]), ("a", ["drop"]),
                    ("b", ["?accept", "log", "reject"]),
                ],
                false, "b 7: reject (handle 8 of b)"
            ),
            ([("FORWARD", ["jump a"]), ("a", ["return", "drop"])], true, "FORWARD end: policy drop"),
            ([("FORWARD", ["jump a"]), ("a", ["?drop", "return", "drop"])], true, "FORWARD end: policy drop"),
            // What was added before is not looked at
            ([("FORWARD", ["?accept", "skiff0>", ">skiff0", "log"])], true, "FORWARD 4: policy drop"),
        ] as [([(String, [String])], Bool, String?)])
    func theDefaultIsFound(chains: [(String, [String])], drops: Bool, place: String?) {
        #expect(Self.place(Self.rules(chains, drops: drops)) == place)
    }

    private static func messages(_ rules: ForwardRules, bridges: [String] = ["skiff0"], adds: Bool = true) -> [String] {
        ForwardPlan(rules, bridges: bridges, mark: "skiff", adds: adds).batches.flatMap { $0.messages.map(\.subject) }
    }

    @Test func whatStandsWhereItShouldIsLeftAlone() {
        #expect(Self.messages(Self.rules([("FORWARD", ["?accept"])], drops: true)).count == 2)
        #expect(Self.messages(Self.rules([("FORWARD", ["?accept", "skiff0>", ">skiff0"])], drops: true)).isEmpty)
        #expect(Self.messages(Self.rules([("FORWARD", ["?accept", "skiff0>", ">skiff0", "log"])], drops: true)).isEmpty)
        // Another engine's rules are no reason to move.
        #expect(
            Self.messages(
                Self.rules([("FORWARD", ["skiff0>", ">skiff0", "other>", ">other"])], drops: true),
                bridges: ["skiff0", "other"]
            )
            .isEmpty)
    }

    @Test func rulesThatCameLaterHaveTheirSay() {
        let messages = Self.messages(Self.rules([("FORWARD", ["skiff0>", ">skiff0", "?drop"])], drops: true))
        #expect(messages.filter { $0.hasPrefix("delete") }.count == 2)
        #expect(messages.filter { $0.hasPrefix("append") }.count == 2)
    }

    @Test func whatIsNotNeededGoes() {
        let before = Self.rules([("FORWARD", ["skiff0>", ">skiff0"])], drops: false)
        #expect(Self.messages(before).filter { $0.hasPrefix("delete") }.count == 2)
        let warned = Self.rules([("FORWARD", ["skiff0>", ">skiff0"])], drops: true)
        #expect(Self.messages(warned, adds: false).filter { $0.hasPrefix("delete") }.count == 2)
        // Another engine's are not ours to take away.
        #expect(Self.messages(Self.rules([("FORWARD", ["x>", ">x"])], drops: false, mark: "skiff-x")).isEmpty)
    }

    @Test func whatCannotBeChangedIsNamed() throws {
        let chains = [("FORWARD", ["jump no"]), ("no", ["?accept", "drop"])]
        func found(_ rules: ForwardRules, adds: Bool = true) -> ForwardDefault? {
            ForwardPlan(rules, bridges: ["skiff0"], mark: "skiff", adds: adds).defaults.first
        }
        #expect(found(Self.rules(chains, drops: true))?.answer == .added)
        #expect(found(Self.rules(chains, drops: true, owned: true))?.answer == .closed)
        // Packets to the host itself come by the same chain: letting them pass there would open it.
        let shared = found(Self.rules(chains + [("INPUT", ["jump no"])], drops: true, others: ["INPUT"]))
        #expect(shared?.answer == .closed)
        #expect(shared?.note?.contains("judges other packets") == true)
        let warned = found(Self.rules([("FORWARD", [])], drops: true), adds: false)
        #expect(warned?.note?.contains("iptables -A FORWARD -i skiff0 -j ACCEPT") == true)
    }

    @Test func oldTablesAreWalked() {
        func found(_ rules: [XTables.Rule]) -> [ForwardDefault] {
            ForwardPlan.legacy(["filter": rules], isIPv6: false, bridges: ["skiff0"])
        }
        let policy = XTables.Rule(outcome: .drop)
        #expect(found([policy]).first?.end == "policy drop")
        #expect(found([policy]).first?.note?.contains("iptables-legacy -I FORWARD -i skiff0 -j ACCEPT") == true)
        #expect(found([XTables.Rule(outcome: .accept)]).isEmpty)
        #expect(found([XTables.Rule(input: "skiff0", outcome: .accept), policy]).count == 1)
        #expect(
            found([XTables.Rule(input: "skiff0", outcome: .accept), XTables.Rule(output: "skiff+", outcome: .accept), policy])
                .isEmpty)
        #expect(found([XTables.Rule(isPlain: false, outcome: .accept), policy]).count == 1)
    }
}
