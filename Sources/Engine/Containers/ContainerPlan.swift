import Images
import Linux
import Model
import Networks

extension Container {
    /// Everything of a start that does not need the sandbox: folders, volumes, user, specification.
    func prepare(_ snapshot: ContainerSnapshot) async throws -> LaunchPlan {
        let description = snapshot.description
        let core = core
        guard let digest = Digest(snapshot.imageID) else { throw Fault(.system, "container \(id.short) has no image") }
        let image = try core.images.image(digest)
        let spaces = try joinedNamespaces(description)
        let links = try core.links(of: snapshot)
        let folder = core.layout.container(id)
        try await prepareVolumes(description, image)
        let apparmor = try await core.apparmor.settled()
        return try await core.pool.run { [id] in
            try Self.makeFolders(folder)
            for mount in description.mounts where mount.kind == .bind { try Self.checkSource(mount) }
            let accounts = try core.accounts.accounts(
                image: snapshot.imageID, layers: image.layers, upper: core.writableFolder(id))
            let account = try accounts.account(description.config.user ?? "", groupAdd: description.host.groupAdd ?? [])
            var input = SpecInput(
                snapshot: snapshot, account: account, hostname: spaces.hostname, layout: core.layout,
                cgroupPath: CgroupPlace.path(snapshot, core.configuration), filesFolder: spaces.filesFolder ?? folder,
                joined: spaces.joined, initPath: nil)
            if description.host.useInit == true { input.initPath = core.configuration.runtimeBinary }
            input.apparmor = apparmor
            input.sharedMemory = spaces.sharedMemory
            input.linkVariables = links.flatMap(\.variables)
            let spec = try SpecBuilder(input).build()
            var config = ShimConfig(
                id: id, rootfs: try core.rootfs(id, image))
            config.terminal = description.hasTerminal
            config.openStdin = description.config.openStdin == true
            config.stdinOnce = description.config.stdinOnce == true
            config.volatileRoot = description.autoRemove
            config.log = try LogChoice(description.host.logConfig).log(folder: folder)
            var plan = LaunchPlan(spec: spec, config: config)
            plan.joinedNetwork = spaces.network
            plan.held = spaces.held
            if spaces.filesFolder == nil {
                plan.files = ContainerFiles(
                    folder: folder, hostname: spaces.hostname, domain: description.config.domainname ?? "",
                    options: Self.resolverOptions(description.host), sharesHost: description.network == .host)
                plan.files?.links = links
            }
            return plan
        }
    }

    static func makeFolders(_ folder: String) throws {
        try Descriptor.makeDirectories(folder)
        let open = try Descriptor.open(folder, [.read, .directory])
        for (name, permissions) in [("upper", UInt32(0o755)), ("work", 0o700), ("log", 0o700)] {
            do {
                try open.makeDirectory(Array(name.utf8), permissions: permissions)
                // The umask must not show in the container's root.
                try open.open(child: Array(name.utf8), [.read, .directory]).changeMode(permissions)
            } catch let fault as KernelFault where fault.isExisting {}
        }
        // By this file programs know that they run in a container, since docker's have it.
        let upper = try open.open(child: Array("upper".utf8), [.path, .directory])
        do {
            _ = try upper.open(child: Array(".dockerenv".utf8), [.write, .create, .exclusive], permissions: 0o755)
        } catch let fault as KernelFault where fault.isExisting {}
    }

    /// `-v` makes a missing source, `--mount` refuses it.
    static func checkSource(_ mount: ContainerMount) throws {
        if (try? Descriptor.open(mount.source, .path)) != nil { return }
        guard mount.createsSource else {
            throw Fault(
                .invalid, "invalid mount config for type \"bind\": bind source path does not exist: \(mount.source)",
                subject: mount.source)
        }
        do { try Descriptor.makeDirectories(mount.source, permissions: 0o755) } catch {
            throw Fault(
                .invalid, "error while creating mount source path '\(mount.source)'", subject: mount.source, cause: error)
        }
    }

    static func resolverOptions(_ host: Docker.HostConfig) -> ResolverOptions {
        var options = ResolverOptions()
        options.servers = host.dns ?? []
        options.search = host.dnsSearch ?? []
        options.options = host.dnsOptions ?? []
        options.extraHosts = host.extraHosts ?? []
        return options
    }

    // MARK: Namespaces of others

    private struct JoinedSpaces: Sendable {
        var joined: [OCI.NamespaceType: String?] = [:]
        var hostname: String
        var network: HeldDescriptor?
        var held: [HeldDescriptor] = []
        /// The folder of the container whose network files are shared.
        var filesFolder: String?
        /// /dev/shm of the container whose IPC namespace is joined.
        var sharedMemory: String?
    }

