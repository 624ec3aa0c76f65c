import JSON
import Linux
import Model

/// Makes a container up to the point where its process waits to be executed. On failure nothing is left behind.
public func createContainer(_ request: ContainerRequest) throws -> CreatedContainer {
    try StateFolder.check(request.id)
    defer { request.forerunner?.end() }
    // The longest single piece of work is begun before all else.
    let network = NamespacePlan.wantsNetworkAhead(request.spec.linux) ? try request.forerunner.map(NetworkAhead.init) : nil
    let plan = try ContainerPlan(request)
    let folder = request.stateRoot.map { StateFolder(root: $0) }
    try folder?.claim(request.id)
    let creation = ContainerCreation(request: request, plan: plan, folder: folder, network: network)
    do { return try creation.run() } catch {
        creation.undo()
        throw error
    }
}

/// The runtime's side of a container's making.
final class ContainerCreation {
    private let request: ContainerRequest
    private let plan: ContainerPlan
    private let folder: StateFolder?
    private let network: NetworkAhead?
    // What there is to undo.
    private var cgroup: Cgroup?
    private var madeCgroup = false
    private var madeUnified = false
    private var isClonedIntoCgroup = false
    private var pid: CInt = 0
    private var pidfd: SharedDescriptor?
    // What the child hands over.
    private var console: Descriptor?
    private var rootMount: Descriptor?

    init(request: ContainerRequest, plan: ContainerPlan, folder: StateFolder?, network: NetworkAhead?) {
        self.request = request
        self.plan = plan
        self.folder = folder
        self.network = network
    }

    func run() throws -> CreatedContainer {
        let procfs = try Procfs.open()
        let fifo = request.startsByFIFO ? SharedDescriptor(try makeFIFO()) : nil
        try locateCgroup()
        let isLate = makesCgroupLate
        let entrance = isLate ? try makeUnifiedCgroup() : try makeCgroup()
        let ends = try Sockets.pair()
        let (own, theirs) = ends.release()
        let channel = Descriptor(owning: own)
        let far = Descriptor(owning: theirs)
        try clone(procfs.raw, fifo?.raw, entrance, channel.raw, far.raw, isLate ? LateCgroup() : nil)
        // Closed now, so that the child's end is heard.
        _ = consume far
        network?.isInherited()
        if isLate { try sendCgroup(channel.raw) }
        let startsAtOnce = startsAtOnce
        if startsAtOnce { try tell(channel.raw, InitMessage.go) }
        let state = try prepareState()
        let devices = plan.linux.netDevices
        network?.end()
        // A namespace that is joined by path is the child's own only when it has come so far.
        if !plan.namespaces.joins(.network) { try NetDevices.move(devices, toNamespaceOf: pid) }
        try serve(channel.raw)
        if plan.namespaces.joins(.network) { try NetDevices.move(devices, toNamespaceOf: pid) }
        try OutsideSettings.apply(
            plan.process, pid: pid, hasUserNamespace: plan.namespaces.has(.user), report: request.report)
        try folder?.commit(state)
        guard let pidfd else { throw Fault(.system, "the container's process has no descriptor") }
        var created = CreatedContainer(
            state: state, pidfd: try Processes.duplicate(pidfd.raw, atLeast: 3), channel: channel)
        created.hasLeave = startsAtOnce
        created.ptyMaster = console.take()
        created.rootMount = rootMount.take()
        created.context = StartContext(
            hooks: plan.spec.hooks?.poststart ?? [], listenerPath: plan.linux.seccomp?.listenerPath,
            listenerMetadata: plan.linux.seccomp?.listenerMetadata, stateRoot: request.stateRoot, report: request.report)
        return created
    }

    func undo() {
        if pid > 0, let pidfd {
            try? Processes.signal(pidfd: pidfd.raw, Signals.kill)
            _ = try? Processes.wait(pidfd: pidfd.raw)
        }
        if madeCgroup, let cgroup {
            try? cgroup.killAll()
            try? cgroup.remove()
        } else if madeUnified {
            cgroup?.removeUnified()
        }
        folder?.remove(request.id)
    }

