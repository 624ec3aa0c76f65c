import Model
import Networks

/// Networks by name or id: what clients ask for.
///
/// A reference is an id, a name, or the unambiguous beginning of an id. Unknown ones throw `notFound` (`network x not found`).
public final class NetworkService: Sendable {
    let core: EngineCore

    init(_ core: EngineCore) { self.core = core }

    private var networks: NetworkDirectory { core.sandboxes.networks }

    private func description(_ record: NetworkRecord) -> NetworkDescription {
        NetworkDescription(record: record, mtu: core.sandboxes.mtu, claims: networks.claims(record.id))
    }

    // MARK: Changing

    /// Makes a network. Success means that its links and rules are there and its record survives a power cut.
    /// - Throws: `invalid`, `forbidden`, `conflict`, `notFound` in dockerd's words; a fault leaves nothing behind.
    public func create(_ request: Docker.NetworkCreateRequest, caller: Caller) async throws -> Docker.NetworkCreateResponse {
        let spec = try NetworkWishes.spec(
            request, configuration: request.configFrom?.network.flatMap { networks.named($0) })
        guard networks.named(spec.name) == nil else {
            throw Fault(.conflict, "network with name \(spec.name) already exists", subject: spec.name)
        }
        let record = try await shielded { [core] in
            request.configOnly == true
                ? try await core.sandboxes.createConfiguration(spec, by: caller)
                : try await core.sandboxes.create(spec, by: caller)
        }
        core.tell("create", record)
        var response = Docker.NetworkCreateResponse()
        response.id = record.id.text
        response.warning = ""
        return response
    }

    /// Success means that name, addresses and links are free again.
    /// - Throws: `forbidden` for the predefined ones, and where a container that runs is on it.
    public func remove(_ reference: String, caller: Caller) async throws {
        try await remove(try networks.resolve(reference), caller)
    }

    private func remove(_ record: NetworkRecord, _ caller: Caller) async throws {
        if record.isPredefined {
            throw Fault(
                .forbidden, "\(record.name) is a pre-defined network and cannot be removed", subject: record.name)
        }
        let users = core.endpoints(on: record).map { "name:\"\($0.container.name)\" id:\"\($0.endpoint.id.short)\"" }
        guard users.isEmpty else {
            throw Fault(
                .forbidden,
                "error while removing network: network \(record.name) has active endpoints (\(users.sorted().joined(separator: ", ")))",
                subject: record.name)
        }
        if record.isConfiguration, networks.all.contains(where: { $0.configurationSource == record.name }) {
            throw Fault(
                .forbidden, "error while removing network: configuration network \"\(record.name)\" is in use",
                subject: record.name)
        }
        try await shielded { [core] in
            if record.isConfiguration {
                try await core.sandboxes.removeConfiguration(record.id)
            } else {
                try await core.sandboxes.remove(record.id, by: caller)
            }
        }
        if !record.isConfiguration { core.tell("destroy", record) }
    }

    /// Removes the networks that no running container uses.
    public func prune(_ filters: Filters, caller: Caller) async throws -> Docker.NetworkPruneResponse {
        try filters.validate(["label", "label!", "until"])
        let until = try filters.get("until").first.map(Self.instant)
        var removed: [String] = []
        for record in networks.all where !record.isPredefined && !record.isConfiguration {
            if let until, record.created > until { continue }
            guard filters.admitsLabels(record.labels), core.endpoints(on: record).isEmpty else { continue }
            // Somebody may have begun to use it.
            guard (try? await remove(record, caller)) != nil else { continue }
            removed.append(record.name)
        }
        core.events.publish(type: "network", action: "prune", id: "", attributes: ["reclaimed": "0"])
        var response = Docker.NetworkPruneResponse()
        response.networksDeleted = removed.isEmpty ? nil : removed
        return response
    }

    private static func instant(_ text: String) throws -> Timestamp {
        do { return try TimeText.parse(text) } catch {
            throw Fault(.invalid, "failed to parse value as time or duration: \"\(text)\"", subject: text)
        }
    }