    private func joinedNamespaces(_ description: ContainerDescription) throws -> JoinedSpaces {
        let host = description.host
        let own = description.config.hostname.flatMap { $0.isEmpty ? nil : $0 } ?? id.short
        var spaces = JoinedSpaces(hostname: own)
        func join(_ type: OCI.NamespaceType, _ mode: String?, _ file: String) throws {
            guard let mode else { return }
            if mode == "host" {
                spaces.joined[type] = .some(nil)
            } else if mode.hasPrefix("container:") {
                // Held open by this process until the shim has joined.
                let space = try openNamespace(of: String(mode.dropFirst(10)), file)
                spaces.held.append(space)
                spaces.joined[type] = "/proc/\(ownProcessID)/fd/\(space.raw)"
            }
        }
        switch description.network {
        case .bridge, .none, .named: spaces.joined[.network] = "/proc/self/fd/\(ShimLauncher.netnsDescriptor)"
        case .host: spaces.joined[.network] = .some(nil)
        case .container(let reference):
            let space = try openNamespace(of: reference, "net")
            spaces.network = space
            spaces.joined[.network] = "/proc/self/fd/\(ShimLauncher.netnsDescriptor)"
            let other = try core.registry.resolve(reference)
            spaces.filesFolder = core.layout.container(other.id)
            spaces.hostname = other.snapshot.description.config.hostname.flatMap { $0.isEmpty ? nil : $0 } ?? other.id.short
        }
        if description.network == .host {
            let name = hostName()
            if (description.config.hostname ?? "").isEmpty { spaces.hostname = name }
        }
        try join(.pid, host.pidMode, "pid")
        try join(.ipc, host.ipcMode, "ipc")
        spaces.sharedMemory = try sharedMemory(host.ipcMode ?? "")
        try join(.uts, host.utsMode, "uts")
        if host.utsMode == "host" { spaces.hostname = hostName() }
        if host.cgroupnsMode == "host" { spaces.joined[.cgroup] = .some(nil) }
        return spaces
    }

    /// Docker's condition: who shares must have said so.
    private func sharedMemory(_ mode: String) throws -> String? {
        guard mode.hasPrefix("container:") else { return nil }
        let donor = try core.registry.resolve(String(mode.dropFirst(10)))
        let shares = donor.snapshot.description.host.ipcMode ?? ""
        guard shares == "shareable" || shares == "host" || shares.hasPrefix("container:") else {
            throw Fault(
                .invalid, "container \(donor.id): non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                subject: mode)
        }
        return donor.snapshot.status.running.map { "/proc/\($0.pid)/root/dev/shm" }
    }

    private func openNamespace(of reference: String, _ file: String) throws -> HeldDescriptor {
        let other = try core.registry.resolve(reference)
        guard let run = other.snapshot.status.running else {
            throw Fault(
                .conflict, "cannot join \(file) of a non running container: \(other.id)", subject: reference)
        }
        do {
            let space = try Descriptor.open("/proc/\(run.pid)/ns/\(file)", .read)
            // The pid may have gone to another process before the open.
            guard processLives(pid: run.pid, startTicks: run.startTicks) else { throw KernelFault("open", errno: 3) }
            return HeldDescriptor(space)
        } catch {
            throw Fault(
                .conflict, "cannot join \(file) of a non running container: \(other.id)", subject: reference, cause: error)
        }
    }
}

/// Which ports are wanted on the host.
enum PortWishes {
    static func requests(_ description: ContainerDescription) throws -> [PortRequest] {
        let exposure = try ExposureLabel(description.config.labels ?? [:])
        return try wanted(description).map { request in
            var request = request
            request.exposure = exposure.exposure(of: request)
            return request
        }
    }

    private static func wanted(_ description: ContainerDescription) throws -> [PortRequest] {
        var requests: [PortRequest] = []
        for (key, bindings) in (description.host.portBindings ?? [:]).sorted(by: { $0.key < $1.key }) {
            for binding in bindings ?? [] {
                requests.append(try PortRequest(key: key, hostIP: binding.hostIp ?? "", hostPort: binding.hostPort ?? ""))
            }
        }
        if description.host.publishAllPorts == true {
            let bound = Set((description.host.portBindings ?? [:]).keys)
            for key in (description.config.exposedPorts ?? [:]).keys.sorted() where !bound.contains(key) {
                requests.append(try PortRequest(key: key, hostIP: "", hostPort: ""))
            }
        }
        return requests
    }
}

/// `--log-driver` and its options.
struct LogChoice {
    private let config: Docker.LogConfig?

    /// - Throws: `invalid` in docker's words for an unknown driver or option.
    init(_ config: Docker.LogConfig?) throws {
        self.config = config
        switch driver {
        case "json-file", "local", "none": break
        default:
            throw Fault(
                .invalid, "error looking up logging plugin \(driver): plugin \"\(driver)\" not found", subject: driver)
        }
        for (key, value) in config?.config ?? [:] {
            switch key {
            case "max-size": _ = try Self.size(value)
            case "max-file":
                guard let count = Int(value), count >= 1 else {
                    throw Fault(.invalid, "max-file cannot be less than 1", subject: value)
                }
            case "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size", "compress": break
            default: throw Fault(.invalid, "unknown log opt '\(key)' for \(driver) log driver", subject: key)
            }
        }
    }

    var driver: String { config?.type.flatMap { $0.isEmpty ? nil : $0 } ?? "json-file" }

    /// Nil where nothing is kept.
    func log(folder: String) throws -> ShimLog? {
        if driver == "none" { return nil }
        var log = ShimLog(path: folder + "/log/json.log")
        if let size = config?.config?["max-size"] { log.maximumSize = try Self.size(size) }
        if let count = config?.config?["max-file"].flatMap({ Int($0) }) { log.maximumFiles = max(1, count) }
        return log
    }

    /// `10m`, `1g`, `512k`; nil for -1, no limit.
    private static func size(_ text: String) throws -> Int? {
        if text == "-1" { return nil }
        var digits = text.lowercased()
        if digits.hasSuffix("b") { digits.removeLast() }
        var factor = 1
        if let unit = digits.last, let shift = ["k": 10, "m": 20, "g": 30][unit] {
            factor = 1 << shift
            digits.removeLast()
        }
        guard let value = Int(digits), value > 0 else { throw Fault(.invalid, "invalid size: '\(text)'", subject: text) }
        return value * factor
    }
}
