import Linux
import Model

extension Container {
    /// Probes the container while it runs; a task of its own that the end of the run cancels.
    func startHealthChecks() {
        healthTask?.cancel()
        let description = board.snapshot.description
        guard let settings = HealthSettings(description.config.healthcheck, shell: description.config.shell) else { return }
        board.update { $0.health = HealthState(description) }
        let started = wallClock()
        healthTask = Task { [weak self] in
            while !Task.isCancelled {
                guard let self else { return }
                let age = wallClock().nanoseconds - started.nanoseconds
                let inStartPeriod = Duration.nanoseconds(age) < settings.startPeriod
                let isStarting = self.snapshot.health?.word == .starting
                try? await Task.sleep(for: inStartPeriod && isStarting ? settings.startInterval : settings.interval)
                guard !Task.isCancelled else { return }
                if self.snapshot.status.isPaused { continue }
                guard let probe = await self.probe(settings) else { return }
                let late = Duration.nanoseconds(probe.start.nanoseconds - started.nanoseconds) >= settings.startPeriod
                await self.took(probe, settings, inStartPeriod: !late)
            }
        }
    }

    private func took(_ probe: HealthState.Probe, _ settings: HealthSettings, inStartPeriod: Bool) {
        guard status.running != nil, var health = board.snapshot.health else { return }
        let changed = health.took(probe, settings: settings, inStartPeriod: inStartPeriod)
        let now = health
        board.update { $0.health = now }
        if changed { emit("health_status: \(now.word.rawValue)") }
    }

    /// Runs the check once; nil where the container does not run any more.
    private func probe(_ settings: HealthSettings) async -> HealthState.Probe? {
        guard let connection = try? requireRunning() else { return nil }
        let start = wallClock()
        var config = Docker.ExecConfig()
        config.cmd = settings.command
        let record = ExecRecord(id: .random(), container: id, config: config)
        core.execs.insert(record)
        let output = Promise<[UInt8]>()
        do {
            let (ours, theirs) = try streamPair()
            let process = try await execProcess(config, connection, nil)
            let stream = ShimStream(stdin: false, stdout: true, stderr: true, framing: .raw)
            let request = ShimExec(exec: record.id.text, process: process, stream: stream)
            collect(ours, output)
            try await connection.request(.exec(request), passing: theirs)
            core.execs.running(record.id, pid: 0)
        } catch {
            core.execs.end(record.id, exitCode: 126)
            let fault = Fault(error)
            if fault.kind == .unavailable || fault.kind == .conflict { return nil }
            return HealthState.Probe(start: start, end: wallClock(), exitCode: 126, output: fault.description)
        }
        let code = try? await record.done.value(within: settings.timeout)
        if let code {
            let text = (try? await output.value(within: .seconds(1))) ?? []
            return HealthState.Probe(
                start: start, end: wallClock(), exitCode: code == 0 ? 0 : 1,
                output: String(decoding: text.prefix(4096), as: UTF8.self))
        }
        _ = try? await connection.request(.signal(exec: record.id.text, number: StopSignal.kill, all: false))
        return HealthState.Probe(
            start: start, end: wallClock(), exitCode: -1,
            output: "Health check exceeded timeout (\(settings.timeout))")
    }

    /// Reads a probe's output as far as it is shown.
    private nonisolated func collect(_ descriptor: HeldDescriptor, _ output: Promise<[UInt8]>) {
        let gathered = ProbeOutput()
        let box = WatchToken()
        box.value.withLock { token in
            token = try? core.reactor.watch(descriptor.raw, .input) { [core] _ in
                var buffer = [UInt8](repeating: 0, count: 4096)
                let result = (try? buffer.withUnsafeMutableBytes { try PollIO.read(descriptor.raw, into: $0) }) ?? .end
                switch result {
                case .moved(let count): gathered.append(buffer[..<count])
                case .wouldBlock: return
                case .end:
                    if let token = box.value.withLock({ $0 }) { core.reactor.stop(token, descriptor.raw) }
                    output.fulfil(gathered.bytes)
                }
            }
        }
    }
}