    /// Puts a container on one more network: at once where it runs, with its next start where it does not.
    public func connect(_ reference: String, _ request: Docker.NetworkConnectRequest, caller: Caller) async throws {
        let container = try resolve(request.container)
        try await shielded { try await container.connect(to: reference, request.endpointConfig ?? Docker.EndpointSettings()) }
    }

    /// Takes a container off a network.
    /// - Parameter request: with `Force`, a container that is unknown is looked for among the network's endpoints.
    public func disconnect(_ reference: String, _ request: Docker.NetworkDisconnectRequest, caller: Caller) async throws {
        let container: Container
        do { container = try resolve(request.container) } catch {
            guard request.force == true, let name = request.container, !name.isEmpty else { throw error }
            let record = try networks.resolve(reference)
            guard let user = core.endpoints(on: record).first(where: { $0.container.name == name }) else {
                throw Fault(.notFound, "endpoint \(name) not found", subject: name)
            }
            container = try core.registry.resolve(user.container.id.text)
        }
        try await shielded { try await container.disconnect(from: reference, force: request.force == true) }
    }

    private func resolve(_ container: String?) throws -> Container {
        guard let container, !container.isEmpty else { throw Fault(.invalid, "invalid name or ID supplied: \"\"") }
        return try core.registry.resolve(container)
    }

    // MARK: Looking

    public func list(_ filters: Filters = Filters()) async throws -> [Docker.NetworkSummary] {
        try NetworkDescription.validate(filters)
        let used = Set(core.registry.all.flatMap { $0.snapshot.sandbox?.endpoints.map(\.network) ?? [] })
        return try networks.all.compactMap { record in
            let description = description(record)
            return try description.matches(filters, isUsed: used.contains(record.id)) ? description.summary : nil
        }
    }

    /// - Parameter scope: nil, empty or `local`; a network of another scope is not found.
    public func inspect(_ reference: String, scope: String? = nil) async throws -> Docker.NetworkInspect {
        let record = try networks.resolve(reference)
        if let scope, !scope.isEmpty, scope != "local" {
            throw Fault(.notFound, "network \(reference) not found", subject: reference)
        }
        let users = core.endpoints(on: record)
        var resources: [String: Docker.EndpointResource] = [:]
        for user in users {
            var resource = Docker.EndpointResource()
            resource.name = user.container.name
            resource.endpointID = user.endpoint.id.text
            resource.macAddress = user.endpoint.mac?.description ?? ""
            resource.iPv4Address = user.endpoint.ipv4.map { "\($0.address)/\($0.prefix)" } ?? ""
            resource.iPv6Address = user.endpoint.ipv6.map { "\($0.address)/\($0.prefix)" } ?? ""
            resources[user.container.id.text] = resource
        }
        let description = description(record)
        var inspect = description.inspect(resources)
        if !record.isConfiguration { inspect.status = description.status(users.map(\.endpoint)) }
        return inspect
    }
}

/// A container that is on a network at the moment.
struct NetworkUser {
    let container: ContainerSnapshot
    let endpoint: EndpointRecord
}

extension EngineCore {
    /// Who is on a network: containers that run.
    func endpoints(on network: NetworkRecord) -> [NetworkUser] {
        registry.all.map(\.snapshot).compactMap { snapshot in
            endpoint(of: snapshot, on: network).map { NetworkUser(container: snapshot, endpoint: $0) }
        }
    }

    /// A container's place in a network while it runs. In the host's network there is no place: the container's id stands for it.
    func endpoint(of snapshot: ContainerSnapshot, on network: NetworkRecord) -> EndpointRecord? {
        if network.driver == .host, snapshot.description.network == .host, snapshot.status.running != nil {
            return EndpointRecord(id: snapshot.id, network: network.id, networkName: network.name)
        }
        return snapshot.sandbox?.endpoint(on: network.id)
    }

    /// Tells everybody of a network.
    func tell(_ action: String, _ network: NetworkRecord, container: ObjectID? = nil) {
        var attributes = ["name": network.name, "type": network.driver.word]
        if let container { attributes["container"] = container.text }
        events.publish(type: "network", action: action, id: network.id.text, attributes: attributes)
    }
}
