import Archive
import Images
import Linux
import Logging
import Model
import Networks
import Registry
import State

/// What an engine is told when it starts.
public struct EngineConfiguration: Sendable {
    public var layout: Layout
    /// The `skiff-runtime` that shims are started from.
    public var runtimeBinary: String
    /// Where containers' cgroups go unless `--cgroup-parent` says otherwise: an absolute path in every hierarchy.
    public var cgroupParent = "/skiff"
    public var networks = NetworksConfiguration()
    /// How registries are reached.
    public var registries = RegistrySettings()
    /// For `version` and `info`.
    public var version = "0.1.0"
    /// `overlay2`, `btrfs` or `copy`; nil chooses by what the data root's file system can.
    public var storageDriver: String?
    /// Which compressed contents keep a file beside the unpacked layer, and for how many nanoseconds all do.
    public var keepBlobs = KeepBlobs.needed
    public var keepBlobsFor: Int64 = 3600 * 1_000_000_000
    /// Run the containers' health checks.
    public var healthChecks = true

    public init(layout: Layout, runtimeBinary: String) {
        self.layout = layout
        self.runtimeBinary = runtimeBinary
    }
}

/// Everything that an API needs, wired together.
public struct Services: Sendable {
    public let containers: ContainerService
    public let execs: ExecService
    public let images: ImageService
    public let volumes: VolumeService
    public let networks: NetworkService
    public let events: EventService
    public let system: SystemService
    let core: EngineCore
    private let lock: DataRootLock
    private let keeping: BlobKeeping

    /// Opens the state, takes over what runs already, and returns ready to serve. What the last engine left half done is
    /// finished or undone in the background.
    /// - Throws: `conflict` that names the process when another engine has this data root.
    public static func start(_ configuration: EngineConfiguration, log: Logger) async throws -> Services {
        let layout = configuration.layout
        try Descriptor.makeDirectories(layout.dataRoot, permissions: 0o711)
        for folder in [layout.containers, layout.volumes, layout.temporary] { try Descriptor.makeDirectories(folder) }
        try Descriptor.makeDirectories(layout.runRoot, permissions: 0o711)
        try Descriptor.makeDirectories(layout.shims)
        let reserve = DiskReserve(layout.dataRoot)
        let lock: DataRootLock
        // Even the process id needs a block where nothing is written in place.
        do { lock = try DataRootLock(layout.dataRoot) } catch let fault as KernelFault
            where fault.isDiskFull && reserve.giveUp()
        {
            lock = try DataRootLock(layout.dataRoot)
        }
        let database = try StateFiles.open(layout)
        do { try database.reserveRoom { reserve.giveUp() } } catch { log.warning("\(Fault(error).message)") }
        let images = try ImageStore(layout: layout, database: database, storageDriver: configuration.storageDriver)
        images.setDownloads(configuration.registries.downloads)
        let registries = configuration.registries
        images.setRefetch { repository in
            try RegistrySession(repository, settings: registries, credential: nil).fetcher()
        }
        let sandboxes = try SandboxService(configuration: configuration.networks, store: database) { text in
            log.warning("\(text)")
        }
        let events = EventService()
        let reactor = try ShimReactor()
        let names = try NamesService(configuration, networks: sandboxes.networks, reactor: reactor, log: log)
        let core = EngineCore(
            configuration: configuration, database: database, images: images, sandboxes: sandboxes, names: names,
            reactor: reactor, pool: BlockingPool(width: 8, label: "skiff.work"),
            background: BlockingPool(width: 2, label: "skiff.background"), registry: ContainerRegistry(), events: events,
            execs: ExecTable(), accounts: AccountCache(), log: log, bootID: Self.bootID())
        try core.noteStorageDriver()
        let services = Services(core, lock, BlobKeeping(core, reserve))
        core.beginAppArmor()
        try await Recovery(core: core).run()
        services.keeping.start()
        return services
    }

    private init(_ core: EngineCore, _ lock: DataRootLock, _ keeping: BlobKeeping) {
        self.core = core
        self.lock = lock
        self.keeping = keeping
        containers = ContainerService(core)
        execs = ExecService(core)
        images = ImageService(core)
        volumes = VolumeService(core)
        networks = NetworkService(core)
        events = core.events
        system = SystemService(core, images: images, containers: containers, volumes: volumes)
    }

    private static func bootID() -> String {
        let bytes = (try? readFile("/proc/sys/kernel/random/boot_id", limit: 256)) ?? []
        return String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self)
    }

    /// Stops serving: waiters and streams end. Containers go on.
    public func shutdown() async {
        keeping.stop()
        core.events.close()
        for container in core.registry.all {
            container.board.abandon()
            await container.letGo()
        }
        await core.names.shutdown()
        await core.sandboxes.shutdown()
        try? await core.database.sync()
    }
}

/// One engine at a time in one data root.
final class DataRootLock: Sendable {
    private let lock: FileLock

    init(_ dataRoot: String) throws {
        var holder: CInt = 0
        guard let lock = try FileLock.take(dataRoot + "/lock", holder: &holder) else {
            throw Fault(
                .conflict,
                "another engine (process \(holder)) uses \(dataRoot): stop it first, or give this one another data root",
                subject: dataRoot)
        }
        self.lock = lock
    }
}
