import Linux
import Model

/// One piece of what a mount of type `cgroup` puts at its destination.
public struct CgroupMount: Sendable, Equatable {
    /// Folder below the destination; empty is the destination itself.
    public var folder: String
    /// `cgroup` or `cgroup2`: mounted afresh when the container has a cgroup namespace of its own.
    public var type: String
    /// Mount data: controllers, or `none,name=systemd`; empty for cgroup2.
    public var data: String
    /// The container's cgroup on the host, bound when there is no namespace of its own.
    public var bindSource: String
    /// Symbolic links beside the folder that lead to it: the single controllers of `cpu,cpuacct`.
    public var links: [String]
}

extension Cgroup {
    /// The pieces in order. One with an empty folder: cgroup2 at the destination. More: a tmpfs at the destination (mode 755),
    /// a folder and a mount for each; all read-only when the mount asks for it.
    public var mounts: [CgroupMount] { [] }
}
