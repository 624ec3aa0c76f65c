import JSON

/// What a shim sends: the answer to a request, or news that nobody asked for. One message is one packet.
public enum ShimMessage: Sendable, Equatable {
    case reply(ShimReply)
    case event(ShimEvent)
}

/// `{"v":1,"re":7,…}`: one member named after the outcome, none for `.done`.
public struct ShimReply: Sendable, Equatable {
    /// The request's id.
    public var id: UInt64
    public var outcome: ShimOutcome

    public init(id: UInt64, _ outcome: ShimOutcome) {
        self.id = id
        self.outcome = outcome
    }
}

public enum ShimOutcome: Sendable, Equatable {
    case done
    case fault(Fault)
    case hello(ShimHello)
    case started(ShimStarted)
    /// The exec's process id, as the host sees it.
    case exec(pid: Int32)
    case stats(ContainerStats)
    case processes([ContainerProcess])
}

/// `{"v":1,"event":"exit",…}`, sent to every control connection.
public enum ShimEvent: Sendable, Equatable {
    /// The container has ended; its record is in `exit.json` already. The shim cleans up after this: the control connection ends
    /// when everything of the container is gone (mounts, cgroup, held descriptors). Not sent where `start` was answered by a fault.
    case exit(ExitRecord)
    case execExit(ExecExit)
    /// The kernel killed a process of the container for want of memory.
    case oom
    /// A client typed its detach keys, on the container's stdio or an exec's.
    case detached(exec: String?)
}

/// Where a container is, as its shim sees it.
public enum ShimPhase: String, Sendable {
    /// Made, its process waits for `start`.
    case created
    case running
    case paused
    /// Ended; the shim is cleaning up.
    case stopped
}

public struct ShimHello: Sendable, Equatable {
    public var container: ObjectID
    public var phase: ShimPhase
    public var shimPid: Int32
    /// The first process as the host sees it; 0 where there is none (yet).
    public var pid: Int32
    /// Field 22 of /proc/PID/stat: a process is its pid plus this.
    public var startTicks: UInt64
    public var startedAt: Timestamp?
    public var oomKilled: Bool
    /// Running ones, and the last ended ones with their exit codes.
    public var execs: [ShimExecState]

    public init(
        container: ObjectID, phase: ShimPhase, shimPid: Int32, pid: Int32 = 0, startTicks: UInt64 = 0,
        startedAt: Timestamp? = nil, oomKilled: Bool = false, execs: [ShimExecState] = []
    ) {
        self.container = container
        self.phase = phase
        self.shimPid = shimPid
        self.pid = pid
        self.startTicks = startTicks
        self.startedAt = startedAt
        self.oomKilled = oomKilled
        self.execs = execs
    }
}

public struct ShimExecState: Sendable, Equatable {
    public var exec: String
    public var pid: Int32
    /// Nil while it runs.
    public var exit: ExecExit?
    /// The engine's own words, as `ShimExec` had them.
    public var note: String?

    public init(exec: String, pid: Int32, exit: ExecExit? = nil, note: String? = nil) {
        self.exec = exec
        self.pid = pid
        self.exit = exit
        self.note = note
    }
}

public struct ShimStarted: Sendable, Equatable {
    public var pid: Int32
    public var startTicks: UInt64
    public var startedAt: Timestamp

    public init(pid: Int32, startTicks: UInt64, startedAt: Timestamp) {
        self.pid = pid
        self.startTicks = startTicks
        self.startedAt = startedAt
    }
}

public struct ExecExit: Sendable, Equatable {
    public var exec: String
    /// 128+n by signal n.
    public var exitCode: Int32
    public var finishedAt: Timestamp

    public init(exec: String, exitCode: Int32, finishedAt: Timestamp) {
        self.exec = exec
        self.exitCode = exitCode
        self.finishedAt = finishedAt
    }
}

