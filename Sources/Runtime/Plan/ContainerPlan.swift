import Linux
import Model

/// A container's configuration, checked and translated; what must be opened on the host is open.
struct ContainerPlan: Sendable {
    var spec: OCI.Spec
    var linux: OCI.Linux
    var process: ProcessPlan
    var namespaces: NamespacePlan
    var mounts: [MountPlan] = []
    var sysctl: SysctlPlan
    /// A detached clone of the root file system with everything below it.
    var root: SharedDescriptor
    var rootIsReadOnly: Bool
    var rootPropagation: MountPropagation?
    /// Recursive, for the mounts that the container's namespace starts with.
    var personality: UInt?
    var memoryPolicy: MemoryPolicyPlan?
    var timeOffsets: String?

    init(_ request: ContainerRequest) throws {
        spec = request.spec
        linux = spec.linux ?? OCI.Linux()
        try Self.checkVersion(spec.ociVersion)
        guard let process = spec.process else { throw Fault(.invalid, "process is missing") }
        try Self.checkUnsupported(spec, linux)
        namespaces = try NamespacePlan(linux)
        if namespaces.new.contains(.user) {
            guard !linux.uidMappings.isEmpty, !linux.gidMappings.isEmpty else {
                throw Fault(.invalid, "linux.uidMappings, linux.gidMappings: a new user namespace needs both")
            }
            try IDMaps.check(linux.uidMappings, "linux.uidMappings")
            try IDMaps.check(linux.gidMappings, "linux.gidMappings")
        }
        self.process = try ProcessPlan(process, linux: linux)
        self.process.terminal = request.io.terminal
        sysctl = try SysctlPlan(linux.sysctl, namespaces)
        try Self.checkNames(spec, namespaces)
        try NetDevices.check(linux.netDevices, namespaces)
        personality = try Self.personality(linux.personality)
        memoryPolicy = try linux.memoryPolicy.map { try MemoryPolicyPlan($0) }
        if let offsets = linux.timeOffsets {
            guard namespaces.new.contains(.time) else {
                throw Fault(.invalid, "linux.timeOffsets: there is no new time namespace in linux.namespaces")
            }
            timeOffsets = try Self.text(offsets)
        }
        rootIsReadOnly = spec.root?.readonly ?? false
        rootPropagation = try Self.propagation(linux.rootfsPropagation)
        root = try Self.openRoot(request.root)
        if !namespaces.new.contains(.mount) {
            guard spec.mounts.isEmpty, linux.maskedPaths.isEmpty, linux.readonlyPaths.isEmpty else {
                throw Fault(.invalid, "linux.namespaces: mounts, maskedPaths and readonlyPaths need a new mount namespace")
            }
        }
        mounts.reserveCapacity(spec.mounts.count)
        for (index, mount) in spec.mounts.enumerated() {
            mounts.append(try MountPlan(mount, index: index, spec: spec, bundle: request.bundle))
        }
    }

    private static func checkVersion(_ version: String) throws {
        let major = version.prefix { $0 != "." }
        guard major == "1" || version.hasPrefix("0.") else {
            throw Fault(.invalid, "ociVersion: \"\(version)\" is not understood, \(OCI.version) is")
        }
    }

    /// Known fields that cannot be honoured are refused by name.
    private static func checkUnsupported(_ spec: OCI.Spec, _ linux: OCI.Linux) throws {
        if linux.intelRdt != nil, !Files.exists("/sys/fs/resctrl/schemata") {
            throw Fault(.unsupported, "linux.intelRdt: this machine has no resctrl file system mounted at /sys/fs/resctrl")
        }
        if linux.intelRdt != nil { throw Fault(.unsupported, "linux.intelRdt: not supported") }
        if let label = linux.mountLabel, !label.isEmpty { try SELinux.check(label, field: "linux.mountLabel") }
        if let flags = linux.personality?.flags, !flags.isEmpty {
            throw Fault(.unsupported, "linux.personality.flags: the specification defines none")
        }
        if spec.process?.commandLine != nil { throw Fault(.unsupported, "process.commandLine: this is for Windows, use args") }
        let hooks = spec.hooks ?? OCI.Hooks()
        for (name, list) in hooks.byName {
            for (index, hook) in list.enumerated() {
                guard hook.path.hasPrefix("/") else {
                    throw Fault(.invalid, "hooks.\(name)[\(index)].path: \"\(hook.path)\" is no absolute path")
                }
                if let timeout = hook.timeout, timeout <= 0 {
                    throw Fault(.invalid, "hooks.\(name)[\(index)].timeout: \(timeout) is not more than 0")
                }
            }
        }
    }

