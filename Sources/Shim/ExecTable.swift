import Linux
import Model
import Runtime

/// A further process of the container.
final class RunningExec {
    let name: String
    let pid: CInt
    let pidfd: Handle
    let streams: ProcessStreams
    let note: String?
    /// Set when it has been reaped.
    fileprivate(set) var exit: ExecExit?
    fileprivate var isTold = false

    init(name: String, pid: CInt, pidfd: Handle, streams: ProcessStreams, note: String?) {
        self.name = name
        self.pid = pid
        self.pidfd = pidfd
        self.streams = streams
        self.note = note
    }
}

/// The container's execs: those that run, and how the last ones ended.
struct ExecTable {
    static let limit = 1000
    private static let memory = 128

    private var entries: [RunningExec] = []
    /// For an engine that comes later.
    private var past: [ShimExecState] = []

    /// None whose end has not been told.
    var isEmpty: Bool { entries.allSatisfy { $0.isTold } }
    var hasClients: Bool { entries.contains { $0.streams.hasClients } }
    var count: Int { entries.count }

    var states: [ShimExecState] {
        past + entries.filter { !$0.isTold }.map { ShimExecState(exec: $0.name, pid: $0.pid, exit: $0.exit, note: $0.note) }
    }

    func contains(_ name: String) -> Bool { entries.contains { $0.name == name } || past.contains { $0.exec == name } }

    func running(_ name: String) throws -> RunningExec {
        guard let found = entries.first(where: { $0.name == name && $0.exit == nil }) else {
            throw Fault(.conflict, "exec \(name) is not running", subject: name)
        }
        return found
    }

    func name(of streams: ProcessStreams) -> String? { entries.first { $0.streams === streams }?.name }

    mutating func add(_ exec: RunningExec) { entries.append(exec) }

    /// A child was reaped; true when it was an exec's.
    func ended(_ child: EndedChild, at time: Timestamp) -> Bool {
        guard let exec = entries.first(where: { $0.pid == child.pid && $0.exit == nil }) else { return false }
        exec.exit = ExecExit(exec: exec.name, exitCode: child.code, finishedAt: time)
        exec.streams.processEnded()
        return true
    }

    func register(in turn: inout PollTurn) { for exec in entries { exec.streams.register(in: &turn) } }

    /// Execs whose end is to be told now: they ended, and all their output is with their clients.
    mutating func endTurn(_ now: Int64) -> [ExecExit] {
        guard !entries.isEmpty else { return [] }
        var exits: [ExecExit] = []
        for exec in entries {
            exec.streams.endTurn(now)
            guard !exec.isTold, let exit = exec.exit, exec.streams.isDrained else { continue }
            exec.isTold = true
            exits.append(exit)
            past.append(ShimExecState(exec: exec.name, pid: exec.pid, exit: exit, note: exec.note))
        }
        if past.count > Self.memory { past.removeFirst(past.count - Self.memory) }
        entries.removeAll { $0.isTold && !$0.streams.hasClients }
        return exits
    }

    /// The ends have been told: the clients' connections may close.
    func letClientsGo(_ exits: [ExecExit]) {
        for exit in exits { entries.first { $0.name == exit.exec }?.streams.letClientsGo() }
    }
}

extension ContainerKeeper {
    /// Runs a further process; answers its pid. A descriptor that rides along is its client.
    func run(_ request: ShimExec, _ descriptors: PassedDescriptors) throws -> CInt {
        switch phase {
        case .running: break
        case .paused:
            throw Fault(
                .conflict, "container \(config.id) is paused, unpause the container before exec", subject: config.id.text)
        case .created, .stopped: throw notRunning
        }
        guard execs.count < ExecTable.limit else {
            throw Fault(.unavailable, "container \(config.id) runs \(ExecTable.limit) execs already", subject: config.id.text)
        }
        guard !execs.contains(request.exec) else {
            throw Fault(.conflict, "exec \(request.exec) has been started before", subject: request.exec)
        }
        let socket = descriptors.next()
        let stream = request.stream
        let hasClient = socket != nil
        let user = request.process.user
        let stdio = try Stdio(
            terminal: request.process.terminal, stdin: hasClient && stream.stdin, stdout: hasClient && stream.stdout,
            stderr: hasClient && stream.stderr, user: user.uid, group: user.gid)
        var execRequest = ExecRequest(process: request.process, io: stdio.child)
        execRequest.report = Reporter { level, text in if level >= .warning { ShimDiagnostics.say(text) } }
        var process = try execInContainer(state, execRequest)
        let pid = process.pid
        let streams = try stdio.streams(
            process.ptyMaster.take(), isTerminal: request.process.terminal, stdinOnce: true, log: nil, buffer: buffer,
            takesInput: hasClient && stream.stdin)
        streams.owner = self
        streams.keepsClients = true
        execs.add(
            RunningExec(
                name: request.exec, pid: pid, pidfd: Handle(try process.pidfd.duplicate()), streams: streams,
                note: request.note))
        if let socket { try streams.attach(socket, stream, patience: nil) }
        return pid
    }
}
