import Linux
import Model

extension RootFolder {
    /// Mounts one entry of `mounts[]`; cgroups by what the runtime has made of them, if it has.
    borrowing func mount(_ plan: MountPlan, _ context: RootContext, _ lateCgroup: LateCgroup? = nil) throws {
        do {
            switch plan.source {
            case .fileSystem(let type, let source): try mountFileSystem(plan, type, source, context)
            case .bind(let clone, let isFolder): try bind(plan, clone.raw, isFolder, context)
            case .cgroup:
                if let tree = lateCgroup?.takeTree() {
                    let target = try checked(makeFolder(plan.destination), plan)
                    try Mounts.attach(tree.raw, onto: target.raw)
                } else {
                    try mountCgroup(plan, context)
                }
            }
        } catch let fault as KernelFault {
            throw Fault(
                .system, "\(plan.place): cannot mount /\(plan.destination)", subject: "/" + plan.destination, cause: fault)
        }
    }

    // MARK: New file systems

    private borrowing func mountFileSystem(_ plan: MountPlan, _ type: String, _ source: String, _ context: RootContext) throws {
        let target = try folderForKernelFiles(plan, type)
        if type == "mqueue" || type == "proc" || type == "sysfs" || plan.options.data.allSatisfy({ $0.utf8.count < 255 }) {
            do {
                let mount = try create(plan, type, source, context)
                if plan.options.copiesUp { try CopyUp.copy(from: target.raw, to: mount.raw) }
                try finish(mount.raw, plan, isNew: true)
                try Mounts.attach(mount.raw, onto: target.raw)
            } catch let fault as KernelFault where type == "sysfs" && fault.isNotPermitted && context.hasUserNamespace {
                // A user namespace may mount sysfs only with its own network namespace: the machine's is bound, read-only.
                let clone = try Mounts.clone("/sys", recursive: true)
                try Mounts.change(
                    clone.raw, set: [.readOnly, .noSUID, .noDevices, .noExecute], propagation: .slave, recursive: true)
                try Mounts.attach(clone.raw, onto: target.raw)
            }
        } else {
            // One option is too long for fsconfig(2) (overlay's lowerdir): mount(2), through the descriptor.
            let place = "/proc/self/fd/\(target.raw)"
            try Mounts.mountOld(
                source: source, target: place, type: type, flags: 0, data: plan.options.data.joined(separator: ","))
            let mounted = try find(plan.destination)
            try finish(mounted.raw, plan, isNew: false)
        }
    }

    /// Where /proc, /sys and /dev are links of the image's making, they are refused (CVE-2019-19921, CVE-2023-27561).
    private borrowing func folderForKernelFiles(_ plan: MountPlan, _ type: String) throws -> Descriptor {
        let path = plan.destination
        guard type == "proc" || type == "sysfs" || path == "dev" || path == "proc" || path == "sys" else {
            return try checked(makeFolder(path), plan)
        }
        do { return try findStraight(path) } catch let fault as KernelFault {
            if fault.isLink || fault.isNoFolder {
                throw Fault(
                    .invalid, "\(plan.place).destination: /\(path) is, or lies behind, a symbolic link in the root file system",
                    subject: "/" + path)
            }
            guard fault.isMissingFile else { throw fault }
        }
        // Missing: made without following anything.
        var folder = try Files.openInside(mount.raw, ".", [.path, .directory])
        for part in path.split(separator: "/") {
            try Files.makeFolder(String(part), mode: 0o755, at: folder.raw)
            folder = try Files.openInside(folder.raw, String(part), [.path, .directory], resolve: [.beneath, .noSymlinks])
        }
        return folder
    }

    private borrowing func create(_ plan: MountPlan, _ type: String, _ source: String, _ context: RootContext) throws
        -> Descriptor
    {
        let file = try FileSystemContext(type)
        if !source.isEmpty { try file.set("source", source) }
        for option in plan.options.data {
            if type == "devpts" && option == "newinstance" { continue }  // every instance is new since Linux 4.7
            guard let equals = option.firstIndex(of: "=") else {
                try file.set(option)
                continue
            }
            try file.set(String(option[..<equals]), String(option[option.index(after: equals)...]))
        }
        if let label = context.mountLabel, type == "tmpfs" || type == "devpts" || type == "mqueue" {
            try file.set("context", label)
        }
        for option in plan.options.superblock { try file.set(option) }
        if plan.options.set.contains(.readOnly), !RootContext.virtualTypes.contains(type) { try file.set("ro") }
        // Read-only comes last: mount points and copies are made in it before.
        return try file.create(plan.options.set.subtracting(.readOnly))
    }

    /// Attributes, map and propagation of a mount that is not attached yet.
    private borrowing func finish(_ mount: CInt, _ plan: MountPlan, isNew: Bool) throws {
        let options = plan.options
        if isNew { try plan.applyMap(to: mount) }
        var set = options.set
        if isNew { set = set.intersection(.readOnly) }
        // The runtime itself makes mount points in /dev and copies into it: read-only is set when all is mounted.
        if plan.destination == "dev", isNew { set.subtract(.readOnly) }
        var clear = isNew ? [] : options.clear
        if set.contains(.noAccessTime) || set.contains(.strictAccessTime) { clear.formUnion(.accessTime) }
        if !set.isEmpty || !clear.isEmpty {
            do { try Mounts.change(mount, set: set, clear: clear) } catch let fault as KernelFault
                where fault.isNotPermitted && clear == .readOnly
            {
                // `rw` on a mount that another user namespace has locked read-only: it stays so.
                try Mounts.change(mount, set: set)
            }
        }
        if !options.recursiveSet.isEmpty || !options.recursiveClear.isEmpty {
            var clear = options.recursiveClear
            if options.recursiveSet.contains(.noAccessTime) || options.recursiveSet.contains(.strictAccessTime) {
                clear.formUnion(.accessTime)
            }
            try Mounts.change(mount, set: options.recursiveSet, clear: clear, recursive: true)
        }
        if let propagation = options.propagation {
            try Mounts.change(mount, propagation: propagation, recursive: options.propagatesRecursively)
        }
    }

