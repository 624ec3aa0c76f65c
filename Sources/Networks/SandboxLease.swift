import Linux
import Model

/// A sandbox handed over, ready to be entered. The descriptors are the lease's: they are closed when it goes away, so pass
/// them to the shim (which keeps its own copies) before dropping the lease. The namespace lives as long as anything holds it.
public final class SandboxLease: Sendable {
    public let record: SandboxRecord
    /// Sockets that hold the published host ports; borrowed. The shim keeps them open (`--hold`) while the container lives.
    public let reserved: [CInt]
    private let sandbox: PreparedSandbox

    init(record: SandboxRecord, sandbox: PreparedSandbox, reserved: [CInt]) {
        self.record = record
        self.sandbox = sandbox
        self.reserved = reserved
    }

    /// The network namespace; borrowed.
    public var netns: CInt { sandbox.namespace.raw }

    deinit { for raw in reserved { _ = Descriptor(owning: raw) } }
}
