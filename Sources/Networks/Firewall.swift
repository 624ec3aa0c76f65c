import Linux
import Model

/// Our table in the kernel, and what it should hold. Only the service's kernel thread uses it after `init`.
///
/// A change is a batch that holds the difference. When the kernel refuses it (somebody flushed the table, an element is not
/// what we think), the whole table is replaced by what it should be, in one transaction.
final class Firewall {
    private let socket: NetlinkSocket
    private var rules: FirewallRules
    private var ports: [PortKey: PublishedPort] = [:]
    /// The host's rules for input as they were read last, and what our table has of them.
    private var host = HostRules()
    private var policy = HostPolicy() { didSet { rules.kept = policy.keptFamilies } }
    /// Our rules in other programs' chains.
    private var keeper: ForwardKeeper
    private let warn: @Sendable (String) -> Void

    /// Throws where this kernel has no nf_tables, or does not let us.
    /// - Parameter opensForwarding: rules are added where other programs' chains forbid by default that packets are forwarded.
    init(_ rules: FirewallRules, opensForwarding: Bool, warn: @escaping @Sendable (String) -> Void) throws {
        self.rules = rules
        self.warn = warn
        keeper = ForwardKeeper(rules.table, adds: opensForwarding)
        socket = try NetlinkSocket(.netfilter)
        // Until `replace`, the table that an earlier engine left goes on serving its ports.
        if try socket.note(of: rules.table) != FirewallRules.note {
            readHost()
            try rebuild()
        }
        settleForwarding()
    }

    /// Where other programs' chains drop what none of their rules lets pass, and what was done about it.
    var forwarding: [ForwardDefault] { keeper.defaults }

    private func settleForwarding() { for text in keeper.settle(rules.networks.map(\.bridge), socket) { warn(text) } }

    struct Change: Sendable {
        var addNetworks: [FirewallRules.Network] = []
        var removeNetworks: [ObjectID] = []
        var remove: [PublishedPort] = []
        var add: [PublishedPort] = []
    }

    /// Applies all changes in one transaction. Success means that the kernel has them. On a fault the added ports and networks
    /// are not there; the removed ones are gone from what the table should hold.
    func apply(_ changes: [Change]) throws {
        let before = (ports: ports, networks: rules.networks)
        var messages: [NetlinkMessage] = []
        for change in changes {
            let gone = change.remove.filter { ports[$0.key] == $0 }
            for port in gone { ports[port.key] = nil }
            messages += rules.remove(gone)
            messages += rules.remove(networks: takeOut(change.removeNetworks + change.addNetworks.map(\.id)))
            rules.networks += change.addNetworks
            messages += rules.add(networks: change.addNetworks)
            let replaced = change.add.compactMap { ports[$0.key] }
            messages += rules.remove(replaced)
            for port in change.add { ports[port.key] = port }
            messages += rules.add(change.add)
        }
        if messages.isEmpty { return }
        if try !socket.batch(messages).isEmpty {
            do {
                try rebuild()
            } catch {
                ports = before.ports
                rules.networks = before.networks
                for port in changes.flatMap(\.remove) where ports[port.key] == port { ports[port.key] = nil }
                _ = takeOut(changes.flatMap(\.removeNetworks))
                throw error
            }
        }
        forgetFlows(removed: changes.flatMap(\.remove), added: changes.flatMap(\.add))
        if keeper.isNeeded, rules.networks != before.networks { settleForwarding() }
        // iptables-legacy tells nobody of changes.
        if !changes.allSatisfy({ $0.add.isEmpty }), LegacyTables.differ(from: host) { try follow() }
    }

    private func takeOut(_ ids: [ObjectID]) -> [FirewallRules.Network] {
        let gone = rules.networks.filter { ids.contains($0.id) }
        rules.networks.removeAll { ids.contains($0.id) }
        return gone
    }

    /// Reads the host's rules anew: those for input, by which our table judges published ports, and those that forbid forwarding.
    /// True when those for input had changed.
    @discardableResult
    func follow() throws -> Bool {
        settleForwarding()
        let before = policy
        guard readHost() else {
            if try !isWholeKept() { try rebuild() }
            return false
        }
        if !(before.keptFamilies + policy.keptFamilies).isEmpty {
            try rebuild()
        } else if try !socket.batch(before.removal(rules.table) + rules.messages(policy)).isEmpty {
            try rebuild()
        }
        return true
    }

    /// True when the policy is another than before.
    @discardableResult
    private func readHost() -> Bool {
        let before = policy
        do {
            host = try HostRules.read(socket)
            policy = HostPolicy(host)
        } catch {
            policy = HostPolicy.closed("the host's rules for input cannot be read: \(error)")
        }
        return policy != before
    }

    /// Who reaches each published port, by the rules as they are now.
    func audit() throws -> [PortAudit] {
        let now = try HostRules.read(socket)
        return ports.values.map { PortAudit($0, now, obstacles: policy.obstacles) }.sorted {
            ($0.binding.hostPort, $0.binding.proto.rawValue, $0.binding.hostAddress.description)
                < ($1.binding.hostPort, $1.binding.proto.rawValue, $1.binding.hostAddress.description)
        }
    }

