import Linux
import Model
import Runtime

extension ContainerKeeper {
    /// How long the last messages may take to reach engines that do not read.
    private static let goodbyeTime: Int64 = 1_000_000_000

    /// Takes note of every child that has ended: the container's first process, execs, orphans that came here.
    func reap() {
        while let child = Children.reap() {
            let now = Timestamp(nanoseconds: Clock.realtime)
            if child.pid == state.pid, ended == nil {
                firstProcessEnded(child, now)
            } else {
                _ = execs.ended(child, at: now)
            }
        }
    }

    private func firstProcessEnded(_ child: EndedChild, _ now: Timestamp) {
        ended = (child, now)
        // What shares the pid namespace is gone; where it is not the container's own, the rest goes now
        if phase == .paused { try? cgroup?.thaw() }
        if !state.hasOwnPidNamespace { try? cgroup?.killAll() }
        phase = .stopped
        execDeadline = Clock.monotonic + 10_000_000_000
        streams.processEnded()
    }

    /// `start` failed: the container is gone already, its record says why.
    func startFailed(_ fault: Fault) {
        guard phase == .created, startFault == nil else { return }
        // Only the one start that used the container up
        guard created == nil else { return }
        startFault = fault
        phase = .stopped
        streams.processEnded()
        streams.closeOutputs()
    }

    /// All output is in the log and with the clients: leaves the record, tells, cleans up.
    ///
    /// The order matters to an engine that comes just now: while there is no `exit.json` somebody answers at `shim.sock`.
    /// A control connection ends when everything of the container is gone: mounts, cgroup, held ports.
    func finish() {
        if !oomKilled, let cgroup, cgroup.oomKillCount > 0 {
            oomKilled = true
            broadcast(.oom)
        }
        let record = exitRecord
        do { try SmallFile.replace(bundle + "/" + ContainerSetup.exitName, with: record.json) } catch {
            ShimDiagnostics.say("cannot write the exit record: \(error)")
        }
        closeListener()
        SmallFile.remove(bundle + "/" + ContainerSetup.socketName)
        held = []
        // A container that never ran has no exit: the answer to `start` said why
        if startFault == nil { broadcast(.exit(record)) }
        oomWatch = nil
        cleanUp()
        goodbye = Clock.monotonic + Self.goodbyeTime
    }

    /// The engine went before it sent `start`: nobody wants this container.
    func abandon() {
        created.take()?.destroy()
        phase = .stopped
        streams.processEnded()
        streams.closeOutputs()
        closeListener()
        SmallFile.remove(bundle + "/" + ContainerSetup.socketName)
        held = []
        cleanUp()
        goodbye = Clock.monotonic
    }

    private func cleanUp() {
        if created != nil { created.take()?.destroy() }
        do {
            try destroyContainer(
                state, stateRoot: nil, report: Reporter { level, text in if level >= .warning { ShimDiagnostics.say(text) } },
                closing: takeMounts())
        } catch {
            ShimDiagnostics.say("cannot clean up: \(error)")
        }
        while Children.reap() != nil {}
    }

    private var exitRecord: ExitRecord {
        let now = Timestamp(nanoseconds: Clock.realtime)
        if let startFault { return ExitRecord(neverRan: config.id, startFault, at: now) }
        let child = ended?.child
        return ExitRecord(
            id: config.id, exitCode: child?.code ?? 255, signal: child.flatMap { $0.signal > 0 ? $0.signal : nil },
            oomKilled: oomKilled, startedAt: startedAt, finishedAt: ended?.at ?? now)
    }
}

/// Waits for the kernel to kill something of the container for want of memory.
final class OOMWatch: Pollable {
    private let events: CgroupOOMEvents
    private unowned let keeper: ContainerKeeper
    private var seen: UInt64 = 0
    /// The v1 kernel tells before it kills and counts: looked at again a few times.
    private var lookAgain: (at: Int64, left: Int)?

    init(_ events: consuming CgroupOOMEvents, _ keeper: ContainerKeeper) {
        self.events = events
        self.keeper = keeper
    }

    func register(in turn: inout PollTurn) {
        turn.add(events.descriptor.raw, .input, self)
        turn.wake(at: lookAgain?.at)
    }

    func ready(_ ready: PollSet.Events, part: Int) { look(again: 20) }

    func endTurn(_ now: Int64) {
        if let lookAgain, now >= lookAgain.at { look(again: lookAgain.left - 1) }
    }

    private func look(again left: Int) {
        let count = events.take()
        lookAgain = count > seen || left <= 0 ? nil : (Clock.monotonic + 50_000_000, left)
        guard count > seen else { return }
        seen = count
        keeper.oomKilled = true
        keeper.broadcast(.oom)
    }
}

extension ContainerKeeper {
    /// After the start, off its path.
    func watchForOOM() {
        guard let cgroup, let events = try? cgroup.openOOMEvents() else { return }
        oomWatch = OOMWatch(events, self)
    }
}

extension ContainerState {
    /// The kernel kills the rest of a pid namespace with its first process.
    var hasOwnPidNamespace: Bool { spec.linux?.namespaces.contains { $0.type == .pid && ($0.path ?? "").isEmpty } ?? false }
}

extension ExitRecord {
    /// Of a container whose process could not be executed; exit codes as docker's.
    init(neverRan id: ObjectID, _ fault: Fault, at now: Timestamp) {
        let code: Int32 =
            switch fault.kind {
            case .commandNotFound: 127
            case .commandNotExecutable: 126
            default: 128
            }
        self.init(id: id, exitCode: code, startedAt: nil, finishedAt: now, fault: fault)
    }
}
