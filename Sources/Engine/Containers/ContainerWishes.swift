import Images
import Linux
import Model
import Networks
import State

/// Checks a create request and turns it into a description. Changes nothing: a fault leaves nothing behind.
struct ContainerWishes {
    let request: Docker.ContainerCreateRequest
    let image: ImageRecord
    let imageName: String
    let id: ObjectID
    /// The network of a name or id; nil where there is none.
    let findNetwork: @Sendable (String) -> NetworkRecord?
    /// What containers of `--volumes-from` have mounted.
    let inherited: [InheritedMounts]
    /// Names of the volumes that are to be made for this container.
    private(set) var newVolumes: [NewVolume] = []
    private(set) var warnings: [String] = []

    struct NewVolume: Sendable {
        var name: String
        var anonymous: Bool
        var labels: [String: String] = [:]
    }

    init(
        _ request: Docker.ContainerCreateRequest, image: ImageRecord, imageName: String, id: ObjectID,
        inherited: [InheritedMounts], findNetwork: @escaping @Sendable (String) -> NetworkRecord?
    ) {
        self.inherited = inherited
        self.findNetwork = findNetwork
        self.request = request
        self.image = image
        self.imageName = imageName
        self.id = id
    }

    private var host: Docker.HostConfig { request.hostConfig ?? Docker.HostConfig() }

    mutating func description(volumes: String) throws -> ContainerDescription {
        try validate()
        var description = ContainerDescription()
        description.imageName = imageName
        description.config = try config()
        description.host = host
        description.host.networkMode = host.networkMode.flatMap { $0.isEmpty || $0 == "default" ? nil : $0 } ?? "bridge"
        fillDefaults(&description.host)
        description.endpoints = try endpoints(&description.host)
        description.mounts = try mounts(volumes: volumes)
        // `[""]` is a command, which will not be found.
        guard !description.command.isEmpty else {
            throw Fault(.invalid, "no command specified")
        }
        _ = try PortWishes.requests(description)
        return description
    }

    /// What dockerd shows in HostConfig where nothing was said.
    private func fillDefaults(_ host: inout Docker.HostConfig) {
        var policy = host.restartPolicy ?? Docker.RestartPolicy()
        policy.name = policy.name.flatMap { $0.isEmpty ? nil : $0 } ?? "no"
        policy.maximumRetryCount = policy.maximumRetryCount ?? 0
        host.restartPolicy = policy
        var log = host.logConfig ?? Docker.LogConfig()
        log.type = log.type.flatMap { $0.isEmpty ? nil : $0 } ?? "json-file"
        log.config = log.config ?? [:]
        host.logConfig = log
        host.shmSize = host.shmSize.flatMap { $0 > 0 ? $0 : nil } ?? 64 << 20
        host.ipcMode = host.ipcMode.flatMap { $0.isEmpty ? nil : $0 } ?? "private"
        host.cgroupnsMode = host.cgroupnsMode.flatMap { $0.isEmpty ? nil : $0 } ?? "private"
        host.runtime = host.runtime.flatMap { $0.isEmpty ? nil : $0 } ?? "skiff"
        host.portBindings = host.portBindings ?? [:]
        // -1 and 0 say the same as nothing.
        if host.memorySwappiness == -1 { host.memorySwappiness = nil }
        if host.pidsLimit == 0 || host.pidsLimit == -1 { host.pidsLimit = nil }
        // On other networks they are the endpoint's.
        if NetworkMode(host.networkMode) != .bridge { host.links = nil }
        if host.privileged != true {
            host.maskedPaths = host.maskedPaths ?? SecurityOptions.maskedPaths
            host.readonlyPaths = host.readonlyPaths ?? SecurityOptions.readonlyPaths
        }
    }

    // MARK: Checks

