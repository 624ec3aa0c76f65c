import Linux
import Model

/// Runs a process in a running container: its namespaces, its cgroup, rights of its own. Returns when execve(2) succeeded.
/// The process is a child of the caller, who reaps it. For callers with one thread.
public func execInContainer(_ state: ContainerState, _ request: ExecRequest) throws -> ExecedProcess {
    let exec = try ExecCreation(state, request)
    do { return try exec.run() } catch {
        exec.undo()
        throw error
    }
}

private final class ExecCreation {
    private let state: ContainerState
    private let request: ExecRequest
    private let plan: ProcessPlan
    private let memoryPolicy: MemoryPolicyPlan?
    private let kinds: NamespaceKinds
    private let initPidfd: SharedDescriptor
    private var pid: CInt = 0
    private var pidfd: SharedDescriptor?
    private var console: Descriptor?

    init(_ state: ContainerState, _ request: ExecRequest) throws {
        self.state = state
        self.request = request
        var plan = try ProcessPlan(request.process, linux: state.spec.linux)
        plan.terminal = request.io.terminal
        self.plan = plan
        memoryPolicy = try state.spec.linux?.memoryPolicy.map { try MemoryPolicyPlan($0) }
        kinds = (state.spec.linux?.namespaces ?? []).reduce(into: NamespaceKinds()) { $0.insert($1.type.kind) }
        guard state.isAlive else { throw Fault(.conflict, "cannot exec in a stopped container", subject: state.id) }
        initPidfd = SharedDescriptor(try Processes.open(state.pid))
        // Again, now that the pid cannot be given to another process.
        guard state.isAlive else { throw Fault(.conflict, "cannot exec in a stopped container", subject: state.id) }
        if !request.ignorePaused, let cgroup = state.cgroup, Cgroup(record: cgroup).isFrozen {
            throw Fault(.conflict, "cannot exec in a paused container: resume it first", subject: state.id)
        }
    }

    func run() throws -> ExecedProcess {
        let procfs = try Procfs.open()
        let entrance = try entrance()
        let (own, theirs) = try Sockets.pair().release()
        let channel = Descriptor(owning: own)
        let far = Descriptor(owning: theirs)
        let folder: SharedDescriptor? =
            kinds.contains(.mount) ? nil : SharedDescriptor(try Files.open("/proc/\(state.pid)/root", [.path, .directory]))
        try clone(InitChannel(socket: far.raw), procfs.raw, entrance, folder)
        _ = consume far
        try serve(channel.raw)
        guard let pidfd, let stat = Processes.stat(pid) else { throw Fault(.system, "the process is gone") }
        try OutsideSettings.apply(plan, pid: pid, hasUserNamespace: kinds.contains(.user), report: request.report)
        try Sockets.send(channel.raw, [InitMessage.go])
        let context = StartContext(
            listenerPath: state.spec.linux?.seccomp?.listenerPath,
            listenerMetadata: state.spec.linux?.seccomp?.listenerMetadata,
            report: request.report)
        try context.follow(channel.raw, state: state, pidfd: pidfd.raw)
        return ExecedProcess(
            pid: pid, pidfd: try Processes.duplicate(pidfd.raw, atLeast: 3), startTicks: stat.startTicks,
            ptyMaster: console.take())
    }

    private func clone(
        _ channel: InitChannel, _ procfs: CInt, _ entrance: borrowing CgroupEntrance, _ folder: SharedDescriptor?
    ) throws {
        var child = try cloneIntoPidNamespace(entrance)
        if child.isChild { become(channel, procfs, entrance, folder, isInCgroup: child.isInCgroup) }
        pid = child.pid
        if let descriptor = child.pidfd.take() { pidfd = SharedDescriptor(descriptor) }
    }

    func undo() {
        guard let pidfd else { return }
        try? Processes.signal(pidfd: pidfd.raw, Signals.kill)
        _ = try? Processes.wait(pidfd: pidfd.raw)
    }

    private func entrance() throws -> CgroupEntrance {
        guard var record = state.cgroup else { return CgroupEntrance(folder: nil, procs: nil, tasks: []) }
        try record.enter(request.subCgroups)
        return try Cgroup(record: record).entrance()
    }

