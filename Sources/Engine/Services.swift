import Images
import Logging
import Model
import Networks
import State

/// What an engine is told when it starts.
public struct EngineConfiguration: Sendable {
    public var layout: Layout
    /// The `skiff-runtime` that shims are started from.
    public var runtimeBinary: String
    /// Where containers' cgroups go unless `--cgroup-parent` says otherwise: an absolute path in every hierarchy.
    public var cgroupParent = "/skiff"
    public var networks = NetworksConfiguration()
    /// For `version` and `info`.
    public var version = "0.1.0"
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

    /// Opens the state, takes over what runs already, and returns ready to serve. What the last engine left half done is
    /// finished or undone in the background.
    /// - Throws: `conflict` that names the process when another engine has this data root.
    public static func start(_ configuration: EngineConfiguration, log: Logger) async throws -> Services {
        throw Fault(.unsupported, "not yet")
    }

    /// Stops serving: waiters and streams end. Containers go on.
    public func shutdown() async {}
}
