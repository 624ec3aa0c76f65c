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

    public init(folder: String, type: String, data: String = "", bindSource: String, links: [String] = []) {
        self.folder = folder
        self.type = type
        self.data = data
        self.bindSource = bindSource
        self.links = links
    }
}

extension Cgroup {
    /// The pieces in order. One with an empty folder: cgroup2 at the destination. More: a tmpfs at the destination (mode 755),
    /// a folder and a mount for each; all read-only when the mount asks for it.
    public var mounts: [CgroupMount] {
        if isPureUnified, let entry = unified {
            return [CgroupMount(folder: "", type: "cgroup2", bindSource: entry.path)]
        }
        var mounts: [CgroupMount] = []
        mounts.reserveCapacity(record.entries.count)
        for entry in record.entries { mounts.append(Self.mount(entry)) }
        return mounts
    }

    private static func mount(_ entry: CgroupRecord.Entry) -> CgroupMount {
        if entry.isUnified { return CgroupMount(folder: "unified", type: "cgroup2", bindSource: entry.path) }
        // the name that the host's mount has, so that links of the same names lead to the same controllers
        let normal = MountPlan.normal(entry.mountPoint)
        let last =
            normal.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(normal[normal.utf8.index(after: $0)...]) } ?? normal
        if let name = entry.name {
            return CgroupMount(
                folder: last.isEmpty ? name : last, type: "cgroup", data: "none,name=\(name)", bindSource: entry.path)
        }
        let joined = entry.controllers.count == 1 ? entry.controllers[0] : entry.controllers.joined(separator: ",")
        return CgroupMount(
            folder: last.isEmpty ? joined : last, type: "cgroup", data: joined, bindSource: entry.path,
            links: entry.controllers.count > 1 ? entry.controllers.filter { $0 != last } : [])
    }
}
