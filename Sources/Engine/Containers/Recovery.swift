import JSON
import Linux
import Logging
import Model
import Networks
import State

/// What an engine does when it starts: finds the containers that run, acts on the ends that it missed, and finishes or undoes
/// what the last engine left half done.
struct Recovery: Sendable {
    let core: EngineCore

    /// Success means that every container is known and those that live are connected. Restarts and deletions follow in the
    /// background.
    func run() async throws {
        let rebooted = try noteBoot()
        try await core.images.recover()
        let isComplete = try load()
        let containers = core.registry.all
        var found = try await core.pool.run { [core] in try Self.shimFolders(core.layout) }
        var living: [SandboxRecord] = []
        // All at once: one shim that does not answer does not keep the others waiting.
        try await withThrowingTaskGroup(of: SandboxRecord?.self) { group in
            for container in containers {
                let hasShim = found.remove(container.id) != nil
                group.addTask { await container.recover(hasShim: hasShim) }
            }
            for try await sandbox in group { if let sandbox { living.append(sandbox) } }
        }
        for record in try await core.sandboxes.restore(living, isComplete: isComplete) {
            await core.registry.container(record.id)?.adopt(record)
        }
        core.ready.fulfil(())
        Task { [core] in await core.names.restore(core.registry.all.map(\.snapshot)) }
        Task { for container in containers { await container.adoptChains() } }
        for container in containers { await container.resumePolicies(rebooted: rebooted) }
        let orphans = Array(found)
        Task { [core] in
            for id in orphans { await Self.clear(orphan: id, core) }
            await Self.collectGarbage(core)
        }
    }

    /// True where the machine was started again since the last engine ran.
    private func noteBoot() throws -> Bool {
        try core.database.write { [core] transaction in
            if try transaction.meta("engine.id") == nil { try transaction.setMeta("engine.id", ObjectID.random().text) }
            let before = try transaction.meta("boot")
            if before != core.bootID { try transaction.setMeta("boot", core.bootID) }
            return before != nil && before != core.bootID
        }
    }

    /// False where a record cannot be read: its container may live.
    private func load() throws -> Bool {
        var isComplete = true
        for record in try core.database.read({ try $0.containers() }) {
            do {
                let description = try ContainerDescription(json: record.config)
                let status = try Self.status(record.state)
                let snapshot = ContainerSnapshot(
                    id: record.id, name: record.name, owner: record.owner, created: record.created, imageID: record.imageID,
                    description: description, status: status, health: HealthState(description))
                core.registry.insert(Container(snapshot, core: core), name: record.name)
            } catch {
                isComplete = false
                // Never delete what cannot be read: a newer engine may be able to.
                core.log.error(
                    "container \(record.id.short) (\(record.name)) cannot be read and is left alone: \(Fault(error))")
            }
        }
        return isComplete
    }

    private static func status(_ bytes: [UInt8]) throws -> ContainerStatus { try ContainerStatus(json: bytes) }

    private static func shimFolders(_ layout: Layout) throws -> Set<ObjectID> {
        let folder = try Descriptor.open(layout.shims, [.read, .directory])
        return Set(try folder.names().compactMap { ObjectID(String(decoding: $0, as: UTF8.self)) })
    }

    /// A shim without a record: its container was removed, or was never made known.
    private static func clear(orphan id: ObjectID, _ core: EngineCore) async {
        let folder = core.layout.shim(id)
        // A record that cannot be read keeps its shim.
        let known = (try? core.database.read { try $0.containers().contains { $0.id == id } }) ?? true
        if known { return }
        core.log.notice("ending the shim of \(id.short), a container that is no more")
        if let connection = try? await core.connect(to: id) {
            _ = try? await connection.post(.signal(exec: nil, number: StopSignal.kill, all: true)).value(within: .seconds(5))
            _ = try? await connection.gone.value(within: .seconds(15))
            connection.close()
        }
        let launcher = core.launcher
        let cgroup = core.configuration.cgroupParent + "/" + id.text
        _ = try? await core.pool.run {
            try? launcher.clear(id, cgroup: cgroup)
            try removeTree(folder)
        }
    }

    /// Folders that were to be deleted, and containers' folders that no record names.
    private static func collectGarbage(_ core: EngineCore) async {
        var paths = (try? core.database.read { try $0.garbage() }) ?? []
        let known = try? core.database.read { try Set($0.containers().map(\.id)) }
        let present = try? await core.background.run { [core] in
            try Descriptor.open(core.layout.containers, [.read, .directory]).names().compactMap {
                ObjectID(String(decoding: $0, as: UTF8.self))
            }
        }
        if let known, let present {
            for id in present where !known.contains(id) && core.registry.container(id) == nil {
                paths.append(core.layout.container(id))
            }
        }
        await core.collect(paths)
    }
}

extension EngineCore {
    /// A connection to a shim that runs already.
    func connect(to id: ObjectID) async throws -> ShimConnection {
        let path = layout.shim(id) + "/shim.sock"
        let socket = try await pool.run { HeldDescriptor(try SeqPacket.connect(to: path)) }
        return try ShimConnection(socket, reactor: reactor)
    }
}

extension Container {
    /// Finds out how the container is after the engine was away. Answers its sandbox where it lives.
    func recover(hasShim: Bool) async -> SandboxRecord? {
        await queue.run { await self.recoverNow(hasShim: hasShim) }
    }

