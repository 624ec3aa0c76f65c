import Linux
import Model

/// One mounted cgroup hierarchy, as this process sees it (cgroups(7)).
public struct CgroupHierarchy: Sendable, Equatable {
    /// Controllers in kernel spelling; for v2 those that `cgroup.controllers` of the mount's root offers.
    public var controllers: [String]
    /// Name of a v1 hierarchy without controllers (`systemd`).
    public var name: String?
    public var isUnified: Bool
    public var mountPoint: String
    /// This process's cgroup as a path below the mount point: `/` or `/a/b`.
    public var own: String

    public init(controllers: [String], name: String? = nil, isUnified: Bool = false, mountPoint: String, own: String = "/") {
        self.controllers = controllers
        self.name = name
        self.isUnified = isUnified
        self.mountPoint = mountPoint
        self.own = own
    }
}

/// What is mounted where: found once per process from /proc/self/mountinfo and /proc/self/cgroup.
public struct CgroupLayout: Sendable, Equatable {
    public enum Mode: String, Sendable {
        /// cgroup v2 only.
        case unified
        /// v1 hierarchies and a v2 one beside them.
        case hybrid
        case legacy
        /// Nothing is mounted.
        case absent
    }

    public var hierarchies: [CgroupHierarchy]

    public init(hierarchies: [CgroupHierarchy]) { self.hierarchies = hierarchies }

    public var mode: Mode {
        let unified = hierarchies.contains { $0.isUnified }
        let legacy = hierarchies.contains { !$0.isUnified }
        return unified ? (legacy ? .hybrid : .unified) : (legacy ? .legacy : .absent)
    }

    /// The hierarchy that has the controller.
    public func hierarchy(with controller: String) -> CgroupHierarchy? {
        hierarchies.first { $0.controllers.contains(controller) }
    }
}
