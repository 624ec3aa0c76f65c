import Linux
import Model

/// The host's policy as requests to the kernel.
extension HostPolicy {
    /// The sets of what is published under the host's policy, by which a packet is picked.
    struct Guards {
        /// Family, protocol, port: on every address.
        var anywhere: (set: String, id: UInt32)
        /// IPv4 address, protocol, port.
        var at4: (set: String, id: UInt32)
        var at6: (set: String, id: UInt32)
    }

    /// For the table of family inet, and for those of one family that some gates need.
    func messages(_ main: TablesRequest, _ kept: [UInt8: TablesRequest], _ guards: Guards) -> [NetlinkMessage] {
        func home(_ gate: Gate) -> TablesRequest { gate.isKept ? gate.families.first.flatMap { kept[$0] } ?? main : main }
        var chains: [NetlinkMessage] = []
        var sets: [NetlinkMessage] = []
        var rules: [NetlinkMessage] = []
        var id: UInt32 = 100
        for gate in gates {
            let table = home(gate)
            var ids: [String: UInt32] = [:]
            chains += gate.chains.map { table.create(chain: $0.name) }
            for set in gate.sets {
                id += 1
                ids[set.name] = id
                sets.append(table.create(set: set.name, like: set.like, id: id))
                sets += table.add(set.sorted, to: set.name)
            }
            for chain in gate.chains { rules += chain.rules.map { Self.append($0, to: chain.name, ids, table) } }
        }
        for side in Side.allCases {
            let own = gates.filter { $0.side == side }
            for (index, gate) in own.enumerated() {
                // Just before our own redirection (-100), in the host's order.
                let table = home(gate)
                let priority = -100 - Int32(own.count - index)
                chains.append(table.create(chain: gate.prefix))
                chains.append(
                    table.create(
                        chain: "host_" + gate.prefix, type: "filter", hook: side == .inbound ? .prerouting : .output,
                        priority: priority))
                rules += Self.picks(gate, table, guards)
            }
        }
        return chains + sets + rules
    }

    /// How many rules `messages` makes in the table of family inet, or in that of one family.
    func ruleCount(_ family: UInt8? = nil) -> Int {
        gates.filter { $0.isKept ? $0.families.first == family : family == nil }.reduce(0) { sum, gate in
            sum + gate.chains.reduce(0) { $0 + $1.rules.count } + 2 * gate.families.count + 2
        }
    }

    /// Takes away what `messages` made, where all of it is in one table.
    func removal(_ table: TablesRequest) -> [NetlinkMessage] {
        let names = gates.flatMap { gate in ["host_" + gate.prefix, gate.prefix] + gate.chains.map(\.name) }
        let sets = gates.flatMap { $0.sets.map(\.name) }
        return names.map { table.flush(chain: $0) } + sets.map { table.delete(set: $0) } + names.map { table.delete(chain: $0) }
    }

    private static func append(_ rule: Rule, to chain: String, _ ids: [String: UInt32], _ table: TablesRequest)
        -> NetlinkMessage
    {
        var expressions = rule.expressions.map { expression in
            expression.set.map { expression.asking($0, id: ids[$0] ?? 0) } ?? expression
        }
        switch rule.outcome {
        case .none: break
        case .verdict(let verdict): expressions.append(.verdict(verdict))
        case .reject(let expression): expressions.append(expression)
        case .map(let map, let register, _): expressions.append(.verdict(of: map, id: ids[map] ?? 0, from: register))
        }
        return table.append(expressions, to: chain, comment: rule.note)
    }

    /// The base chain, which leads packets to published ports into the host's rules, and what happens to those that come back.
    private static func picks(_ gate: Gate, _ table: TablesRequest, _ guards: Guards) -> [NetlinkMessage] {
        // Answers of a connection that somebody here began are none of a listener's packets.
        let isRequest: [TablesExpression] = [.load(.direction), .compare([0])]
        let isLocal: [TablesExpression] = [.loadDestinationKind(), .compare(PacketKnowledge.native(2))]
        let chain = "host_" + gate.prefix
        var rules: [NetlinkMessage] = []
        for family in gate.families {
            // A table of one family is not asked about it: nft refuses to list that.
            let isFamily: [TablesExpression] = gate.isKept ? [] : [.load(.family), .compare([family])]
            let first: UInt32 = gate.isKept ? 8 : 9
            let (place, size, set) = family == 2 ? (UInt32(16), UInt32(4), guards.at4) : (24, 16, guards.at6)
            let protoRegister = 8 + size / 4
            let at: [TablesExpression] = [
                .load(.network, at: place, size: size), .load(.transport, into: protoRegister),
                .load(.transport, at: 2, size: 2, into: protoRegister + 1), .lookup(set.set, id: set.id),
            ]
            let anywhere: [TablesExpression] =
                (gate.isKept ? [] : [.load(.family, into: 8)]) + [
                    .load(.transport, into: first), .load(.transport, at: 2, size: 2, into: first + 1),
                    .lookup(guards.anywhere.set, id: guards.anywhere.id),
                ]
            let verdict = TablesExpression.verdict(.goto(gate.prefix))
            rules.append(table.append(isFamily + isRequest + anywhere + isLocal + [verdict], to: chain))
            rules.append(table.append(isFamily + isRequest + at + isLocal + [verdict], to: chain))
        }
        if let root = gate.chains.first {
            rules.append(table.append([.verdict(.jump(root.name))], to: gate.prefix))
        }
        return rules + [
            table.append([.verdict(gate.dropsByDefault ? .drop : .accept)], to: gate.prefix, comment: "the chain's policy")
        ]
    }
}

extension HostPolicy.Set {
    /// Ranges are told from their beginning to their end, the end of one before the beginning of the next. An anonymous set, as
    /// the host's may be, leaves an end out where the next range begins; one with a name may not (net/netfilter/nft_set_rbtree.c).
    var sorted: [TablesMember] {
        guard like.isInterval else { return members }
        var told: [TablesMember] = []
        for member in members.sorted(by: { $0.isBefore($1) }) {
            if let last = told.last, last.opensRange, member.opensRange {
                told.append(TablesMember(key: member.key, flags: TablesMember.endOfRange))
            }
            told.append(member)
        }
        return told
    }
}

extension TablesMember {
    /// The beginning of a range whose end is an element of its own; neither that nor the catch-all.
    fileprivate var opensRange: Bool { flags & 3 == 0 && keyEnd == nil }
}
