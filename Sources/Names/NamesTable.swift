import Model

/// Who has which name in which network. Pure; one sandbox's record in, answers out.
public struct NamesTable: Sendable {
    /// What the table says to a question.
    public enum Verdict: Sendable, Equatable {
        /// The name is known; no records means that it has none of that type.
        case known([DNSRecord])
        /// Nobody has the name, and nobody else can.
        case noSuchName
        /// Not ours to know.
        case foreign
    }

    private struct Member: Sendable {
        var sandbox: ObjectID
        var addresses: [IPAddress]
    }

    private struct Zone: Sendable {
        var names: [DNSName: [Member]] = [:]
        var owners: [IPAddress: (sandbox: ObjectID, name: DNSName)] = [:]
    }

    /// A sandbox's own view: names that it alone knows, and the networks that it asks.
    private struct View: Sendable {
        var record: NamesSandbox
        var links: [DNSName: [DNSName]] = [:]
        var hosts: [DNSName: [IPAddress]] = [:]
    }

    private var views: [ObjectID: View] = [:]
    private var zones: [String: Zone] = [:]

    public init() {}

    public var count: Int { views.count }
    public var sandboxes: [NamesSandbox] { views.values.map(\.record) }
    public func record(of id: ObjectID) -> NamesSandbox? { views[id]?.record }

    /// Enters a sandbox, or replaces what was known of it.
    public mutating func put(_ sandbox: NamesSandbox) {
        remove(sandbox.id)
        var view = View(record: sandbox)
        for link in sandbox.links {
            guard let alias = DNSName(link.alias), let target = DNSName(link.target) else { continue }
            view.links[alias, default: []].append(target)
        }
        for host in sandbox.hosts {
            if let name = DNSName(host.name) { view.hosts[name, default: []].append(host.address) }
        }
        views[sandbox.id] = view
        for endpoint in sandbox.endpoints { enter(endpoint, sandbox.id) }
    }

    private mutating func enter(_ endpoint: NamesEndpoint, _ id: ObjectID) {
        let member = Member(sandbox: id, addresses: endpoint.addresses.map(\.address))
        for name in Self.names(endpoint) { zones[endpoint.network, default: Zone()].names[name, default: []].append(member) }
        // docker's answer to a reverse question is the container's name and the network's
        guard let first = endpoint.names.first, let name = DNSName(first + "." + endpoint.networkName) ?? DNSName(first) else {
            return
        }
        for address in member.addresses { zones[endpoint.network, default: Zone()].owners[address] = (id, name) }
    }

    /// Each name alone and with the network's name behind it. A name that DNS cannot carry is left out.
    private static func names(_ endpoint: NamesEndpoint) -> Set<DNSName> {
        var names: Set<DNSName> = []
        for text in endpoint.names where !text.isEmpty {
            if let name = DNSName(text) { names.insert(name) }
            if let name = DNSName(text + "." + endpoint.networkName) { names.insert(name) }
        }
        return names
    }

    /// Repeatable.
    public mutating func remove(_ id: ObjectID) {
        guard let view = views.removeValue(forKey: id) else { return }
        for endpoint in view.record.endpoints {
            guard zones[endpoint.network] != nil else { continue }
            for name in Self.names(endpoint) {
                zones[endpoint.network]?.names[name]?.removeAll { $0.sandbox == id }
                if zones[endpoint.network]?.names[name]?.isEmpty == true { zones[endpoint.network]?.names[name] = nil }
            }
            for address in endpoint.addresses.map(\.address) where zones[endpoint.network]?.owners[address]?.sandbox == id {
                zones[endpoint.network]?.owners[address] = nil
            }
            if zones[endpoint.network]?.names.isEmpty == true { zones[endpoint.network] = nil }
        }
    }

    /// What a sandbox gets to hear. `turn` chooses which of several addresses comes first.
    public func verdict(_ question: DNSQuestion, for id: ObjectID, turn: UInt64) -> Verdict {
        guard let view = views[id] else { return .foreign }
        if let addresses = addresses(of: question.name, view) {
            return .known(Self.records(addresses, question.type, turn))
        }
        if let address = question.name.reversedAddress { return reverse(address, question.type, view) }
        return .foreign
    }

    private func addresses(of name: DNSName, _ view: View) -> [IPAddress]? {
        if let fixed = view.hosts[name] { return fixed }
        if let targets = view.links[name] {
            for target in targets { if let found = members(target, view) { return found } }
        }
        if let found = members(name, view) { return found }
        // RFC 6761 6.3: nobody else is to be asked
        if name.ends(with: "localhost") { return [.v4(.loopback), .v6(.loopback)] }
        return nil
    }

    /// The first network that knows the name decides.
    private func members(_ name: DNSName, _ view: View) -> [IPAddress]? {
        for endpoint in view.record.endpoints {
            if let members = zones[endpoint.network]?.names[name] { return members.flatMap(\.addresses) }
        }
        return nil
    }

    private static func records(_ addresses: [IPAddress], _ type: UInt16, _ turn: UInt64) -> [DNSRecord] {
        let wanted = addresses.filter { address in
            switch address {
            case .v4: type == DNSQuestion.a || type == DNSQuestion.any
            case .v6: type == DNSQuestion.aaaa || type == DNSQuestion.any
            }
        }
        guard wanted.count > 1 else { return wanted.map { .address($0) } }
        let first = Int(turn % UInt64(wanted.count))
        return (wanted[first...] + wanted[..<first]).map { .address($0) }
    }

    private func reverse(_ address: IPAddress, _ type: UInt16, _ view: View) -> Verdict {
        for endpoint in view.record.endpoints {
            guard let owner = zones[endpoint.network]?.owners[address] else { continue }
            return .known(type == DNSQuestion.ptr || type == DNSQuestion.any ? [.pointer(owner.name)] : [])
        }
        // An address of a network of ours without a name: nobody outside knows better, and nobody is to hear of it
        let isOurs = view.record.endpoints.contains { endpoint in
            endpoint.addresses.contains { $0.networkContains(address) }
        }
        return isOurs ? .noSuchName : .foreign
    }
}