    private func recoverNow(hasShim: Bool) async -> SandboxRecord? {
        guard hasShim else {
            guard let run = status.running else { return nil }
            // The run folder is gone: the machine was started again, or somebody cleaned up.
            let exit = ExitedContainer(
                exitCode: 255, startedAt: run.startedAt, finishedAt: wallClock(), error: "the machine was started again")
            status.phase = .exited(exit)
            publish()
            return nil
        }
        guard let connection = try? await core.connect(to: id),
            case .hello(let hello)? = try? await connection.post(.hello).value(within: .seconds(5))?.outcome
        else { return await recoverWithoutShim() }
        switch hello.phase {
        case .running, .paused:
            let folder = core.layout.shim(id)
            let noted = try? await core.pool.run {
                try SandboxRecord(json: readFile(folder + "/" + ShimLauncher.sandboxFile, limit: 1 << 20))
            }
            var sandbox = status.running?.sandbox ?? noted
            if sandbox == nil, board.snapshot.description.network.isPrivate {
                sandbox = await core.sandboxes.rediscover(id, pid: hello.pid)
            }
            sandbox = sandbox.map { core.sandboxes.completed($0) }
            let run = RunningContainer(
                pid: hello.pid, startTicks: hello.startTicks, startedAt: hello.startedAt ?? wallClock(), sandbox: sandbox)
            status.phase = hello.phase == .paused ? .paused(run) : .running(run)
            publish()
            for exec in hello.execs { core.execs.adopt(exec, in: self) }
            listen(to: connection)
            if core.configuration.healthChecks { startHealthChecks() }
            return sandbox
        case .created:
            // The last engine died between making and starting it: the start was never acknowledged.
            _ = try? await connection.post(.signal(exec: nil, number: StopSignal.kill, all: true)).value(within: .seconds(5))
            connection.close()
            _ = try? await connection.gone.value(within: .seconds(1))
            return await recoverWithoutShim()
        case .stopped:
            _ = try? await connection.gone.value(within: .seconds(15))
            connection.close()
            return await recoverWithoutShim()
        }
    }

    /// Its networks are other than the last engine wrote down.
    func adopt(_ sandbox: SandboxRecord) {
        status.replaceSandbox(sandbox)
        publish()
    }

    /// The shim is gone; its record says how the run ended, or there is none because it was killed.
    private func recoverWithoutShim() async -> SandboxRecord? {
        let folder = core.layout.shim(id)
        let record = await core.pool.readExitRecord(folder)
        if let run = status.running {
            if let record, record.startedAt.map({ $0 >= run.startedAt }) ?? true {
                await recordEnd(
                    ExitedContainer(
                        exitCode: record.exitCode, oomKilled: record.oomKilled, startedAt: record.startedAt ?? run.startedAt,
                        finishedAt: record.finishedAt, error: record.fault?.message ?? ""))
            } else {
                await clearRemains()
                await recordEnd(
                    ExitedContainer(
                        exitCode: 137, startedAt: run.startedAt, finishedAt: wallClock(),
                        error: "the container's shim was killed; its processes were ended with it"))
            }
        } else {
            // Started, perhaps even ended, before the last engine could write it down.
            if let record, let startedAt = record.startedAt {
                status.phase = .running(RunningContainer(pid: 0, startTicks: 0, startedAt: startedAt, sandbox: nil))
                await recordEnd(
                    ExitedContainer(
                        exitCode: record.exitCode, oomKilled: record.oomKilled, startedAt: startedAt,
                        finishedAt: record.finishedAt, error: record.fault?.message ?? ""))
            } else if record == nil {
                await clearRemains()
            }
        }
        _ = try? await core.pool.run { try removeTree(folder) }
        return nil
    }

    /// What a policy wants now: a restart that was waiting, or a start after a reboot.
    func resumePolicies(rebooted: Bool) async {
        guard !removed else { return }
        if case .restarting(_, let at) = status.phase {
            let wait = max(0, (at.nanoseconds - wallClock().nanoseconds) / 1_000_000)
            if restartTimer == nil { scheduleRestart(afterMilliseconds: Int(min(wait, 60_000))) }
            return
        }
        guard rebooted, status.running == nil else { return }
        let description = board.snapshot.description
        let wanted: Bool =
            switch description.restartPolicy {
            case .always: status.exited != nil
            case .unlessStopped: status.exited != nil && !status.stoppedByHand
            case .onFailure: (status.exited?.exitCode ?? 0) != 0 && !status.stoppedByHand
            case .no: false
            }
        if wanted {
            Task { try? await self.start() }
        } else if description.autoRemove {
            Task { await self.queue.run { await self.finishRemoval(volumes: true) } }
        }
    }

    /// The engine ends; the container goes on without it.
    func letGo() {
        restartTimer?.cancel()
        healthTask?.cancel()
        connection?.close()
        connection = nil
    }
}

extension ExecTable {
    /// An exec of the last engine, as its shim remembers it.
    func adopt(_ state: ShimExecState, in container: Container) {
        guard let id = ObjectID(state.exec) else { return }
        let config = state.note.flatMap { try? Docker.ExecConfig(json: Array($0.utf8)) }
        var record = ExecRecord(id: id, container: container.id, config: config ?? Docker.ExecConfig())
        record.started = true
        if let exit = state.exit {
            record.phase = .ended(exitCode: exit.exitCode)
            record.done.fulfil(exit.exitCode)
        } else {
            record.phase = .running(pid: state.pid)
        }
        insert(record)
    }
}
