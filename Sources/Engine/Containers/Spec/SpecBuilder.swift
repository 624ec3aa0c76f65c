import Model

/// All that a specification is made from. The description was validated when the container was created.
struct SpecInput: Sendable {
    var snapshot: ContainerSnapshot
    var account: Account
    /// As it stands in the container: its own, the host's, or that of the container it shares a UTS namespace with.
    var hostname: String
    var layout: Layout
    var cgroupPath: String
    /// Where the container's hosts, hostname and resolv.conf are.
    var filesFolder: String
    /// Namespaces joined: type and path; without a path the host's is kept.
    var joined: [OCI.NamespaceType: String?]
    /// The folder of another container's /dev/shm; nil makes one.
    var initPath: String?
    var apparmor = AppArmorStanding.absent
    /// /dev/shm of the container whose IPC namespace is joined.
    var sharedMemory: String?
    /// `NAME=value` of linked containers; the container's own settings win.
    var linkVariables: [String] = []
}

/// Turns what `docker run` can say into the runtime's specification.
struct SpecBuilder {
    let input: SpecInput
    private var description: ContainerDescription { input.snapshot.description }
    private var host: Docker.HostConfig { description.host }
    private var privileged: Bool { host.privileged == true }

    static let defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    init(_ input: SpecInput) { self.input = input }

    func build() throws -> OCI.Spec {
        let security = try SecurityOptions(host.securityOpt ?? [])
        var spec = OCI.Spec(ociVersion: OCI.version)
        spec.process = try process(security)
        spec.root = OCI.Root(path: "rootfs", readonly: host.readonlyRootfs == true)
        if owns(.uts) {
            spec.hostname = input.hostname
            if let domain = description.config.domainname, !domain.isEmpty { spec.domainname = domain }
        }
        spec.mounts = try mounts()
        spec.annotations = host.annotations ?? [:]
        spec.linux = try linux(security)
        return spec
    }

    /// The container has this namespace for itself.
    private func owns(_ type: OCI.NamespaceType) -> Bool { input.joined.index(forKey: type) == nil }

    // MARK: Process

    private func process(_ security: SecurityOptions) throws -> OCI.Process {
        var process = OCI.Process(cwd: workingFolder)
        process.terminal = description.hasTerminal
        if let size = host.consoleSize, size.count == 2, size[0] > 0, size[1] > 0 {
            process.consoleSize = OCI.ConsoleSize(height: UInt64(size[0]), width: UInt64(size[1]))
        }
        process.args = (input.initPath == nil ? [] : ["/sbin/docker-init", "--"]) + description.command
        process.user = OCI.User(uid: input.account.uid, gid: input.account.gid)
        process.user.additionalGids = input.account.groups
        process.env = Self.environment(
            input.linkVariables + (description.config.env ?? []), hostname: input.hostname, terminal: description.hasTerminal,
            home: input.account.home)
        let granted = try CapabilitySet.granted(
            add: host.capAdd ?? [], drop: host.capDrop ?? [], privileged: privileged)
        process.capabilities = Self.capabilities(granted, root: input.account.uid == 0)
        process.rlimits = try ResourceLimits.rlimits(host.ulimits)
        process.noNewPrivileges = security.noNewPrivileges
        process.apparmorProfile = input.apparmor.profile(security, privileged: privileged)
        process.oomScoreAdj = host.oomScoreAdj.flatMap { $0 == 0 ? nil : $0 }
        process.selinuxLabel = nil
        return process
    }

    private var workingFolder: String {
        let folder = description.config.workingDir ?? ""
        return folder.isEmpty ? "/" : folder
    }

    /// Nothing is inheritable or ambient; who is not root gets his from the bounding set by execve alone, as in docker.
    static func capabilities(_ granted: [String], root: Bool) -> OCI.Capabilities {
        OCI.Capabilities(
            bounding: granted, effective: root ? granted : [], inheritable: [], permitted: root ? granted : [], ambient: [])
    }

