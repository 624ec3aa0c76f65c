import Linux
import Model

extension InitProcess {
    /// Mounts everything, changes the root; answers the terminal's slave when one was asked for.
    func buildRoot() throws -> Descriptor? {
        let linux = plan.linux
        // No mount or unmount of ours may reach the machine's namespace. Before the first mount of all.
        try Mounts.setPropagation("/", .slave, recursive: true)
        let folder = RootFolder(mount: try Processes.duplicate(plan.root.raw, atLeast: 3))
        try attachRoot(folder.mount.raw)
        let context = RootContext(
            hasUserNamespace: plan.namespaces.has(.user), hasCgroupNamespace: plan.namespaces.has(.cgroup),
            cgroupMounts: plan.mounts.contains { if case .cgroup = $0.source { true } else { false } } ? cgroup?.mounts : nil,
            mountLabel: linux.mountLabel.flatMap { $0.isEmpty ? nil : $0 })
        let isLast = cgroupMountComesLast
        for mount in plan.mounts {
            if isLast, case .cgroup = mount.source { continue }
            try prepare(mount)
            try folder.mount(mount, context, lateCgroup)
        }
        let bindsDev = plan.mounts.contains { mount in
            if case .bind = mount.source { mount.destination == "dev" } else { false }
        }
        if !bindsDev { try folder.makeDevices(linux.devices, binds: context.hasUserNamespace) }
        let console = plan.process.terminal ? try openConsole(folder) : nil
        _ = try folder.makeFolder(MountPlan.normal(plan.process.folder))
        try lateNetwork?.enter(channel)
        if isLast {
            try coverPaths(folder, context)
            for mount in plan.mounts {
                guard case .cgroup = mount.source else { continue }
                try prepare(mount)
                try folder.mount(mount, context, lateCgroup)
            }
        }
        try enterLate()
        try runEarlyHooks()
        try setSysctls()
        if !isLast { try coverPaths(folder, context) }
        try finishRoot(folder, context)
        return console
    }

    /// Whether the cgroups, for which the runtime needs as long as this process for all its mounts, may be mounted after all else is
    /// done: nothing else lies on, above or below them.
    private var cgroupMountComesLast: Bool {
        guard lateCgroup != nil, plan.spec.hooks == nil else { return false }
        var places: [String] = []
        for mount in plan.mounts {
            if case .cgroup = mount.source {
                places.append(mount.destination)
            } else if places.contains(where: { Self.touches(mount.destination, $0) }) {
                return false
            }
        }
        guard !places.isEmpty else { return false }
        for path in plan.linux.maskedPaths + plan.linux.readonlyPaths {
            let path = MountPlan.normal(path)
            if places.contains(where: { Self.touches(path, $0) }) { return false }
        }
        return true
    }

    /// Whether one path is the other, or lies below it; both as `MountPlan.normal` has them.
    private static func touches(_ path: String, _ other: String) -> Bool {
        var left = path.utf8[...]
        var right = other.utf8[...]
        if left.isEmpty || right.isEmpty { return true }
        while let byte = left.first, byte == right.first {
            left = left.dropFirst()
            right = right.dropFirst()
        }
        let slash = UInt8(ascii: "/")
        return left.isEmpty ? right.isEmpty || right.first == slash : right.isEmpty && left.first == slash
    }

    /// A mount may depend on what is made meanwhile: sysfs and other file systems show the network namespace they were mounted in;
    /// one of type cgroup needs the folders, and a namespace of the container's own that has begun.
    private func prepare(_ mount: MountPlan) throws {
        switch mount.source {
        case .fileSystem("proc", _), .fileSystem("tmpfs", _), .fileSystem("devpts", _), .fileSystem("mqueue", _), .bind: break
        case .fileSystem: try lateNetwork?.enter(channel)
        case .cgroup:
            try lateNetwork?.enter(channel)
            try lateCgroup?.await(channel)
            if plan.namespaces.new.contains(.cgroup) { try lateCgroup?.enter(channel, unshares: true) }
        }
    }

    private func attachRoot(_ root: CInt) throws {
        try Mounts.change(root, propagation: .slave, recursive: true)
        do { try Mounts.attach(root, ontoPath: "/") } catch let fault as KernelFault {
            throw Fault(.system, "root.path: cannot mount the root file system", cause: fault)
        }
    }

    private func coverPaths(_ folder: borrowing RootFolder, _ context: RootContext) throws {
        try folder.makeReadOnly(plan.linux.readonlyPaths)
        try folder.mask(plan.linux.maskedPaths, label: context.mountLabel)
    }