    // MARK: Before the clone

    /// Open for reading and writing: the child waits for a byte, `start` finds a reader as long as the child lives.
    private func makeFIFO() throws -> Descriptor {
        guard let folder else { throw Fault(.invalid, "a container that is started later needs a state folder") }
        do {
            try Files.makePipe(folder.fifo(request.id), permissions: 0o600)
            return try Files.open(folder.fifo(request.id), [.readWrite, .noFollow])
        } catch { throw Fault(.system, "cannot make the start FIFO", subject: request.id, cause: error) }
    }

    private func locateCgroup() throws {
        let layout = try CgroupLayout.detect(mounts: request.forerunner?.mounts())
        if layout.mode == .absent {
            guard plan.linux.resources == nil else {
                throw Fault(.unsupported, "linux.resources: no cgroup file system is mounted: mount cgroup2 at /sys/fs/cgroup")
            }
            request.report(.warning, "no cgroup file system is mounted: the container has no cgroup of its own")
            return
        }
        cgroup = try Cgroup.locate(path: plan.linux.cgroupsPath, id: request.id, layout: layout, driver: request.cgroupDriver)
    }

    /// On v1 a dozen folders are made: while the child mounts, where nothing of the child's depends on them before.
    private var makesCgroupLate: Bool {
        guard let cgroup, !cgroup.isMadeBySystemd, !cgroup.isPureUnified else { return false }
        return plan.namespaces.joined.allSatisfy { $0.kind != .cgroup }
            && !plan.namespaces.needsProcessBetween(hasTimeOffsets: plan.timeOffsets != nil)
    }

    /// Told to go beforehand the process needs not wait for this one; nothing may be left to do for it when it is ready.
    private var startsAtOnce: Bool {
        let process = plan.process
        return request.startsAtOnce && !request.startsByFIFO && !request.wantsRootMount && !process.terminal
            && plan.spec.hooks == nil && plan.linux.netDevices.isEmpty && !plan.namespaces.has(.user)
            && process.oomScoreAdjustment == nil && process.scheduling == nil && process.ioClass == nil
            && !plan.namespaces.needsProcessBetween(hasTimeOffsets: plan.timeOffsets != nil)
            && !(cgroup?.isMadeBySystemd ?? false)
    }

    private func makeUnifiedCgroup() throws -> CgroupEntrance {
        do {
            guard let entrance = try cgroup?.createUnifiedAhead() else { return .none }
            madeUnified = true
            return entrance
        } catch let fault as Fault { return try goOnWithoutCgroup(fault) }
    }

    private func sendCgroup(_ channel: CInt) throws {
        let entrance = try makeCgroup()
        let tree = try CgroupTree.make(plan, cgroup)
        let doors = entrance.doors(cloned: isClonedIntoCgroup)
        if let tree {
            try tell(channel, InitMessage.cgroupTree, [tree.raw] + doors)
        } else {
            try tell(channel, InitMessage.cgroup, doors)
        }
        // Open until they are sent.
        _ = consume entrance
    }

    private func makeCgroup() throws -> CgroupEntrance {
        guard let cgroup, !cgroup.isMadeBySystemd else { return .none }
        do {
            let entrance = try cgroup.create(plan.linux.resources, unifiedIsMade: madeUnified)
            madeCgroup = true
            return entrance
        } catch let fault as Fault { return try goOnWithoutCgroup(fault) }
    }

    /// Somebody's own user namespace may have no rights to the machine's cgroups. Only limits need one: a container without is made there.
    private func goOnWithoutCgroup(_ fault: Fault) throws -> CgroupEntrance {
        guard fault.kind == .forbidden, !madeUnified, UserNamespace.isNested else { throw fault }
        var limits = plan.linux.resources ?? OCI.Resources()
        limits.devices = []
        guard limits == OCI.Resources() else { throw fault }
        request.report(.warning, "the container has no cgroup of its own: \(fault)")
        cgroup = nil
        return .none
    }