    private mutating func validate() throws {
        try RestartPolicy.validate(host.restartPolicy, autoRemove: host.autoRemove == true)
        try ResourceLimits.validate(host)
        _ = try ResourceLimits.rlimits(host.ulimits)
        let security = try SecurityOptions(host.securityOpt ?? [])
        if let warning = try security.labelWarning(hasSELinux: Files.exists("/sys/fs/selinux/enforce")) {
            warnings.append(warning)
        }
        _ = try CapabilitySet.granted(add: host.capAdd ?? [], drop: host.capDrop ?? [], privileged: host.privileged == true)
        _ = try LogChoice(host.logConfig)
        for rule in host.deviceCgroupRules ?? [] { _ = try HostDevice.parseRule(rule) }
        if let signal = request.stopSignal, !signal.isEmpty { _ = try StopSignal.parse(signal) }
        try validateModes()
        if NetworkMode(host.networkMode) == .host, !(host.portBindings ?? [:]).isEmpty || host.publishAllPorts == true {
            warnings.append("Published ports are discarded when using host network mode")
        }
        try refuseUnsupported()
        if (host.annotations ?? [:]).keys.contains("") {
            throw Fault(.invalid, "invalid Annotations: the empty string is not permitted as an annotation key")
        }
        for name in request.env ?? [] where name.hasPrefix("=") {
            throw Fault(.invalid, "invalid environment variable: \(name)", subject: name)
        }
        if let folder = request.workingDir, !folder.isEmpty, !folder.hasPrefix("/") {
            throw Fault(
                .invalid,
                "the working directory '\(folder)' is invalid, it needs to be an absolute path", subject: folder)
        }
        if let hostname = request.hostname, hostname.utf8.count > 64 {
            throw Fault(.invalid, "invalid hostname format for container \(id.short): \(hostname)", subject: hostname)
        }
        for (name, _) in host.sysctls ?? [:] {
            let network = name.hasPrefix("net.")
            let ipc =
                name.hasPrefix("kernel.shm") || name.hasPrefix("kernel.msg") || name.hasPrefix("kernel.sem")
                || name.hasPrefix("fs.mqueue.")
            guard network || ipc, !name.contains(".."), !name.contains("/") || network else {
                throw Fault(.invalid, "sysctl '\(name)' is not whitelisted", subject: name)
            }
            if network, NetworkMode(host.networkMode) == .host {
                throw Fault(.invalid, "sysctl '\(name)' not allowed in host network namespace", subject: name)
            }
        }
    }

