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

    /// Throws where this kernel has no nf_tables, or does not let us.
    init(_ rules: FirewallRules) throws {
        self.rules = rules
        socket = try NetlinkSocket(.netfilter)
        // Until `replace`, the table that an earlier engine left goes on serving its ports.
        if try socket.note(of: rules.table) != FirewallRules.note { try rebuild() }
    }

    /// What other programs' chains do to packets that the host passes on, in words; nil where they let them pass. An accept of
    /// ours does not help against a drop of theirs.
    func foreignObstacle() -> String? {
        let chains = (try? socket.baseChains()) ?? []
        // NFPROTO_INET, NFPROTO_IPV4; Docker's daemon leaves such a chain behind.
        let drop = chains.first {
            $0.hook == .forward && $0.dropsByDefault && [1, 2].contains($0.family) && $0.table != rules.table.table
        }
        guard let drop, let bridge = rules.networks.first?.bridge else { return nil }
        return
            "chain \(drop.name) of table \(drop.table), another program's, drops what it does not accept: containers may not "
            + "reach other hosts, nor they them; let them pass there (iptables -I FORWARD -i \(bridge) -j ACCEPT; "
            + "iptables -I FORWARD -o \(bridge) -j ACCEPT)"
    }

    struct Change: Sendable {
        var addNetworks: [FirewallRules.Network] = []
        var removeNetworks: [ObjectID] = []
        var remove: [PublishedPort] = []
        var add: [PublishedPort] = []
    }

    /// Applies all changes in one transaction. Success means that the kernel has them. On a fault the added ports are not
    /// there; the removed ones are gone from what the table should hold.
    func apply(_ changes: [Change]) throws {
        let before = ports
        let networks = rules.networks
        let gone = Set(changes.flatMap(\.removeNetworks) + changes.flatMap(\.addNetworks).map(\.id))
        rules.networks.removeAll { gone.contains($0.id) }
        rules.networks += changes.flatMap(\.addNetworks)
        let isOtherNetworks = rules.networks != networks
        var messages: [NetlinkMessage] = []
        for change in changes {
            let gone = change.remove.filter { ports[$0.key] == $0 }
            for port in gone { ports[port.key] = nil }
            messages += rules.remove(gone)
            let replaced = change.add.compactMap { ports[$0.key] }
            messages += rules.remove(replaced)
            for port in change.add { ports[port.key] = port }
            messages += rules.add(change.add)
        }
        if messages.isEmpty, !isOtherNetworks { return }
        if try isOtherNetworks || !socket.batch(messages).isEmpty {
            do {
                try rebuild()
            } catch {
                ports = before
                rules.networks = networks.filter { !gone.contains($0.id) }
                for port in changes.flatMap(\.remove) where ports[port.key] == port { ports[port.key] = nil }
                throw error
            }
        }
        forgetFlows(removed: changes.flatMap(\.remove), added: changes.flatMap(\.add))
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
        try rebuild()
    }

    /// What the kernel's table holds, whoever put it there.
    func publishedPorts() throws -> [PublishedPort] {
        try socket.elements(of: FirewallRules.portsAny, in: rules.table).compactMap { PublishedPort($0, isEverywhere: true) }
            + socket.elements(of: FirewallRules.portsAt, in: rules.table).compactMap { PublishedPort($0, isEverywhere: false) }
    }

    /// By which the kernel's notifications name our own changes.
    var port: UInt32 { socket.port }

    /// Puts the table back where somebody has taken it, or a part of it, away; true when that was so.
    func mend() throws -> Bool {
        if try isWhole() { return false }
        try rebuild()
        return true
    }

    private func isWhole() throws -> Bool {
        guard try socket.note(of: rules.table) == FirewallRules.note,
            try socket.ruleCount(of: rules.table) >= rules.ruleCount
        else { return false }
        let present = Set(try publishedPorts().map(\.key))
        return ports.keys.allSatisfy { present.contains($0) }
    }

    private func rebuild() throws {
        if let first = try socket.batch(rules.replacement(ports: ports.values)).first { throw first.fault }
    }
}

/// What a published port occupies on the host.
package struct PortKey: Sendable, Hashable {
    /// Nil is every address.
    package var address: IPAddress?
    package var proto: PortProtocol
    package var port: UInt16
}

extension PortBinding {
    package var key: PortKey { PortKey(address: hostAddress.isUnspecified ? nil : hostAddress, proto: proto, port: hostPort) }
}

extension PublishedPort {
    func isTarget(of flow: ConnectionInfo) -> Bool {
        target == .v4(flow.answerer) && binding.containerPort == flow.answererPort
    }

    var key: PortKey { binding.key }
}
