import Linux
import Model
import Networks
import State

/// The engine about itself.
public final class SystemService: Sendable {
    let core: EngineCore
    let images: ImageService
    let containers: ContainerService
    let volumes: VolumeService

    init(_ core: EngineCore, images: ImageService, containers: ContainerService, volumes: VolumeService) {
        self.core = core
        self.images = images
        self.containers = containers
        self.volumes = volumes
    }

    #if arch(x86_64)
        static let architecture = (docker: "amd64", kernel: "x86_64")
    #elseif arch(arm64)
        static let architecture = (docker: "arm64", kernel: "aarch64")
    #else
        static let architecture = (docker: "riscv64", kernel: "riscv64")
    #endif

    private static func kernelText(_ name: String) -> String {
        let bytes = (try? readFile("/proc/sys/kernel/" + name, limit: 4096)) ?? []
        return String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self)
    }

    public func version() async -> Docker.SystemVersion {
        var version = Docker.SystemVersion()
        var platform = Docker.SystemVersionPlatform()
        platform.name = "Skiff"
        version.platform = platform
        version.version = core.configuration.version
        version.apiVersion = Docker.apiVersion
        version.minAPIVersion = Docker.minimumAPIVersion
        version.os = "linux"
        version.arch = Self.architecture.docker
        version.kernelVersion = Self.kernelText("osrelease")
        version.gitCommit = ""
        version.goVersion = ""
        version.buildTime = ""
        var engine = Docker.SystemVersionComponentsItem()
        engine.name = "Engine"
        engine.version = core.configuration.version
        version.components = [engine]
        return version
    }

    public func info() async throws -> Docker.SystemInfo {
        var info = Docker.SystemInfo()
        let phases = core.registry.all.map { $0.snapshot.status }
        info.id = try core.database.read { try $0.meta("engine.id") } ?? ""
        info.containers = phases.count
        info.containersRunning = phases.filter { $0.running != nil && !$0.isPaused }.count
        info.containersPaused = phases.filter(\.isPaused).count
        info.containersStopped = phases.filter { $0.running == nil }.count
        info.images = try core.images.list().count
        info.driver = core.images.driver.name
        info.driverStatus = core.images.driver.status
        info.dockerRootDir = core.layout.dataRoot
        var plugins = Docker.PluginsInfo()
        plugins.volume = ["local"]
        plugins.network = ["bridge", "host", "null"]
        plugins.log = ["json-file", "local", "none"]
        info.plugins = plugins
        info.memoryLimit = true
        info.swapLimit = true
        info.cpuCfsPeriod = true
        info.cpuCfsQuota = true
        info.cpuShares = true
        info.cpuSet = true
        info.pidsLimit = true
        info.oomKillDisable = false
        info.iPv4Forwarding = true
        info.debug = false
        info.nFd = Self.openDescriptors
        info.nGoroutines = 0
        info.systemTime = wallClock().description
        info.loggingDriver = "json-file"
        info.cgroupDriver = "cgroupfs"
        info.cgroupVersion = (try? Descriptor.open("/sys/fs/cgroup/cgroup.controllers", .path)) != nil ? "2" : "1"
        info.nEventsListener = core.events.listenerCount
        info.kernelVersion = Self.kernelText("osrelease")
        info.operatingSystem = Self.operatingSystem
        info.osVersion = Self.releaseValue("VERSION_ID") ?? ""
        info.osType = "linux"
        info.architecture = Self.architecture.kernel
        info.ncpu = HostFigures.processors
        info.memTotal = Int(HostFigures.memory)
        info.indexServerAddress = "https://index.docker.io/v1/"
        info.name = hostName()
        info.serverVersion = core.configuration.version
        info.labels = []
        info.experimentalBuild = false
        info.defaultRuntime = "skiff"
        var runtime = Docker.Runtime()
        runtime.path = core.configuration.runtimeBinary
        info.runtimes = ["skiff": runtime]
        info.liveRestoreEnabled = true
        var swarm = Docker.SwarmInfo()
        swarm.localNodeState = "inactive"
        info.swarm = swarm
        let apparmor = try await core.apparmor.settled()
        info.securityOptions =
            (apparmor == .absent ? [] : ["name=apparmor"]) + ["name=seccomp,profile=builtin", "name=cgroupns"]
        info.warnings = [
            core.sandboxes.firewallObstacle.map { "ports cannot be published: \($0)" }, apparmor.warning, Self.missingCalls,
        ].compactMap { $0 }
        info.warnings? += await core.sandboxes.forwarding().compactMap(\.warning)
        info.warnings? += await core.sandboxes.overlappingRoutes()
        return info
    }

    private static var missingCalls: String? {
        let missing = KernelCalls.missing.needed
        if missing.isEmpty { return nil }
        return
            "containers cannot be started: the kernel lacks, or a seccomp filter around skiffd forbids, "
            + missing.joined(separator: ", ")
    }

    private static var openDescriptors: Int {
        guard let folder = try? Descriptor.open("/proc/self/fd", [.read, .directory]) else { return 0 }
        return (try? folder.names().count) ?? 0
    }

    private static var operatingSystem: String { releaseValue("PRETTY_NAME") ?? "Linux" }

    private static func releaseValue(_ name: String) -> String? {
        let text = (try? readFile("/etc/os-release", limit: 1 << 16)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix(name + "=") }
        return line.map { line in String(line.dropFirst(name.count + 1)).filter { $0 != "\"" } }
    }

}
