import Linux
import Logging
import Model
import State

/// One container: the only place where its state changes.
///
/// Commands that change it pass through `queue` one after the other; news of its shim do too. Stopping does not wait in the
/// queue, so that a kill gets through while a stop is patient. What others may know is on `board`.
actor Container {
    nonisolated let id: ObjectID
    nonisolated let board: ContainerBoard
    nonisolated let queue = CommandQueue()
    nonisolated let core: EngineCore
    /// Who copies from or to its root at the moment.
    nonisolated let roots = RootLeases()

    var status: ContainerStatus
    var connection: ShimConnection?
    /// A stop or kill is under way: no policy restarts it.
    var stopping = false
    var restartTimer: Task<Void, Never>?
    /// Clients that attached before the container runs.
    var waitingClients: [WaitingClient] = []
    var removed = false
    var healthTask: Task<Void, Never>?

    struct WaitingClient: Sendable {
        var stream: ShimStream
        var descriptor: HeldDescriptor
    }

    init(_ snapshot: ContainerSnapshot, core: EngineCore) {
        id = snapshot.id
        board = ContainerBoard(snapshot)
        status = snapshot.status
        self.core = core
    }

    nonisolated var snapshot: ContainerSnapshot { board.snapshot }

    /// Shows the status to everybody and stores it (fast class).
    func publish(_ change: (inout ContainerSnapshot) -> Void = { _ in }) {
        board.update { snapshot in
            snapshot.status = status
            change(&snapshot)
        }
        do {
            let bytes = status.json
            try core.database.write { [id] in try $0.setState(bytes, ofContainer: id) }
        } catch {
            core.log.error("container \(id.short): its state was not stored: \(Fault(error))")
        }
    }

    /// The shim's connection of a container that runs.
    /// - Throws: `conflict` where it does not run.
    func requireRunning() throws -> ShimConnection {
        guard status.running != nil, let connection else { throw notRunning }
        return connection
    }

    nonisolated var notRunning: Fault { Fault(.conflict, "container \(id) is not running", subject: id.text) }

    func emit(_ action: String, _ extra: [String: String] = [:]) {
        let snapshot = board.snapshot
        var attributes = snapshot.description.config.labels ?? [:]
        attributes["image"] = snapshot.description.imageName
        attributes["name"] = snapshot.name
        attributes.merge(extra) { $1 }
        core.events.publish(type: "container", action: action, id: id.text, attributes: attributes)
    }

    // MARK: Signals

    /// - Throws: `conflict` where it does not run.
    func kill(signal: CInt) async throws {
        if case .restarting = status.phase {
            cancelRestart()
            publish()
            return
        }
        let connection = try requireRunning()
        let stopSignal = StopSignal.number(of: board.snapshot.description)
        status.stoppedByHand = true
        if signal == StopSignal.kill || signal == stopSignal { stopping = true }
        publish()
        if status.isPaused, signal == StopSignal.kill { try? await resumeProcess() }
        try await connection.request(.signal(exec: nil, number: signal, all: signal == StopSignal.kill))
        emit("kill", ["signal": String(signal)])
    }

    /// Signal, patience, kill. `notModified` where it does not run.
    func stop(signal: CInt?, timeout: Int?) async throws {
        if case .restarting = status.phase {
            status.stoppedByHand = true
            cancelRestart()
            publish()
            return
        }
        guard status.running != nil, let connection else {
            throw Fault(.notModified, "container \(id) is not running", subject: id.text)
        }
        let description = board.snapshot.description
        let number = signal ?? StopSignal.number(of: description)
        let patience = timeout ?? description.config.stopTimeout ?? 10
        stopping = true
        status.stoppedByHand = true
        publish()
        let end = board.wait(for: .nextExit)
        CrashPoint.stopSignalled.reach()
        if status.isPaused { try? await resumeProcess() }
        _ = try? await connection.request(.signal(exec: nil, number: number, all: number == StopSignal.kill))
        emit("kill", ["signal": String(number)])
        if patience < 0 {
            _ = try await end.settled()
        } else if try await end.value(within: .seconds(patience)) == nil {
            try await killAndWait(end)
        }
        emit("stop")
    }

    /// Ends every process of the container and waits for the end to be recorded.
    func killAndWait(_ end: Promise<ContainerBoard.Ending>) async throws {
        stopping = true
        if status.isPaused { try? await resumeProcess() }
        if let connection { _ = try? await connection.request(.signal(exec: nil, number: StopSignal.kill, all: true)) }
        guard try await end.value(within: .seconds(30)) != nil else {
            throw Fault(
                .system, "container \(id.short) does not end though it was killed: a process of it is stuck in the kernel",
                subject: id.text)
        }
    }

    func cancelRestart() {
        restartTimer?.cancel()
        restartTimer = nil
        status.restartCancelled()
    }

    // MARK: Freezing

    func pause() async throws {
        try await queue.run { try await self.pauseNow() }
    }

    private func pauseNow() async throws {
        let connection = try requireRunning()
        guard case .running(let run) = status.phase else {
            throw Fault(.conflict, "container \(id) is already paused", subject: id.text)
        }
        try await connection.request(.pause)
        guard case .running = status.phase else { throw notRunning }
        status.phase = .paused(run)
        publish()
        emit("pause")
    }

    func unpause() async throws {
        try await queue.run {
            guard await self.status.isPaused else {
                throw Fault(.conflict, "container \(self.id) is not paused", subject: self.id.text)
            }
            try await self.resumeProcess()
        }
    }

    func resumeProcess() async throws {
        guard case .paused(let run) = status.phase, let connection else { return }
        try await connection.request(.resume)
        guard case .paused = status.phase else { return }
        status.phase = .running(run)
        publish()
        emit("unpause")
    }
}

/// Signals by name and number.
package enum StopSignal {
    package static let kill: CInt = 9
    package static let terminate: CInt = 15

    private static let names = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
        "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR",
        "SYS",
    ]

    /// `TERM`, `SIGTERM`, `15`, `RTMIN+3`, in any case.
    /// - Throws: `invalid` in docker's words.
    package static func parse(_ text: String) throws -> CInt {
        let unknown = Fault(.invalid, "invalid signal: \(text)", subject: text)
        if let number = CInt(text) {
            guard (1...64).contains(number) else { throw unknown }
            return number
        }
        var name = text.uppercased()
        if name.hasPrefix("SIG") { name.removeFirst(3) }
        if let index = names.firstIndex(of: name) { return CInt(index + 1) }
        switch name {
        case "POLL": return 29
        case "CLD": return 17
        case "IOT": return 6
        case "RTMIN": return 34
        case "RTMAX": return 64
        default: break
        }
        if name.hasPrefix("RTMIN+"), let offset = CInt(name.dropFirst(6)), (0...30).contains(offset) { return 34 + offset }
        if name.hasPrefix("RTMAX-"), let offset = CInt(name.dropFirst(6)), (0...30).contains(offset) { return 64 - offset }
        throw unknown
    }

    package static func number(of description: ContainerDescription) -> CInt {
        guard let text = description.config.stopSignal, !text.isEmpty else { return terminate }
        return (try? parse(text)) ?? terminate
    }
}
