import Client
import JSON
import Linux
import Model

/// What `run` and `create` send to make a container, from their flags. Refusals are in docker's words.
package struct CreateRequest {
    package var body = Docker.ContainerCreateRequest()
    package let name: String
    package let platform: String
    package let image: String
    private var host = Docker.HostConfig()
    private let flags: Parsed

    package init(_ flags: Parsed, detached: Bool = false) throws {
        self.flags = flags
        image = flags.arguments.first ?? ""
        name = flags.string("name") ?? ""
        platform = flags.string("platform") ?? ""
        try refuse()
        try streams(detached)
        try process()
        try limits()
        try devices()
        try ports()
        try network()
        try storage()
        try isolation()
        try health()
        try lifetime()
        body.hostConfig = host
    }

    package var isInteractive: Bool { body.openStdin == true }
    package var hasTerminal: Bool { body.tty == true }
    package var autoRemove: Bool { host.autoRemove == true }

    private func text(_ name: String) -> String? {
        let value = flags.string(name)
        return value?.isEmpty == true ? nil : value
    }

    private func words(_ name: String) -> [String]? {
        let list = flags.list(name)
        return list.isEmpty ? nil : list
    }

    private func refuse() throws {
        if flags.has("gpus") { throw FlagFault("--gpus is not supported by this engine: pass the devices with --device") }
        if flags.has("isolation"), let value = flags.string("isolation"), !["", "default"].contains(value) {
            throw FlagFault("--isolation \(value) is for Windows only")
        }
        if let mac = text("mac-address"), !NetworkValues.isMACAddress(mac) {
            throw FlagFault("\(mac) is not a valid mac address")
        }
        if let pull = flags.string("pull"), !["always", "missing", "never", ""].contains(pull) {
            throw FlagFault("invalid pull option: '\(pull)': must be one of \"always\", \"missing\" or \"never\"")
        }
    }

    // MARK: Parts

    private mutating func streams(_ detached: Bool) throws {
        let attached = flags.list("attach").map { $0.lowercased() }
        if detached, !attached.isEmpty { throw FlagFault("conflicting options: cannot specify both --attach and --detach") }
        let stdin = flags.bool("interactive")
        body.tty = flags.bool("tty")
        body.openStdin = stdin
        let nothingNamed = attached.isEmpty
        body.attachStdin = !detached && (attached.contains("stdin") || (stdin && nothingNamed))
        body.attachStdout = !detached && (attached.contains("stdout") || nothingNamed)
        body.attachStderr = !detached && (attached.contains("stderr") || nothingNamed)
        body.stdinOnce = stdin && body.attachStdin == true
    }

    private mutating func process() throws {
        body.image = image
        let command = Array(flags.arguments.dropFirst())
        if !command.isEmpty { body.cmd = Docker.StringList(command) }
        if let entrypoint = flags.string("entrypoint") { body.entrypoint = Docker.StringList([entrypoint]) }
        let environment = try KeyValues.environment(files: flags.list("env-file"), words: flags.list("env"))
        if !environment.isEmpty { body.env = environment }
        let labels = try KeyValues.labels(files: flags.list("label-file"), words: flags.list("label"))
        if !labels.isEmpty { body.labels = labels }
        body.user = text("user")
        body.workingDir = text("workdir")
        body.stopSignal = text("stop-signal")
        if flags.has("stop-timeout") { body.stopTimeout = flags.int("stop-timeout") }
        if flags.has("init") { host.useInit = flags.bool("init") }
        host.groupAdd = words("group-add")
        if let limits = words("ulimit") {
            var byName: [(String, Docker.Ulimit)] = []
            for limit in try limits.map({ try UlimitSpec.parse($0) }) {
                byName.removeAll { $0.0 == limit.name }
                byName.append((limit.name ?? "", limit))
            }
            host.ulimits = byName.sorted { $0.0 < $1.0 }.map { $0.1 }
        }
        if let annotations = words("annotation") { host.annotations = KeyValues.dictionary(annotations) }
    }

    private mutating func limits() throws {
        host.cgroupParent = text("cgroup-parent")
        host.memory = flags.bytes("memory")
        host.memoryReservation = flags.bytes("memory-reservation")
        host.memorySwap = flags.bytes("memory-swap")
        if let swappiness = flags.int("memory-swappiness") {
            guard swappiness == -1 || (0...100).contains(swappiness) else {
                throw FlagFault("invalid value: \(swappiness). Valid memory swappiness range is 0-100")
            }
            if swappiness != -1 { host.memorySwappiness = swappiness }
        }
        host.nanoCpus = try flags.string("cpus").map { try NanoCPUs.parse($0) }
        host.cpuPeriod = flags.int("cpu-period")
        host.cpuQuota = flags.int("cpu-quota")
        host.cpuRealtimePeriod = flags.int("cpu-rt-period")
        host.cpuRealtimeRuntime = flags.int("cpu-rt-runtime")
        host.cpuShares = flags.int("cpu-shares")
        host.cpusetCpus = text("cpuset-cpus")
        host.cpusetMems = text("cpuset-mems")
        host.blkioWeight = flags.int("blkio-weight")
        if flags.bool("oom-kill-disable") { host.oomKillDisable = true }
        host.oomScoreAdj = flags.int("oom-score-adj")
        if flags.has("pids-limit") { host.pidsLimit = flags.int("pids-limit") }
        host.shmSize = flags.bytes("shm-size")
    }

    private mutating func devices() throws {
        host.devices = try words("device")?.map { try DeviceSpec.parse($0) }
        host.deviceCgroupRules = words("device-cgroup-rule")
        host.blkioWeightDevice = try words("blkio-weight-device")?.map { try DeviceSpec.weight($0) }
        host.blkioDeviceReadBps = try words("device-read-bps")?.map { try DeviceSpec.bytesRate($0) }
        host.blkioDeviceWriteBps = try words("device-write-bps")?.map { try DeviceSpec.bytesRate($0) }
        host.blkioDeviceReadIOps = try words("device-read-iops")?.map { try DeviceSpec.countRate($0) }
        host.blkioDeviceWriteIOps = try words("device-write-iops")?.map { try DeviceSpec.countRate($0) }
    }

    private mutating func ports() throws {
        var bindings: [String: [Docker.PortBinding]?] = [:]
        var exposed: [String: Docker.Empty] = [:]
        for text in flags.list("publish") {
            for spec in try PortSpec.parse(try PortSpec.standard(text)) {
                var binding = Docker.PortBinding()
                binding.hostIp = spec.hostAddress
                binding.hostPort = spec.hostPort
                exposed[spec.container] = Docker.Empty()
                bindings[spec.container] = ((bindings[spec.container] ?? nil) ?? []) + [binding]
            }
        }
        for text in flags.list("expose") { for port in try PortSpec.exposed(text) { exposed[port] = Docker.Empty() } }
        if !bindings.isEmpty { host.portBindings = bindings }
        if !exposed.isEmpty { body.exposedPorts = exposed }
        if flags.bool("publish-all") { host.publishAllPorts = true }
    }

    private mutating func storage() throws {
        var binds: [String] = []
        var anonymous: [String: Docker.Empty] = [:]
        for text in flags.list("volume") {
            switch try VolumeSpec.parse(text) {
            case .bind(let spec): binds.append(spec)
            case .anonymous(let path): anonymous[path] = Docker.Empty()
            }
        }
        if !binds.isEmpty { host.binds = binds }
        if !anonymous.isEmpty { body.volumes = anonymous }
        host.mounts = try words("mount")?.map { try MountSpec.parse($0) }
        if let tmpfs = words("tmpfs") {
            var paths: [String: String] = [:]
            for text in tmpfs {
                let (path, options) = GoText.cut(text, ":") ?? (text, "")
                paths[path] = options
            }
            host.tmpfs = paths
        }
        host.volumeDriver = text("volume-driver")
        host.volumesFrom = words("volumes-from")
        if flags.bool("read-only") { host.readonlyRootfs = true }
        if let options = words("storage-opt") {
            guard options.allSatisfy({ $0.contains("=") }) else { throw FlagFault("invalid storage option") }
            host.storageOpt = KeyValues.dictionary(options)
        }
    }

    private mutating func isolation() throws {
        (host.capAdd, host.capDrop) = Self.capabilities(add: flags.list("cap-add"), drop: flags.list("cap-drop"))
        if flags.bool("privileged") { host.privileged = true }
        host.ipcMode = text("ipc")
        host.pidMode = text("pid")
        host.utsMode = text("uts")
        host.usernsMode = text("userns")
        host.cgroupnsMode = text("cgroupns")
        if let mode = host.pidMode, mode != "host", !mode.hasPrefix("container:") { throw FlagFault("--pid: invalid PID mode") }
        if let mode = host.utsMode, mode != "host" { throw FlagFault("--uts: invalid UTS mode") }
        if let mode = host.usernsMode, mode != "host" { throw FlagFault("--userns: invalid USER mode") }
        if let mode = host.cgroupnsMode, !["host", "private"].contains(mode) {
            throw FlagFault("--cgroupns: invalid CGROUP mode")
        }
        if let sysctls = words("sysctl") { host.sysctls = KeyValues.dictionary(sysctls) }
        let options = try SecurityOptions(flags.list("security-opt"))
        if !options.words.isEmpty { host.securityOpt = options.words }
        if options.unconfinesSystemPaths {
            host.maskedPaths = []
            host.readonlyPaths = []
        }
    }

    /// `net_admin` as CAP_NET_ADMIN; ALL stands for itself; what is added is not dropped.
    private static func capabilities(add: [String], drop: [String]) -> ([String]?, [String]?) {
        func names(_ words: [String]) -> Set<String> {
            let names = words.map { word in
                let upper = word.trimmingSpaces().uppercased()
                return upper == "ALL" || upper.hasPrefix("CAP_") ? upper : "CAP_" + upper
            }
            return names.contains("ALL") ? ["ALL"] : Set(names)
        }
        let added = names(add)
        let dropped = names(drop).subtracting(added)
        return (added.isEmpty ? nil : added.sorted(), dropped.isEmpty ? nil : dropped.sorted())
    }

    private mutating func health() throws {
        let command = text("health-cmd")
        let names = ["health-interval", "health-timeout", "health-start-period", "health-start-interval"]
        let given =
            command != nil || flags.int("health-retries") ?? 0 != 0 || names.contains { flags.nanoseconds($0) ?? 0 != 0 }
        if flags.bool("no-healthcheck") {
            guard !given else { throw FlagFault("--no-healthcheck conflicts with --health-* options") }
            var check = Docker.HealthConfig()
            check.test = ["NONE"]
            body.healthcheck = check
            return
        }
        guard given else { return }
        for name in names where flags.nanoseconds(name) ?? 0 < 0 { throw FlagFault("--\(name) cannot be negative") }
        if flags.int("health-retries") ?? 0 < 0 { throw FlagFault("--health-retries cannot be negative") }
        var check = Docker.HealthConfig()
        if let command { check.test = ["CMD-SHELL", command] }
        check.interval = flags.nanoseconds("health-interval")
        check.timeout = flags.nanoseconds("health-timeout")
        check.startPeriod = flags.nanoseconds("health-start-period")
        check.startInterval = flags.nanoseconds("health-start-interval")
        check.retries = flags.int("health-retries")
        body.healthcheck = check
    }

    private mutating func lifetime() throws {
        host.autoRemove = flags.bool("rm")
        host.restartPolicy = try RestartSpec.parse(flags.string("restart") ?? "no")
        if flags.bool("rm"), let name = host.restartPolicy?.name, name != "no", !name.isEmpty {
            throw FlagFault("conflicting options: cannot specify both --restart and --rm")
        }
        host.runtime = text("runtime")
        host.isolation = text("isolation")
        host.containerIDFile = text("cidfile")
        let driver = flags.string("log-driver") ?? ""
        let options = flags.list("log-opt")
        if driver == "none", !options.isEmpty { throw FlagFault("invalid logging opts for driver none") }
        if !driver.isEmpty || !options.isEmpty {
            var log = Docker.LogConfig()
            log.type = driver
            log.config = KeyValues.dictionary(options)
            host.logConfig = log
        }
    }

    private mutating func network() throws {
        body.hostname = text("hostname")
        body.domainname = text("domainname")
        host.dns = words("dns")
        let options = flags.list("dns-option") + flags.list("dns-opt")
        if !options.isEmpty { host.dnsOptions = options }
        host.dnsSearch = words("dns-search")
        host.extraHosts = try words("add-host")?.map { try NetworkValues.host($0) }
        host.links = words("link")
        var networks = try (flags.list("network") + flags.list("net")).map { try NetworkArgument.parse($0) }
        if networks.isEmpty { networks = [NetworkArgument(name: "default")] }
        host.networkMode = networks[0].name
        try addTopLevel(&networks[0])
        var endpoints: [String: Docker.EndpointSettings] = [:]
        for network in networks {
            guard endpoints[network.name] == nil else {
                throw FlagFault("network \(GoText.quote(network.name)) is specified multiple times")
            }
            // These have no endpoint to be configured.
            let settings = endpoint(network)
            let isBuiltIn = ["none", "host", "bridge"].contains(network.name) || network.name.hasPrefix("container:")
            if networks.count == 1, isBuiltIn, settings.json == Docker.EndpointSettings().json { continue }
            endpoints[network.name] = settings
        }
        var config = Docker.NetworkingConfig()
        config.endpointsConfig = endpoints.mapValues { $0 }
        body.networkingConfig = config
    }

    /// --ip, --ip6, --network-alias … belong to the first network.
    private func addTopLevel(_ network: inout NetworkArgument) throws {
        let aliases = flags.list("network-alias") + flags.list("net-alias")
        if !aliases.isEmpty, !network.aliases.isEmpty {
            throw FlagFault("conflicting options: cannot specify both --network-alias and per-network alias")
        }
        if text("ip") != nil, network.ipv4 != nil {
            throw FlagFault("conflicting options: cannot specify both --ip and per-network IPv4 address")
        }
        if text("ip6") != nil, network.ipv6 != nil {
            throw FlagFault("conflicting options: cannot specify both --ip6 and per-network IPv6 address")
        }
        network.aliases += aliases
        network.ipv4 = network.ipv4 ?? text("ip")
        network.ipv6 = network.ipv6 ?? text("ip6")
        network.macAddress = network.macAddress ?? text("mac-address")
        network.linkLocal += flags.list("link-local-ip")
        let isUserDefined =
            !["default", "bridge", "host", "none"].contains(network.name) && !network.name.hasPrefix("container:")
        if !isUserDefined, !aliases.isEmpty {
            throw FlagFault("network-scoped aliases are only supported for user-defined networks")
        }
    }

    private func endpoint(_ network: NetworkArgument) -> Docker.EndpointSettings {
        var settings = Docker.EndpointSettings()
        if !network.aliases.isEmpty { settings.aliases = network.aliases }
        settings.macAddress = network.macAddress
        if !network.options.isEmpty { settings.driverOpts = network.options }
        settings.gwPriority = network.priority
        if network.ipv4 != nil || network.ipv6 != nil || !network.linkLocal.isEmpty {
            var config = Docker.EndpointIPAMConfig()
            config.iPv4Address = network.ipv4
            config.iPv6Address = network.ipv6
            if !network.linkLocal.isEmpty { config.linkLocalIPs = network.linkLocal }
            settings.ipamConfig = config
        }
        // Docker's links live in the endpoint of a network of one's own, and in the host part elsewhere.
        let isUserDefined =
            !["default", "bridge", "host", "none"].contains(network.name) && !network.name.hasPrefix("container:")
        if isUserDefined, network.name == host.networkMode { settings.links = words("link") }
        return settings
    }
}

