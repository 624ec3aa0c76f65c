import JSON
import Model

/// A process that runs as a container, and what belongs to it.
package struct RunningContainer: Sendable, Equatable {
    package var pid: Int32
    package var startTicks: UInt64
    package var startedAt: Timestamp
    /// Nil where the container has no network of its own.
    package var sandbox: SandboxRecord?

    package init(pid: Int32, startTicks: UInt64, startedAt: Timestamp, sandbox: SandboxRecord? = nil) {
        self.pid = pid
        self.startTicks = startTicks
        self.startedAt = startedAt
        self.sandbox = sandbox
    }
}

/// A run that is over.
package struct ExitedContainer: Sendable, Equatable {
    package var exitCode: Int32
    package var oomKilled = false
    package var startedAt: Timestamp?
    package var finishedAt: Timestamp
    /// Why it could not be started, or what ended it besides its own will.
    package var error = ""

    package init(
        exitCode: Int32, oomKilled: Bool = false, startedAt: Timestamp? = nil, finishedAt: Timestamp, error: String = ""
    ) {
        self.exitCode = exitCode
        self.oomKilled = oomKilled
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.error = error
    }
}

/// Where a container is. A case carries what exists only there.
package enum ContainerPhase: Sendable, Equatable {
    /// Never ran; a start that failed leaves its reason.
    case created(failure: ExitedContainer?)
    case running(RunningContainer)
    case paused(RunningContainer)
    /// Ended, and comes again by its restart policy.
    case restarting(ExitedContainer, at: Timestamp)
    case exited(ExitedContainer)
}

/// A container's phase and what lasts over phases. All methods are pure.
package struct ContainerStatus: Sendable, Equatable {
    /// What is to be done when a run is over.
    package enum AfterExit: Sendable, Equatable {
        case rest
        case remove
        case restart(afterMilliseconds: Int)
    }

    /// A run as long as this ends the counting of failures.
    package static let settledAfter: Int64 = 10_000_000_000
    package static let firstDelay = 100
    package static let longestDelay = 60_000

    package var phase = ContainerPhase.created(failure: nil)
    /// Restarts by policy since the last start by hand.
    package var restartCount = 0
    /// The delay before the next restart by policy, in milliseconds; 0 before the first.
    package var delay = 0
    /// Somebody stopped or killed it: `unless-stopped` stays down.
    package var stoppedByHand = false

    package init() {}

    package var running: RunningContainer? {
        switch phase {
        case .running(let run), .paused(let run): run
        default: nil
        }
    }

    package var isPaused: Bool { if case .paused = phase { true } else { false } }

    /// The last run that is over.
    package var exited: ExitedContainer? {
        switch phase {
        case .exited(let exit), .restarting(let exit, _): exit
        case .created(let failure): failure
        default: nil
        }
    }

    /// Docker's word for the phase.
    package var word: String {
        switch phase {
        case .created: "created"
        case .running: "running"
        case .paused: "paused"
        case .restarting: "restarting"
        case .exited: "exited"
        }
    }

    package mutating func started(_ run: RunningContainer, byHand: Bool) {
        if byHand {
            restartCount = 0
            delay = 0
        }
        stoppedByHand = false
        phase = .running(run)
    }

    /// A start that failed: a container that ran before is exited, one that never did stays created.
    package mutating func startFailed(_ failure: ExitedContainer) {
        if case .created = phase { phase = .created(failure: failure) } else { phase = .exited(failure) }
    }

    /// The run is over. Answers what comes next.
    /// - Parameter stopping: a stop or kill is under way, which no policy undoes.
    package mutating func ended(
        _ exit: ExitedContainer, policy: RestartPolicy, autoRemove: Bool, stopping: Bool, now: Timestamp
    ) -> AfterExit {
        phase = .exited(exit)
        if autoRemove { return .remove }
        guard !stopping, wantsRestart(policy, exit) else { return .rest }
        let ran = exit.startedAt.map { exit.finishedAt.nanoseconds - $0.nanoseconds } ?? 0
        delay = delay == 0 || ran >= Self.settledAfter ? Self.firstDelay : min(delay * 2, Self.longestDelay)
        restartCount += 1
        phase = .restarting(exit, at: Timestamp(nanoseconds: now.nanoseconds + Int64(delay) * 1_000_000))
        return .restart(afterMilliseconds: delay)
    }

    private func wantsRestart(_ policy: RestartPolicy, _ exit: ExitedContainer) -> Bool {
        switch policy {
        case .no: false
        case .always: true
        case .unlessStopped: !stoppedByHand
        case .onFailure(let limit): exit.exitCode != 0 && (limit == 0 || restartCount < limit)
        }
    }

    /// Nobody waits for its restart any more.
    package mutating func restartCancelled() {
        if case .restarting(let exit, _) = phase { phase = .exited(exit) }
    }
}

extension ContainerStatus: JSONReadable, JSONWritable {
    package init(from reader: inout JSONReader) throws {
        var word = "created"
        var run = RunningContainer(pid: 0, startTicks: 0, startedAt: Timestamp(nanoseconds: 0))
        var exit: ExitedContainer?
        var restartAt = Timestamp(nanoseconds: 0)
        try reader.object { key, reader in
            switch key {
            case "phase": word = try reader.value()
            case "restartCount": restartCount = try reader.value()
            case "delay": delay = try reader.value()
            case "stoppedByHand": stoppedByHand = try reader.value()
            case "pid": run.pid = try reader.value()
            case "startTicks": run.startTicks = try reader.value()
            case "startedAt": run.startedAt = try reader.value()
            case "sandbox": run.sandbox = try reader.value()
            case "exit": exit = try reader.value()
            case "restartAt": restartAt = try reader.value()
            default: try reader.skip()
            }
        }
        let over = exit ?? ExitedContainer(exitCode: 0, finishedAt: Timestamp(nanoseconds: 0))
        switch word {
        case "created": phase = .created(failure: exit)
        case "running": phase = .running(run)
        case "paused": phase = .paused(run)
        case "restarting": phase = .restarting(over, at: restartAt)
        case "exited": phase = .exited(over)
        default: throw reader.fault("a container's phase is \"\(word)\"")
        }
    }

    package func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("phase", word)
            writer.member("restartCount", restartCount)
            writer.member("delay", delay)
            writer.member("stoppedByHand", stoppedByHand)
            if let run = running {
                writer.member("pid", run.pid)
                writer.member("startTicks", run.startTicks)
                writer.member("startedAt", run.startedAt)
                writer.member("sandbox", ifPresent: run.sandbox)
            }
            writer.member("exit", ifPresent: exited)
            if case .restarting(_, let at) = phase { writer.member("restartAt", at) }
        }
    }
}

extension ExitedContainer: JSONReadable, JSONWritable {
    package init(from reader: inout JSONReader) throws {
        self.init(exitCode: 0, finishedAt: Timestamp(nanoseconds: 0))
        try reader.object { key, reader in
            switch key {
            case "exitCode": exitCode = try reader.value()
            case "oomKilled": oomKilled = try reader.value()
            case "startedAt": startedAt = try reader.value()
            case "finishedAt": finishedAt = try reader.value()
            case "error": error = try reader.value()
            default: try reader.skip()
            }
        }
    }

    package func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("exitCode", exitCode)
            writer.member("oomKilled", oomKilled)
            writer.member("startedAt", ifPresent: startedAt)
            writer.member("finishedAt", finishedAt)
            writer.member("error", error)
        }
    }
}
