import API
import Engine
import Linux
import Logging
import Model
import Synchronization

/// One engine behind its sockets: what is taken at the start, and given back at the end.
final class Daemon: Sendable {
    private let options: DaemonOptions
    private let log: Logger
    private let gate = ReadyGate()
    private let server = Mutex<APIServer?>(nil)
    private let services = Mutex<Services?>(nil)
    private let paths = Mutex<[String]>([])

    /// Answers that are under way get so long when the daemon ends.
    private static let grace = Duration.seconds(5)

    private static let idleTime = Duration.seconds(5)

    init(options: DaemonOptions, log: Logger) {
        self.options = options
        self.log = log
    }

    // MARK: What only one process may have

    /// Locks the file with the process id. The lock goes with the process, so a dead one's file is no obstacle.
    /// - Throws: `conflict` that names the process which holds it.
    func takeRunRoot() throws -> Descriptor {
        let layout = options.layout
        try Files.makeFolders(layout.runRoot, mode: 0o711)
        let path = options.pidFile ?? layout.pidFile
        let file = try Files.open(path, [.readWrite, .create], mode: 0o644)
        guard try DaemonProcess.tryLock(file.raw) else {
            let holder = (try? Files.read(file.raw, path, limit: 64)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            let pid = holder.prefix { $0.isNumber }
            throw Fault(
                .conflict,
                "skiffd is running already\(pid.isEmpty ? "" : " as process \(pid)") and holds \(path): stop it, "
                    + "or give this one a --data-root and an --exec-root of its own")
        }
        try DaemonProcess.overwrite(file.raw, Array("\(Processes.id)\n".utf8))
        return file
    }

    /// The sockets go and the file with the process id becomes empty. It stays, because a lock is on a file and not on its name.
    func leaveRunRoot(_ lock: borrowing Descriptor) {
        for path in paths.withLock({ $0 }) { try? Files.remove(path) }
        try? DaemonProcess.overwrite(lock.raw, [])
    }

    // MARK: Life

    /// Listening sockets, before anything else: clients that come now wait instead of failing.
    func listen() throws -> [CInt] {
        let activated = DaemonProcess.activatedSockets()
        if !activated.isEmpty { return activated }
        var group: UInt32?
        if let name = options.group {
            guard let id = DaemonProcess.groupID(name) else {
                throw Fault(.notFound, "group \(name) not found: make it with groupadd")
            }
            group = id
        }
        var sockets: [CInt] = []
        for path in options.sockets {
            if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
                try Files.makeFolders(String(path[..<slash]), mode: 0o755)
            }
            do {
                sockets.append(try DaemonProcess.listen(path, mode: group == nil ? 0o600 : 0o660, group: group).release())
            } catch let fault as KernelFault where fault.isAddressInUse {
                throw Fault(.conflict, "something answers on \(path) already: give another -H", subject: path)
            }
            paths.withLock { $0.append(path) }
        }
        return sockets
    }

    /// Success means that every request is served and the service manager knows.
    func start(_ sockets: [CInt]) async throws {
        let gate = gate
        let server = try await APIServer(
            sockets: sockets, router: engineRoutes { try await gate.services() }, threads: 2, log: log)
        self.server.withLock { $0 = server }
        do {
            let services = try await Services.start(try configuration(), log: log)
            self.services.withLock { $0 = services }
            gate.open(services)
        } catch {
            gate.fail(Fault(.unavailable, "the engine could not start", cause: error))
            throw error
        }
        try? DaemonProcess.notify("READY=1\nSTATUS=serving \(options.sockets.joined(separator: " "))")
        log.notice("ready", metadata: ["version": "\(Skiff.version)", "sockets": "\(options.sockets.joined(separator: " "))"])
    }

    /// Whenever nothing was asked for a while after something was, memory goes back to the kernel: an engine that idles most of
    /// its life should not hold what its last busy moment needed. Ends with its task.
    func watchIdleness() async {
        var last = -1
        var isReleased = false
        while (try? await Task.sleep(for: Self.idleTime)) != nil {
            let count = server.withLock { $0 }?.requestCount ?? 0
            if count != last {
                last = count
                isReleased = false
            } else if !isReleased {
                DaemonProcess.releaseIdleMemory()
                isReleased = true
            }
        }
    }

    /// Answers under way end; containers go on.
    func stop() async {
        log.notice("stopping; containers go on")
        let (server, services) = (self.server.withLock { $0 }, self.services.withLock { $0 })
        await server?.stopAccepting()
        await services?.shutdown()
        await server?.shutdown(grace: Self.grace)
    }

    /// SIGUSR1: a line about itself.
    func report() {
        let connections = server.withLock { $0 }?.connectionCount ?? 0
        let memory = (try? Files.read("/proc/self/statm", limit: 256)).flatMap { bytes in
            String(decoding: bytes, as: UTF8.self).split(separator: " ").dropFirst().first.flatMap { Int($0) }
        }
        log.notice(
            "status",
            metadata: ["connections": "\(connections)", "resident": memory.map { "\($0 * 4) KiB" } ?? "unknown"])
        DaemonProcess.releaseIdleMemory()
    }

    private func configuration() throws -> EngineConfiguration {
        var configuration = EngineConfiguration(layout: options.layout, runtimeBinary: try runtimeBinary())
        if let parent = options.cgroupParent { configuration.cgroupParent = parent }
        if let bridge = options.bridge { configuration.networks.bridge = bridge }
        if let subnet = options.subnet { configuration.networks.subnet = subnet }
        options.configureIPv6(&configuration.networks)
        if let mode = options.forwardRules { configuration.networks.opensForwarding = mode == .add }
        if let mtu = options.mtu { configuration.networks.mtu = mtu }
        configuration.registries = options.registries
        configuration.storageDriver = options.storageDriver
        if let keep = options.keepBlobs { configuration.keepBlobs = keep }
        if let time = options.keepBlobsFor { configuration.keepBlobsFor = time.nanoseconds }
        configuration.version = Skiff.version
        return configuration
    }

    /// Beside this executable, then in PATH: a daemon and a runtime of one build belong together.
    private func runtimeBinary() throws -> String {
        if let given = options.runtime {
            guard Files.isExecutable(given) else { throw Fault(.notFound, "\(given) is not an executable file") }
            return given
        }
        var places: [String] = []
        if let own = try? Files.canonical("/proc/self/exe"), let slash = own.lastIndex(of: "/") {
            places.append(String(own[..<slash]))
        }
        let path = DaemonProcess.environment("PATH") ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        places += path.split(separator: ":").map(String.init)
        for place in places where Files.isExecutable(place + "/skiff-runtime") { return place + "/skiff-runtime" }
        throw Fault(.notFound, "skiff-runtime is neither beside skiffd nor in PATH: name it with --runtime")
    }
}

/// The fault that ended the start.
final class FirstFault: Sendable {
    private let kept = Mutex<Fault?>(nil)
    var fault: Fault? { kept.withLock { $0 } }
    func note(_ fault: Fault) { kept.withLock { if $0 == nil { $0 = fault } } }
}
