import Linux
import Model
import State
import Synchronization

/// The networks that there are. Reading costs no system call; what changes them is in `SandboxService`, which has the drivers.
public final class NetworkDirectory: Sendable {
    private let content: Mutex<[ObjectID: NetworkRecord]>

    init(_ records: [NetworkRecord]) {
        content = Mutex(Dictionary(records.map { ($0.id, $0) }) { _, last in last })
    }

    /// By name.
    public var all: [NetworkRecord] { content.withLock { $0.values.sorted { $0.name < $1.name } } }

    public subscript(_ id: ObjectID) -> NetworkRecord? { content.withLock { $0[id] } }

    public func named(_ name: String) -> NetworkRecord? { content.withLock { $0.values.first { $0.name == name } } }

    /// A full id, a name, or the beginning of one id, in docker's order.
    /// - Throws: `notFound` (`network x not found`), `invalid` where several ids begin so.
    public func resolve(_ reference: String) throws -> NetworkRecord {
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

    /// Enters a record whose name and addresses nobody else has.
    /// - Throws: `conflict` in docker's words.
    func insert(_ record: NetworkRecord) throws {
        try content.withLock { records in
            if records.values.contains(where: { $0.name == record.name && $0.id != record.id }) {
                throw Fault(.conflict, "network with name \(record.name) already exists", subject: record.name)
            }
            records[record.id] = record
        }
    }

    @discardableResult
    func remove(_ id: ObjectID) -> NetworkRecord? { content.withLock { $0.removeValue(forKey: id) } }
}

extension NetworkRecord {
    /// The two networks that are no networks, with the ids that today's engine shows.
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
        return InterfaceIPv4(address: address, prefix: range.subnet.prefix, gateway: isInternal ? nil : range.gateway?.v4)
    }

    func interface(_ address: IPv6Address) -> InterfaceIPv6? {
        guard let range = ipv6.first(where: { $0.subnet.contains(.v6(address)) }) else { return nil }
        return InterfaceIPv6(address: address, prefix: range.subnet.prefix, gateway: isInternal ? nil : range.gateway?.v6)
    }
}
