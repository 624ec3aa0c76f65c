import JSON
import Linux
import Model

/// A container whose namespaces, mounts and cgroup are made and whose init waits to execute the user's process.
/// Who drops the value without `start` or `destroy` ends the waiting init, unless it waits for a FIFO.
public struct CreatedContainer: ~Copyable {
    public let state: ContainerState
    public let pidfd: Descriptor
    /// The terminal's master, when one was asked for.
    public var ptyMaster: Descriptor?
    /// A detached clone of the root with its mounts, when `wantsRootMount` was set.
    public var rootMount: Descriptor?
    /// The control channel to the waiting init; closed by `start`.
    var channel: Descriptor?
    var context = StartContext()
    /// The init was told to go already.
    var hasLeave = false
    /// The container's mount namespace, see `holdMounts`.
    private var mounts: Descriptor?

    init(state: ContainerState, pidfd: consuming Descriptor, channel: consuming Descriptor) {
        self.state = state
        self.pidfd = pidfd
        self.channel = consume channel
    }

    public var pid: CInt { state.pid }
    public var startTicks: UInt64 { state.startTicks }
    public var cgroup: Cgroup? { state.cgroup.map { Cgroup(record: $0) } }

    /// Keeps the container's mounts beyond the end of its processes: `destroy` takes them down beside its other work, where otherwise
    /// the init's end would wait for it.
    public mutating func holdMounts() { mounts = mountNamespace() }

    /// The container's own mount namespace. The kernel takes its mounts down at the last reference, and waits for a grace period of RCU:
    /// `destroyContainer` does that beside the rest. Nil when the container has none, or has ended.
    public borrowing func mountNamespace() -> Descriptor? {
        let namespaces = state.spec.linux?.namespaces ?? []
        guard namespaces.contains(where: { $0.type == .mount && ($0.path ?? "").isEmpty }) else { return nil }
        return try? Files.open("/proc/\(state.pid)/ns/mnt", .readOnly)
    }

    /// Lets the init execute the user's process. Success means that execve(2) succeeded and poststart hooks have run.
    /// A fault (`commandNotFound`, `commandNotExecutable` …) means that the init has ended; the caller destroys the container.
    public mutating func start() throws {
        guard let channel = channel.take() else { throw Fault(.conflict, "container \(state.id) was started already") }
        if !hasLeave { try Sockets.send(channel.raw, [InitMessage.go]) }
        try context.follow(channel.raw, state: state, pidfd: pidfd.raw)
        context.runPoststart(state)
    }

    /// Kills everything in the container and removes what it was made of. Repeatable on the same state.
    public consuming func destroy() {
        let state = state
        let context = context
        var held: [CInt] = []
        if let mounts = mounts.take() { held.append(mounts.release()) }
        try? Processes.signal(pidfd: pidfd.raw, Signals.kill)
        _ = try? Processes.wait(pidfd: pidfd.raw)
        try? destroyContainer(state, stateRoot: context.stateRoot, report: context.report, closing: held)
    }
}

/// What `start` needs beyond the state.
struct StartContext: Sendable {
    var hooks: [OCI.Hook] = []
    var listenerPath: String?
    var listenerMetadata: String?
    var stateRoot: String?
    var report = Reporter.silent

    /// Reads until the channel's end, which is exec's success.
    func follow(_ channel: CInt, state: ContainerState, pidfd: CInt) throws {
        while true {
            let message = try InitMessage.receive(channel)
            switch message.bytes.first {
            case nil: return
            case InitMessage.warning: report(.warning, String(decoding: message.bytes.dropFirst(), as: UTF8.self))
            case InitMessage.listener:
                let number = CInt(String(decoding: message.bytes.dropFirst(), as: UTF8.self)) ?? -1
                let listener = try Processes.takeDescriptor(number, pidfd: pidfd)
                try hand(listener.raw, state)
                try Sockets.send(channel, [InitMessage.proceed])
            default: throw InitFailure.fault(message.bytes, pidfd: pidfd)
            }
        }
    }

    /// Sends the seccomp listener to `listenerPath` (runtime spec, ContainerProcessState).
    private func hand(_ listener: CInt, _ state: ContainerState) throws {
        guard let path = listenerPath, !path.isEmpty else {
            throw Fault(.invalid, "linux.seccomp.listenerPath is missing: a rule notifies")
        }
        let message = OCI.SeccompState(
            ociVersion: OCI.version, fds: ["seccompFd"], pid: Int(state.pid), metadata: listenerMetadata,
            state: state.ociState(.creating))
        do {
            let socket = try Sockets.connect(path)
            try Sockets.send(socket.raw, message.json, descriptors: [listener])
        } catch { throw Fault(.system, "linux.seccomp.listenerPath: cannot hand over to \(path)", subject: path, cause: error) }
    }

    func runPoststart(_ state: ContainerState) {
        if hooks.isEmpty { return }
        HookRunner.runAll(hooks, "poststart", state: state.ociState(.running), folder: state.bundle, report: report)
    }
}

/// A process that was added to a running container. It is a child of the caller, who reaps it.
public struct ExecedProcess: ~Copyable {
    public let pid: CInt
    public let pidfd: Descriptor
    public let startTicks: UInt64
    public var ptyMaster: Descriptor?
}