    // MARK: The clone

    private func clone(
        _ procfs: CInt, _ fifo: CInt?, _ entrance: borrowing CgroupEntrance, _ channel: CInt, _ far: CInt,
        _ lateCgroup: LateCgroup?
    ) throws {
        let namespaces = plan.namespaces
        let between = namespaces.needsProcessBetween(hasTimeOffsets: plan.timeOffsets != nil)
        let isSystemd = cgroup?.isMadeBySystemd ?? false
        let initProcess = InitProcess(
            plan: plan, request: request, channel: InitChannel(socket: far), procfs: procfs, fifo: fifo, cgroup: cgroup,
            waitsFirst: isSystemd || (namespaces.new.contains(.user) && !between),
            lateCgroup: lateCgroup, lateNetwork: network.map { LateNetwork(socket: $0.near, other: $0.far) })
        if between { return try cloneBetween(initProcess, entrance, channel) }
        // A cgroup namespace begins where the process is: unshared after it has entered its cgroup.
        let later: NamespaceKinds = network == nil ? .cgroup : [.cgroup, .network]
        var child = try Processes.clone(namespaces.new.subtracting(later), intoCgroup: entrance.cloneDescriptor)
        if child.isChild { initProcess.run(entrance, cloned: child.isInCgroup) }
        pid = child.pid
        isClonedIntoCgroup = child.isInCgroup
        if let descriptor = child.pidfd.take() { pidfd = SharedDescriptor(descriptor) }
        if namespaces.new.contains(.user) {
            try IDMaps.write(pid: pid, users: plan.linux.uidMappings, groups: plan.linux.gidMappings)
        }
        try adopt(isSystemd)
        if initProcess.waitsFirst { try tell(channel, InitMessage.proceed) }
    }

    private func adopt(_ isSystemd: Bool) throws {
        guard isSystemd, let cgroup else { return }
        try cgroup.adopt(pid, plan.linux.resources)
        madeCgroup = true
    }

    /// A process between joins or prepares what must be there before the init is cloned, and makes the init its sibling.
    private func cloneBetween(_ initProcess: InitProcess, _ entrance: borrowing CgroupEntrance, _ channel: CInt) throws {
        let between = try Processes.clone()
        if between.isChild {
            BetweenProcess(plan: plan, channel: initProcess.channel).run { kinds in
                var child = try Processes.clone(kinds, sibling: true)
                if child.isChild { initProcess.run(entrance, cloned: false) }
                _ = child.pidfd.take()
                return child.pid
            }
        }
        let betweenPid = between.pid
        defer { _ = try? Processes.reap(betweenPid, wait: true) }
        while true {
            let message = try InitMessage.receive(channel)
            switch message.bytes.first {
            case InitMessage.hooks:
                try IDMaps.write(pid: betweenPid, users: plan.linux.uidMappings, groups: plan.linux.gidMappings)
                try tell(channel, InitMessage.proceed)
            case InitMessage.cloned:
                pid = CInt(String(decoding: message.bytes.dropFirst(), as: UTF8.self)) ?? 0
                guard pid > 0 else { throw Fault(.system, "the init's pid was not told") }
                pidfd = SharedDescriptor(try Processes.open(pid))
                try adopt(cgroup?.isMadeBySystemd ?? false)
                if initProcess.waitsFirst { try tell(channel, InitMessage.proceed) }
                return
            default: throw failure(message.bytes)
            }
        }
    }

    // MARK: The conversation

    /// A child that has failed may be gone already; why it failed is its last message, which `serve` reads.
    private func tell(_ channel: CInt, _ message: UInt8, _ descriptors: [CInt] = []) throws {
        do { try Sockets.send(channel, [message], descriptors: descriptors) } catch let fault as KernelFault
            where fault.isBrokenPipe
        {}
    }