    /// A pid namespace counts for children only: this process takes it for the time of the clone.
    private func cloneIntoPidNamespace(_ entrance: borrowing CgroupEntrance) throws -> ClonedProcess {
        guard kinds.contains(.pid) else { return try Processes.clone(intoCgroup: entrance.cloneDescriptor) }
        let own = try Files.open("/proc/self/ns/pid", .readOnly)
        do { try Processes.join(initPidfd.raw, .pid) } catch let fault as KernelFault {
            throw Fault(.system, "cannot enter the container's pid namespace", subject: state.id, cause: fault)
        }
        let child: ClonedProcess
        do { child = try Processes.clone(intoCgroup: entrance.cloneDescriptor) } catch {
            try? Processes.join(own.raw, .pid)
            throw Fault(.system, "cannot make a process in the container", subject: state.id, cause: error)
        }
        // In a user namespace without rights to the machine's pid namespace there is no way back: only children made later would notice.
        if !child.isChild {
            do { try Processes.join(own.raw, .pid) } catch let fault as KernelFault where fault.isNotPermitted {}
        }
        return child
    }

    private func serve(_ channel: CInt) throws {
        while true {
            var message = try InitMessage.receive(channel, descriptors: 1)
            switch message.bytes.first {
            case InitMessage.ready: return
            case InitMessage.console: console = message.takeDescriptor()
            case InitMessage.warning:
                request.report(.warning, String(decoding: message.bytes.dropFirst(), as: UTF8.self))
            default: throw InitFailure.fault(message.bytes, pidfd: pidfd?.raw)
            }
        }
    }

    // MARK: In the child

    private func become(
        _ channel: InitChannel, _ procfs: CInt, _ entrance: borrowing CgroupEntrance, _ root: SharedDescriptor?,
        isInCgroup: Bool
    ) -> Never {
        do {
            // Nobody in the container may look into this process while it still is the runtime.
            try Identity.setDumpable(false)
            try setAffinity(plan.initialCPUs, "initial")
            try entrance.join(cloned: isInCgroup)
            try setAffinity(plan.finalCPUs, "final")
            try joinNamespaces(root)
            try Processes.newSession()
            Files.setUmask(0)
            let console = plan.terminal ? try openConsole(channel) : nil
            let linux = state.spec.linux
            let process = UserProcess(
                plan: plan, io: request.io, extraDescriptors: request.extraDescriptors, channel: channel, procfs: procfs,
                fifo: nil, keyring: request.noNewKeyring ? nil : "_ses." + state.id,
                personality: linux?.personality.map { $0.domain == .linux32 ? 0x0008 : 0 }, memoryPolicy: memoryPolicy,
                hasUserNamespace: kinds.contains(.user), hooks: [], hookState: nil)
            try process.become(console)
        } catch { channel.fail(error) }
    }

    private func setAffinity(_ cpus: CPUSet?, _ name: String) throws {
        guard let cpus else { return }
        do { try Scheduling.setAffinity(0, cpus) } catch let fault as KernelFault {
            throw Fault(.invalid, "process.execCPUAffinity.\(name): the kernel refuses \(cpus)", cause: fault)
        }
    }

    private func joinNamespaces(_ root: SharedDescriptor?) throws {
        let rest = kinds.subtracting(.pid)
        do { if !rest.isEmpty { try Processes.join(initPidfd.raw, rest) } } catch let fault as KernelFault {
            throw Fault(.system, "cannot enter the container's namespaces", subject: state.id, cause: fault)
        }
        if let root {
            try Files.changeFolder(to: root.raw)
            try Files.changeRoot(".")
        }
        try Files.changeFolder("/")
        if kinds.contains(.user) {
            try Identity.setGroup(0)
            try Identity.setUser(0)
        }
    }

    private func openConsole(_ channel: InitChannel) throws -> Descriptor {
        do {
            let root = try Files.open("/", [.path, .directory])
            let master = try ConsoleMaster.open(root.raw)
            let slave = try Terminals.slave(of: master.raw)
            if plan.rows > 0 || plan.columns > 0 { try Terminals.setSize(slave.raw, rows: plan.rows, columns: plan.columns) }
            if plan.user.uid != 0 {
                try Files.changeOwner(of: slave.raw, user: plan.user.uid, group: try Files.status(of: slave.raw).group)
            }
            try channel.send(InitMessage.console, descriptor: master.raw)
            return slave
        } catch let fault as KernelFault {
            throw Fault(.system, "process.terminal: cannot make a terminal", cause: fault)
        }
    }
}
