import JSON
import Linux
import Model

/// All that must be known of a container to enter, signal, limit and delete it; `state.json` in the state folder.
public struct ContainerState: Sendable, Equatable {
    public static let currentVersion = 1

    public var version = ContainerState.currentVersion
    public var id: String
    public var bundle: String
    /// The init process, in this pid namespace, with its start time (proc_pid_stat(5), field 22): a pid alone is no identity.
    public var pid: CInt
    public var startTicks: UInt64
    public var created: Timestamp
    /// Who made it; `list` shows the name.
    public var owner: UInt32
    public var cgroup: CgroupRecord?
    public var spec: OCI.Spec

    public init(
        id: String, bundle: String, pid: CInt, startTicks: UInt64, created: Timestamp, owner: UInt32, cgroup: CgroupRecord?,
        spec: OCI.Spec
    ) {
        self.id = id
        self.bundle = bundle
        self.pid = pid
        self.startTicks = startTicks
        self.created = created
        self.owner = owner
        self.cgroup = cgroup
        self.spec = spec
    }
}