    /// What every process gets, unless the settings say otherwise; a name without `=` takes one away.
    static func environment(_ wanted: [String], hostname: String, terminal: Bool, home: String) -> [String] {
        var names: [String] = []
        var values: [String: String] = [:]
        func set(_ name: String, _ value: String) {
            if values[name] == nil { names.append(name) }
            values[name] = value
        }
        set("PATH", defaultPath)
        set("HOSTNAME", hostname)
        if terminal { set("TERM", "xterm") }
        for entry in wanted {
            guard let mark = entry.firstIndex(of: "=") else {
                names.removeAll { $0 == entry }
                values[entry] = nil
                continue
            }
            set(String(entry[..<mark]), String(entry[entry.index(after: mark)...]))
        }
        if values["HOME"] == nil { set("HOME", home) }
        return names.compactMap { name in values[name].map { "\(name)=\($0)" } }
    }

    // MARK: Linux

    private func linux(_ security: SecurityOptions) throws -> OCI.Linux {
        var linux = OCI.Linux()
        var rules = privileged ? [OCI.DeviceRule(allow: true, access: "rwm")] : HostDevice.standardRules
        if privileged { linux.devices = HostDevice.all() }
        for mapping in host.devices ?? [] {
            for (device, rule) in try HostDevice.mapped(mapping) {
                linux.devices.removeAll { $0.path == device.path }
                linux.devices.append(device)
                rules.append(rule)
            }
        }
        for text in host.deviceCgroupRules ?? [] { rules.append(try HostDevice.parseRule(text)) }
        linux.resources = try ResourceLimits.resources(host, devices: rules)
        linux.cgroupsPath = input.cgroupPath
        linux.namespaces = namespaces
        linux.sysctl = sysctls
        switch security.seccomp {
        case .unconfined: break
        case .custom(let profile): linux.seccomp = profile
        case .standard:
            if !privileged {
                let granted = try CapabilitySet.granted(add: host.capAdd ?? [], drop: host.capDrop ?? [], privileged: false)
                // Where the default profile refuses AF_ALG, the filter need not.
                let refusesElsewhere = input.apparmor.profile(security, privileged: false) == DefaultAppArmor.name
                linux.seccomp = SeccompChoice.standard(granted, allowsSocketcall: refusesElsewhere)
            }
        }
        if !privileged, !security.systemPathsUnconfined {
            linux.maskedPaths = host.maskedPaths ?? SecurityOptions.maskedPaths
            linux.readonlyPaths = host.readonlyPaths ?? SecurityOptions.readonlyPaths
        }
        linux.rootfsPropagation =
            description.mounts.contains { $0.propagation.hasSuffix("shared") }
            ? "shared"
            : description.mounts.contains { $0.propagation.hasSuffix("slave") } ? "slave" : nil
        return linux
    }

    private var namespaces: [OCI.Namespace] {
        var namespaces = [OCI.Namespace(type: .mount)]
        for type in [OCI.NamespaceType.uts, .ipc, .pid, .network, .cgroup] {
            guard let joined = input.joined[type] else {
                namespaces.append(OCI.Namespace(type: type))
                continue
            }
            if let path = joined { namespaces.append(OCI.Namespace(type: type, path: path)) }
        }
        return namespaces
    }

    private var sysctls: [String: String] {
        var sysctls: [String: String] = [:]
        if description.network.isPrivate, !privileged {
            sysctls["net.ipv4.ip_unprivileged_port_start"] = "0"
            sysctls["net.ipv4.ping_group_range"] = "0 2147483647"
        }
        sysctls.merge(host.sysctls ?? [:]) { $1 }
        return sysctls
    }

    // MARK: Mounts

    private func mounts() throws -> [OCI.Mount] {
        var mounts = systemMounts
        let taken = Set(description.mounts.map { PathText.clean($0.destination) })
        // Who brings a /dev brings all of it.
        mounts.removeAll { taken.contains($0.destination) || taken.contains("/dev") && $0.destination.hasPrefix("/dev/") }
        mounts += Self.ordered(description.mounts, filesFolder: input.filesFolder)
        if let initPath = input.initPath {
            mounts.append(
                OCI.Mount(destination: "/sbin/docker-init", type: "bind", source: initPath, options: ["bind", "ro"]))
        }
        return mounts
    }

