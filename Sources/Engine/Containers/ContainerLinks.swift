import Linux
import Model
import Networks

/// docker's link of a container on the default bridge to another one there: environment variables and a line in /etc/hosts.
/// On networks of users links are names (`NamesService`).
package struct ContainerLink: Sendable, Hashable {
    package var alias: String
    /// The other container's name and host name.
    package var name: String
    package var hostname: String
    package var address: IPv4Address
    /// What it exposes: `80/tcp`.
    package var ports: [String]
    package var environment: [String]
    /// Of the container that has the link.
    package var owner: String

    package init(
        alias: String, name: String, hostname: String, address: IPv4Address, ports: [String], environment: [String],
        owner: String
    ) {
        self.alias = alias
        self.name = name
        self.hostname = hostname
        self.address = address
        self.ports = ports
        self.environment = environment
        self.owner = owner
    }

    /// `container:alias`, or a container's name alone, which is the alias then.
    package static func parse(_ text: String) -> (target: String, alias: String) {
        let parts = text.split(separator: ":", maxSplits: 1).map { String($0) }
        let target = parts.first ?? text
        let bare = target.hasPrefix("/") ? String(target.dropFirst()) : target
        return (bare, parts.count == 2 ? String(parts[1].split(separator: "/").last ?? "") : bare)
    }

    /// What stands behind the address in /etc/hosts.
    package var hostsNames: String { Self.hostsNames(alias: alias, hostname: hostname, name: name) }

    static func hostsNames(alias: String, hostname: String, name: String) -> String {
        ([alias, hostname] + (name == alias ? [] : [name])).joined(separator: " ")
    }

    private struct Port: Hashable {
        var number: UInt16
        var proto: String
    }

    /// TCP before others, then by number.
    private var sortedPorts: [Port] {
        let all = ports.compactMap { text -> Port? in
            let parts = text.split(separator: "/")
            guard let first = parts.first, let number = UInt16(first) else { return nil }
            return Port(number: number, proto: parts.count == 2 ? String(parts[1]) : "tcp")
        }
        return Set(all).sorted {
            ($0.proto == "tcp" ? 0 : 1, $0.number, $0.proto) < ($1.proto == "tcp" ? 0 : 1, $1.number, $1.proto)
        }
    }

    /// docker's variables: the first port as `ALIAS_PORT`, ranges of neighbouring ports, each port, the link's name, and the
    /// other container's own variables as `ALIAS_ENV_…`.
    package var variables: [String] {
        let prefix = alias.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
        let ports = sortedPorts
        var variables: [String] = []
        if let first = ports.first { variables.append("\(prefix)_PORT=\(first.proto)://\(address):\(first.number)") }
        var start = 0
        while start < ports.count {
            var end = start
            while end + 1 < ports.count, ports[end + 1].proto == ports[start].proto,
                ports[end + 1].number == ports[end].number &+ 1
            { end += 1 }
            if end > start {
                variables += Self.range(prefix, ports[start], ports[end], address)
            }
            start = end + 1
        }
        for port in ports {
            let key = "\(prefix)_PORT_\(port.number)_\(port.proto.uppercased())"
            variables.append("\(key)=\(port.proto)://\(address):\(port.number)")
            variables += ["\(key)_ADDR=\(address)", "\(key)_PORT=\(port.number)", "\(key)_PROTO=\(port.proto)"]
        }
        variables.append("\(prefix)_NAME=/\(owner)/\(alias)")
        for variable in environment where variable.contains("=") && !variable.hasPrefix("HOME=") && !variable.hasPrefix("PATH=")
        {
            variables.append("\(prefix)_ENV_\(variable)")
        }
        return variables
    }

    private static func range(_ prefix: String, _ first: Port, _ last: Port, _ address: IPv4Address) -> [String] {
        let key = "\(prefix)_PORT_\(first.number)_\(first.proto.uppercased())"
        return [
            "\(key)_START=\(first.proto)://\(address):\(first.number)", "\(key)_ADDR=\(address)", "\(key)_PROTO=\(first.proto)",
            "\(key)_PORT_START=\(first.number)", "\(key)_END=\(first.proto)://\(address):\(last.number)",
            "\(key)_PORT_END=\(last.number)",
        ]
    }
}

