import Linux
import Model

/// Networks that are only a configuration (docker's `--config-only`): a name and settings, without links, rules or sandboxes.
extension SandboxService {
    /// Success means that the record survives a power cut.
    /// - Throws: `conflict` when the name is taken.
    public func createConfiguration(_ spec: NetworkSpec, by caller: Caller) async throws -> NetworkRecord {
        var record = NetworkRecord(
            id: .random(), name: spec.name, owner: caller.owner, created: Timestamp(nanoseconds: Clock.realtime), driver: .null)
        record.configuration = NetworkConfiguration(enablesIPv4: spec.enablesIPv4, enablesIPv6: spec.enablesIPv6)
        record.ipv4 = spec.ranges.filter { $0.subnet.v4 != nil }
        record.ipv6 = spec.ranges.filter { $0.subnet.v6 != nil }
        record.options = spec.options
        record.ipamOptions = spec.ipamOptions
        record.labels = spec.labels
        try networks.insert(record)
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
            try? networks.insert(record)
            throw error
        }
    }
}
