import Linux
import Model
import State
import Synchronization

/// The networks that there are. Reading costs no system call; what changes them is in `SandboxService`, which has the drivers.
public final class NetworkDirectory: Sendable {
    private struct Entry {
        var record: NetworkRecord
        /// Nil while it is being made, for networks without links (host, none), and where the links could not be made.
        var stand: NetworkStand?
        /// Why the links are not there.
        var obstacle: Fault?
    }

    private let content = Mutex<[ObjectID: Entry]>([:])

    init() {}

    /// By name.
    public var all: [NetworkRecord] { content.withLock { $0.values.map(\.record).sorted { $0.name < $1.name } } }

    public subscript(_ id: ObjectID) -> NetworkRecord? { content.withLock { $0[id]?.record } }

    public func named(_ name: String) -> NetworkRecord? {
        content.withLock { $0.values.first { $0.record.name == name }?.record }
    }

    /// A full id, a name, or the beginning of one id, in docker's order.
    /// - Throws: `notFound` (`network x not found`), `invalid` where several ids begin so.
    public func resolve(_ reference: String) throws -> NetworkRecord {
        if reference.hasPrefix("cni:") { return try chain(String(reference.dropFirst(4))) }
        if let id = ObjectID(reference), let record = self[id] { return record }
        if let record = named(reference) { return record }
        let found = reference.isEmpty ? [] : all.filter { $0.id.text.hasPrefix(reference) }
        if found.count > 1 {
            throw Fault(
                .invalid, "network \(reference) is ambiguous (\(found.count) matches found on ID prefix)", subject: reference)
        }
        guard let record = found.first else { throw Fault(.notFound, "network \(reference) not found", subject: reference) }
        return record
    }

    /// The network of a plugin chain, which is there as long as its file is.
    private func chain(_ name: String) throws -> NetworkRecord {
        let stand = try CNIDriver.stand(name)
        return content.withLock { entries in
            if let known = entries[stand.id] { return known.record }
            entries[stand.id] = Entry(record: stand.record, stand: stand)
            return stand.record
        }
    }

    /// The network for a new endpoint, which cannot be removed until `leave`.
    func enter(_ id: ObjectID) throws -> NetworkStand {
        let entry = content.withLock { $0[id] }
        guard let entry else { throw Fault(.notFound, "network \(id) not found", subject: id.text) }
        guard let stand = entry.stand else {
            throw entry.obstacle
                ?? Fault(.unavailable, "network \(entry.record.name) is not ready", subject: entry.record.name)
        }
        try stand.enter()
        return stand
    }

    func stand(_ id: ObjectID) -> NetworkStand? { content.withLock { $0[id]?.stand } }

    /// Enters what `plan` makes of the records that there are: nobody else gets the name or addresses meanwhile.
    func insert(_ plan: ([NetworkRecord]) throws -> NetworkRecord) throws -> NetworkRecord {
        try content.withLock { entries in
            let record = try plan(entries.values.map(\.record))
            entries[record.id] = Entry(record: record)
            return record
        }
    }

    func insert(_ record: NetworkRecord, _ stand: NetworkStand? = nil, obstacle: Fault? = nil) {
        content.withLock { $0[record.id] = Entry(record: record, stand: stand, obstacle: obstacle) }
    }

    func setStand(_ stand: NetworkStand) { content.withLock { $0[stand.id]?.stand = stand } }

    @discardableResult
    func remove(_ id: ObjectID) -> NetworkRecord? { content.withLock { $0.removeValue(forKey: id)?.record } }

    /// Addresses in use.
    public func usedAddresses(_ id: ObjectID) -> (ipv4: Int, ipv6: Int) { stand(id)?.usedAddresses ?? (0, 0) }

    /// Addresses that somebody uses who does not have them from the engine, as far as was heard lately.
    public func claims(_ id: ObjectID) -> [AddressClaim] { stand(id)?.claims ?? [] }
}

extension NetworkRecord {
    /// The two networks that are no networks, with the ids that earlier engines show.
    static let predefined: [NetworkRecord] = {
        let ids = [
            "host": "6861736b6966662d686f73742d6e6574776f726b2d2d2d2d2d2d2d2d2d2d2d31",
            "none": "6e6f736b6966662d6e6f6e652d6e6574776f726b2d2d2d2d2d2d2d2d2d2d2d32",
        ]
        return ids.compactMap { name, text in
            ObjectID(text).map {
                NetworkRecord(
                    id: $0, name: name, created: Timestamp(nanoseconds: 0), driver: name == "host" ? .host : .null)
            }
        }
    }()

    /// An address of the network as an interface has it.
    func interface(_ address: IPv4Address) -> InterfaceIPv4? {
        guard let range = ipv4.first(where: { $0.subnet.contains(.v4(address)) }) else { return nil }
        return InterfaceIPv4(address: address, prefix: range.subnet.prefix, gateway: wayOut(range.gateway?.v4))
    }

    func interface(_ address: IPv6Address) -> InterfaceIPv6? {
        guard let range = ipv6.first(where: { $0.subnet.contains(.v6(address)) }) else { return nil }
        return InterfaceIPv6(address: address, prefix: range.subnet.prefix, gateway: wayOut6(range.gateway?.v6))
    }
}