/// `no`, `always`, `unless-stopped`, `on-failure:3`
package enum RestartSpec {
    package static func parse(_ text: String) throws -> Docker.RestartPolicy {
        var policy = Docker.RestartPolicy()
        let (name, count) = GoText.cut(text, ":") ?? (text, "")
        if text.hasPrefix(":") { throw FlagFault("invalid restart policy format: no policy provided before colon") }
        policy.name = name
        if text.contains(":") {
            guard let number = Int(count) else {
                throw FlagFault("invalid restart policy format: maximum retry count must be an integer")
            }
            policy.maximumRetryCount = number
        }
        return policy
    }
}

/// `--security-opt` values; a seccomp profile is read here, since the engine may not see this machine's files.
package struct SecurityOptions {
    package private(set) var words: [String] = []
    package private(set) var unconfinesSystemPaths = false

    package init(_ given: [String]) throws {
        for option in given {
            let mark = option.firstIndex { $0 == "=" } ?? option.firstIndex { $0 == ":" }
            guard let mark else {
                guard option == "no-new-privileges" else { throw FlagFault("Invalid --security-opt: \(GoText.quote(option))") }
                words.append(option)
                continue
            }
            let key = option[..<mark]
            let value = String(option[option.index(after: mark)...])
            if key == "systempaths", value == "unconfined" {
                unconfinesSystemPaths = true
            } else if key == "seccomp", value != "unconfined", value != "builtin" {
                words.append("seccomp=" + (try profile(value)))
            } else {
                words.append(option)
            }
        }
    }

    private func profile(_ file: String) throws -> String {
        let content: [UInt8]
        do { content = try FileCalls.read(file) } catch let fault as KernelFault {
            throw FlagFault("opening seccomp profile (\(file)) failed: open \(file): \(fault.reason.lowercasedFirst)")
        }
        do { return try JSONValue(json: content).jsonText } catch {
            throw FlagFault("compacting json for seccomp profile (\(file)) failed: \(error)")
        }
    }
}
