import Linux
import Model

/// The base chains of the forward hook that other programs have made, with all rules of their tables, as the kernel has them.
package struct ForwardRules: Sendable, Hashable {
    package typealias Gate = HostRules.Gate

    package struct Table: Sendable, Hashable {
        package var rules: [String: [TablesRule]]
        /// Chains that a verdict map leads to.
        package var targets: [String: [String]]
        /// Base chains of other hooks.
        package var others: [String]
        /// Only the process that made it can change it.
        package var isOwned: Bool

        package init(
            rules: [String: [TablesRule]], targets: [String: [String]] = [:], others: [String] = [], isOwned: Bool = false
        ) {
            self.rules = rules
            self.targets = targets
            self.others = others
            self.isOwned = isOwned
        }
    }

    package var gates: [Gate] = []
    package var tables: [TablesName: Table] = [:]

    package init() {}

    /// Every base chain at the forward hook but those of one table, ours.
    init(_ socket: NetlinkSocket, except own: TablesRequest) throws {
        let chains = try socket.chains().filter { chain in
            [1, 2, 10].contains(chain.table.family) && chain.table != TablesName(own)
        }
        for chain in chains {
            guard let entry = chain.entry, entry.hook == .forward else { continue }
            gates.append(Gate(table: chain.table, chain: chain.name, entry: entry))
        }
        gates.sort { ($0.entry.priority, $0.table.family, $0.chain) < ($1.entry.priority, $1.table.family, $1.chain) }
        for name in Set(gates.map(\.table)) {
            var table = Table(rules: Dictionary(grouping: try socket.rules(of: name), by: \.chain))
            for set in try socket.sets(of: name) where set.isVerdictMap {
                table.targets[set.name] = try socket.members(of: set.name, in: name).compactMap { $0.verdict?.target }
            }
            table.others = chains.filter { $0.table == name && $0.entry.map { $0.hook != .forward } ?? false }.map(\.name)
            table.isOwned = try socket.isOwned(name)
            tables[name] = table
        }
    }
}

extension TablesName {
    init(_ request: TablesRequest) { self.init(family: request.family.rawValue, name: request.table) }

    /// Nil for a family that rules of ours are not made for.
    var request: TablesRequest? {
        TablesRequest.Family(rawValue: family).map { TablesRequest(table: name, family: $0) }
    }
}

/// An accept rule of an engine's in a chain of another program's: what comes from, or goes to, one of its bridges.
package struct ForwardPass: Sendable, Hashable {
    package enum Way: Sendable, Hashable, CaseIterable { case from, to }

    package var way: Way
    package var bridge: String

    package init(_ way: Way, _ bridge: String) {
        self.way = way
        self.bridge = bridge
    }

    /// In nft's words; iptables says `-i skiff0 -j ACCEPT`.
    package var text: String { (way == .from ? "iifname" : "oifname") + " \"\(bridge)\" accept" }

    private static func field(_ way: Way) -> TablesExpression.Meta { way == .from ? .inputName : .outputName }

    /// Nothing but what iptables-nft can show as well.
    package var expressions: [TablesExpression] {
        [.load(Self.field(way)), .compare(FirewallRules.name(bridge)), .counter, .verdict(.accept)]
    }

    /// Nil where a rule is none that `expressions` makes.
    package init?(_ rule: HostRule) {
        guard rule.doubts.isEmpty, rule.outcome == .verdict(.accept), rule.conditions.count == 1,
            let condition = rule.conditions.first, condition.fields.count == 1, condition.fields.first?.masks.isEmpty == true,
            case .compare(0, let name) = condition.test
        else { return nil }
        switch condition.fields.first?.field {
        case .meta(TablesExpression.Meta.inputName.rawValue): way = .from
        case .meta(TablesExpression.Meta.outputName.rawValue): way = .to
        default: return nil
        }
        bridge = String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
    }
}