    private static func checkNames(_ spec: OCI.Spec, _ namespaces: NamespacePlan) throws {
        for (name, field) in [(spec.hostname, "hostname"), (spec.domainname, "domainname")] {
            guard let name, !name.isEmpty else { continue }
            guard namespaces.has(.uts) else { throw Fault(.invalid, "\(field): there is no uts namespace in linux.namespaces") }
            guard name.utf8.count <= 64 else { throw Fault(.invalid, "\(field): longer than 64 bytes") }
        }
    }

    private static func personality(_ value: OCI.Personality?) throws -> UInt? {
        switch value?.domain {
        case nil: nil
        case .linux: 0
        case .linux32: 0x0008
        }
    }

    private static func propagation(_ text: String?) throws -> MountPropagation? {
        switch text {
        case nil, "": nil
        case "private", "rprivate": .private
        case "shared", "rshared": .shared
        case "slave", "rslave": .slave
        case "unbindable", "runbindable": .unbindable
        case .some(let other): throw Fault(.invalid, "linux.rootfsPropagation: unknown value \"\(other)\"")
        }
    }

    private static func text(_ offsets: OCI.TimeOffsets) throws -> String {
        var text = ""
        for (offset, name) in [(offsets.monotonic, "monotonic"), (offsets.boottime, "boottime")] {
            guard let offset else { continue }
            guard offset.nanosecs < 1_000_000_000 else {
                throw Fault(.invalid, "linux.timeOffsets.\(name).nanosecs: \(offset.nanosecs) is a second or more")
            }
            text += "\(name) \(offset.secs) \(offset.nanosecs)\n"
        }
        return text
    }

    private static func openRoot(_ source: RootSource) throws -> SharedDescriptor {
        switch source {
        case .path(let path):
            do {
                let clone = try Mounts.clone(path, recursive: true)
                guard try Files.status(of: clone.raw).kind == .folder else {
                    throw Fault(.invalid, "root.path: \(path) is no folder", subject: path)
                }
                return SharedDescriptor(clone)
            } catch let fault as KernelFault {
                // Without root's rights nothing can be mounted before there is a user namespace; they are asked for, not guessed.
                guard !fault.isNotPermitted || Processes.userID == 0 else {
                    throw Fault(
                        .unsupported,
                        "without root's rights: start it in a user namespace of your own (podman unshare; unshare -Urm)",
                        cause: fault)
                }
                throw Fault(.invalid, "root.path: cannot open \(path)", subject: path, cause: fault)
            }
        case .detachedMount(let descriptor):
            do { return SharedDescriptor(try Processes.duplicate(descriptor, atLeast: 3)) } catch {
                throw Fault(.system, "the root mount's descriptor is not open", cause: error)
            }
        }
    }
}

extension OCI.Hooks {
    struct Named {
        var name: String
        var list: [OCI.Hook]
    }

    var byName: [(String, [OCI.Hook])] {
        [
            ("prestart", prestart), ("createRuntime", createRuntime), ("createContainer", createContainer),
            ("startContainer", startContainer), ("poststart", poststart), ("poststop", poststop),
        ]
    }
}

/// `linux.memoryPolicy` in the numbers of set_mempolicy(2).
struct MemoryPolicyPlan: Sendable {
    var mode: CInt
    var nodes: CPUSet?

    init(_ policy: OCI.MemoryPolicy) throws {
        switch policy.mode {
        case .default: mode = 0
        case .preferred: mode = 1
        case .bind: mode = 2
        case .interleave: mode = 3
        case .local: mode = 4
        case .preferredMany: mode = 5
        case .weightedInterleave: mode = 6
        }
        for flag in policy.flags {
            switch flag {
            case .numaBalancing: mode |= 1 << 13
            case .relativeNodes: mode |= 1 << 14
            case .staticNodes: mode |= 1 << 15
            }
        }
        if let text = policy.nodes, !text.isEmpty {
            guard let set = CPUSet(text) else {
                throw Fault(.invalid, "linux.memoryPolicy.nodes: \"\(text)\" is no list such as 0-3,7")
            }
            nodes = set
        }
    }
}