    private func validateModes() throws {
        func check(_ mode: String?, _ what: String, _ known: Set<String>) throws {
            guard let mode, !mode.isEmpty, !known.contains(mode) else { return }
            if known.contains("container:"), mode.hasPrefix("container:"), mode.utf8.count > 10 { return }
            throw Fault(.invalid, "invalid \(what): \(mode)", subject: mode)
        }
        try check(host.pidMode, "PID mode", ["host", "container:"])
        try check(host.ipcMode, "IPC mode", ["none", "private", "shareable", "host", "container:"])
        try check(host.utsMode, "UTS mode", ["host"])
        try check(host.usernsMode, "user namespace mode", ["host"])
        try check(host.cgroupnsMode, "cgroup namespace mode", ["host", "private"])
        let network = NetworkMode(host.networkMode)
        let published = !(host.portBindings ?? [:]).isEmpty || host.publishAllPorts == true
        if case .container = network {
            if published {
                throw Fault(.invalid, "conflicting options: port publishing and the container type network mode")
            }
            if !(request.exposedPorts ?? [:]).isEmpty {
                throw Fault(.invalid, "conflicting options: port exposing and the container type network mode")
            }
            if !(host.links ?? []).isEmpty {
                throw Fault(
                    .invalid,
                    "conflicting options: container type network can't be used with links. This would result in undefined behavior"
                )
            }
            if !(request.hostname ?? "").isEmpty {
                throw Fault(.invalid, "conflicting options: hostname and the network mode")
            }
            if !(host.dns ?? []).isEmpty { throw Fault(.invalid, "conflicting options: dns and the network mode") }
            if !(host.extraHosts ?? []).isEmpty {
                throw Fault(.invalid, "conflicting options: custom host-to-IP mapping and the network mode")
            }
        }
        if network == .host, !(host.links ?? []).isEmpty {
            throw Fault(
                .invalid,
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior")
        }
        if host.utsMode == "host", !(request.hostname ?? "").isEmpty {
            throw Fault(.invalid, "conflicting options: hostname and the UTS mode")
        }
    }

    /// What this engine does not have is refused by its name.
    private func refuseUnsupported() throws {
        func refuse(_ what: String) -> Fault { Fault(.unsupported, "\(what) is not supported by this engine", subject: what) }
        if !(host.deviceRequests ?? []).isEmpty { throw refuse("--gpus (DeviceRequests)") }
        if !(host.storageOpt ?? [:]).isEmpty { throw refuse("--storage-opt") }
        if let driver = host.volumeDriver, !driver.isEmpty, driver != "local" { throw refuse("volume driver \(driver)") }
        if let runtime = host.runtime, !runtime.isEmpty, runtime != "skiff", runtime != "runc" {
            throw Fault(.invalid, "unknown or invalid runtime name: \(runtime)", subject: runtime)
        }
        if let isolation = host.isolation, !isolation.isEmpty, isolation != "default" {
            throw Fault(.invalid, "Invalid isolation: \"\(isolation)\" - linux only supports 'default'", subject: isolation)
        }
    }

    // MARK: Networks

    /// What is wished of each network, by the network's name. A network need not exist yet: the start will want it.
    private func endpoints(_ host: inout Docker.HostConfig) throws -> [String: Docker.EndpointSettings] {
        let mode = NetworkMode(host.networkMode)
        let given = (request.networkingConfig?.endpointsConfig ?? [:]).mapValues { $0 ?? Docker.EndpointSettings() }
        var endpoints: [String: Docker.EndpointSettings] = [:]
        for (reference, endpoint) in given {
            let name = reference == "default" ? "bridge" : findNetwork(reference)?.name ?? reference
            endpoints[name] = endpoint
        }
        var first = mode.name
        if case .named(let reference) = mode, let network = findNetwork(reference) {
            // As docker keeps it: a part of an id becomes the id.
            if reference != network.name { host.networkMode = network.id.text }
            first = network.name
        }
        guard !first.isEmpty else { return [:] }
        if endpoints.isEmpty { endpoints[first] = Docker.EndpointSettings() }
        if let mac = request.macAddress, !mac.isEmpty, mode.isPrivate, let endpoint = endpoints[first] {
            if let other = endpoint.macAddress, !other.isEmpty, other != mac {
                throw Fault(
                    .invalid,
                    "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
                    subject: mac)
            }
            endpoints[first]?.macAddress = mac
        }
        try EndpointWishes.check(endpoints, find: findNetwork)
        return endpoints
    }

    // MARK: Settings

    /// The request's settings over the image's.
    private func config() throws -> Docker.ContainerConfig {
        let from = image.config.settings
        var config = Docker.ContainerConfig()
        let network = NetworkMode(host.networkMode)
        config.hostname = request.hostname.flatMap { $0.isEmpty ? nil : $0 }
        if config.hostname == nil {
            if case .container = network {
                config.hostname = ""
            } else if host.utsMode == "host" || network == .host {
                config.hostname = ""
            } else {
                config.hostname = id.short
            }
        }
        config.domainname = request.domainname ?? ""
        config.user = request.user.flatMap { $0.isEmpty ? nil : $0 } ?? from.user
        config.attachStdin = request.attachStdin ?? false
        config.attachStdout = request.attachStdout ?? false
        config.attachStderr = request.attachStderr ?? false
        config.tty = request.tty ?? false
        config.openStdin = request.openStdin ?? false
        config.stdinOnce = request.stdinOnce ?? false
        var ports = request.exposedPorts ?? [:]
        for port in from.exposedPorts { ports[port] = Docker.Empty() }
        for port in (host.portBindings ?? [:]).keys { ports[port] = Docker.Empty() }
        config.exposedPorts = ports.isEmpty ? nil : ports
        config.env = Self.merged(from.env, request.env ?? [])
        // An entrypoint of one's own forgets the image's command; `[""]` resets the image's entrypoint.
        let wanted = request.entrypoint?.words ?? []
        if wanted.isEmpty {
            config.entrypoint = from.entrypoint.map { Docker.StringList($0) }
            config.cmd = request.cmd.flatMap { $0.words.isEmpty ? nil : $0 } ?? from.cmd.map { Docker.StringList($0) }
        } else {
            config.entrypoint = wanted == [""] ? nil : Docker.StringList(wanted)
            config.cmd = request.cmd ?? Docker.StringList([])
        }
        config.image = imageName
        var volumes = request.volumes ?? [:]
        for path in from.volumes { volumes[path] = Docker.Empty() }
        config.volumes = volumes.isEmpty ? nil : volumes
        config.workingDir = request.workingDir.flatMap { $0.isEmpty ? nil : $0 } ?? from.workingDir
        if let folder = config.workingDir, !folder.isEmpty { config.workingDir = PathText.clean(folder) }
        config.onBuild = nil
        config.labels = from.labels.merging(request.labels ?? [:]) { $1 }
        config.stopSignal =
            request.stopSignal.flatMap { $0.isEmpty ? nil : $0 } ?? (from.stopSignal.isEmpty ? nil : from.stopSignal)
        config.stopTimeout = request.stopTimeout ?? from.stopTimeout
        config.healthcheck = try HealthSettings.merged(request.healthcheck, from.healthcheck)
        config.networkDisabled = request.networkDisabled
        config.shell = request.shell
        return config
    }

    /// The image's environment, overridden and then extended.
    static func merged(_ image: [String], _ wanted: [String]) -> [String] {
        func name(_ entry: String) -> Substring { entry.prefix { $0 != "=" } }
        let overridden = Set(wanted.map(name))
        return image.filter { !overridden.contains(name($0)) } + wanted
    }

    // MARK: Mounts

    private mutating func mounts(volumes: String) throws -> [ContainerMount] {
        var mounts: [ContainerMount] = []
        for text in host.binds ?? [] { mounts.append(try bind(text, volumes)) }
        for mount in host.mounts ?? [] { mounts.append(try self.mount(mount, volumes)) }
        for (path, options) in (host.tmpfs ?? [:]).sorted(by: { $0.key < $1.key }) {
            var mount = ContainerMount(kind: .tmpfs, destination: try Self.destination(path))
            mount.options = try Self.tmpfsOptions(options)
            mounts.append(mount)
        }
        var seen = Set<String>()
        for mount in mounts where !seen.insert(PathText.clean(mount.destination)).inserted {
            throw Fault(.invalid, "Duplicate mount point: \(mount.destination)", subject: mount.destination)
        }
        for mount in inherited.flatMap(\.mounts).reversed() where seen.insert(PathText.clean(mount.destination)).inserted {
            if let name = mount.name { newVolumes.append(NewVolume(name: name, anonymous: mount.anonymous)) }
            mounts.append(mount)
        }
        let declared = Set((request.volumes ?? [:]).keys).union(image.config.settings.volumes)
        for path in declared.sorted() where !seen.contains(PathText.clean(path)) {
            mounts.append(volume(nil, at: try Self.destination(path), volumes))
        }
        return mounts
    }

    /// `SOURCE:DESTINATION[:OPTIONS]` of `-v`.
    private mutating func bind(_ text: String, _ volumes: String) throws -> ContainerMount {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { String($0) }
        let wrong = Fault(.invalid, "invalid volume specification: '\(text)'", subject: text)
        guard (1...3).contains(parts.count), !parts.contains("") else { throw wrong }
        if parts.count == 1 { return volume(nil, at: try Self.destination(parts[0]), volumes) }
        let destination: String
        do { destination = try Self.destination(parts[1]) } catch let fault as Fault {
            let kind = parts[0].hasPrefix("/") ? "bind" : "volume"
            throw fault.prefixed("invalid volume specification: '\(text)': invalid mount config for type \"\(kind)\"")
        }
        var mount: ContainerMount
        if parts[0].hasPrefix("/") {
            mount = ContainerMount(kind: .bind, destination: destination)
            mount.source = PathText.clean(parts[0])
            mount.createsSource = true
        } else {
            mount = volume(try VolumeName.wished(parts[0]), at: destination, volumes)
            mount.mode = "z"
        }
        guard parts.count == 3 else { return mount }
        mount.mode = parts[2]
        for option in parts[2].split(separator: ",") {
            switch option {
            case "ro": mount.readOnly = true
            case "rw", "z", "Z", "cached", "delegated", "consistent": break
            case "nocopy" where mount.kind == .volume: mount.noCopy = true
            case "private", "rprivate", "shared", "rshared", "slave", "rslave": mount.propagation = String(option)
            default: throw Fault(.invalid, "invalid mode: \(parts[2])", subject: text)
            }
        }
        return mount
    }

    /// `--mount`.
    private mutating func mount(_ wish: Docker.Mount, _ volumes: String) throws -> ContainerMount {
        let type = wish.type ?? ""
        func invalid(_ reason: String) -> Fault { Fault(.invalid, "invalid mount config for type \"\(type)\": \(reason)") }
        guard let target = wish.target, !target.isEmpty else { throw invalid("field Target must not be empty") }
        guard target.hasPrefix("/") else { throw invalid("invalid mount path: '\(target)' mount path must be absolute") }
        let destination = PathText.clean(target)
        guard destination != "/" else { throw invalid("invalid specification: destination can't be '/'") }
        let source = wish.source ?? ""
        var mount: ContainerMount
        switch type {
        case "bind":
            guard !source.isEmpty else { throw invalid("field Source must not be empty") }
            guard source.hasPrefix("/") else { throw invalid("invalid mount path: '\(source)' mount path must be absolute") }
            mount = ContainerMount(kind: .bind, destination: destination)
            mount.source = PathText.clean(source)
            mount.createsSource = wish.bindOptions?.createMountpoint == true
            mount.recursive = wish.bindOptions?.nonRecursive != true
            let propagation = wish.bindOptions?.propagation ?? ""
            guard ["", "private", "rprivate", "shared", "rshared", "slave", "rslave"].contains(propagation) else {
                throw invalid("invalid propagation mode: \(propagation)")
            }
            mount.propagation = propagation
            if !mount.createsSource { try Container.checkSource(mount) }
        case "volume":
            let driver = wish.volumeOptions?.driverConfig
            if let name = driver?.name, !name.isEmpty, name != "local" {
                throw Fault(
                    .invalid,
                    "create \(source): error looking up volume plugin \(name): plugin \"\(name)\" not found", subject: name)
            }
            if let option = (driver?.options ?? [:]).keys.sorted().first {
                throw Fault(.unsupported, "volume option \(option) is not supported by this engine", subject: option)
            }
            mount = volume(
                source.isEmpty ? nil : try VolumeName.wished(source), at: destination, volumes,
                labels: wish.volumeOptions?.labels ?? [:])
            mount.noCopy = wish.volumeOptions?.noCopy == true
            mount.subpath = wish.volumeOptions?.subpath ?? ""
            if !mount.subpath.isEmpty { throw Fault(.unsupported, "volume-subpath is not supported by this engine") }
        case "tmpfs":
            guard source.isEmpty else { throw invalid("field Source must not be specified") }
            mount = ContainerMount(kind: .tmpfs, destination: destination)
            if let size = wish.tmpfsOptions?.sizeBytes, size > 0 { mount.options.append("size=\(size)") }
            if let mode = wish.tmpfsOptions?.mode, mode > 0 { mount.options.append("mode=" + String(mode, radix: 8)) }
            for option in wish.tmpfsOptions?.options ?? [] { mount.options.append(option.joined(separator: "=")) }
        case "": throw Fault(.invalid, "invalid mount config for type \"\": mount type unknown: \"\"")
        case "image", "npipe", "cluster": throw invalid("mount type \"\(type)\" is not supported by this engine")
        default: throw invalid("mount type unknown")
        }
        mount.readOnly = wish.readOnly == true
        mount.fromMounts = true
        return mount
    }

    private mutating func volume(
        _ name: String?, at destination: String, _ volumes: String, labels: [String: String] = [:]
    ) -> ContainerMount {
        var mount = ContainerMount(kind: .volume, destination: destination)
        mount.anonymous = name == nil
        let name = name ?? ObjectID.random().text
        mount.name = name
        mount.source = volumes + "/" + name + "/_data"
        newVolumes.append(NewVolume(name: name, anonymous: mount.anonymous, labels: labels))
        return mount
    }

    private static func destination(_ path: String) throws -> String {
        guard path.hasPrefix("/") else {
            throw Fault(.invalid, "invalid mount path: '\(path)' mount path must be absolute", subject: path)
        }
        let clean = PathText.clean(path)
        guard clean != "/" else { throw Fault(.invalid, "invalid specification: destination can't be '/'", subject: path) }
        return clean
    }

    /// `--tmpfs /run:rw,size=64m`: only what mount(8) knows for tmpfs.
    private static func tmpfsOptions(_ text: String) throws -> [String] {
        try text.split(separator: ",").map { option in
            let name = option.prefix { $0 != "=" }
            let known: Set<Substring> = [
                "ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "atime", "noatime", "diratime",
                "nodiratime", "relatime", "strictatime", "size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge",
                "private", "rprivate", "shared", "rshared", "slave", "rslave",
            ]
            guard known.contains(name) else {
                throw Fault(.invalid, "invalid tmpfs option [\"\(option)\"]", subject: String(option))
            }
            return String(option)
        }
    }
}
