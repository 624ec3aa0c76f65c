import Model
import Synchronization

/// Who has which address and port.
package struct SandboxRegistry: Sendable {
    package var sandboxes: [ObjectID: SandboxRecord] = [:]
    package var owners: [PortKey: ObjectID] = [:]

    package init() {}

    /// The endpoint that has an address of a network.
    func owner(of address: IPv4Address, on network: ObjectID) -> EndpointRecord? {
        for record in sandboxes.values {
            if let found = record.endpoints.first(where: { $0.network == network && $0.ipv4?.address == address }) {
                return found
            }
        }
        return nil
    }

    package mutating func insert(_ record: SandboxRecord) {
        sandboxes[record.id] = record
        for binding in record.bindings { owners[binding.key] = record.id }
    }

    @discardableResult
    package mutating func remove(_ id: ObjectID) -> SandboxRecord? {
        guard let record = sandboxes.removeValue(forKey: id) else { return nil }
        for binding in record.bindings where owners[binding.key] == id { owners[binding.key] = nil }
        return record
    }

    /// Enters a record whose host ports were just bound. A sandbox that had one of them before has ended, though nobody has
    /// released it yet; the ports that it loses are the result.
    package mutating func takeOver(_ record: SandboxRecord) -> [PublishedPort] {
        var stale: [PublishedPort] = []
        for binding in record.bindings {
            guard let owner = owners[binding.key], var previous = sandboxes[owner] else { continue }
            stale += previous.publishedPorts.filter { $0.key == binding.key }
            previous.bindings.removeAll { $0.key == binding.key }
            sandboxes[owner] = previous
        }
        insert(record)
        return stale
    }
}

/// The registry where the service and its kernel thread reach it.
final class SharedRegistry: Sendable {
    let value = Mutex(SandboxRegistry())
}