/// Finds where packets end that no rule of a chain means. Only the default is looked for: what a rule asks about is the host's
/// explicit will, whatever it says.
package struct ForwardWalk {
    /// Where a rule of ours has its place: all that the host has said before it keeps its say.
    package struct Place: Sendable, Hashable {
        package var chain: String
        /// The rule that it goes before; nil: at the end of the chain.
        package var before: UInt64?
        /// What drops behind it: `policy drop`, `reject (handle 7)`.
        package var end: String
    }

    private enum Ending {
        case passes
        /// Goes back to where the chain was called, or to the policy.
        case returns
        case drops(Place)
    }

    private let family: UInt8
    private let table: ForwardRules.Table

    /// Rules that engines have added are not looked at.
    package init(_ table: ForwardRules.Table, family: UInt8) {
        self.table = table
        self.family = family
    }

    /// Comments of the rules that engines add: `skiff`, `skiff-` and a bridge.
    package static func isMark(_ comment: String?) -> Bool {
        guard let comment else { return false }
        return comment == "skiff" || comment.hasPrefix("skiff-")
    }

    package func read(_ rule: TablesRule) -> [HostRule] {
        HostRuleReader.read(rule, in: HostRules.Table(), family: family, written: [])
    }

    private func pass(_ rule: TablesRule) -> ForwardPass? {
        guard Self.isMark(rule.comment) else { return nil }
        let read = read(rule)
        return read.count == 1 ? read.first.flatMap { ForwardPass($0) } : nil
    }

    private func rules(of chain: String) -> [TablesRule] { (table.rules[chain] ?? []).filter { pass($0) == nil } }

    /// The rules that one engine has added, each with the rule that it stands before.
    package func passes(markedBy mark: String) -> [(chain: String, handle: UInt64, before: UInt64?, pass: ForwardPass)] {
        table.rules.sorted { $0.key < $1.key }.flatMap { chain, rules in
            rules.enumerated().compactMap { index, rule in
                guard rule.comment == mark, let pass = pass(rule) else { return nil }
                let next = rules[(index + 1)...].first { self.pass($0) == nil }
                return (chain, rule.handle, next?.handle, pass)
            }
        }
    }

    /// Where the default of a base chain is to drop; nil where it lets packets pass.
    package func place(in gate: ForwardRules.Gate) -> Place? {
        switch ending(of: gate.chain, depth: 0) {
        case .passes: return nil
        case .drops(let place): return place
        case .returns:
            guard gate.entry.dropsByDefault else { return nil }
            let rules = rules(of: gate.chain)
            return place(gate.chain, rules, before: rules.count, "policy drop")
        }
    }

    /// Whether packets of another hook come by a chain, too.
    package func isShared(_ chain: String) -> Bool {
        var seen: Set<String> = []
        var open = table.others
        while let name = open.popLast() {
            guard seen.insert(name).inserted else { continue }
            for rule in table.rules[name] ?? [] {
                open += rule.expressions.compactMap { $0.verdict?.target }
                open += rule.expressions.compactMap(\.set).flatMap { table.targets[$0] ?? [] }
            }
        }
        return seen.contains(chain)
    }

    /// Before a rule, and before what only writes to the log there: the log tells of what is dropped.
    private func place(_ chain: String, _ rules: [TablesRule], before index: Int, _ end: String) -> Place {
        var index = index
        while index > 0, isSilent(rules[index - 1], depth: 0) { index -= 1 }
        return Place(chain: chain, before: index < rules.count ? rules[index].handle : nil, end: end)
    }

    private func ending(of chain: String, depth: Int) -> Ending {
        guard depth < 32 else { return .passes }
        let rules = rules(of: chain)
        for (index, rule) in rules.enumerated() {
            let read = read(rule)
            guard read.count == 1, let meaning = read.first, meaning.conditions.isEmpty, meaning.doubts.isEmpty else {
                continue
            }
            func drops(_ word: String) -> Ending {
                .drops(place(chain, rules, before: index, "\(word) (handle \(rule.handle) of \(chain))"))
            }
            switch meaning.outcome {
            case .none, .map: continue
            case .reject: return drops("reject")
            case .verdict(.drop): return drops("drop")
            case .verdict(.accept), .verdict(.queue): return .passes
            case .verdict(.leave): return .returns
            case .verdict(.jump(let target)):
                switch ending(of: target, depth: depth + 1) {
                case .returns: continue
                case .passes: return .passes
                case .drops(let inner): return .drops(outer(inner, target, chain, rules, index))
                }
            case .verdict(.goto(let target)):
                switch ending(of: target, depth: depth + 1) {
                case .returns: return .returns
                case .passes: return .passes
                case .drops(let inner): return .drops(outer(inner, target, chain, rules, index))
                }
            }
        }
        return .returns
    }

    /// A chain that does nothing but drop is as good as a drop where it is called.
    private func outer(_ inner: Place, _ target: String, _ chain: String, _ rules: [TablesRule], _ index: Int) -> Place {
        let first = self.rules(of: target).first?.handle
        guard inner.chain == target, inner.before == first else { return inner }
        return place(chain, rules, before: index, inner.end)
    }

    /// Nothing but counting and writing to the log, for whatever packets.
    private func isSilent(_ rule: TablesRule, depth: Int) -> Bool {
        guard depth < 32 else { return false }
        // The attribute with a register that is written from, where an expression has one.
        let writes: [String: UInt16] = ["meta": 3, "ct": 4, "payload": 5, "exthdr": 7]
        return rule.expressions.allSatisfy { expression in
            guard let attributes = try? NetlinkAttributes(expression.content[...]) else { return false }
            switch expression.name {
            case "meta", "ct", "payload", "exthdr": return attributes.content(writes[expression.name] ?? 0) == nil
            case "cmp", "range", "bitwise", "byteorder", "fib", "limit", "counter", "log", "match", "last": return true
            // A verdict map has register 0 as its destination.
            case "lookup": return attributes.big(3, as: UInt32.self) != 0
            case "immediate":
                guard attributes.big(1, as: UInt32.self) == 0 else { return true }
                guard case .jump(let target)? = expression.verdict else { return false }
                return rules(of: target).allSatisfy { isSilent($0, depth: depth + 1) }
            case "target": return ["LOG", "NFLOG", "ULOG"].contains(attributes.text(1) ?? "")
            default: return false
            }
        }
    }
}
