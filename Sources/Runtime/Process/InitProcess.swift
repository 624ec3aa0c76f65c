import Linux
import Model

/// The container's first process between clone3(2) and execve(2): a copy of the runtime that builds the container around
/// itself. It never returns and never unwinds into its parent's frames.
struct InitProcess {
    let plan: ContainerPlan
    let request: ContainerRequest
    let channel: InitChannel
    /// The machine's procfs, checked by its magic number.
    let procfs: CInt
    /// The FIFO whose first byte starts the process; nil when the channel does.
    let fifo: CInt?
    let cgroup: Cgroup?
    /// Waits for the runtime before anything else: id maps or the cgroup are not there yet.
    let waitsFirst: Bool
    /// The cgroup is made by the runtime while this process mounts: its doors come later.
    let lateCgroup: LateCgroup?
    /// The network namespace is made by a helper meanwhile.
    let lateNetwork: LateNetwork?

    func run(_ entrance: borrowing CgroupEntrance, cloned: Bool) -> Never {
        do {
            try enter(entrance, cloned)
            let console = try build()
            try userProcess.become(console)
        } catch { channel.fail(error) }
    }

    // MARK: Namespaces

    private func enter(_ entrance: borrowing CgroupEntrance, _ cloned: Bool) throws {
        try Identity.setDumpable(false)
        if waitsFirst { channel.expect(InitMessage.proceed) }
        try entrance.join(cloned: cloned)
        if plan.namespaces.has(.user) {
            try Identity.setGroup(0)
            try Identity.setUser(0)
        }
        for joined in plan.namespaces.joined where !Self.joinedBefore(joined.kind, plan.namespaces) {
            do { try Processes.join(joined.descriptor.raw, joined.kind) } catch let fault as KernelFault {
                throw Fault(.system, "linux.namespaces: cannot join", cause: fault)
            }
        }
        if plan.namespaces.new.contains(.cgroup), lateCgroup == nil { try Processes.unshare(.cgroup) }
        try Processes.newSession()
    }

    /// Namespaces that the process between has joined already.
    static func joinedBefore(_ kind: NamespaceKinds, _ plan: NamespacePlan) -> Bool {
        if kind == .mount { return false }
        return plan.joins(.user) || plan.new.contains(.user) || kind == .pid || kind == .user || kind == .time
    }

    // MARK: The container

    private func build() throws -> Descriptor? {
        Files.setUmask(0)
        var console: Descriptor?
        if plan.namespaces.has(.mount) {
            console = try buildRoot()
        } else {
            try OldRoot.change(plan.root.raw)
        }
        if let name = plan.spec.hostname, !name.isEmpty { try Identity.setHostname(name) }
        if let name = plan.spec.domainname, !name.isEmpty { try Identity.setDomainname(name) }
        try enterLate()
        return console
    }

    /// What is made by others meanwhile, in the order in which it comes.
    func enterLate() throws {
        try lateNetwork?.enter(channel)
        try lateCgroup?.enter(channel, unshares: plan.namespaces.new.contains(.cgroup))
    }

    private var userProcess: UserProcess {
        UserProcess(
            plan: plan.process, io: request.io, extraDescriptors: request.extraDescriptors, channel: channel, procfs: procfs,
            fifo: fifo, keyring: request.noNewKeyring ? nil : "_ses." + request.id, personality: plan.personality,
            memoryPolicy: plan.memoryPolicy, hasUserNamespace: plan.namespaces.has(.user),
            hooks: plan.spec.hooks?.startContainer ?? [], hookState: plan.spec.hooks == nil ? nil : hookState)
    }

    private var hookState: OCI.State {
        OCI.State(
            ociVersion: OCI.version, id: request.id, status: .created, pid: Int(Processes.id), bundle: request.bundle,
            annotations: plan.spec.annotations)
    }
}

/// A container without a mount namespace: chroot(2), as the machine's own mounts must stay as they are.
enum OldRoot {
    static func change(_ root: CInt) throws {
        // The root is a clone that is attached nowhere: it can be worked in but not looked up by others.
        try Files.changeFolder(to: root)
        try Files.changeRoot(".")
        try Files.changeFolder("/")
    }
}

/// A network namespace that is made while the container's process is at work already.
final class LateNetwork: Sendable {
    /// Where it comes from, and the sender's end, which is open in this process too until it listens.
    private let socket: CInt
    private let other: CInt
    /// Only one process with one thread ever looks, and it is the child's copy.
    private nonisolated(unsafe) var isEntered = false

    init(socket: CInt, other: CInt) {
        self.socket = socket
        self.other = other
    }

    func enter(_ channel: InitChannel) throws {
        if isEntered { return }
        isEntered = true
        Files.close(other)
        defer { Files.close(socket) }
        var message = try Sockets.receive(socket, limit: 16, descriptors: 1)
        guard message.bytes.first == InitMessage.network else { Processes.exitNow(1) }
        if let made = message.takeDescriptor() {
            try Processes.join(made.raw, .network)
        } else {
            try Processes.unshare(.network)
        }
    }
}

/// A cgroup that is made while the container's process is at work already.
final class LateCgroup: Sendable {
    /// Only one process with one thread ever looks, and it is the child's copy.
    private nonisolated(unsafe) var doors: [SharedDescriptor]?
    private nonisolated(unsafe) var tree: SharedDescriptor?
    private nonisolated(unsafe) var isEntered = false

    /// Waits until the folders are there: a mount of type cgroup needs them.
    func await(_ channel: InitChannel) throws {
        if doors != nil { return }
        var message = try Sockets.receive(channel.socket, limit: 16, descriptors: 64)
        switch message.bytes.first {
        case InitMessage.cgroup: break
        case InitMessage.cgroupTree: if let mount = message.takeDescriptor() { tree = SharedDescriptor(mount) }
        default: Processes.exitNow(1)
        }
        var doors: [SharedDescriptor] = []
        while let door = message.takeDescriptor() { doors.append(SharedDescriptor(door)) }
        self.doors = doors
    }

    /// What a mount of type cgroup shows, made by the runtime (`CgroupTree`); once.
    func takeTree() -> SharedDescriptor? {
        defer { tree = nil }
        return tree
    }

    /// Goes in; a cgroup namespace of the container's own begins there.
    func enter(_ channel: InitChannel, unshares: Bool) throws {
        try self.await(channel)
        if isEntered { return }
        isEntered = true
        try CgroupEntrance.enter((doors ?? []).map(\.raw))
        doors = []
        if unshares { try Processes.unshare(.cgroup) }
    }
}
