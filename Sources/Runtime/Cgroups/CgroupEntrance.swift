import Linux
import Model

/// Open doors into a container's cgroup, made by the parent so that a child may enter whatever its ids, root and mounts are
/// by then (the kernel checks who opened the file). Every descriptor is close-on-exec and closed at the end of this value.
public struct CgroupEntrance: ~Copyable, Sendable {
    /// The v2 folder for clone3(2) CLONE_INTO_CGROUP, borrowed; nil without v2.
    public let cloneDescriptor: CInt?
    private let procs: CInt?
    private let tasks: [CInt]

    /// Takes the descriptors over.
    init(folder: CInt?, procs: CInt?, tasks: [CInt]) {
        cloneDescriptor = folder
        self.procs = procs
        self.tasks = tasks
    }

    /// For who has no cgroup to go to.
    static var none: CgroupEntrance { CgroupEntrance(folder: nil, procs: nil, tasks: []) }

    deinit {
        for raw in tasks { _ = Descriptor(owning: raw) }
        if let procs { _ = Descriptor(owning: procs) }
        if let cloneDescriptor { _ = Descriptor(owning: cloneDescriptor) }
    }

    /// What `enter` takes, borrowed: for a child that was cloned before the cgroup was made. `cloned`: into v2's folder, which
    /// was made ahead; writing to its `cgroup.procs` waits some 11 ms for a grace period.
    func doors(cloned: Bool) -> [CInt] { cloned ? tasks : tasks + (procs.map { [$0] } ?? []) }

    /// As `join`, by descriptors of `doors` that came over a socket.
    static func enter(_ doors: [CInt]) throws { for raw in doors { try CgroupFile.enter(raw, "tasks") } }

    /// Moves the calling process, which must have one thread, into the cgroup: `0` to each v1 `tasks` file (0.1 to 0.9 ms for
    /// all of them, where `cgroup.procs` takes 11) and, unless clone3 has put it there (`cloned`), to v2's `cgroup.procs`.
    /// Allocates nothing when all goes well.
    public borrowing func join(cloned: Bool) throws {
        for raw in tasks { try CgroupFile.enter(raw, "tasks") }
        if !cloned, let procs { try CgroupFile.enter(procs, "cgroup.procs") }
    }
}

extension Cgroup {
    /// Doors into the existing cgroup, for exec.
    public func entrance() throws -> CgroupEntrance {
        var folder: Descriptor?
        var procs: Descriptor?
        var tasks: [CInt] = []
        do {
            for entry in record.entries {
                if entry.isUnified {
                    folder = try CgroupFile.openFolder(entry.path)
                    procs = try CgroupFile.openForWriting(entry.path + "/cgroup.procs")
                } else {
                    tasks.append(try CgroupFile.openForWriting(entry.path + "/tasks").release())
                }
            }
            return CgroupEntrance(folder: folder.take()?.release(), procs: procs.take()?.release(), tasks: tasks)
        } catch let fault as KernelFault {
            for raw in tasks { _ = Descriptor(owning: raw) }
            throw Fault(.system, "cannot enter the container's cgroup", cause: fault)
        }
    }
}