    private func finishRoot(_ folder: borrowing RootFolder, _ context: RootContext) throws {
        if let dev = plan.mounts.first(where: { $0.destination == "dev" }), dev.options.set.contains(.readOnly),
            case .fileSystem = dev.source
        {
            let mount = try folder.findStraight("dev")
            try Mounts.change(mount.raw, set: .readOnly)
        }
        if plan.rootIsReadOnly { try Mounts.change(folder.mount.raw, set: .readOnly) }
        try Files.changeFolder(to: folder.mount.raw)
        if request.noPivot {
            try Files.changeRoot(".")
        } else {
            try Mounts.pivotRootHere()
            // The old root lies over the new one now: it goes, with everything below it.
            try Mounts.detach(".")
        }
        try Files.changeFolder("/")
        try setPropagation()
        if request.wantsRootMount {
            let clone = try Mounts.clone("/", recursive: true)
            try channel.send(InitMessage.root, descriptor: clone.raw)
        }
    }

    /// After the root was changed: pivot_root(2) takes no shared mount.
    private func setPropagation() throws {
        guard let propagation = plan.rootPropagation, propagation != .slave else { return }
        // Shared means a peer group of its own, not the machine's.
        if propagation == .shared { try Mounts.setPropagation("/", .private, recursive: false) }
        try Mounts.setPropagation("/", propagation, recursive: false)
    }

    /// prestart and createRuntime run in the runtime, createContainer here: all before the root is changed.
    private func runEarlyHooks() throws {
        guard let hooks = plan.spec.hooks else { return }
        if !hooks.prestart.isEmpty || !hooks.createRuntime.isEmpty {
            try channel.send(InitMessage.hooks)
            channel.expect(InitMessage.proceed)
        }
        if hooks.createContainer.isEmpty { return }
        let state = OCI.State(
            ociVersion: OCI.version, id: request.id, status: .creating, pid: Int(Processes.id), bundle: request.bundle,
            annotations: plan.spec.annotations)
        try HookRunner.run(hooks.createContainer, "createContainer", state: state, folder: request.bundle)
    }

    /// Written through the machine's own procfs, which nobody in the container can have replaced: /proc/sys shows each reader
    /// its own namespaces (CVE-2025-52881).
    private func setSysctls() throws {
        for setting in plan.sysctl.settings {
            do { try Files.put(setting.value, setting.path, at: procfs) } catch let fault as KernelFault {
                throw Fault(.invalid, "linux.sysctl[\"\(setting.key)\"]: cannot set \"\(setting.value)\"", cause: fault)
            }
        }
    }

    /// A pseudo terminal of the container's own devpts, bound over /dev/console; the master goes to the runtime.
    private func openConsole(_ folder: borrowing RootFolder) throws -> Descriptor {
        do {
            let master = try ConsoleMaster.open(folder.mount.raw)
            let slave = try Terminals.slave(of: master.raw)
            if plan.process.rows > 0 || plan.process.columns > 0 {
                try Terminals.setSize(slave.raw, rows: plan.process.rows, columns: plan.process.columns)
            }
            let user = plan.process.user.uid
            if user != 0 { try Files.changeOwner(of: slave.raw, user: user, group: try Files.status(of: slave.raw).group) }
            let target = try folder.makeConsoleFile()
            let clone = try Mounts.clone(of: slave.raw, recursive: false)
            try Mounts.attach(clone.raw, onto: target.raw)
            try channel.send(InitMessage.console, descriptor: master.raw)
            return slave
        } catch let fault as KernelFault {
            throw Fault(.system, "process.terminal: cannot make a terminal", cause: fault)
        }
    }
}

/// The master of a new terminal in a container's devpts.
enum ConsoleMaster {
    static func open(_ root: CInt) throws -> Descriptor {
        let master = try Files.openInside(root, "dev/pts/ptmx", [.readWrite, .noControllingTerminal])
        let status = try Files.status(of: master.raw)
        guard status.kind == .character, status.major == 5, status.minor == 2,
            try Files.fileSystem(of: master.raw) == FileSystemMagic.devpts
        else { throw Fault(.invalid, "/dev/pts/ptmx in the container is not a terminal multiplexer: mount devpts at /dev/pts") }
        try Terminals.unlock(master.raw)
        return master
    }
}

extension RootFolder {
    /// /dev/console as an empty file to bind over.
    borrowing func makeConsoleFile() throws -> Descriptor {
        let dev = try findStraight("dev")
        do { _ = try Files.open("console", [.writeOnly, .create, .exclusive, .noFollow], mode: 0o620, at: dev.raw) } catch let
            fault as KernelFault where fault.isExisting
        {}
        return try Files.openInside(dev.raw, "console", .path, resolve: [.beneath, .noSymlinks])
    }
}
