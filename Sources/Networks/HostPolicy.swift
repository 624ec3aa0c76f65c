import Linux
import Model

/// What the host's input hook decides about published ports, ready to become chains of our table.
///
/// A redirected packet passes the forward hook and never the input hook. So the rules of the input hook are judged by copies,
/// before the redirection, where interface, addresses and port are still those of the packet that came. Each base chain of
/// the host becomes one of ours, in the same order: there, too, an accept ends one base chain and a drop is final.
package struct HostPolicy: Sendable, Hashable {
    package enum Side: String, Sendable, Hashable, CaseIterable {
        /// Packets from other hosts, and from containers.
        case inbound = "in"
        /// Packets from this host to itself, which a process would get through lo.
        case loopback = "lo"
    }

    package struct Rule: Sendable, Hashable {
        package var expressions: [TablesExpression]
        package var outcome: HostRule.Outcome
        package var note: String
    }

    package struct Chain: Sendable, Hashable {
        package var name: String
        package var rules: [Rule] = []
        /// What happens within, or in the chains that it leads to.
        var mayDrop = false
        var logs = false
        /// No packet comes back to where the chain was called.
        var isFinal = false
    }

    package struct Set: Sendable, Hashable {
        package var name: String
        var like: TablesSet
        package var members: [TablesMember]

        /// Time passes for members that end; that is no change.
        package static func == (left: Set, right: Set) -> Bool {
            left.name == right.name && left.like == right.like && left.timeless == right.timeless
        }

        package func hash(into hasher: inout Hasher) { hasher.combine(name) }

        private var timeless: [TablesMember] {
            members.map { member in
                var member = member
                member.expires = member.expires.map { _ in 1 }
                return member
            }
        }
    }

    /// One base chain of the host, for one side.
    package struct Gate: Sendable, Hashable {
        package var side: Side
        package var number: Int
        package var families: [UInt8]
        package var dropsByDefault: Bool
        /// The first is where packets enter.
        package var chains: [Chain]
        package var sets: [Set]

        var prefix: String { "\(side.rawValue)\(number)" }
        /// Its rules ask iptables' own matches, which only a table of their family has.
        var isKept: Bool { chains.contains { $0.rules.contains { $0.expressions.contains(where: \.isMatch) } } }
    }

    /// Families that need a table of their own.
    var keptFamilies: [UInt8] { [2, 10].filter { family in gates.contains { $0.isKept && $0.families == [family] } } }

    /// Those that may drop or log something, in the order in which packets pass them.
    package var gates: [Gate] = []
    /// Why nothing gets in of a side.
    package var obstacles: [Side: String] = [:]

    package init() {}

    package init(_ host: HostRules) {
        for side in Side.allCases {
            for (number, gate) in host.gates.enumerated() {
                guard let table = host.tables[gate.table] else { continue }
                var plan = HostPolicyPlan(gate, number, table, side, HostRuleReader.written(by: host.tables.values))
                if let planned = plan.gate() { gates.append(planned) }
            }
        }
        for (side, families) in [(Side.inbound, host.legacy), (.loopback, host.legacyLoopback)] where !families.isEmpty {
            gates.append(Self.closed(families, side, number: host.gates.count, Self.legacy))
        }
    }

    static let legacy = "iptables-legacy has rules for input, which are not read"

    /// Nothing gets in.
    static func closed(_ why: String) -> HostPolicy {
        var policy = HostPolicy()
        for side in Side.allCases { policy.close(side, why) }
        return policy
    }

    /// What may be in force where the kernel does not take the policy: the least first that is closed. A side of which nothing
    /// would be dropped stays as it is: a process of the host, too, would be reached.
    package func substitutes(_ why: String) -> [HostPolicy] {
        let sides = Side.allCases.filter { side in gates.contains { $0.side == side } }
        return (sides.map { [$0] } + (sides.count > 1 ? [sides] : [])).map { closed in
            var policy = self
            for side in closed { policy.close(side, why) }
            return policy
        }
    }

    private mutating func close(_ side: Side, _ why: String) {
        gates.removeAll { $0.side == side }
        gates.append(Self.closed([2, 10], side, number: 0, why))
        obstacles[side] = why
    }

    /// Rules that we cannot read count as closed.
    private static func closed(_ families: [UInt8], _ side: Side, number: Int, _ why: String) -> Gate {
        let all = Rule(expressions: [], outcome: .verdict(.drop), note: why)
        return Gate(
            side: side, number: number, families: families, dropsByDefault: true,
            chains: [Chain(name: "\(side.rawValue)\(number)_closed", rules: [all], mayDrop: true, isFinal: true)], sets: [])
    }
}