    private func serve(_ channel: CInt) throws {
        while true {
            var message = try InitMessage.receive(channel, descriptors: 1)
            switch message.bytes.first {
            case InitMessage.ready: return
            case InitMessage.hooks:
                try runEarlyHooks()
                try tell(channel, InitMessage.proceed)
            case InitMessage.console: console = message.takeDescriptor()
            case InitMessage.root: rootMount = message.takeDescriptor()
            case InitMessage.warning:
                request.report(.warning, String(decoding: message.bytes.dropFirst(), as: UTF8.self))
            default: throw failure(message.bytes)
            }
        }
    }

    private func runEarlyHooks() throws {
        guard let hooks = plan.spec.hooks else { return }
        let state = OCI.State(
            ociVersion: OCI.version, id: request.id, status: .creating, pid: Int(pid), bundle: request.bundle,
            annotations: plan.spec.annotations)
        try HookRunner.run(hooks.prestart, "prestart", state: state, folder: request.bundle)
        try HookRunner.run(hooks.createRuntime, "createRuntime", state: state, folder: request.bundle)
    }

    private func failure(_ bytes: [UInt8]) -> Fault { InitFailure.fault(bytes, pidfd: pidfd?.raw) }

    /// Written aside while the child is at work; in its place when all is done.
    private func prepareState() throws -> ContainerState {
        guard let stat = Processes.stat(pid) else { throw Fault(.system, "the container's process is gone") }
        let state = ContainerState(
            id: request.id, bundle: request.bundle, pid: pid, startTicks: stat.startTicks,
            created: Timestamp(nanoseconds: KernelClock.realtime), owner: Processes.userID, cgroup: cgroup?.record,
            spec: plan.spec)
        try folder?.prepare(state)
        return state
    }
}

/// A network namespace that a helper makes while the container's process is cloned and mounts. It hands it to that process itself, so
/// that nobody else has to wait for it.
final class NetworkAhead {
    private let helper: Forerunner
    private var ends: (near: SharedDescriptor?, far: SharedDescriptor?)

    /// Begins at once.
    init(_ helper: Forerunner) throws {
        self.helper = helper
        let (near, far) = try Sockets.pair().release()
        ends = (SharedDescriptor(Descriptor(owning: near)), SharedDescriptor(Descriptor(owning: far)))
        helper.beginNetwork(to: far)
    }

    deinit { end() }

    /// The container's end, and the helper's, which the container closes; -1 when they are gone.
    var near: CInt { ends.near?.raw ?? -1 }
    var far: CInt { ends.far?.raw ?? -1 }

    /// The container's process has been cloned and has its end.
    func isInherited() { ends.near = nil }

    /// The namespace is with the container then, or the container hears that there will be none.
    func end() {
        helper.end()
        ends = (nil, nil)
    }
}

/// What a child's last message, or its silence, means.
enum InitFailure {
    static func fault(_ bytes: [UInt8], pidfd: CInt?) -> Fault {
        if bytes.first == InitMessage.fault, let fault = try? Fault(json: Array(bytes.dropFirst())) { return fault }
        guard bytes.isEmpty else { return Fault(.system, "unexpected message from the container's first process") }
        guard let pidfd, let status = try? Processes.wait(pidfd: pidfd) else {
            return Fault(.system, "the container's first process ended before it was ready")
        }
        switch status {
        case .exited(let code):
            return Fault(.system, "the container's first process ended with code \(code) before it was ready")
        case .signaled(let signal):
            let hint = signal == Signals.kill ? " (is the memory limit too low?)" : ""
            return Fault(.system, "the container's first process was killed by signal \(signal) before it was ready\(hint)")
        }
    }
}

/// The machine's procfs as a descriptor, checked to be one.
enum Procfs {
    static func open() throws -> Descriptor {
        do {
            let descriptor = try Files.open("/proc", [.path, .directory])
            guard try Files.fileSystem(of: descriptor.raw) == FileSystemMagic.proc else {
                throw Fault(.system, "/proc is not a procfs: mount one")
            }
            return descriptor
        } catch let fault as KernelFault { throw Fault(.system, "/proc cannot be opened", cause: fault) }
    }
}
