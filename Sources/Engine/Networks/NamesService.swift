import Linux
import Logging
import Model
import Names
import Networks
import Synchronization

/// The names of containers on networks of users: which container is called what where, told to the process that answers.
final class NamesService: Sendable {
    private let link: NamesLink
    private let networks: NetworkDirectory
    private let log: Logger
    private let doors = Mutex<[ObjectID: SandboxDoor]>([:])

    init(_ configuration: EngineConfiguration, networks: NetworkDirectory, reactor: ShimReactor, log: Logger) throws {
        self.networks = networks
        self.log = log
        let folder = configuration.layout.runRoot
        let settings = NamesLink.Settings(
            socket: folder + "/names.sock", program: configuration.runtimeBinary, log: folder + "/names.log",
            user: Processes.userID == 0 ? NamesLink.Settings.unprivileged : nil)
        link = try NamesLink(settings, reap: { [reactor] in reactor.reap($0) }) { text in log.warning("\(text)") }
    }

    /// Whether a network's containers know one another by name: those of users do, docker's default bridge does not.
    static func resolves(_ network: NetworkRecord) -> Bool {
        switch network.driver {
        case .bridge(let settings): !settings.isDefault
        case .macvlan, .ipvlan, .cni: true
        case .host, .null: false
        }
    }

    /// Whether a sandbox's containers ask 127.0.0.11.
    func serves(_ sandbox: SandboxRecord) -> Bool {
        sandbox.endpoints.contains { endpoint in networks[endpoint.network].map { Self.resolves($0) } ?? false }
    }

    /// Success means that names are answered in the sandbox, and that others find it by its names. `namespace` is borrowed.
    func enter(_ sandbox: SandboxRecord, _ snapshot: ContainerSnapshot, namespace: CInt) async throws {
        guard serves(sandbox) else { return }
        let door = SandboxDoor(try Descriptor.duplicate(ofBorrowed: namespace))
        doors.withLock { $0[sandbox.id] = door }
        try await link.put(record(sandbox, snapshot)) { try door.open() }
    }

    /// From now on the namespace is found by its process, and is not held open.
    func started(_ id: ObjectID, pid: CInt, startTicks: UInt64) {
        doors.withLock { $0[id] }?.lead(to: pid, startTicks: startTicks)
    }

    /// The sandbox has other networks, or its container another name.
    func changed(_ sandbox: SandboxRecord, _ snapshot: ContainerSnapshot) async throws {
        guard serves(sandbox) else { return leave(sandbox.id) }
        if doors.withLock({ $0[sandbox.id] }) != nil { return try await link.update(record(sandbox, snapshot)) }
        guard let run = snapshot.status.running else { return }
        let door = SandboxDoor(pid: run.pid, startTicks: run.startTicks)
        doors.withLock { $0[sandbox.id] = door }
        try await link.put(record(sandbox, snapshot)) { try door.open() }
    }

    /// The process closes its sockets, which would keep the namespace. Unknown sandboxes are fine.
    func leave(_ id: ObjectID) {
        if doors.withLock({ $0.removeValue(forKey: id) }) != nil { link.remove(id) }
    }

    /// After a restart of the engine: the containers that live. The process has gone on meanwhile, and goes on while this runs.
    func restore(_ living: [ContainerSnapshot]) async {
        let known = living.compactMap { snapshot -> (record: NamesSandbox, door: NamesLink.Door)? in
            guard let run = snapshot.status.running, let sandbox = run.sandbox, serves(sandbox) else { return nil }
            let door = SandboxDoor(pid: run.pid, startTicks: run.startTicks)
            doors.withLock { $0[sandbox.id] = door }
            return (record(sandbox, snapshot), { try door.open() })
        }
        do { try await link.restore(known) } catch { log.warning("names of containers: \(Fault(error))") }
    }

    func shutdown() async { await link.close() }
}

extension NamesService {
    /// What the process is to know of a sandbox.
    private func record(_ sandbox: SandboxRecord, _ snapshot: ContainerSnapshot) -> NamesSandbox {
        var record = NamesSandbox(id: sandbox.id)
        let host = snapshot.description.host
        record.servers = Self.options(host).completed(by: sandbox).servers
        record.forwards = false
        for endpoint in Self.ordered(sandbox) {
            guard let network = networks[endpoint.network] else { continue }
            if !network.isInternal { record.forwards = true }
            guard Self.resolves(network) else { continue }
            record.endpoints.append(Self.endpoint(endpoint, snapshot))
            let links = snapshot.description.endpoints[network.name]?.links ?? []
            record.links += links.compactMap { Self.link($0) }
        }
        let gateway = sandbox.primary?.ipv4?.gateway
        record.hosts = ResolverFiles.extraHosts(host.extraHosts ?? [], gateway: gateway).map {
            NamesHost(name: $0.name, address: $0.address)
        }
        return record
    }

    private static func options(_ host: Docker.HostConfig) -> ResolverOptions {
        var options = ResolverOptions()
        options.servers = host.dns ?? []
        return options
    }

    /// The network with the default route is asked first.
    private static func ordered(_ sandbox: SandboxRecord) -> [EndpointRecord] {
        let first = sandbox.primary?.id
        return sandbox.endpoints.filter { $0.id == first } + sandbox.endpoints.filter { $0.id != first }
    }

    private static func endpoint(_ endpoint: EndpointRecord, _ snapshot: ContainerSnapshot) -> NamesEndpoint {
        var addresses: [NamesAddress] = []
        if let ipv4 = endpoint.ipv4 { addresses.append(NamesAddress(.v4(ipv4.address), prefix: ipv4.prefix)) }
        if let ipv6 = endpoint.ipv6 { addresses.append(NamesAddress(.v6(ipv6.address), prefix: ipv6.prefix)) }
        return NamesEndpoint(
            network: endpoint.network.text, networkName: endpoint.networkName, addresses: addresses,
            names: snapshot.dnsNames(on: endpoint.networkName, aliases: endpoint.aliases))
    }

    /// docker's `container:alias`, or a container's name alone.
    private static func link(_ text: String) -> NamesAlias? {
        let parts = text.split(separator: ":", maxSplits: 1).map { String($0) }
        guard let target = parts.first else { return nil }
        let name = target.hasPrefix("/") ? String(target.dropFirst()) : target
        return NamesAlias(alias: parts.count == 2 ? parts[1] : name, target: name)
    }
}

/// The way into a sandbox's network namespace: what holds it open until its process runs, then that process.
final class SandboxDoor: Sendable {
    private enum Place: Sendable {
        case held(SharedDescriptor)
        case process(pid: CInt, startTicks: UInt64)
    }

    private let place: Mutex<Place>

    init(_ namespace: consuming Descriptor) { place = Mutex(.held(SharedDescriptor(namespace))) }
    init(pid: CInt, startTicks: UInt64) { place = Mutex(.process(pid: pid, startTicks: startTicks)) }

    func lead(to pid: CInt, startTicks: UInt64) { place.withLock { $0 = .process(pid: pid, startTicks: startTicks) } }

    func open() throws -> Descriptor {
        switch place.withLock({ $0 }) {
        case .held(let namespace): return try Descriptor.duplicate(ofBorrowed: namespace.raw)
        case .process(let pid, let startTicks):
            let namespace = try NetNamespace.open(pid: pid)
            // Looked at after opening: then what was opened was that process's
            guard Processes.stat(pid)?.startTicks == startTicks else {
                throw Fault(.notFound, "process \(pid) is no more")
            }
            return namespace
        }
    }
}
