import Images
import Linux
import Logging
import Model
import Networks
import State

extension Container {
    /// Success means that the process has been executed.
    func start() async throws {
        try await queue.run { try await self.startNow() }
    }

    private func startNow() async throws {
        guard !removed else { throw Fault(.notFound, "No such container: \(id)", subject: id.text) }
        switch status.phase {
        case .running: throw Fault(.notModified, "container \(id) is running already", subject: id.text)
        case .paused: throw Fault(.conflict, "cannot start a paused container, try unpause instead", subject: id.text)
        case .created, .restarting, .exited: break
        }
        try await launch(byHand: true)
    }

    /// Stop, where it runs, and start again.
    func restart(signal: CInt?, timeout: Int?) async throws {
        do { try await stop(signal: signal, timeout: timeout) } catch let fault as Fault where fault.kind == .notModified {}
        try await start()
        emit("restart")
    }

    /// Makes and starts the container's process. In the queue. A failure is recorded, and leaves nothing behind.
    func launch(byHand: Bool) async throws {
        cancelRestart()
        stopping = false
        do {
            try await launchProcess(byHand: byHand)
        } catch {
            let fault = Fault(error)
            let code: Int32 =
                switch fault.kind {
                case .commandNotFound: 127
                case .commandNotExecutable: 126
                default: 128
                }
            status.startFailed(ExitedContainer(exitCode: code, finishedAt: wallClock(), error: fault.description))
            publish()
            emit("die", ["exitCode": String(code)])
            board.exited()
            if board.snapshot.description.autoRemove { await finishRemoval(volumes: true) }
            throw fault
        }
    }

    private func launchProcess(byHand: Bool) async throws {
        // One superblock per upper folder: the last run's shim must have let go of it.
        if let last = connection, try await last.gone.value(within: .seconds(20)) == nil {
            throw Fault(
                .unavailable, "the last run of container \(id.short) is still being cleaned up, try again", subject: id.text)
        }
        // What copies from the last run's root may bring that to its end, but not hold up the start for long.
        try await roots.vacate(patience: .seconds(5))
        try await core.ready.settled()
        let snapshot = board.snapshot
        async let lease = acquireSandbox(snapshot)
        let plan: LaunchPlan
        do { plan = try await prepare(snapshot) } catch {
            if let lease = try? await lease { await core.sandboxes.release(lease.record.id) }
            throw error
        }
        let sandbox = try await lease
        do {
            let run = try await run(plan, sandbox)
            CrashPoint.startRunning.reach()
            status.started(run, byHand: byHand)
            publish()
            CrashPoint.startRecorded.reach()
            tellNetworks("connect", run.sandbox)
        } catch {
            if sandbox != nil {
                core.names.leave(id)
                await core.sandboxes.release(id)
            }
            throw error
        }
        emit("start")
        Task { [core, id] in try? await core.background.run { core.renewLinks(to: id) } }
        if core.configuration.healthChecks { startHealthChecks() }
    }

    private func acquireSandbox(_ snapshot: ContainerSnapshot) async throws -> SandboxLease? {
        guard let request = try sandboxRequest(snapshot) else { return nil }
        return try await core.sandboxes.acquire(request)
    }

    /// Starts the shim, hands it the clients that wait, and lets the process run.
    private func run(_ plan: LaunchPlan, _ sandbox: SandboxLease?) async throws -> RunningContainer {
        let launcher = core.launcher
        var launch = ShimLaunch(
            id: id, spec: plan.spec, config: plan.config, netns: sandbox?.netns ?? plan.joinedNetwork?.raw,
            hold: sandbox?.reserved ?? [])
        let record = sandbox?.record
        var plannedFiles = plan.files
        plannedFiles?.asksNames = record.map { core.names.serves($0) } ?? false
        let files = plannedFiles
        // Meanwhile the shim is started
        async let named: Void = enterNames(sandbox)
        launch.sandbox = record
        let started = try await core.pool.run { [launch] in
            try files?.write(record)
            return try launcher.launch(launch)
        }
        core.reactor.reap(started.pid)
        let connection = try ShimConnection(started.control, reactor: core.reactor)
        for client in waitingClients { _ = connection.post(.attach(client.stream), passing: client.descriptor) }
        waitingClients = []
        let answer: ShimAnswer
        do {
            try await named
            answer = try await connection.request(.start)
        } catch {
            await abandon(connection, pid: started.pid)
            throw explain(Fault(error), plan)
        }
        // Namespaces are joined and descriptors are the shim's now; ours had to live until here.
        withExtendedLifetime((plan, sandbox)) {}
        guard case .started(let process) = answer.outcome else {
            await abandon(connection, pid: started.pid)
            throw Fault(.system, "the container's shim does not speak this engine's protocol")
        }
        listen(to: connection)
        core.names.started(id, pid: process.pid, startTicks: process.startTicks)
        return RunningContainer(
            pid: process.pid, startTicks: process.startTicks, startedAt: process.startedAt, sandbox: sandbox?.record)
    }

