import Linux
import Model
import State

extension Container {
    /// Follows a shim's news, in order, through the container's queue.
    func listen(to connection: ShimConnection) {
        self.connection = connection
        Task { [weak self] in
            for await news in connection.news {
                guard let self else { return }
                switch news {
                case .event(.exit(let record)):
                    CrashPoint.exitSeen.reach()
                    await self.queue.run { await self.ended(record, of: connection) }
                case .event(.execExit(let exit)): self.core.execs.ended(exit, in: self)
                case .event(.oom): await self.emit("oom")
                case .event(.detached(let exec)): await self.emit(exec == nil ? "detach" : "exec_detach")
                case .closed: await self.queue.run { await self.lostShim(connection) }
                }
            }
        }
    }

    /// The run is over, by its shim's record.
    func ended(_ record: ExitRecord, of connection: ShimConnection?) async {
        guard status.running != nil else { return }
        let exit = ExitedContainer(
            exitCode: record.exitCode, oomKilled: record.oomKilled, startedAt: record.startedAt,
            finishedAt: record.finishedAt, error: record.fault?.message ?? "")
        await recordEnd(exit)
    }

    /// The shim has closed its connection: after its exit event that is as it should be, before it the shim was killed.
    private func lostShim(_ lost: ShimConnection) async {
        guard connection === lost else { return }
        connection = nil
        guard let run = status.running else {
            await discardBundle()
            return
        }
        // It may have written its record and died before the event was sent.
        let record = await core.pool.readExitRecord(core.layout.shim(id))
        if let record, record.startedAt == nil || record.finishedAt >= run.startedAt {
            await ended(record, of: nil)
        } else {
            await clearRemains()
            let exit = ExitedContainer(
                exitCode: 137, startedAt: run.startedAt, finishedAt: wallClock(),
                error: "the container's shim was killed; its processes were ended with it")
            await recordEnd(exit)
        }
        await discardBundle()
    }

    /// Writes down the end of a run and does what follows from it.
    func recordEnd(_ exit: ExitedContainer) async {
        guard let run = status.running else { return }
        healthTask?.cancel()
        healthTask = nil
        let description = board.snapshot.description
        let next = status.ended(
            exit, policy: description.restartPolicy, autoRemove: description.autoRemove && !removed, stopping: stopping,
            now: wallClock())
        core.execs.containerEnded(self)
        if let sandbox = run.sandbox {
            core.names.leave(sandbox.id)
            // Published ports are free again before anybody hears of the end.
            if sandbox.bindings.isEmpty {
                Task { [core] in await core.sandboxes.release(sandbox) }
            } else {
                await core.sandboxes.release(sandbox)
            }
        }
        if next == .remove {
            board.update { $0.status = status }
            emit("die", dieAttributes(exit, run))
            tellNetworks("disconnect", run.sandbox)
            await finishRemoval(volumes: true)
            return
        }
        publish()
        CrashPoint.exitRecorded.reach()
        emit("die", dieAttributes(exit, run))
        tellNetworks("disconnect", run.sandbox)
        board.exited()
        if case .restart(let delay) = next { scheduleRestart(afterMilliseconds: delay) }
    }

    private func dieAttributes(_ exit: ExitedContainer, _ run: RunningContainer) -> [String: String] {
        let seconds = max(0, (exit.finishedAt.nanoseconds - run.startedAt.nanoseconds) / 1_000_000_000)
        return ["exitCode": String(exit.exitCode), "execDuration": String(seconds)]
    }

    /// Starts it again after the delay, unless somebody stops or starts it before.
    func scheduleRestart(afterMilliseconds delay: Int) {
        restartTimer?.cancel()
        restartTimer = Task { [weak self] in
            try? await Task.sleep(for: .milliseconds(delay))
            guard !Task.isCancelled, let self else { return }
            await self.queue.run { await self.restartByPolicy() }
        }
    }

    private func restartByPolicy() async {
        guard case .restarting = status.phase else { return }
        restartTimer = nil
        do { try await launch(byHand: false) } catch {
            // As docker: the failure ends the run at once, and the policy decides again.
            guard case .exited(let exit) = status.phase else { return }
            let policy = board.snapshot.description.restartPolicy
            let next = status.ended(exit, policy: policy, autoRemove: false, stopping: stopping, now: wallClock())
            publish()
            if case .restart(let delay) = next { scheduleRestart(afterMilliseconds: delay) }
        }
    }

    /// The shim's folder is of no more use.
    private func discardBundle() async {
        let folder = core.layout.shim(id)
        _ = try? await core.pool.run { try removeTree(folder) }
    }

    /// Ends and removes what a killed shim left: processes, cgroup, the runtime's own records.
    func clearRemains() async {
        let launcher = core.launcher
        let cgroup = CgroupPlace.path(board.snapshot, core.configuration)
        do {
            try await core.pool.run { [id] in try launcher.clear(id, cgroup: cgroup) }
        } catch {
            core.log.warning("container \(id.short): what its shim left could not be cleared: \(Fault(error))")
        }
    }
}

extension BlockingPool {
    /// The exit record in a shim's folder; nil where there is none that can be read.
    func readExitRecord(_ folder: String) async -> ExitRecord? {
        try? await run {
            do { return try ExitRecord(json: try readFile(folder + "/exit.json", limit: 1 << 20)) } catch { return nil }
        }
    }
}