extension ShimMessage: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var version = 0
        var id: UInt64?
        var outcome = ShimOutcome.done
        var event: String?
        var exit: ExitRecord?
        var execExit: ExecExit?
        var exec: String?
        try reader.object { key, reader in
            switch key {
            case "v": version = try reader.value()
            case "re": id = try reader.value()
            case "fault": outcome = .fault(try reader.value())
            case "hello": outcome = .hello(try reader.value())
            case "started": outcome = .started(try reader.value())
            case "pid": outcome = .exec(pid: try reader.value())
            case "stats": outcome = .stats(try reader.value())
            case "processes": outcome = .processes(try reader.value())
            case "event": event = try reader.value()
            case "exit": exit = try reader.value()
            case "execExit": execExit = try reader.value()
            case "exec": exec = try reader.value()
            default: try reader.skip()
            }
        }
        guard version == ShimProtocol.version else { throw reader.fault("message has version \(version)") }
        if let id {
            self = .reply(ShimReply(id: id, outcome))
            return
        }
        switch event {
        case "exit":
            guard let exit else { throw reader.fault("exit is missing") }
            self = .event(.exit(exit))
        case "execExit":
            guard let execExit else { throw reader.fault("execExit is missing") }
            self = .event(.execExit(execExit))
        case "oom": self = .event(.oom)
        case "detached": self = .event(.detached(exec: exec))
        case .some(let name): throw reader.fault("unknown event \"\(name)\"")
        case nil: throw reader.fault("neither re nor event is given")
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("v", ShimProtocol.version)
            switch self {
            case .reply(let reply):
                writer.member("re", reply.id)
                switch reply.outcome {
                case .done: break
                case .fault(let fault): writer.member("fault", fault)
                case .hello(let hello): writer.member("hello", hello)
                case .started(let started): writer.member("started", started)
                case .exec(let pid): writer.member("pid", pid)
                case .stats(let stats): writer.member("stats", stats)
                case .processes(let processes): writer.member("processes", processes)
                }
            case .event(.exit(let record)):
                writer.member("event", "exit")
                writer.member("exit", record)
            case .event(.execExit(let record)):
                writer.member("event", "execExit")
                writer.member("execExit", record)
            case .event(.oom): writer.member("event", "oom")
            case .event(.detached(let exec)):
                writer.member("event", "detached")
                writer.member("exec", ifPresent: exec)
            }
        }
    }
}

extension ShimHello: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var container: ObjectID?
        var phase = ShimPhase.created
        var shimPid: Int32 = 0
        var pid: Int32 = 0
        var startTicks: UInt64 = 0
        var startedAt: Timestamp?
        var oomKilled = false
        var execs: [ShimExecState] = []
        try reader.object { key, reader in
            switch key {
            case "container": container = try reader.value()
            case "phase":
                let name = try reader.string()
                guard let value = ShimPhase(rawValue: name) else { throw reader.fault("unknown phase \"\(name)\"") }
                phase = value
            case "shimPid": shimPid = try reader.value()
            case "pid": pid = try reader.value()
            case "startTicks": startTicks = try reader.value()
            case "startedAt": startedAt = try reader.value()
            case "oomKilled": oomKilled = try reader.value()
            case "execs": execs = try reader.value()
            default: try reader.skip()
            }
        }
        guard let container else { throw reader.fault("container is missing") }
        self.init(
            container: container, phase: phase, shimPid: shimPid, pid: pid, startTicks: startTicks, startedAt: startedAt,
            oomKilled: oomKilled, execs: execs)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("container", container)
            writer.member("phase", phase.rawValue)
            writer.member("shimPid", shimPid)
            writer.member("pid", pid)
            writer.member("startTicks", startTicks)
            writer.member("startedAt", ifPresent: startedAt)
            writer.member("oomKilled", oomKilled)
            writer.member("execs", execs)
        }
    }
}

extension ShimExecState: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(exec: "", pid: 0)
        try reader.object { key, reader in
            switch key {
            case "exec": exec = try reader.value()
            case "pid": pid = try reader.value()
            case "exit": exit = try reader.value()
            case "note": note = try reader.value()
            default: try reader.skip()
            }
        }
        guard !exec.isEmpty else { throw reader.fault("exec is missing") }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("exec", exec)
            writer.member("pid", pid)
            writer.member("exit", ifPresent: exit)
            writer.member("note", ifPresent: note)
        }
    }
}

extension ShimStarted: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(pid: 0, startTicks: 0, startedAt: Timestamp(nanoseconds: 0))
        try reader.object { key, reader in
            switch key {
            case "pid": pid = try reader.value()
            case "startTicks": startTicks = try reader.value()
            case "startedAt": startedAt = try reader.value()
            default: try reader.skip()
            }
        }
        guard pid > 0 else { throw reader.fault("pid is missing") }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("pid", pid)
            writer.member("startTicks", startTicks)
            writer.member("startedAt", startedAt)
        }
    }
}

extension ExecExit: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(exec: "", exitCode: 0, finishedAt: Timestamp(nanoseconds: 0))
        try reader.object { key, reader in
            switch key {
            case "exec": exec = try reader.value()
            case "exitCode": exitCode = try reader.value()
            case "finishedAt": finishedAt = try reader.value()
            default: try reader.skip()
            }
        }
        guard !exec.isEmpty else { throw reader.fault("exec is missing") }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("exec", exec)
            writer.member("exitCode", exitCode)
            writer.member("finishedAt", finishedAt)
        }
    }
}
