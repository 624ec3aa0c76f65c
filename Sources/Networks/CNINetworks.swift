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

/// What a plugin chain has made for one endpoint, with all that it takes to delete it.
struct ChainNote: Sendable, Equatable {
    var chain: String
    /// Of the chain, as it was then; nil in notes of earlier versions.
    var configuration: JSONValue?
    var wishes = CNIChain.Wishes()
    /// What the chain answered; nil while it runs.
    var result: JSONValue?

    init(chain: String) { self.chain = chain }

    func plugins() throws -> CNIChain {
        guard let configuration else { return try CNIChain(named: chain) }
        return try CNIChain(configuration, file: "the configuration of CNI network \(chain)")
    }
}

extension ChainNote: JSONReadable, JSONWritable {
    init(from reader: inout JSONReader) throws {
        self.init(chain: "")
        // Once it was the chain's name alone
        if reader.next == .string {
            chain = try reader.string()
            return
        }
        var mac: String?
        try reader.object { key, reader in
            switch key {
            case "chain": chain = try reader.value()
            case "configuration": configuration = try reader.value()
            case "ports": wishes.ports = try reader.value()
            case "mac": mac = try reader.value()
            case "result": result = try reader.value()
            default: try reader.skip()
            }
        }
        wishes.mac = mac.flatMap { MACAddress($0) }
    }

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("chain", chain)
            writer.member("configuration", ifPresent: configuration)
            writer.member("ports", unlessEmpty: wishes.ports)
            writer.member("mac", ifPresent: wishes.mac?.description)
            writer.member("result", ifPresent: result)
        }
    }
}

/// Which endpoints plugin chains have made and not deleted yet: kept in the state, so that one that died with its engine is deleted.
final class ChainLedger: Sendable {
    struct Place: Hashable, Sendable {
        var sandbox: ObjectID
        var interface: String
    }

    private struct Content {
        /// As in the state; nil until it was read.
        var notes: [String: ChainNote]?
        /// Namespaces of living sandboxes: plugins take away what they made in them and of them.
        var spaces: [Place: SharedDescriptor] = [:]
        /// What is being deleted, so many times over.
        var ending: [Place: Int] = [:]
    }

    private static let key = "cni.endpoints"
    private let store: any NetworkStore
    private let content = Mutex(Content())

    init(_ store: any NetworkStore) { self.store = store }

    /// Nil as note: the endpoint is no more.
    func note(_ place: Place, _ note: ChainNote?) throws {
        try content.withLock { content in
            var all = try content.notes ?? load()
            all["\(place.sandbox).\(place.interface)"] = note
            try store.setValue(Self.key, all.jsonText)
            content.notes = all
            if note == nil { content.spaces[place] = nil }
        }
    }

    func note(of place: Place) throws -> ChainNote? { try all[place] }

    var all: [Place: ChainNote] {
        get throws {
            let all = try content.withLock { content in
                let notes = try content.notes ?? load()
                content.notes = notes
                return notes
            }
            var places: [Place: ChainNote] = [:]
            for (key, note) in all {
                let parts = key.split(separator: ".", maxSplits: 1)
                guard parts.count == 2, let id = ObjectID(String(parts[0])) else { continue }
                places[Place(sandbox: id, interface: String(parts[1]))] = note
            }
            return places
        }
    }

    private func load() throws -> [String: ChainNote] {
        guard let text = try store.value(Self.key) else { return [:] }
        return try [String: ChainNote](json: Array(text.utf8))
    }

    func hold(_ namespace: SharedDescriptor, for place: Place) { content.withLock { $0.spaces[place] = namespace } }
    func letGo(_ place: Place) { content.withLock { $0.spaces[place] = nil } }
    func namespace(of place: Place) -> SharedDescriptor? { content.withLock { $0.spaces[place] } }

    /// From here on until `ended` a new endpoint waits that would take the place of one that is being deleted.
    func ending(_ places: [Place]) { content.withLock { for place in places { $0.ending[place, default: 0] += 1 } } }

    func ended(_ places: [Place]) {
        content.withLock { content in
            for place in places { content.ending[place] = content.ending[place].flatMap { $0 > 1 ? $0 - 1 : nil } }
        }
    }

    func settled(_ place: Place) async throws {
        while content.withLock({ $0.ending[place] != nil }) { try await Task.sleep(for: .milliseconds(5)) }
    }
}

/// Threads on which plugin chains run, in the host's network: a plugin that hangs keeps other containers from nothing.
final class ChainRunner: Sendable {
    private struct Content {
        var jobs: [@Sendable () -> Void] = []
        var threads = 0
    }

    private static let mostThreads = 16
    private let content = Mutex(Content())
    private let home: SharedDescriptor

    /// The host's network is that of the calling thread.
    init() throws { home = SharedDescriptor(try NetNamespace.current()) }

    func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let needsThread = content.withLock { content in
                content.jobs.append { continuation.resume(with: Result { try body() }) }
                guard content.threads < Self.mostThreads else { return false }
                content.threads += 1
                return true
            }
            guard needsThread else { return }
            do {
                try startThread { [self] in work() }
            } catch {
                // Whoever asked first is served here, late and slowly: there is no memory for a thread
                work()
            }
        }
    }

    private func work() {
        try? NetNamespace.enter(home.raw)
        while let job = next() { job() }
    }

    private func next() -> (@Sendable () -> Void)? {
        content.withLock { content in
            if content.jobs.isEmpty {
                content.threads -= 1
                return nil
            }
            return content.jobs.removeFirst()
        }
    }
}

