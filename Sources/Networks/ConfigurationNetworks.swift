import Linux
import Model

/// Networks that are only a configuration (docker's `--config-only`): a name and settings, without links, rules or sandboxes.
extension SandboxService {
    /// Success means that the record survives a power cut.
    /// - Throws: `conflict` when the name is taken.
    public func createConfiguration(_ spec: NetworkSpec, by caller: Caller) async throws -> NetworkRecord {
        var made = NetworkRecord(
            id: .random(), name: spec.name, owner: caller.owner, created: Timestamp(nanoseconds: Clock.realtime), driver: .null)
        made.configuration = NetworkConfiguration(enablesIPv4: spec.enablesIPv4, enablesIPv6: spec.enablesIPv6)
        made.ipv4 = spec.ranges.filter { $0.subnet.v4 != nil }
        made.ipv6 = spec.ranges.filter { $0.subnet.v6 != nil }
        made.options = spec.options
        made.ipamOptions = spec.ipamOptions
        made.labels = spec.labels
        let record = try networks.insert { [made] existing in
            if existing.contains(where: { $0.name == made.name }) {
                throw Fault(.conflict, "network with name \(made.name) already exists", subject: made.name)
            }
            return made
        }
        do {
            try store.save(record)
            try await store.sync()
        } catch {
            networks.remove(record.id)
            throw error
        }
        return record
    }

    /// - Throws: `notFound` when it is gone already.
    public func removeConfiguration(_ id: ObjectID) async throws {
        guard let record = networks.remove(id) else { throw Fault(.notFound, "network \(id) not found", subject: id.text) }
        do {
            try store.delete(network: id)
            try await store.sync()
        } catch {
            networks.insert(record)
            throw error
        }
    }
}
