import Linux
import Model

/// What a mount of type cgroup shows on v1: a tmpfs with a folder for each hierarchy. Made by the runtime, which has the time, while the
/// container's process mounts all else; attached nowhere.
enum CgroupTree {
    /// Nil where the container's process has to do it itself: it is another tree for whoever has a cgroup or user namespace of its own,
    /// and mounts could not be attached to a detached one before Linux 6.15 (move_mount(2) answers EINVAL).
    static func make(_ plan: ContainerPlan, _ cgroup: Cgroup?) throws -> Descriptor? {
        guard let cgroup, !plan.namespaces.has(.cgroup), !plan.namespaces.has(.user), (plan.linux.mountLabel ?? "").isEmpty
        else {
            return nil
        }
        var wanted: [MountPlan] = []
        for mount in plan.mounts { if case .cgroup = mount.source { wanted.append(mount) } }
        let pieces = cgroup.mounts
        guard wanted.count == 1, let mount = wanted.first, pieces.count > 1 else { return nil }
        do { return try make(pieces, mount.options.set) } catch is KernelFault { return nil }
    }

    private static func make(_ pieces: [CgroupMount], _ attributes: MountAttributes) throws -> Descriptor {
        let base = try base(attributes, label: nil)
        for piece in pieces {
            try Files.makeFolder(piece.folder, mode: 0o755, at: base.raw)
            let mount = try Mounts.clone(piece.bindSource, recursive: false)
            try Mounts.attach(mount.raw, below: base.raw, piece.folder)
            for link in piece.links { try Files.link(link, to: piece.folder, at: base.raw) }
        }
        try finish(base.raw, attributes)
        return base
    }

    /// The tmpfs.
    static func base(_ attributes: MountAttributes, label: String?) throws -> Descriptor {
        let tmpfs = try FileSystemContext("tmpfs")
        try tmpfs.set("source", "tmpfs")
        try tmpfs.set("mode", "755")
        if let label { try tmpfs.set("context", label) }
        return try tmpfs.create(attributes.subtracting(.readOnly))
    }

    /// Once for all of them, the tmpfs included.
    static func finish(_ base: CInt, _ attributes: MountAttributes) throws {
        try Mounts.change(base, set: attributes, propagation: .slave, recursive: true)
    }
}