extension ContainerSnapshot {
    /// Its host name, as others that are linked to it have it.
    fileprivate var linkHostname: String { description.config.hostname.flatMap { $0.isEmpty ? nil : $0 } ?? id.short }
}

extension Container {
    /// Forgets a link to another container; where this one runs, it no longer finds the other one by it.
    func removeLink(_ alias: String) async throws {
        try await queue.run { try await self.removeLinkNow(alias) }
    }

    private func removeLinkNow(_ alias: String) async throws {
        guard !removed else { throw Fault(.notFound, "No such container: \(id)", subject: id.text) }
        let snapshot = board.snapshot
        let targets = (snapshot.description.host.links ?? []).map { ContainerLink.parse($0) }.filter { $0.alias == alias }
        let other = targets.first.flatMap { try? core.registry.resolve($0.target).snapshot }
        var description = snapshot.description
        description.host.links?.removeAll { ContainerLink.parse($0).alias == alias }
        let bytes = description.json
        try core.database.write { [id] in try $0.setConfig(bytes, ofContainer: id) }
        board.update { [description] in $0.description = description }
        guard status.running != nil, let other else { return }
        let names = ContainerLink.hostsNames(alias: alias, hostname: other.linkHostname, name: other.name)
        let path = core.layout.container(id) + "/hosts"
        try await core.pool.run {
            let text = String(decoding: try readFile(path, limit: 1 << 20), as: UTF8.self)
            let rest = ResolverFiles.unlinked(text, names: names)
            // In place: the file is bound into the container
            if rest != text { try writeFile(path, Array(rest.utf8), permissions: 0o644) }
        }
    }
}

extension EngineCore {
    /// The links of a container that is about to start.
    /// - Throws: docker's words where the other one does not run.
    func links(of snapshot: ContainerSnapshot) throws -> [ContainerLink] {
        guard snapshot.description.network == .bridge else { return [] }
        return try (snapshot.description.host.links ?? []).map { text in
            let (target, alias) = ContainerLink.parse(text)
            let other = try registry.resolve(target).snapshot
            guard let endpoint = other.sandbox?.endpoint(on: sandboxes.network.id), let address = endpoint.ipv4?.address else {
                throw Fault(
                    .invalid, "Cannot link to a non running container: /\(other.name) AS /\(snapshot.name)/\(alias)",
                    subject: target)
            }
            let config = other.description.config
            return ContainerLink(
                alias: alias, name: other.name, hostname: other.linkHostname, address: address,
                ports: Array((config.exposedPorts ?? [:]).keys), environment: config.env ?? [], owner: snapshot.name)
        }
    }

    /// A container has started: those that are linked to it find it at its new address. Blocking.
    func renewLinks(to id: ObjectID) {
        for other in registry.all.map(\.snapshot)
        where other.status.running != nil && !(other.description.host.links ?? []).isEmpty {
            let isLinked = (other.description.host.links ?? []).contains { text in
                (try? registry.resolve(ContainerLink.parse(text).target))?.id == id
            }
            guard isLinked, let links = try? links(of: other) else { continue }
            let path = layout.container(other.id) + "/hosts"
            guard let bytes = try? readFile(path, limit: 1 << 20) else { continue }
            let text = ResolverFiles.relinked(
                String(decoding: bytes, as: UTF8.self), links.map { ($0.hostsNames, $0.address) })
            guard !text.utf8.elementsEqual(bytes) else { continue }
            // In place: the file is bound into the container
            try? writeFile(path, Array(text.utf8), permissions: 0o644)
        }
    }
}