extension SandboxService {
    private static func path(_ namespace: SharedDescriptor?) -> String {
        namespace.map { "/proc/\(ownProcessID)/fd/\($0.raw)" } ?? ""
    }

    /// Host ports that the chain of a container's first network is to publish; nil where it cannot, or nothing is wished.
    func holdPorts(_ request: SandboxRequest, for chain: String) async throws -> HostPorts? {
        guard !request.ports.isEmpty else { return nil }
        return try await chains.run { [registry] in
            guard try CNIChain(named: chain).publishesPorts else { return nil }
            let ports = HostPorts()
            // The chain has yet to say which addresses the container gets
            let wantsIPv6 = request.ports.contains { $0.hostAddress?.v6 != nil }
            do {
                try ports.reserve(request.ports, targets: PortTargets(v4: .any, v6: wantsIPv6 ? .any : nil)) { key in
                    registry.value.withLock { $0.owners[key] != nil }
                }
            } catch { throw Self.unpublished(error, request.name, nil) }
            return ports
        }
    }

    /// Runs the chain for an endpoint; `namespace` is borrowed.
    func addByChain(
        _ endpoint: EndpointRecord, _ chain: String, ports: [PortBinding] = [], to namespace: CInt, of sandbox: ObjectID
    ) async throws -> EndpointRecord {
        let key = ChainLedger.Place(sandbox: sandbox, interface: endpoint.interface)
        try await ledger.settled(key)
        let plugins = try CNIChain(named: chain)
        if endpoint.mac != nil, !plugins.assignsMAC {
            throw Fault(
                .invalid, "network cni:\(chain) cannot give a MAC address: no plugin of its chain has the capability mac",
                subject: chain)
        }
        var note = ChainNote(chain: chain)
        note.configuration = plugins.configuration
        note.wishes = CNIChain.Wishes(ports: ports, mac: endpoint.mac)
        try ledger.note(key, note)
        let held = SharedDescriptor(try Descriptor.duplicate(ofBorrowed: namespace))
        ledger.hold(held, for: key)
        let place = CNIChain.Place(container: sandbox, interface: endpoint.interface, namespace: Self.path(held))
        let result: JSONValue
        do { result = try await chains.run { [wishes = note.wishes] in try plugins.add(place, wishes) } } catch {
            try? ledger.note(key, nil)
            throw error
        }
        do {
            note.result = result
            try ledger.note(key, note)
            var made = try CNIChain.endpoint(endpoint, result, place)
            made.isPublishedByChain = !ports.isEmpty
            return made
        } catch {
            await removeByChain(chain, interface: endpoint.interface, of: sandbox)
            throw error
        }
    }

    /// Success means that the plugins have let go of the endpoint's addresses. The namespace may be gone.
    func removeByChain(_ chain: String, interface: String, of sandbox: ObjectID) async {
        let key = ChainLedger.Place(sandbox: sandbox, interface: interface)
        let held = ledger.namespace(of: key)
        let place = CNIChain.Place(container: sandbox, interface: interface, namespace: Self.path(held))
        do {
            let note = try ledger.note(of: key) ?? ChainNote(chain: chain)
            try await chains.run { try note.plugins().delete(place, note.wishes, previous: note.result) }
            try ledger.note(key, nil)
        } catch {
            // Tried again when the engine starts.
            ledger.letGo(key)
            warn("endpoint \(interface) of sandbox \(sandbox.short) is still known to CNI network \(chain): \(Fault(error))")
        }
        withExtendedLifetime(held) {}
    }

    /// After a restart of the engine: the endpoints that chains have made for a sandbox that lives. Where one is no longer as it was
    /// made, that is told; the container keeps it. `namespace` is borrowed.
    public func adoptChains(of record: SandboxRecord, namespace: CInt) async {
        for endpoint in record.endpoints {
            guard let chain = endpoint.chain, let copy = try? Descriptor.duplicate(ofBorrowed: namespace) else { continue }
            let key = ChainLedger.Place(sandbox: record.id, interface: endpoint.interface)
            let held = SharedDescriptor(copy)
            ledger.hold(held, for: key)
            let place = CNIChain.Place(container: record.id, interface: endpoint.interface, namespace: Self.path(held))
            do {
                guard let note = try ledger.note(of: key), let result = note.result else { continue }
                try await chains.run { try note.plugins().check(place, note.wishes, previous: result) }
            } catch {
                warn(
                    "endpoint \(endpoint.interface) of sandbox \(record.id.short) is not as CNI network \(chain) made it: "
                        + "\(Fault(error))")
            }
        }
    }

    /// Deletes what a chain made for sandboxes that are no more, in the background: plugins may take their time.
    func sweepChains() {
        let known = Set(records.flatMap(\.chainPlaces))
        let orphans = ((try? ledger.all) ?? [:]).filter { !known.contains($0.key) }
        ledger.ending(Array(orphans.keys))
        for (place, note) in orphans {
            Task {
                await removeByChain(note.chain, interface: place.interface, of: place.sandbox)
                ledger.ended([place])
            }
        }
    }
}

extension SandboxRecord {
    /// Where plugin chains have made endpoints.
    var chainPlaces: [ChainLedger.Place] {
        endpoints.filter { $0.chain != nil }.map { ChainLedger.Place(sandbox: id, interface: $0.interface) }
    }
}

extension EndpointRecord {
    /// The plugin chain that made it.
    public var chain: String? { networkName.hasPrefix("cni:") ? String(networkName.dropFirst(4)) : nil }
}
