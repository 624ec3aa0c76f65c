import Linux
import Model
import Runtime

extension ContainerKeeper: ControlOwner {
    func received(_ request: ShimRequest, _ descriptors: PassedDescriptors, on connection: ControlConnection) {
        do {
            let answer = try perform(request.action, descriptors)
            connection.reply(request.id, answer.outcome, descriptor: answer.descriptor)
            if case .started = answer.outcome { watchForOOM() }
        } catch {
            connection.reply(request.id, .fault(Fault(error)))
            if case .start = request.action { startFailed(Fault(error)) }
        }
    }

    struct Answer {
        var outcome = ShimOutcome.done
        var descriptor: Handle?
    }

    private func perform(_ action: ShimAction, _ descriptors: PassedDescriptors) throws -> Answer {
        switch action {
        case .hello: return Answer(outcome: .hello(hello))
        case .start: return Answer(outcome: .started(try start()))
        case .attach(let stream): try attach(stream, descriptors)
        case .resize(let exec, let width, let height): try streams(of: exec).resize(width: width, height: height)
        case .signal(let exec, let number, let all): try signal(exec, number, all: all)
        case .exec(let exec): return Answer(outcome: .exec(pid: try run(exec, descriptors)))
        case .pause: try pause()
        case .resume: try resume()
        case .update(let resources):
            guard let cgroup else { throw noCgroup }
            try cgroup.apply(resources)
        case .stats:
            guard let cgroup else { throw noCgroup }
            var stats = cgroup.stats(at: Timestamp(nanoseconds: Clock.realtime))
            stats.interfaces = (try? SmallFile.read("/proc/\(state.pid)/net/dev")).map { InterfaceTable.read($0) }
            return Answer(outcome: .stats(stats))
        case .processes: return Answer(outcome: .processes(ProcessTable.rows(cgroup?.processes() ?? [state.pid])))
        case .root:
            guard let rootMount else { throw notRunning }
            return Answer(descriptor: rootMount)
        case .cloneRoot(let mounts):
            guard phase != .stopped else { throw notRunning }
            return Answer(descriptor: Handle(try RootClone.make(of: pidfd.raw, mounts: mounts)))
        case .closeStdin(let exec): try streams(of: exec).endInput()
        case .unknown(let name): throw Fault(.unsupported, "the container's shim does not know \"\(name)\"")
        }
        return Answer()
    }

    // MARK: Texts that clients read are docker's

    var notRunning: Fault { Fault(.conflict, "container \(config.id) is not running", subject: config.id.text) }
    private var noCgroup: Fault { Fault(.unsupported, "container \(config.id) has no cgroup", subject: config.id.text) }

    private var hello: ShimHello {
        ShimHello(
            container: config.id, phase: phase, shimPid: Processes.id, pid: phase == .stopped ? 0 : state.pid,
            startTicks: state.startTicks, startedAt: startedAt, oomKilled: oomKilled, execs: execs.states)
    }

    private func start() throws -> ShimStarted {
        guard phase == .created, ended == nil, var waiting = created.take() else {
            throw Fault(.conflict, "container \(config.id) has been started before", subject: config.id.text)
        }
        // Before the process can run, so that no sign of its life is older
        let now = Timestamp(nanoseconds: Clock.realtime)
        do { try waiting.start() } catch {
            waiting.destroy()
            throw error
        }
        startedAt = now
        phase = .running
        return ShimStarted(pid: state.pid, startTicks: state.startTicks, startedAt: now)
    }

    private func attach(_ stream: ShimStream, _ descriptors: PassedDescriptors) throws {
        guard phase != .stopped else { throw notRunning }
        guard let socket = descriptors.next() else { throw Fault(.invalid, "attach without a connection") }
        // The container was made for a client that is there before it runs: that one may let it wait
        try streams.attach(
            socket, stream, patience: phase == .created ? AttachedClient.hour : AttachedClient.short)
    }

    func streams(of exec: String?) throws -> ProcessStreams {
        guard let exec else {
            guard phase != .stopped else { throw notRunning }
            return streams
        }
        return try execs.running(exec).streams
    }

    private func signal(_ exec: String?, _ number: CInt, all: Bool) throws {
        guard (1...64).contains(number) else { throw Fault(.invalid, "signal \(number) does not exist") }
        guard phase != .stopped else { throw notRunning }
        if all, exec == nil {
            guard let cgroup else { throw noCgroup }
            return try cgroup.signalAll(number)
        }
        let target = try exec.map { try execs.running($0).pidfd } ?? pidfd
        do { try Processes.signal(pidfd: target.raw, number) } catch let fault as KernelFault {
            // ESRCH: it has ended, the loop will see it
            guard fault.errno != 3 else { throw notRunning }
            throw Fault(.system, "cannot signal container \(config.id)", subject: config.id.text, cause: fault)
        }
    }

    private func pause() throws {
        switch phase {
        case .running:
            guard let cgroup else { throw noCgroup }
            try cgroup.freeze()
            phase = .paused
        case .paused: throw Fault(.conflict, "container \(config.id) is already paused", subject: config.id.text)
        case .created, .stopped: throw notRunning
        }
    }

    private func resume() throws {
        guard phase == .paused else {
            throw Fault(.conflict, "container \(config.id) is not paused", subject: config.id.text)
        }
        try cgroup?.thaw()
        phase = .running
    }
}

extension ContainerKeeper: StreamsOwner {
    func detached(from streams: ProcessStreams) {
        if streams === self.streams { return broadcast(.detached(exec: nil)) }
        if let exec = execs.name(of: streams) { broadcast(.detached(exec: exec)) }
    }
}