/// Works out what of one base chain is left for published ports: rules that cannot mean them are left out, and what is not
/// known counts as closed.
struct HostPolicyPlan {
    private let source: HostRules.Gate
    private let number: Int
    private let table: HostRules.Table
    private let side: HostPolicy.Side
    private let written: Set<PacketField>
    private let knowledge: PacketKnowledge
    private var planned: [String: HostPolicy.Chain] = [:]
    private var order: [String] = []
    private var sets: [String: HostPolicy.Set] = [:]

    init(
        _ gate: HostRules.Gate, _ number: Int, _ table: HostRules.Table, _ side: HostPolicy.Side, _ written: Set<PacketField>
    ) {
        source = gate
        self.number = number
        self.table = table
        self.side = side
        self.written = written
        var knowledge = PacketKnowledge(families: gate.families)
        knowledge.isLoopback = side == .loopback ? true : nil
        self.knowledge = knowledge
    }

    private var prefix: String { "\(side.rawValue)\(number)_" }

    /// Nil where every packet passes, and nothing is logged.
    mutating func gate() -> HostPolicy.Gate? {
        let root = chain(source.chain)
        let drops = root.mayDrop || !root.isFinal && source.entry.dropsByDefault
        guard drops || root.logs else { return nil }
        let used = reachable(from: root.name)
        return HostPolicy.Gate(
            side: side, number: number, families: source.families, dropsByDefault: source.entry.dropsByDefault,
            chains: [root] + order.compactMap { planned[$0] }.filter { $0.name != root.name && used.contains($0.name) },
            sets: sets.values.sorted { $0.name < $1.name })
    }

    private func reachable(from root: String) -> Set<String> {
        let chains = Dictionary(planned.values.map { ($0.name, $0) }) { first, _ in first }
        var found: Set<String> = []
        var open = [root]
        while let name = open.popLast() {
            guard found.insert(name).inserted, let chain = chains[name] else { continue }
            for rule in chain.rules {
                switch rule.outcome {
                case .verdict(let verdict): open += verdict.target.map { [$0] } ?? []
                case .map(let map, _, _):
                    open += sets.values.first { $0.name == map }?.members.compactMap { $0.verdict?.target } ?? []
                case .none, .reject: break
                }
            }
        }
        return found
    }

    private mutating func chain(_ name: String) -> HostPolicy.Chain {
        if let known = planned[name] { return known }
        // The kernel has no loops; an entry now keeps it that way for whatever we were told.
        planned[name] = HostPolicy.Chain(name: prefix + name)
        order.append(name)
        var chain = HostPolicy.Chain(name: prefix + name)
        var comesBack = false
        let rules = (table.rules[name] ?? []).flatMap {
            HostRuleReader.read($0, in: table, family: source.table.family, written: written)
        }
        for rule in rules {
            guard let effect = effect(of: rule) else { continue }
            chain.rules.append(effect.rule)
            chain.mayDrop = chain.mayDrop || effect.mayDrop
            chain.logs = chain.logs || effect.logs
            comesBack = comesBack || effect.comesBack
            if effect.isFinal {
                chain.isFinal = !comesBack
                break
            }
        }
        planned[name] = chain
        return chain
    }

    private struct Effect {
        var rule: HostPolicy.Rule
        var mayDrop = false
        var logs = false
        /// Some packet goes back to where this chain was called.
        var comesBack = false
        /// No packet goes on to the next rule.
        var isFinal = false
    }

    /// Nil for a rule without consequence.
    private mutating func effect(of rule: HostRule) -> Effect? {
        let answers = rule.conditions.map { knowledge.meets($0, table) }
        if answers.contains(false) { return nil }
        let doubts = rule.doubts + (side == .loopback ? rule.loopbackDoubts : [])
        var effect = Effect(
            rule: HostPolicy.Rule(
                expressions: rule.expressions.flatMap { adapted($0) }, outcome: rule.outcome,
                note: rule.chain + " handle \(rule.handle)"), logs: rule.logs)
        if !doubts.isEmpty { return doubtful(rule, effect) }
        let isAlways = !answers.contains { $0 != true }
        switch rule.outcome {
        case .none: return rule.logs || rule.isKept ? effect : nil
        case .reject:
            effect.mayDrop = true
            effect.isFinal = isAlways
        case .map(let set, let register, let fields): return map(set, register, fields, effect)
        case .verdict(let verdict):
            guard let changed = renamed(verdict) else {
                effect.rule.outcome = .none
                return rule.logs || rule.isKept ? effect : nil
            }
            effect.rule.outcome = .verdict(changed)
            let target = verdict.target.flatMap { planned[$0] }
            effect.mayDrop = changed == .drop || target?.mayDrop ?? false
            effect.logs = effect.logs || target?.logs ?? false
            switch changed {
            case .accept, .drop, .queue: effect.isFinal = isAlways
            case .leave:
                effect.comesBack = true
                effect.isFinal = isAlways
            case .jump: effect.isFinal = isAlways && target?.isFinal ?? false
            case .goto:
                effect.comesBack = !(target?.isFinal ?? false)
                effect.isFinal = isAlways
            }
        }
        return effect
    }

