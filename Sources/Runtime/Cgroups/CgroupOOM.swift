import Linux
import Model

extension Cgroup {
    /// How many processes the kernel has killed for want of memory under the container's own limit. 0 when it cannot be told.
    public var oomKillCount: UInt64 { 0 }

    /// Watches for such kills.
    public func openOOMEvents() throws -> CgroupOOMEvents { throw Fault(.unsupported, "not built yet") }
}

/// Readable in poll(2) when a process of the container was killed for want of memory, or the cgroup went away.
public struct CgroupOOMEvents: ~Copyable, Sendable {
    public let descriptor: Descriptor

    /// Takes what made the descriptor readable; answers the count of kills since the cgroup was made.
    public borrowing func take() -> UInt64 { 0 }
}
