import JSON
import Linux
import Model

extension Cgroup {
    /// What the container has used up to now. Files that are not there leave their fields empty.
    public func stats(at now: Timestamp) -> ContainerStats { ContainerStats(readAt: now) }

    /// The `data` of runc's `events --stats`, as one JSON value.
    public func writeRuncStats(to writer: inout JSONWriter) { writer.object { _ in } }
}
