import Linux
import Model

/// A container whose namespaces, mounts and cgroup are made and whose init waits to execute the user's process.
/// Who drops the value without `start` or `destroy` leaves the container as it is.
public struct CreatedContainer: ~Copyable {
    public let state: ContainerState
    public let pidfd: Descriptor
    /// The terminal's master, when one was asked for.
    public var ptyMaster: Descriptor?
    /// A detached clone of the root with its mounts, when `wantsRootMount` was set.
    public var rootMount: Descriptor?
    /// The control channel to the waiting init; closed by `start`.
    var channel: Descriptor?

    init(state: ContainerState, pidfd: consuming Descriptor, channel: consuming Descriptor) {
        self.state = state
        self.pidfd = pidfd
        self.channel = consume channel
    }

    public var pid: CInt { state.pid }
    public var startTicks: UInt64 { state.startTicks }
    public var cgroup: Cgroup? { state.cgroup.map { Cgroup(record: $0) } }
}

/// A process that was added to a running container. It is a child of the caller, who reaps it.
public struct ExecedProcess: ~Copyable {
    public let pid: CInt
    public let pidfd: Descriptor
    public let startTicks: UInt64
    public var ptyMaster: Descriptor?
}

/// What to run in a running container, and how.
public struct ExecRequest: Sendable {
    public var process: OCI.Process
    public var io: ProcessIO
    /// Descriptors that the process gets as 3, 4, 5 …, borrowed.
    public var extraDescriptors: [CInt] = []
    public var noNewKeyring = false
    /// Go on though the container is paused (the process runs when it is resumed).
    public var ignorePaused = false
    /// A cgroup below the container's, relative; nil is the container's own.
    public var subCgroup: String?
    public var report = Reporter.silent

    public init(process: OCI.Process, io: ProcessIO) {
        self.process = process
        self.io = io
    }
}

// Owned by others, signatures for them to build on:
//   public func createContainer(_ request: ContainerRequest) throws -> CreatedContainer
//   extension CreatedContainer {
//       /// Lets the init execute; returns when execve succeeded. Fault .commandNotFound / .commandNotExecutable else.
//       public mutating func start() throws
//       /// Kills everything and cleans up.
//       public consuming func destroy()
//   }
//   public func execInContainer(_ state: ContainerState, _ request: ExecRequest) throws -> ExecedProcess
//   /// Kills what is left, removes cgroup and state folder, runs poststop hooks. Collects faults.
//   public func destroyContainer(_ state: ContainerState, stateRoot: String?, report: Reporter) throws