    /// A rule that means we do not know which of the packets that meet the rest of it. Whatever way leads to the stricter end is
    /// taken for all of them.
    private mutating func doubtful(_ rule: HostRule, _ effect: Effect) -> Effect? {
        var effect = effect
        effect.mayDrop = true
        switch rule.outcome {
        case .none, .verdict(.accept): return nil
        case .verdict(.jump(let target)):
            if !chain(target).mayDrop { return nil }
            effect.rule.outcome = .verdict(.drop)
        case .reject: break
        case .verdict, .map: effect.rule.outcome = .verdict(.drop)
        }
        return effect
    }

    /// With the names that our chains have; nil for a jump to where nothing happens. What user space decides counts as closed.
    private mutating func renamed(_ verdict: TablesExpression.Verdict) -> TablesExpression.Verdict? {
        switch verdict {
        case .accept, .drop, .leave: return verdict
        case .queue: return .drop
        case .jump(let name):
            let target = chain(name)
            return target.rules.isEmpty ? nil : .jump(target.name)
        case .goto(let name):
            let target = chain(name)
            return target.rules.isEmpty ? .leave : .goto(target.name)
        }
    }

    private mutating func map(_ name: String, _ register: UInt32, _ fields: [LoadedField], _ effect: Effect) -> Effect? {
        guard let kind = table.sets[name], let members = table.members[name] else { return nil }
        var effect = effect
        var copies: [TablesMember] = []
        for member in members {
            var copy = member
            if let verdict = member.verdict {
                let changed = renamed(verdict)
                // A jump to nothing goes on with the next rule: as if the map had no such key. Ranges need all their ends.
                if changed == nil, !kind.isInterval { continue }
                copy.verdict = changed ?? .jump(chain(verdict.target ?? "").name)
                let target = verdict.target.flatMap { planned[$0] }
                effect.mayDrop = effect.mayDrop || changed == .drop || target?.mayDrop ?? false
                effect.logs = effect.logs || target?.logs ?? false
                effect.comesBack = true
            }
            copies.append(copy)
        }
        let set = HostPolicy.Set(name: prefix + name, like: kind, members: copies)
        sets[set.name] = set
        effect.rule.outcome = .map(set.name, register, fields)
        return effect
    }

    /// An expression where we judge: lookups in copies of sets; for a packet that has not gone through lo yet, what it will be
    /// there; and without what address translation has done.
    private mutating func adapted(_ expression: TablesExpression) -> [TablesExpression] {
        guard let attributes = try? NetlinkAttributes(expression.content[...]) else { return [expression] }
        switch expression.name {
        case "lookup":
            guard let name = attributes.text(1), let kind = table.sets[name], let members = table.members[name] else {
                return [expression]
            }
            let set = HostPolicy.Set(name: prefix + name, like: kind, members: members)
            sets[set.name] = set
            return [expression.asking(set.name, id: 0)]
        case "ct" where attributes.big(2, as: UInt32.self) == 2:
            guard let register = attributes.big(1, as: UInt32.self) else { return [expression] }
            return [expression, .mask(PacketKnowledge.translationBits.map { ~$0 }, register: register)]
        case "meta" where side == .loopback:
            guard let key = attributes.big(2, as: UInt32.self), let register = attributes.big(1, as: UInt32.self) else {
                return [expression]
            }
            switch key {
            case 4: return [.constant(PacketKnowledge.native(1), into: register)]
            case 6: return [.constant(FirewallRules.name("lo"), into: register)]
            case 5, 7: return [.constant([UInt8](repeating: 0, count: key == 5 ? 4 : 16), into: register)]
            case 8: return [.constant(Array(PacketKnowledge.native(772).prefix(2)), into: register)]
            default: return [expression]
            }
        default: return [expression]
        }
    }
}