    /// The wished mounts and the network files, outer folders before what lies in them: a volume at /etc does not hide the latter.
    private static func ordered(_ wished: [ContainerMount], filesFolder: String) -> [OCI.Mount] {
        let taken = Set(wished.map { PathText.clean($0.destination) })
        let files = networkFiles.filter { !taken.contains($0.1) }.map { name, place in
            OCI.Mount(destination: place, type: "bind", source: filesFolder + "/" + name, options: ["rbind", "rprivate"])
        }
        return (files + wished.map(mount)).enumerated().sorted { left, right in
            let depths = (PathText.depth(left.element.destination), PathText.depth(right.element.destination))
            return depths.0 == depths.1 ? left.offset < right.offset : depths.0 < depths.1
        }.map(\.element)
    }

    /// What a container that does not run shows of its mounts: volumes and binds, and its network files.
    /// - Parameter exists: whether a source is there.
    static func storage(_ description: ContainerDescription, filesFolder: String, exists: (String) -> Bool) -> [OCI.Mount] {
        let kept = description.mounts.filter { $0.kind != .tmpfs }
        return ordered(kept, filesFolder: filesFolder).filter { exists($0.source ?? "") }
    }

    private static let networkFiles = [
        ("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts"),
    ]

    private static func mount(_ mount: ContainerMount) -> OCI.Mount {
        switch mount.kind {
        case .tmpfs:
            var options = ["noexec", "nosuid", "nodev"]
            for option in mount.options {
                // `exec` takes `noexec` away, and so on.
                options.removeAll { $0 == "no" + option }
                if !["exec", "suid", "dev"].contains(option) { options.append(option) }
            }
            if mount.readOnly { options.append("ro") }
            return OCI.Mount(destination: mount.destination, type: "tmpfs", source: "tmpfs", options: options)
        case .bind, .volume:
            var options = [mount.recursive ? "rbind" : "bind"]
            options.append(mount.readOnly ? (mount.recursive && mount.fromMounts ? "rro" : "ro") : "rw")
            options.append(mount.propagation.isEmpty ? "rprivate" : mount.propagation)
            return OCI.Mount(destination: mount.destination, type: "bind", source: mount.source, options: options)
        }
    }

    private var systemMounts: [OCI.Mount] {
        let writable = privileged ? "rw" : "ro"
        var mounts = [
            OCI.Mount(destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"]),
            OCI.Mount(
                destination: "/dev", type: "tmpfs", source: "tmpfs",
                options: ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            OCI.Mount(
                destination: "/dev/pts", type: "devpts", source: "devpts",
                options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            OCI.Mount(destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", writable]),
            OCI.Mount(
                destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup",
                options: [writable, "nosuid", "noexec", "nodev"]),
            OCI.Mount(destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"]),
        ]
        // Without a network namespace of its own, sysfs cannot be mounted anew in a user namespace; as root it can.
        let ipc = host.ipcMode ?? ""
        if ipc == "none" {
            mounts.removeAll { $0.destination == "/dev/mqueue" }
        } else if ipc == "host" {
            // mqueue belongs to the namespace, which is the host's here; the host's /dev/shm is a mount of its own.
            mounts.append(bind("/dev/shm"))
        } else if let sharedMemory = input.sharedMemory {
            mounts.append(
                OCI.Mount(
                    destination: "/dev/shm", type: "bind", source: sharedMemory,
                    options: ["bind", "rw", "nosuid", "noexec", "nodev", "rprivate"]))
        } else {
            let size = host.shmSize.flatMap { $0 > 0 ? $0 : nil } ?? 64 << 20
            mounts.append(
                OCI.Mount(
                    destination: "/dev/shm", type: "tmpfs", source: "shm",
                    options: ["nosuid", "noexec", "nodev", "mode=1777", "size=\(size)"]))
        }
        return mounts
    }

    private func bind(_ path: String) -> OCI.Mount {
        OCI.Mount(destination: path, type: "bind", source: path, options: ["rbind", "rw", "rprivate"])
    }
}

/// Paths as texts.
package enum PathText {
    /// Without `.`, `..`, doubled and trailing slashes; absolute ones stay below `/`.
    package static func clean(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    package static func depth(_ path: String) -> Int { clean(path).split(separator: "/").count }
}

/// Where a container's cgroup is.
enum CgroupPlace {
    static func path(_ snapshot: ContainerSnapshot, _ configuration: EngineConfiguration) -> String {
        let wanted = snapshot.description.host.cgroupParent ?? ""
        let parent = wanted.isEmpty ? configuration.cgroupParent : wanted
        return PathText.clean(parent + "/" + snapshot.id.text)
    }
}
