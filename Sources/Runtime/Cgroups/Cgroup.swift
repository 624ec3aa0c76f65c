import Linux
import Model

/// Who makes the folders.
public enum CgroupDriver: String, Sendable {
    /// This process, in the mounted hierarchies.
    case files
    /// systemd, as a transient scope unit (`--systemd-cgroup`).
    case systemd
}

/// The cgroup of one container: one folder in every mounted hierarchy.
///
///     let cgroup = try Cgroup.locate(path: spec.linux?.cgroupsPath, id: id, layout: try CgroupLayout.detect())
///     // driver .files: before the clone
///     let entrance = try cgroup.create(resources)
///     // clone3 with CLONE_INTO_CGROUP and entrance.cloneDescriptor where there is one; in the child, before
///     // unshare(CLONE_NEWCGROUP): try entrance.join(cloned: true)
///     // driver .systemd (`isMadeBySystemd`): `try cgroup.adopt(pid, resources)` while the child waits
///
/// A value without open descriptors: what `record` holds is enough to find it again.
public struct Cgroup: Sendable, Equatable {
    public var record: CgroupRecord

    /// A container's cgroup from its state file.
    public init(record: CgroupRecord) { self.record = record }

    /// True when `adopt` must be used in place of `create` and `join`.
    public var isMadeBySystemd: Bool { record.systemdUnit != nil }

    /// Where the container's cgroup belongs; makes nothing.
    ///
    /// `path` is `linux.cgroupsPath`: absolute below every mount point; relative below this process's own cgroup (v1) or
    /// its parent (v2, where a cgroup with processes can have no controllers for its children), as runc has it; absent
    /// `/<id>`. With the systemd driver it is `slice:prefix:name`.
    public static func locate(path: String?, id: String, layout: CgroupLayout, driver: CgroupDriver = .files) throws -> Cgroup {
        guard layout.mode != .absent else {
            throw Fault(.unsupported, "no cgroup file system is mounted: mount cgroup2 at /sys/fs/cgroup")
        }
        switch driver {
        case .files:
            let place = try CgroupPlace(path: path, id: id)
            return Cgroup(record: CgroupRecord(entries: layout.hierarchies.map { place.entry(in: $0) }))
        case .systemd:
            let scope = try SystemdScope(path: path, id: id)
            let place = CgroupPlace(absolute: scope.cgroupPath)
            return Cgroup(
                record: CgroupRecord(entries: layout.hierarchies.map { place.entry(in: $0) }, systemdUnit: scope.unit))
        }
    }

    /// The folder of the hierarchy that has the controller.
    func entry(with controller: String) -> CgroupRecord.Entry? {
        record.entries.first { $0.controllers.contains(controller) }
    }

    /// The v2 folder: the container's only one, or the one beside v1 hierarchies.
    var unified: CgroupRecord.Entry? { record.entries.first { $0.isUnified } }

    /// No v1 hierarchies.
    var isPureUnified: Bool { record.entries.allSatisfy { $0.isUnified } }

    /// Whether any of its folders is there.
    public var exists: Bool { record.entries.contains { CgroupFile.exists($0.path) } }
}

/// `linux.cgroupsPath` made safe: `..` and double slashes are resolved by their text, so that it cannot leave the mount.
struct CgroupPlace: Equatable {
    var path: String
    var isAbsolute: Bool

    init(absolute path: String) {
        self.path = path
        isAbsolute = true
    }

    init(path given: String?, id: String) throws {
        let text = given.flatMap { $0.isEmpty ? nil : $0 } ?? "/" + id
        guard !text.utf8.contains(0), !text.utf8.contains(0x0A) else {
            throw Fault(.invalid, "linux.cgroupsPath contains a NUL or a line break", subject: text)
        }
        let normal = MountPlan.normal(text)
        guard !normal.isEmpty else {
            throw Fault(
                .invalid, "linux.cgroupsPath \(text) names the root cgroup, which is not the container's", subject: text)
        }
        path = "/" + normal
        isAbsolute = text.hasPrefix("/")
    }

    func entry(in hierarchy: CgroupHierarchy) -> CgroupRecord.Entry {
        var base = ""
        if !isAbsolute {
            base = hierarchy.own
            if hierarchy.isUnified { base = String(base[..<(base.lastIndex(of: "/") ?? base.startIndex)]) }
            if base == "/" { base = "" }
        }
        return CgroupRecord.Entry(
            controllers: hierarchy.controllers, name: hierarchy.name, isUnified: hierarchy.isUnified,
            path: hierarchy.mountPoint + base + path, mountPoint: hierarchy.mountPoint)
    }
}
