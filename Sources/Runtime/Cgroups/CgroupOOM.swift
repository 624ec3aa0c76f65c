import Linux
import Model

extension Cgroup {
    /// How many processes the kernel has killed for want of memory in the container's cgroup and below. 0 when it cannot be
    /// told (no memory controller, a v1 kernel before 4.13, a cgroup that is gone).
    public var oomKillCount: UInt64 {
        guard let entry = entry(with: "memory") else { return 0 }
        return entry.keyed(entry.isUnified ? "memory.events" : "memory.oom_control")["oom_kill"] ?? 0
    }

    /// Watches for such kills.
    public func openOOMEvents() throws -> CgroupOOMEvents {
        guard let entry = entry(with: "memory") else {
            throw Fault(.unsupported, "the memory cgroup controller is not available on this machine")
        }
        do {
            let descriptor =
                entry.isUnified
                ? try CgroupWatch.changes(of: entry.path + "/memory.events")
                : try CgroupWatch.eventDescriptor(folder: entry.path, file: "memory.oom_control")
            return CgroupOOMEvents(cgroup: self, descriptor: descriptor)
        } catch let fault as KernelFault {
            throw Fault(.system, "cannot watch cgroup \(entry.path) for OOM events", subject: entry.path, cause: fault)
        }
    }
}

/// Readable in poll(2) when a process of the container was killed for want of memory, when another limit of memory was met
/// (v2 tells of those too), or when the cgroup went away.
public struct CgroupOOMEvents: ~Copyable, Sendable {
    private let cgroup: Cgroup
    public let descriptor: Descriptor

    init(cgroup: Cgroup, descriptor: consuming Descriptor) {
        self.cgroup = cgroup
        self.descriptor = descriptor
    }

    /// Takes what made the descriptor readable; answers the count of kills since the cgroup was made. The v1 kernel tells
    /// before it kills, so the count may follow a moment later.
    public borrowing func take() -> UInt64 {
        CgroupWatch.drain(descriptor)
        return cgroup.oomKillCount
    }
}
