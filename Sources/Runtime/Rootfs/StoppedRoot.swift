import Linux
import Model

/// The root of a container without processes, for looking into it and putting files there.
public enum StoppedRoot {
    /// Mounts binds into a detached root and answers a detached clone of it all. Only in a process with one thread, which gets a
    /// mount namespace of its own; mount points that are missing are made.
    public static func open(_ root: consuming Descriptor, mounts: [OCI.Mount], isReadOnly: Bool) throws -> Descriptor {
        try Processes.unshare(.mount)
        try Mounts.setPropagation("/", .private, recursive: true)
        let spec = OCI.Spec(ociVersion: OCI.version)
        // Sources are opened in the machine's own tree, before anything lies over it.
        let plans = try mounts.enumerated().map { try MountPlan($0.element, index: $0.offset, spec: spec, bundle: "/") }
        let folder = RootFolder(mount: root)
        try Mounts.change(folder.mount.raw, propagation: .private)
        try Mounts.attach(folder.mount.raw, ontoPath: "/")
        let context = RootContext(hasUserNamespace: false, hasCgroupNamespace: false, cgroupMounts: nil, mountLabel: nil)
        for plan in plans { try folder.mount(plan, context) }
        if isReadOnly { try Mounts.change(folder.mount.raw, set: .readOnly) }
        let clone = try Mounts.clone(of: folder.mount.raw, recursive: true)
        try disarm(clone.raw)
        return clone
    }

    /// Nothing in a clone that is handed to the engine can be executed, and no device opened: what the container calls a file may be
    /// a disk of the machine a moment later.
    public static func disarm(_ clone: CInt) throws {
        try Mounts.change(clone, set: [.noDevices, .noExecute, .noSUID], propagation: .private, recursive: true)
    }
}
