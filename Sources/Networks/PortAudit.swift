import Linux
import Model

/// Who reaches a published port, and which rule decides.
public struct PortAudit: Sendable, Hashable {
    /// What happens to some of those who try.
    public struct Answer: Sendable, Hashable {
        public enum Verdict: String, Sendable, Hashable {
            case accept, drop, reject
            /// The rule cannot be judged for published ports, so that whom it may mean is kept out.
            case closed
        }

        /// What a packet must meet, in nft's words; empty: everything that has come this far.
        public var when: [String]
        public var verdict: Verdict
        /// `ip filter ufw-user-input`
        public var chain: String
        /// The rule's handle as `nft -a` shows it; nil where the chain's policy decides.
        public var handle: UInt64?
        /// What cannot be judged, or the rule's comment.
        public var note: String?
    }

    /// The answers of one base chain of the host, of which the first that fits decides. A packet must be let through by every
    /// base chain.
    public struct Gate: Sendable, Hashable {
        public var chain: String
        public var answers: [Answer]
    }

    /// One group of those who may try.
    public struct Side: Sendable, Hashable {
        public enum Reach: String, Sendable, Hashable {
            case everybody, some, nobody
        }

        public var gates: [Gate]
        /// Overrides the gates: why nobody of this side gets through, or everybody does.
        public var reason: String?
        public var reach: Reach
    }

    public var binding: PortBinding
    public var target: IPAddress
    /// From this host to itself.
    public var host: Side
    /// From other hosts, and from containers.
    public var others: Side
}

extension PortAudit {
    /// `obstacles`: why the host's rules are not in force for published ports (`HostPolicy`); nobody of that side gets in then.
    package init(_ port: PublishedPort, _ rules: HostRules, obstacles: [HostPolicy.Side: String] = [:]) {
        binding = port.binding
        target = port.target
        if port.binding.exposure == .open {
            let reason = "published as open: the host's rules for input do not apply"
            host = Side(gates: [], reason: reason, reach: .everybody)
            others = Side(gates: [], reason: reason, reach: .everybody)
        } else {
            func side(_ side: HostPolicy.Side) -> Side {
                if let obstacle = obstacles[side] { return Side(gates: [], reason: obstacle, reach: .nobody) }
                return Self.side(port, rules, isLoopback: side == .loopback)
            }
            host = side(.loopback)
            others = side(.inbound)
        }
        if port.binding.hostAddress.isLoopback {
            others = Side(gates: [], reason: "published on \(port.binding.hostAddress)", reach: .nobody)
        }
    }

    private static func side(_ port: PublishedPort, _ rules: HostRules, isLoopback: Bool) -> Side {
        var family: UInt8 = 2
        if case .v6 = port.binding.hostAddress { family = 10 }
        if (isLoopback ? rules.legacyLoopback : rules.legacy).contains(family) {
            return Side(gates: [], reason: "\(HostPolicy.legacy): all is kept out", reach: .nobody)
        }
        let written = HostRuleReader.written(by: rules.tables.values)
        let gates = rules.gates.filter { $0.families.contains(family) }.compactMap { gate -> Gate? in
            guard let table = rules.tables[gate.table] else { return nil }
            var knowledge = PacketKnowledge(families: [family])
            knowledge.protocols = [port.binding.proto.number]
            knowledge.port = port.binding.hostPort
            knowledge.address = port.binding.hostAddress.isUnspecified ? nil : port.binding.hostAddress
            knowledge.isLoopback = isLoopback
            knowledge.isNew = true
            var walk = PortAuditWalk(gate, table, knowledge, written)
            return Gate(chain: "\(gate.table) \(gate.chain)", answers: walk.answers())
        }
        return Side(gates: gates, reason: gates.isEmpty ? "the host has no rules for input" : nil, reach: reach(gates))
    }

    private static func reach(_ gates: [Gate]) -> Side.Reach {
        let lets = gates.map { gate in
            let verdicts = Swift.Set(gate.answers.map { $0.verdict == .accept })
            return verdicts == [true] ? Side.Reach.everybody : verdicts == [false] ? .nobody : .some
        }
        return lets.contains(.nobody) ? .nobody : lets.contains(.some) ? .some : .everybody
    }
}

/// Follows one base chain for one published port.
struct PortAuditWalk {
    private let gate: HostRules.Gate
    private let table: HostRules.Table
    private let knowledge: PacketKnowledge
    private let written: Set<PacketField>
    private var found: [PortAudit.Answer] = []

    init(_ gate: HostRules.Gate, _ table: HostRules.Table, _ knowledge: PacketKnowledge, _ written: Set<PacketField>) {
        self.gate = gate
        self.table = table
        self.knowledge = knowledge
        self.written = written
    }

