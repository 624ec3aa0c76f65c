import Linux
import Model

/// What a chain of another program's at the forward hook does with packets that none of its rules means, where that is to drop
/// them; and what was done about it for containers.
public struct ForwardDefault: Sendable, Hashable {
    public enum Answer: String, Sendable, Hashable {
        /// Rules of ours in that chain let packets of containers pass.
        case added
        /// They are dropped.
        case closed
    }

    /// `ip filter FORWARD`
    public var chain: String
    /// What drops: `policy drop`, `reject (handle 7 of filter_FORWARD)`.
    public var end: String
    public var answer: Answer
    /// Where the rules stand, and they themselves in nft's words.
    public var place: String
    public var rules: [String]
    /// Why nothing was added, and the way out.
    public var note: String?
}

/// What is to be done that packets from and to our bridges pass where other programs' chains drop by default. An accept ends one
/// base chain only, so that one in our own table does not help against a drop in another. What may pass is still judged by
/// our forward chain.
package struct ForwardPlan {
    package private(set) var defaults: [ForwardDefault] = []
    /// One for each table, in which all or nothing is done.
    package private(set) var batches: [(table: TablesName, messages: [NetlinkMessage], adds: Bool)] = []

    private let bridges: [String]
    private let mark: String
    private let adds: Bool

    /// - Parameters:
    ///   - mark: the comment of the engine's rules.
    ///   - adds: false only takes away what was added before.
    package init(_ rules: ForwardRules, bridges: [String], mark: String, adds: Bool) {
        self.bridges = bridges
        self.mark = mark
        self.adds = adds
        for (name, table) in rules.tables.sorted(by: { $0.key.description < $1.key.description }) {
            plan(name, table, rules.gates.filter { $0.table == name })
        }
    }

    private struct Wish: Hashable {
        var chain: String
        var before: UInt64?
        var pass: ForwardPass
    }

    private mutating func plan(_ name: TablesName, _ table: ForwardRules.Table, _ gates: [ForwardRules.Gate]) {
        let walk = ForwardWalk(table, family: name.family)
        var missing: [Wish] = []
        for gate in gates {
            guard let place = walk.place(in: gate) else { continue }
            let obstacle = obstacle(name, table, walk, place)
            if obstacle == nil {
                missing += bridges.sorted().flatMap { bridge in
                    ForwardPass.Way.allCases.map {
                        Wish(chain: place.chain, before: place.before, pass: ForwardPass($0, bridge))
                    }
                }
            }
            defaults.append(
                ForwardDefault(
                    chain: "\(name) \(gate.chain)", end: place.end, answer: obstacle == nil ? .added : .closed,
                    place: place.before.map { "before handle \($0) of \(place.chain)" } ?? "at the end of \(place.chain)",
                    rules: obstacle == nil
                        ? bridges.sorted().flatMap { bridge in
                            ForwardPass.Way.allCases.map { ForwardPass($0, bridge).text }
                        } : [], note: obstacle))
        }
        guard let request = name.request, !table.isOwned else { return }
        var messages: [NetlinkMessage] = []
        for (chain, handle, before, pass) in walk.passes(markedBy: mark) {
            if let index = missing.firstIndex(of: Wish(chain: chain, before: before, pass: pass)) {
                missing.remove(at: index)
            } else {
                messages.append(request.delete(rule: handle, of: chain))
            }
        }
        messages += missing.map { wish in
            request.append(wish.pass.expressions, to: wish.chain, before: wish.before, comment: mark)
        }
        if !messages.isEmpty { batches.append((name, messages, !missing.isEmpty)) }
    }

    private func obstacle(
        _ name: TablesName, _ table: ForwardRules.Table, _ walk: ForwardWalk, _ place: ForwardWalk.Place
    ) -> String? {
        let bridge = bridges.sorted().first ?? "skiff0"
        if table.isOwned {
            let way =
                name.name == "firewalld"
                ? "firewall-cmd --permanent --zone=trusted --add-interface=\(bridge); firewall-cmd --reload"
                : "let \(bridge) pass there"
            return "the table belongs to the program that made it, and nobody else can change it (\(way))"
        }
        if walk.isShared(place.chain) {
            return
                "chain \(place.chain) judges other packets, too, than those that are forwarded; let \(bridge) pass in a chain "
                + "of its own"
        }
        return adds ? nil : "rules are not added (--forward-rules=warn); \(Self.advice(name, place, bridge))"
    }

    private static func advice(_ name: TablesName, _ place: ForwardWalk.Place, _ bridge: String) -> String {
        let words: [String]
        if name.name == "filter", name.family != 1, place.chain == "FORWARD" {
            let verb = (name.family == 2 ? "iptables" : "ip6tables") + (place.before == nil ? " -A" : " -I")
            words = ["-i", "-o"].map { "\(verb) FORWARD \($0) \(bridge) -j ACCEPT" }
        } else {
            let verb =
                place.before.map { "insert rule \(name) \(place.chain) handle \($0)" } ?? "add rule \(name) \(place.chain)"
            words = ForwardPass.Way.allCases.map { "nft '\(verb) \(ForwardPass($0, bridge).text)'" }
        }
        return "let them pass there: " + words.joined(separator: "; ")
    }

    /// The same of iptables-legacy, whose rules are not ours to change.
    package static func legacy(_ chains: [String: [XTables.Rule]]?, isIPv6: Bool, bridges: [String]) -> [ForwardDefault] {
        let command = isIPv6 ? "ip6tables-legacy" : "iptables-legacy"
        guard let chains else { return [] }
        return chains.sorted { $0.key < $1.key }.compactMap { table, rules in
            let closed = bridges.sorted().compactMap { bridge in end(of: rules, bridge).map { (bridge, $0) } }
            guard let (bridge, end) = closed.first else { return nil }
            let words = ["-i", "-o"].map {
                "\(command)\(table == "filter" ? "" : " -t \(table)") -I FORWARD \($0) \(bridge) -j ACCEPT"
            }
            return ForwardDefault(
                chain: "\(command) \(table) FORWARD", end: end, answer: .closed, place: "", rules: [],
                note: "let them pass there: \(words.joined(separator: "; "))")
        }
    }

    private static func end(of rules: [XTables.Rule], _ bridge: String) -> String? {
        for way in ForwardPass.Way.allCases {
            let input = way == .from ? bridge : nil
            let output = way == .to ? bridge : nil
            // What is not known lets pass, or goes on: nothing is claimed then.
            let decisive = rules.indices.first { index in
                rules[index].means(input: input, output: output) && rules[index].outcome != .none
                    && (rules[index].outcome != .other || index == rules.count - 1)
            }
            if let decisive, rules[decisive].outcome == .drop {
                return decisive == rules.count - 1 ? "policy drop" : "a rule that drops everything"
            }
        }
        return nil
    }
}