    // MARK: Binds

    private borrowing func bind(_ plan: MountPlan, _ clone: CInt, _ isFolder: Bool, _ context: RootContext) throws {
        if try Self.isBelowProc(plan.destination),
            try Files.fileSystem(of: clone) != FileSystemMagic.proc || plan.destination != "proc",
            !Self.allowedInProc.contains(plan.destination)
        {
            throw Fault(.invalid, "\(plan.place).destination: /\(plan.destination) is inside /proc, nothing is bound there")
        }
        let target =
            try plan.destination == "dev" || plan.destination == "sys"
            ? folderForKernelFiles(plan, "bind") : isFolder ? makeFolder(plan.destination) : makeFile(plan.destination)
        let verified = try checked(target, plan)
        try finish(clone, plan, isNew: false)
        if plan.options.propagation == nil { try Mounts.change(clone, propagation: .slave, recursive: true) }
        try Mounts.attach(clone, onto: verified.raw)
    }

    private static func isBelowProc(_ path: String) throws -> Bool { path == "proc" || path.hasPrefix("proc/") }

    /// Files of /proc that lxcfs and its like stand in for.
    private static let allowedInProc = [
        "proc/cpuinfo", "proc/diskstats", "proc/meminfo", "proc/stat", "proc/swaps", "proc/uptime", "proc/loadavg",
        "proc/slabinfo", "proc/net/dev", "proc/sys/kernel/ns_last_pid", "proc/sys/crypto/fips_enabled",
    ]

    /// A destination that a link has led into a procfs is refused: writes meant for elsewhere would go there (CVE-2025-52881).
    private borrowing func checked(_ target: consuming Descriptor, _ plan: MountPlan) throws -> Descriptor {
        let descriptor = target
        if try Files.fileSystem(of: descriptor.raw) == FileSystemMagic.proc, !Self.allowedInProc.contains(plan.destination) {
            throw Fault(.invalid, "\(plan.place).destination: /\(plan.destination) lies on a procfs", subject: plan.destination)
        }
        return descriptor
    }

    // MARK: cgroups

    private borrowing func mountCgroup(_ plan: MountPlan, _ context: RootContext) throws {
        guard let pieces = context.cgroupMounts, !pieces.isEmpty else {
            throw Fault(.unsupported, "\(plan.place): this machine has no cgroup file system mounted")
        }
        let target = try checked(makeFolder(plan.destination), plan)
        if pieces.count == 1, let only = pieces.first, only.folder.isEmpty {
            let mount = try cgroupMount(only, plan, context)
            try finishCgroup(mount.raw, plan)
            return try Mounts.attach(mount.raw, onto: target.raw)
        }
        let base = try CgroupTree.base(plan.options.set, label: context.mountLabel)
        try Mounts.attach(base.raw, onto: target.raw)
        for piece in pieces {
            try Files.makeFolder(piece.folder, mode: 0o755, at: base.raw)
            let place = try Files.openInside(base.raw, piece.folder, [.path, .directory], resolve: [.beneath, .noSymlinks])
            let mount = try cgroupMount(piece, plan, context)
            try Mounts.attach(mount.raw, onto: place.raw)
            for link in piece.links { try Files.link(link, to: piece.folder, at: base.raw) }
        }
        try CgroupTree.finish(base.raw, plan.options.set)
    }

    private borrowing func cgroupMount(_ piece: CgroupMount, _ plan: MountPlan, _ context: RootContext) throws -> Descriptor {
        guard context.hasCgroupNamespace else { return try Mounts.clone(piece.bindSource, recursive: false) }
        do {
            let file = try FileSystemContext(piece.type)
            try file.set("source", piece.type)
            for option in piece.data.split(separator: ",") {
                let parts = option.split(separator: "=", maxSplits: 1)
                if parts.count == 2 { try file.set(String(parts[0]), String(parts[1])) } else { try file.set(String(option)) }
            }
            return try file.create([])
        } catch let fault as KernelFault where fault.isRefused || fault.isBusy {
            // Without the right to mount it (a user namespace on v1): the container's own part of the machine's.
            return try Mounts.clone(piece.bindSource, recursive: false)
        }
    }

    private borrowing func finishCgroup(_ mount: CInt, _ plan: MountPlan) throws {
        try Mounts.change(mount, set: plan.options.set, clear: [], propagation: .slave)
    }
}

/// What the steps must know of the container.
struct RootContext {
    var hasUserNamespace: Bool
    var hasCgroupNamespace: Bool
    var cgroupMounts: [CgroupMount]?
    var mountLabel: String?

    /// File systems without a device, whose superblocks may be shared: their mounts become read-only, not they.
    static let virtualTypes = [
        "proc", "sysfs", "tmpfs", "devpts", "mqueue", "ramfs", "devtmpfs", "bpf", "securityfs", "debugfs", "tracefs", "overlay",
        "configfs", "pstore", "efivarfs", "binfmt_misc", "fusectl", "hugetlbfs",
    ]
}