    /// The kernel translates a flow as its first packet was, as long as packets come. UDP has no end: a client that goes on
    /// sending would talk to the container that had the port before (moby#8795), or past the one that has it now.
    private func forgetFlows(removed: [PublishedPort], added: [PublishedPort]) {
        let removed = Set(removed.filter { $0.binding.proto == .udp })
        let added = added.filter { $0.binding.proto == .udp }
        guard !removed.isEmpty || !added.isEmpty, let flows = try? socket.connections() else { return }
        let stale = flows.filter { flow in
            guard flow.proto == 17 else { return false }
            let isToOld = removed.contains { $0.isTarget(of: flow) && $0.binding.hostPort == flow.destinationPort }
            return isToOld || added.contains { $0.binding.hostPort == flow.destinationPort && !$0.isTarget(of: flow) }
        }
        try? socket.forget(stale)
    }

    /// Makes the table hold exactly these ports.
    func replace(_ all: [PublishedPort]) throws {
        ports = Dictionary(all.map { ($0.key, $0) }) { _, last in last }
        readHost()
        try rebuild()
    }

    /// What the kernel's table holds, whoever put it there.
    func publishedPorts() throws -> [PublishedPort] {
        func elements(_ name: FirewallRules.Name) throws -> [TablesElement] {
            try socket.elements(of: name.rawValue, in: rules.table)
        }
        func ports(_ name: FirewallRules.Name, _ guards: FirewallRules.Name, _ family: [UInt8]) throws -> [PublishedPort] {
            let guarded = Set(try elements(guards).map(\.key))
            return try elements(name).compactMap { element in
                var port = PublishedPort(element, isEverywhere: guards == .guardAny)
                if !guarded.contains(family + element.key) { port?.binding.exposure = .open }
                return port
            }
        }
        return try ports(.any4, .guardAny, [2, 0, 0, 0]) + ports(.any6, .guardAny, [10, 0, 0, 0])
            + ports(.at4, .guard4, []) + ports(.at6, .guard6, [])
    }

    /// By which the kernel's notifications name our own changes.
    var port: UInt32 { socket.port }

    /// Puts the table back where somebody has taken it, or a part of it, away; true when that was so.
    func mend() throws -> Bool {
        if try isWhole() { return false }
        readHost()
        try rebuild()
        return true
    }

    private func isWhole() throws -> Bool {
        guard try socket.note(of: rules.table) == FirewallRules.note,
            try socket.ruleCount(of: rules.table) >= rules.ruleCount + policy.ruleCount(), try isWholeKept()
        else { return false }
        let wanted = rules.networks.flatMap { rules.elements(of: $0) } + ports.values.flatMap { rules.elements(of: $0) }
        for (set, elements) in Dictionary(grouping: wanted, by: \.set) {
            let present = Set(try socket.elements(of: set.rawValue, in: rules.table).map(\.key))
            if !elements.allSatisfy({ present.contains($0.element.key) }) { return false }
        }
        return true
    }

    /// The tables of one family.
    private func isWholeKept() throws -> Bool {
        for family in rules.kept {
            let table = rules.table(of: family)
            guard try socket.note(of: table) == FirewallRules.note,
                try socket.ruleCount(of: table) >= policy.ruleCount(family)
            else { return false }
            for (set, elements) in Dictionary(grouping: rules.guards(of: ports.values, family), by: \.set) {
                let present = Set(try socket.elements(of: set.rawValue, in: table).map(\.key))
                if !elements.allSatisfy({ present.contains($0.element.key) }) { return false }
            }
        }
        return true
    }

    private func replacement(_ policy: HostPolicy) -> [NetlinkMessage] {
        // A kernel without the family has no table of it.
        let stale = [2, 10].filter { ((try? socket.note(of: rules.table(of: $0))) ?? nil) != nil } as [UInt8]
        return rules.replacement(ports: ports.values, policy: policy, stale: stale)
    }

    /// What the kernel does not take of the host's policy counts as closed.
    private func rebuild() throws {
        guard let first = try socket.batch(replacement(policy)).first else { return }
        if policy.gates.isEmpty { throw first.fault }
        var fault = first.fault
        for closed in policy.substitutes("the kernel does not take the host's rules for published ports: \(fault)") {
            guard let next = try socket.batch(replacement(closed)).first else {
                policy = closed
                return
            }
            fault = next.fault
        }
        throw fault
    }
}

/// What a published port occupies on the host.
package struct PortKey: Sendable, Hashable {
    /// 0.0.0.0 and [::] are every address of their family.
    package var address: IPAddress
    package var proto: PortProtocol
    package var port: UInt16
}

extension PortBinding {
    package var key: PortKey { PortKey(address: hostAddress, proto: proto, port: hostPort) }
}

extension PublishedPort {
    func isTarget(of flow: ConnectionInfo) -> Bool {
        target == flow.answerer && binding.containerPort == flow.answererPort
    }

    var key: PortKey { binding.key }
}
