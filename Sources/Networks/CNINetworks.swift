import JSON
import Linux
import Model
import Synchronization

/// `--network cni:NAME`: what a plugin chain makes is attached like any other endpoint, and remembered until it was deleted.
struct CNIDriver: NetworkDriver {
    func raise(_ record: NetworkRecord, _ host: HostLinks, warn: (String) -> Void) throws -> StandingNetwork {
        StandingNetwork(record: record, index: 0, mtu: 0)
    }

    func lower(_ record: NetworkRecord, _ host: HostLinks) throws -> Int32? { nil }
    func named(_ endpoint: EndpointRecord, on network: StandingNetwork) -> EndpointRecord { endpoint }
    func attachment(_ endpoint: EndpointRecord, to network: StandingNetwork, namespace: CInt) -> [NetlinkMessage] { [] }

    /// The network of a chain: not kept, the chain's file says it all. Its id is a function of its name.
    static func stand(_ name: String) throws -> NetworkStand {
        _ = try CNIChain(named: name)
        var text = ""
        for salt in 0..<4 as Range<UInt64> {
            let hash = name.utf8.reduce(14_695_981_039_346_656_037 ^ salt) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
            let part = String(hash, radix: 16)
            text += String(repeating: "0", count: 16 - part.count) + part
        }
        guard let id = ObjectID(text) else { throw Fault(.system, "no id can be made of \(name)", subject: name) }
        let record = NetworkRecord(id: id, name: "cni:" + name, created: NetClock.now, driver: .cni(name))
        return NetworkStand(StandingNetwork(record: record, index: 0, mtu: 0), CNIDriver())
    }
}

/// Which endpoints plugin chains have made and not deleted yet: kept in the state, so that one that died with its engine is deleted.
final class ChainLedger: Sendable {
    struct Place: Hashable, Sendable {
        var sandbox: ObjectID
        var interface: String
    }

    private static let key = "cni.endpoints"
    private let store: any NetworkStore
    private let content: Mutex<[String: String]?>

    init(_ store: any NetworkStore) {
        self.store = store
        content = Mutex(nil)
    }

    /// Nil as chain: the endpoint is no more.
    func note(_ place: Place, _ chain: String?) throws {
        try content.withLock { content in
            var all = try content ?? load()
            all["\(place.sandbox).\(place.interface)"] = chain
            try store.setValue(Self.key, all.jsonText)
            content = all
        }
    }

    var all: [Place: String] {
        get throws {
            let all = try content.withLock { try $0 ?? load() }
            var places: [Place: String] = [:]
            for (key, chain) in all {
                let parts = key.split(separator: ".", maxSplits: 1)
                guard parts.count == 2, let id = ObjectID(String(parts[0])) else { continue }
                places[Place(sandbox: id, interface: String(parts[1]))] = chain
            }
            return places
        }
    }

    private func load() throws -> [String: String] {
        guard let text = try store.value(Self.key) else { return [:] }
        return try [String: String](json: Array(text.utf8))
    }
}

extension SandboxService {
    /// Runs the chain for an endpoint; `namespace` is borrowed.
    func addByChain(_ endpoint: EndpointRecord, _ chain: String, to namespace: CInt, of sandbox: ObjectID) async throws
        -> EndpointRecord
    {
        let key = ChainLedger.Place(sandbox: sandbox, interface: endpoint.interface)
        try ledger.note(key, chain)
        let place = CNIChain.Place(
            container: sandbox, interface: endpoint.interface, namespace: "/proc/\(ownProcessID)/fd/\(namespace)")
        do {
            return try await pool.visit { _ in try CNIChain(named: chain).add(place, to: endpoint) }
        } catch {
            try? ledger.note(key, nil)
            throw error
        }
    }

    /// Success means that the plugins have let go of the endpoint's addresses. The namespace may be gone.
    func removeByChain(_ chain: String, interface: String, of sandbox: ObjectID) async {
        let place = CNIChain.Place(container: sandbox, interface: interface, namespace: "")
        do {
            try await pool.visit { _ in try CNIChain(named: chain).delete(place) }
            try ledger.note(ChainLedger.Place(sandbox: sandbox, interface: interface), nil)
        } catch {
            // Tried again when the engine starts.
            warn("endpoint \(interface) of sandbox \(sandbox.short) is still known to CNI network \(chain): \(Fault(error))")
        }
    }

    /// Deletes what a chain made for sandboxes that are no more.
    func sweepChains() async {
        var known: Set<ChainLedger.Place> = []
        for record in records {
            for endpoint in record.endpoints {
                known.insert(ChainLedger.Place(sandbox: record.id, interface: endpoint.interface))
            }
        }
        for (place, chain) in (try? ledger.all) ?? [:] where !known.contains(place) {
            await removeByChain(chain, interface: place.interface, of: place.sandbox)
        }
    }
}

extension EndpointRecord {
    /// The plugin chain that made it.
    var chain: String? { networkName.hasPrefix("cni:") ? String(networkName.dropFirst(4)) : nil }
}
