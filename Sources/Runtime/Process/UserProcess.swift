import Linux
import Model

/// The last way from the runtime's code to the user's program, in the container: streams, rights, descriptors, execve(2).
/// The same for a container's init and for what `exec` adds.
struct UserProcess {
    let plan: ProcessPlan
    let io: ProcessIO
    let extraDescriptors: [CInt]
    let channel: InitChannel
    /// The machine's procfs, checked by its magic number.
    let procfs: CInt
    /// The FIFO whose first byte starts the process; nil when the channel does.
    let fifo: CInt?
    /// Name of the session keyring to join; nil keeps the runtime's.
    let keyring: String?
    let personality: UInt?
    let memoryPolicy: MemoryPolicyPlan?
    let hasUserNamespace: Bool
    let hooks: [OCI.Hook]
    let hookState: OCI.State?

    /// Ends in the program, or by a message on the channel.
    func become(_ console: consuming Descriptor?) throws -> Never {
        if let personality { try Scheduling.setPersonality(personality) }
        try applyMemoryPolicy()
        if let keyring { joinKeyring(keyring) }
        try arrangeStreams(console)
        try changeFolder(plan.folder, required: false)
        if let profile = plan.appArmor { try AppArmor.changeOnExec(profile, procfs: procfs) }
        if let label = plan.seLinux { try SELinux.changeOnExec(label, procfs: procfs) }
        // The last use of any descriptor of the machine's; limits may forbid new ones.
        let (control, start) = try DescriptorArrangement.arrange(channel: channel.socket, fifo: fifo, extra: extraDescriptors)
        finish(InitChannel(socket: control), start)
    }

    private func finish(_ channel: InitChannel, _ fifo: CInt?) -> Never {
        do {
            let privileges = try takeUser(channel)
            let program = try ExecutableLookup.find(plan.arguments[0], environment: plan.environment)
            try channel.send(InitMessage.ready)
            waitForStart(channel, fifo)
            try runStartHooks()
            Signals.reset()
            try installFilter(channel, privileges)
            let code = Processes.execute(program, plan.arguments, plan.environment)
            let fault = ExecutableLookup.fault(code, program)
            if fifo != nil { try? Files.write(2, Array("\(fault)\n".utf8)) }
            throw fault
        } catch { channel.fail(error) }
    }

    private func takeUser(_ channel: InitChannel) throws -> Privileges {
        try OutsideSettings.limit(plan.limits, hasUserNamespace: hasUserNamespace, warn: channel.warn)
        if plan.noNewPrivileges { try Identity.setNoNewPrivileges() }
        var privileges = Privileges()
        try privileges.drop(plan, keepsAdmin: keepsAdmin, warn: channel.warn)
        try changeFolder(plan.folder, required: true)
        Files.setUmask(plan.user.umask ?? 0o022)
        return privileges
    }

    private var keepsAdmin: Bool { plan.seccomp != nil && !plan.noNewPrivileges }

    private func applyMemoryPolicy() throws {
        guard let policy = memoryPolicy else { return }
        do { try Scheduling.setMemoryPolicy(policy.mode, nodes: policy.nodes) } catch let fault as KernelFault {
            throw Fault(.unsupported, "linux.memoryPolicy: the kernel refuses it", cause: fault)
        }
    }

    private func joinKeyring(_ name: String) {
        do { try Identity.joinSessionKeyring(name) } catch {
            channel.warn("no session keyring of its own for the container: \(error)")
        }
    }

    /// As root first, as the user again: a folder that only one of them may enter must do (runc#2086).
    private func changeFolder(_ path: String, required: Bool) throws {
        do { try Files.changeFolder(path) } catch let fault as KernelFault {
            guard required else { return }
            let here = (try? Files.currentFolder()) ?? ""
            if here == path { return }
            throw Fault(.invalid, "process.cwd: cannot change to \(path)", subject: path, cause: fault)
        }
        // A descriptor of the machine's, or a link to one, must not become the working directory (CVE-2024-21626).
        let here = try Files.currentFolder()
        guard here.hasPrefix("/") else {
            throw Fault(.forbidden, "process.cwd: \(path) leads out of the container's root file system", subject: path)
        }
    }

    // MARK: Descriptors

    private func arrangeStreams(_ console: consuming Descriptor?) throws {
        if let slave = console?.raw {
            try Terminals.makeControlling(slave)
            for number: CInt in 0...2 { try Processes.duplicate(slave, to: number) }
            return
        }
        let wanted = [io.stdin, io.stdout, io.stderr]
        if wanted == [0, 1, 2] {
            for number: CInt in 0...2 { try Processes.duplicate(number, to: number) }
        } else {
            var aside: [CInt] = []
            for descriptor in wanted { aside.append(try Processes.duplicate(descriptor, atLeast: 16).release()) }
            for number: CInt in 0...2 { try Processes.duplicate(aside[Int(number)], to: number) }
            for descriptor in aside { Files.close(descriptor) }
        }
        for number: CInt in 0...2 { giveToUser(number) }
    }

    /// A process that is not root opens /dev/stdout and the like again: the pipe must be its own. Nothing that others use,
    /// as the null device or the machine's terminal, is touched.
    private func giveToUser(_ descriptor: CInt) {
        let user = plan.user.uid
        if user == 0 && !hasUserNamespace { return }
        guard let status = try? Files.status(of: descriptor), status.kind == .pipe || status.kind == .socket,
            status.user != user
        else { return }
        try? Files.changeOwner(of: descriptor, user: user, group: status.group)
    }

    // MARK: Execution

    private func waitForStart(_ channel: InitChannel, _ fifo: CInt?) {
        guard let fifo else { return channel.expect(InitMessage.go) }
        guard let byte = try? Files.readSome(fifo, limit: 1), !byte.isEmpty else { Processes.exitNow(1) }
        Files.close(fifo)
    }

    private func runStartHooks() throws {
        guard let hookState, !hooks.isEmpty else { return }
        try HookRunner.run(hooks, "startContainer", state: hookState, folder: "/")
    }

    private func installFilter(_ channel: InitChannel, _ privileges: Privileges) throws {
        guard let program = plan.seccomp else { return }
        if let listener = try program.install() {
            try channel.send(InitMessage.listener, String(listener.raw))
            channel.expect(InitMessage.proceed)
        }
        if keepsAdmin { try privileges.dropAdmin() }
    }
}

/// The last order of descriptors before exec: streams, extra ones from 3 on, and the two that the runtime still needs.
enum DescriptorArrangement {
    /// Closes everything else. The answered numbers are close-on-exec.
    static func arrange(channel: CInt, fifo: CInt?, extra: [CInt]) throws -> (channel: CInt, fifo: CInt?) {
        let first = 3 + CInt(extra.count)
        let room = first + 8
        // Everything aside first: the numbers wanted may be taken by what must be kept.
        var aside: [CInt] = []
        for descriptor in extra { aside.append(try Processes.duplicate(descriptor, atLeast: room).release()) }
        let control = try Processes.duplicate(channel, atLeast: room).release()
        let start = try fifo.map { try Processes.duplicate($0, atLeast: room).release() }
        for (index, descriptor) in aside.enumerated() { try Processes.duplicate(descriptor, to: 3 + CInt(index)) }
        let kept = ([control] + (start.map { [$0] } ?? [])).sorted()
        var next = first
        for descriptor in kept {
            try Processes.close(from: next, to: descriptor - 1)
            next = descriptor + 1
        }
        try Processes.close(from: next)
        return (control, start)
    }
}