    mutating func answers() -> [PortAudit.Answer] {
        if !follow(gate.chain, [], depth: 0) {
            add([], gate.entry.dropsByDefault ? .drop : .accept, gate.chain, nil, "policy")
        }
        return found
    }

    /// No host writes as many that anybody would read them.
    private static let most = 200

    private mutating func add(
        _ when: [String], _ verdict: PortAudit.Answer.Verdict, _ chain: String, _ handle: UInt64?, _ note: String?
    ) {
        guard found.count < Self.most else { return }
        found.append(
            PortAudit.Answer(when: when, verdict: verdict, chain: "\(gate.table) \(chain)", handle: handle, note: note))
    }

    /// True when no packet is left to decide about.
    private mutating func follow(_ chain: String, _ before: [String], depth: Int) -> Bool {
        guard depth < 32 else { return false }
        var before = before
        let rules = (table.rules[chain] ?? []).flatMap {
            HostRuleReader.read($0, in: table, family: gate.table.family, written: written)
        }
        for rule in rules {
            let answers = rule.conditions.map { ($0, knowledge.meets($0, table)) }
            if answers.contains(where: { $0.1 == false }) { continue }
            let own = answers.filter { $0.1 == nil }.map { RuleText.text($0.0, family: knowledge.families.first ?? 2, table) }
            let doubts = rule.doubts + (knowledge.isLoopback == true ? rule.loopbackDoubts : [])
            if !doubts.isEmpty {
                doubtful(rule, before + own, doubts, depth)
                continue
            }
            switch rule.outcome {
            case .none: continue
            case .reject: add(before + own, .reject, chain, rule.handle, rule.comment)
            case .map(let map, _, let fields):
                if follow(map, fields, rule, before + own, depth) { return true }
                continue
            case .verdict(let verdict):
                switch end(verdict, rule, before + own, depth) {
                case .decided: break
                case .goesOn: continue
                case .leaves:
                    if own.isEmpty { return false }
                    before.append("not (\(own.joined(separator: ", ")))")
                    continue
                }
            }
            if own.isEmpty { return true }
        }
        return false
    }

    private enum End { case decided, goesOn, leaves }

    private mutating func end(
        _ verdict: TablesExpression.Verdict, _ rule: HostRule, _ when: [String], _ depth: Int
    ) -> End {
        switch verdict {
        case .accept: add(when, .accept, rule.chain, rule.handle, rule.comment)
        case .drop: add(when, .drop, rule.chain, rule.handle, rule.comment)
        case .queue: add(when, .closed, rule.chain, rule.handle, "a program decides (queue)")
        case .leave: return .leaves
        case .jump(let target): return follow(target, when, depth: depth + 1) ? .decided : .goesOn
        case .goto(let target): return follow(target, when, depth: depth + 1) ? .decided : .leaves
        }
        return .decided
    }

    private mutating func doubtful(_ rule: HostRule, _ when: [String], _ doubts: [String], _ depth: Int) {
        let note = "cannot be judged for published ports: " + doubts.joined(separator: ", ")
        switch rule.outcome {
        case .none: return
        case .verdict(.accept): add(when, .closed, rule.chain, rule.handle, note + "; its accept is left out")
        case .verdict(.jump(let target)):
            if mayDrop(target, depth) { add(when, .closed, rule.chain, rule.handle, note) }
        default: add(when, .closed, rule.chain, rule.handle, note)
        }
    }

    private func mayDrop(_ chain: String, _ depth: Int) -> Bool {
        guard depth < 32 else { return true }
        return (table.rules[chain] ?? []).flatMap {
            HostRuleReader.read($0, in: table, family: gate.table.family, written: written)
        }.contains { rule in
            switch rule.outcome {
            case .none, .verdict(.accept), .verdict(.leave): false
            case .reject, .map, .verdict(.drop), .verdict(.queue): true
            case .verdict(.jump(let target)), .verdict(.goto(let target)): mayDrop(target, depth + 1)
            }
        }
    }

    /// A verdict map: one member where the key is known, otherwise each of them.
    private mutating func follow(
        _ map: String, _ fields: [LoadedField], _ rule: HostRule, _ when: [String], _ depth: Int
    ) -> Bool {
        guard let members = table.members[map], let set = table.sets[map] else { return false }
        var isDecided = false
        for member in members where !member.isEnd {
            guard let verdict = member.verdict else { continue }
            let test = RuleCondition(fields: fields, test: .compare(0, member.key))
            let answer = set.isInterval ? nil : knowledge.meets(test, table)
            if answer == false { continue }
            let words = answer == true ? [] : [RuleText.member(member, of: fields, family: knowledge.families.first ?? 2)]
            let ended = end(verdict, rule, when + words, depth)
            if words.isEmpty, when.isEmpty, case .decided = ended { isDecided = true }
        }
        return isDecided
    }
}