/// Keeps the engine's accept rules in other programs' chains.
struct ForwardKeeper {
    let own: TablesRequest
    let adds: Bool
    private(set) var defaults: [ForwardDefault] = []
    /// A firewall that is loaded anew need not be told of each time.
    private var told: Set<String> = []

    init(_ own: TablesRequest, adds: Bool) {
        self.own = own
        self.adds = adds
    }

    /// Whether anything is dropped by default, so that each new bridge needs something.
    var isNeeded: Bool { !defaults.isEmpty }

    /// Does what is to be done. The answer is what people should hear of: what was added, or is newly closed.
    mutating func settle(_ bridges: [String], _ socket: NetlinkSocket) -> [String] {
        var added: Set<String> = []
        var faults: [TablesName: any Error] = [:]
        // Between reading and writing another program may have changed its chain: then once more.
        for _ in 0..<3 {
            faults = [:]
            let plan: ForwardPlan
            do {
                plan = ForwardPlan(try ForwardRules(socket, except: own), bridges: bridges, mark: own.table, adds: adds)
            } catch { continue }
            defaults = plan.defaults
            for batch in plan.batches {
                do {
                    if let first = try socket.batch(batch.messages).first { throw first.fault }
                    if batch.adds { added.insert(batch.table.description) }
                } catch {
                    faults[batch.table] = error
                }
            }
            if faults.isEmpty { break }
        }
        for (table, fault) in faults {
            for index in defaults.indices where defaults[index].chain.hasPrefix("\(table) ") {
                defaults[index].answer = .closed
                defaults[index].rules = []
                defaults[index].note = "the kernel does not take rules there: \(fault)"
            }
        }
        for isIPv6 in [false, true] {
            defaults += ForwardPlan.legacy(
                XTables.chains(at: .forward, isIPv6: isIPv6), isIPv6: isIPv6, bridges: bridges)
        }
        return defaults.compactMap { found in
            switch found.answer {
            case .added:
                guard added.contains(where: { found.chain.hasPrefix($0 + " ") }), told.insert("+" + found.chain).inserted else {
                    return nil
                }
                return "chain \(found.chain) drops what none of its rules lets pass (\(found.end)): rules marked "
                    + "\"\(own.table)\" let packets of containers through (--forward-rules=warn leaves the chain alone)"
            case .closed:
                guard told.insert("-" + found.chain).inserted else { return nil }
                return "chain \(found.chain), another program's, drops what none of its rules lets pass (\(found.end)): "
                    + "containers may not reach other hosts, nor they them; \(found.note ?? "")"
            }
        }
    }
}
