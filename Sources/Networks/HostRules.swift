import Linux
import Model

/// The rules of the host that decide what reaches its own processes: all base chains of the input hook, with everything
/// that they lead to, as the kernel has them.
package struct HostRules: Sendable, Hashable {
    /// A base chain of the input hook (of the forward hook in `ForwardRules`), whoever made it.
    package struct Gate: Sendable, Hashable {
        package var table: TablesName
        package var chain: String
        package var entry: TablesChain.Entry

        package init(table: TablesName, chain: String, entry: TablesChain.Entry) {
            self.table = table
            self.chain = chain
            self.entry = entry
        }

        /// The packets that pass it: NFPROTO_IPV4 2, NFPROTO_IPV6 10.
        var families: [UInt8] { table.family == 1 ? [2, 10] : [table.family] }
    }

    package struct Table: Sendable, Hashable {
        package var rules: [String: [TablesRule]] = [:]
        package var sets: [String: TablesSet] = [:]
        /// Missing for a set that is not read: one that packets change, or a very large one.
        package var members: [String: [TablesMember]] = [:]

        package init() {}
    }

    /// In the order in which packets pass them.
    package var gates: [Gate] = []
    package var tables: [TablesName: Table] = [:]
    /// Families whose input policy iptables-legacy holds, which nf_tables does not tell of.
    package var legacy: [UInt8] = []
    /// Those of them where it is not certain that packets from this host to itself pass.
    package var legacyLoopback: [UInt8] = []

    package init() {}

    /// Larger sets (lists of whole countries, say) are not mirrored.
    static let largestSet = 100_000
}

extension HostRules {
    /// Reads until nobody has changed anything meanwhile, or five times.
    static func read(_ socket: NetlinkSocket) throws -> HostRules {
        for _ in 0..<4 {
            let before = try socket.tablesGeneration()
            do {
                let rules = try readOnce(socket)
                if try socket.tablesGeneration() == before { return rules }
            } catch let fault as KernelFault where fault.isNotFound {
                // A table or set went away between two questions.
                continue
            }
        }
        return try readOnce(socket)
    }

    private static func readOnce(_ socket: NetlinkSocket) throws -> HostRules {
        var all = HostRules(chains: try socket.chains())
        for name in Set(all.gates.map(\.table)) {
            try all.add(
                name, rules: try socket.rules(of: name), sets: try socket.sets(of: name),
                members: { try socket.members(of: $0, in: name) })
        }
        (all.legacy, all.legacyLoopback) = LegacyTables.familiesWithInputRules()
        return all
    }

    /// The base chains of the input hook among these.
    package init(chains: [TablesChain]) {
        for chain in chains {
            guard let entry = chain.entry, entry.hook == .input, chain.type != "nat", [1, 2, 10].contains(chain.table.family)
            else { continue }
            gates.append(Gate(table: chain.table, chain: chain.name, entry: entry))
        }
        gates.sort { ($0.entry.priority, $0.table.family) < ($1.entry.priority, $1.table.family) }
    }

    /// What a table's base chains lead to, of all that it has.
    package mutating func add(
        _ name: TablesName, rules: [TablesRule], sets: [TablesSet], members: (String) throws -> [TablesMember]
    ) rethrows {
        var table = Table()
        let rules = Dictionary(grouping: rules, by: \.chain)
        let starts = gates.filter { $0.table == name }.map(\.chain)
        let maps = sets.filter(\.isVerdictMap)
        for set in maps where !set.isDynamic { table.members[set.name] = try members(set.name) }
        // Verdict maps lead to chains, too.
        let targets = table.members.values.joined().compactMap { $0.verdict?.target }
        table.rules = Self.reachable(from: starts + targets, rules)
        let used = Set(table.rules.values.joined().flatMap { $0.expressions.compactMap(\.set) })
        for set in sets where used.contains(set.name) {
            table.sets[set.name] = set
            guard table.members[set.name] == nil, !set.isDynamic, !set.hasObjects else { continue }
            let content = try members(set.name)
            if content.count <= Self.largestSet { table.members[set.name] = content }
        }
        tables[name] = table
    }

    private static func reachable(from starts: [String], _ rules: [String: [TablesRule]]) -> [String: [TablesRule]] {
        var found: [String: [TablesRule]] = [:]
        var open = starts
        while let chain = open.popLast() {
            guard found[chain] == nil else { continue }
            let content = rules[chain] ?? []
            found[chain] = content
            open += content.flatMap { $0.expressions.compactMap { $0.verdict?.target } }
        }
        return found
    }
}

extension TablesExpression.Verdict {
    /// The chain that it leads to.
    var target: String? {
        switch self {
        case .jump(let chain), .goto(let chain): chain
        case .accept, .drop, .leave, .queue: nil
        }
    }
}

extension TablesExpression {
    /// The set that a lookup asks.
    var set: String? { name == "lookup" ? (try? NetlinkAttributes(content[...]))?.text(1) : nil }

    /// The verdict that a rule ends with.
    var verdict: Verdict? {
        guard name == "immediate", let attributes = try? NetlinkAttributes(content[...]),
            attributes.big(1, as: UInt32.self) == 0, let data = try? attributes.nested(2)
        else { return nil }
        return try? Verdict(data)
    }
}

/// iptables of the kernel's old tables (iptables-legacy), which packets pass beside nf_tables' chains.
enum LegacyTables {
    private static func chains(_ family: UInt8) -> [[XTables.Rule]]? {
        XTables.chains(at: .input, isIPv6: family == 10).map { Array($0.values) }
    }

    /// NFPROTO_IPV4, NFPROTO_IPV6 where a table of the old kind has, or may have, rules for input, or drops all of it; and those of
    /// them where that may hit what comes by lo.
    static func familiesWithInputRules() -> (all: [UInt8], loopback: [UInt8]) {
        let all = [2, 10].filter { family in
            chains(family)?.contains { $0.count > 1 || $0.last?.outcome == .drop } ?? true
        }
        return (all, all.filter { !(chains($0)?.allSatisfy(letsLoopbackPass) ?? false) })
    }

    /// The old tables are not any more as these rules were read.
    static func differ(from host: HostRules) -> Bool {
        let now = familiesWithInputRules()
        return now.all != host.legacy || now.loopback != host.legacyLoopback
    }

    /// Whether a rule lets all pass that comes by lo (`-i lo -j ACCEPT`), before any that may not.
    static func letsLoopbackPass(_ rules: [XTables.Rule]) -> Bool {
        for rule in rules {
            let isCertain = rule.means(input: "lo", output: nil)
            switch rule.outcome {
            case .accept: if isCertain { return true }
            case .none: continue
            case .drop, .other:
                // It asks for another interface.
                let isOther =
                    !rule.input.isEmpty && !XTables.Rule(input: rule.input, outcome: .none).means(input: "lo", output: nil)
                if !isOther { return false }
            }
        }
        return rules.isEmpty
    }
}