    /// The container knows its neighbours' names, and they know it, before its process runs.
    private func enterNames(_ sandbox: SandboxLease?) async throws {
        guard let sandbox else { return }
        try await core.names.enter(sandbox.record, board.snapshot, namespace: sandbox.netns)
    }

    /// A start has failed: waits until the shim has cleaned up, and cleans up where it cannot.
    private func abandon(_ connection: ShimConnection, pid: CInt) async {
        _ = try? await connection.gone.value(within: .seconds(10))
        if !connection.gone.isResolved {
            _ = try? await connection.post(.signal(exec: nil, number: StopSignal.kill, all: true)).value(within: .seconds(2))
            _ = try? await connection.gone.value(within: .seconds(5))
        }
        connection.close()
        let folder = core.layout.shim(id)
        let record = await core.pool.readExitRecord(folder)
        if record == nil { await clearRemains() }
        _ = try? await core.pool.run { try removeTree(folder) }
    }

    /// A shim that died without a word has said why in its log.
    private nonisolated func explain(_ fault: Fault, _ plan: LaunchPlan) -> Fault {
        guard fault.kind == .unavailable else { return fault }
        let log = (try? readFile(core.layout.shim(id) + "/shim.log", limit: 64 << 10)) ?? []
        let line = String(decoding: log, as: UTF8.self).split(separator: "\n").last.map { String($0) }
        return Fault(.system, "the container's shim ended before the container was started" + (line.map { ": \($0)" } ?? ""))
    }
}

/// What a start needs besides the sandbox.
struct LaunchPlan: Sendable {
    var spec: OCI.Spec
    var config: ShimConfig
    /// The files that are bound into the container; nil where it shares another's.
    var files: ContainerFiles?
    /// The network namespace of the container that this one joins.
    var joinedNetwork: HeldDescriptor?
    /// Other namespaces that are joined, kept open until the shim has them.
    var held: [HeldDescriptor] = []
}

/// A container's /etc/hosts, /etc/hostname and /etc/resolv.conf.
struct ContainerFiles: Sendable {
    var folder: String
    var hostname: String
    var domain: String
    var options: ResolverOptions
    /// The container is in the host's network.
    var sharesHost: Bool
    /// Names are answered at 127.0.0.11.
    var asksNames = false
    /// Of a container on the default bridge.
    var links: [ContainerLink] = []

    /// Blocking.
    func write(_ sandbox: SandboxRecord?) throws {
        let hosts: String
        if sharesHost, let content = try? readFile("/etc/hosts", limit: 1 << 20) {
            hosts = String(decoding: content, as: UTF8.self)
        } else {
            hosts = try ResolverFiles.hosts(
                hostname: hostname, domain: domain, address: sandbox?.primary?.ipv4?.address,
                gateway: sandbox?.primary?.ipv4?.gateway, options: options,
                linked: links.map { ($0.hostsNames, $0.address) })
        }
        try writeFile(folder + "/hosts", Array(hosts.utf8), permissions: 0o644)
        try writeFile(folder + "/hostname", Array(ResolverFiles.hostname(hostname).utf8), permissions: 0o644)
        var completed = self
        completed.options = options.completed(by: sandbox)
        try writeFile(folder + "/resolv.conf", Array(completed.resolv(asksNames: asksNames).utf8), permissions: 0o644)
    }

    /// The text of /etc/resolv.conf. Blocking.
    func resolv(asksNames: Bool) -> String {
        func text(_ path: String) -> String? {
            (try? readFile(path, limit: 1 << 20)).map { String(decoding: $0, as: UTF8.self) }
        }
        let host = text("/etc/resolv.conf")
        if asksNames { return ResolverFiles.resolv(host: host, asking: NamesSockets.address, options: options) }
        if sharesHost, options == ResolverOptions() { return host ?? "" }
        return ResolverFiles.resolv(host: host, resolved: text("/run/systemd/resolve/resolv.conf"), options: options)
    }

    /// The container has come to its first network with names, or left the last one: a file that is still as we wrote it is
    /// written anew, in place, because it is bound into the container. Blocking.
    func rewriteResolv(asksNames: Bool, _ sandbox: SandboxRecord) throws {
        let path = folder + "/resolv.conf"
        var completed = self
        completed.options = options.completed(by: sandbox)
        let before = [self, completed].map { $0.resolv(asksNames: !asksNames) }
        guard let present = try? readFile(path, limit: 1 << 20), before.contains(where: { present.elementsEqual($0.utf8) })
        else {
            return
        }
        let file = try Files.open(path, [.writeOnly, .truncate])
        try Files.write(file.raw, Array(completed.resolv(asksNames: asksNames).utf8))
    }
}
