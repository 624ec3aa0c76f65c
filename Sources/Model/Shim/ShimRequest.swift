import JSON

/// What an engine asks of a shim. One request is one packet on a SEQPACKET connection:
///
///     {"v":1,"id":7,"do":"attach","stream":{…}}\0<early bytes>
///
/// The JSON text ends with the packet or at the packet's first zero byte (JSON holds none). Behind that zero byte come the
/// bytes that the engine had already read from the client's connection and that belong to the container's stdin: `early`.
/// Descriptors ride along by SCM_RIGHTS: `attach` needs one and `exec` takes one at most, the client's connection, which the
/// shim owns from then on and closes at the end of the stream. A message longer than one packet goes as a sealed memory file
/// (see `Linux.SeqPacket`), so nobody has to care about sizes below `ShimProtocol.messageLimit`.
///
/// Every request is answered by one `ShimReply` with the same id; the order of replies is not promised.
/// An unknown member is ignored, an unknown `do` is answered by a fault of kind `unsupported`.
public struct ShimRequest: Sendable, Equatable {
    public var id: UInt64
    public var action: ShimAction

    public init(id: UInt64, _ action: ShimAction) {
        self.id = id
        self.action = action
    }
}

public enum ShimProtocol {
    /// Grows when a message changes its meaning; new optional members and new requests do not need it.
    public static let version = 1
    /// Bytes of a message, early bytes included.
    public static let messageLimit = 8 << 20
    /// Bytes of `early` in one request; what is more has to wait in the client's connection.
    public static let earlyLimit = 1 << 20
}

public enum ShimAction: Sendable, Equatable {
    /// Who are you and how is the container: answered by `.hello`.
    case hello
    /// Let the container's process run: answered by `.started`, or by the fault that kept it from running.
    case start
    /// The descriptor becomes a client of the container's stdio. Allowed before `start`, so that no byte is missed.
    case attach(ShimStream)
    /// Sets the size of the container's terminal, or of an exec's.
    case resize(exec: String?, width: UInt16, height: UInt16)
    /// Signals the container's first process, an exec's process, or with `all` every process of the container.
    case signal(exec: String?, number: Int32, all: Bool)
    /// Runs a further process in the container: answered by `.exec`.
    case exec(ShimExec)
    case pause
    case resume
    /// New limits for the container's cgroup.
    case update(OCI.Resources)
    /// Answered by `.stats`.
    case stats
    /// Answered by `.processes`.
    case processes
    /// Answered with a descriptor: a detached clone of the container's root mount as it was at the start, for looking into it.
    case root
    /// Answered with a descriptor: a detached clone of what the container's processes see as their root now, for cp and export.
    /// Devices in it cannot be opened and programs not executed. `mounts`: with volumes and all else that is mounted below.
    case cloneRoot(mounts: Bool)
    /// Closes the container's stdin, or an exec's.
    case closeStdin(exec: String?)
    /// A request that this version does not know.
    case unknown(String)

    /// The word after `do`.
    public var name: String {
        switch self {
        case .hello: "hello"
        case .start: "start"
        case .attach: "attach"
        case .resize: "resize"
        case .signal: "signal"
        case .exec: "exec"
        case .pause: "pause"
        case .resume: "resume"
        case .update: "update"
        case .stats: "stats"
        case .processes: "processes"
        case .root: "root"
        case .cloneRoot: "cloneRoot"
        case .closeStdin: "closeStdin"
        case .unknown(let name): name
        }
    }
}

/// How a client's connection takes part in a process's stdio.
public struct ShimStream: Sendable, Equatable {
    public enum Framing: String, Sendable {
        /// Bytes as they are: terminals.
        case raw
        /// Docker's eight byte headers before each piece: stream 1 is stdout, 2 is stderr.
        case multiplexed
    }

    /// Bytes from the client go to the process; the client's half close is the end of stdin.
    public var stdin: Bool
    public var stdout: Bool
    public var stderr: Bool
    public var framing: Framing
    /// Bytes that end the attachment when they arrive one after the other; empty is none.
    public var detachKeys: [UInt8]
    /// Bytes already read from the client.
    public var early: [UInt8]

    public init(
        stdin: Bool = false, stdout: Bool = true, stderr: Bool = true, framing: Framing = .raw, detachKeys: [UInt8] = [],
        early: [UInt8] = []
    ) {
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.framing = framing
        self.detachKeys = detachKeys
        self.early = early
    }
}

/// A further process in a running container.
public struct ShimExec: Sendable, Equatable {
    /// The engine's name for it, unique in the container.
    public var exec: String
    /// `process.terminal` asks for a pty and `process.consoleSize` gives its first size.
    public var process: OCI.Process
    /// Which parts of the stdio go to the descriptor that rides along; without a descriptor (`exec -d`) stdio is /dev/null.
    public var stream: ShimStream
    /// Kept by the shim for an engine that comes later; it means nothing to the shim.
    public var note: String?

    public init(
        exec: String, process: OCI.Process, stream: ShimStream = ShimStream(stdout: false, stderr: false), note: String? = nil
    ) {
        self.exec = exec
        self.process = process
        self.stream = stream
        self.note = note
    }
}

extension ShimRequest {
    /// The request's packet, early bytes included.
    public var packet: [UInt8] {
        var packet = json
        let early: [UInt8]
        switch action {
        case .attach(let stream): early = stream.early
        case .exec(let exec): early = exec.stream.early
        default: early = []
        }
        if !early.isEmpty {
            packet.append(0)
            packet.append(contentsOf: early)
        }
        return packet
    }

    /// Throws a `JSONFault`; a request without a readable id cannot be answered.
    public init(packet: [UInt8]) throws {
        guard let zero = packet.firstIndex(of: 0) else {
            try self.init(json: packet)
            return
        }
        try self.init(json: Array(packet[..<zero]))
        let early = Array(packet[(zero + 1)...])
        guard early.count <= ShimProtocol.earlyLimit else { throw JSONFault(message: "too many early bytes") }
        switch action {
        case .attach(var stream):
            stream.early = early
            action = .attach(stream)
        case .exec(var exec):
            exec.stream.early = early
            action = .exec(exec)
        default: break
        }
    }
}

/// The members of all requests, before it is known which one it is.
private struct RequestMembers {
    var id: UInt64?
    var version = 0
    var name = ""
    var stream = ShimStream()
    var exec: String?
    var process: OCI.Process?
    var resources: OCI.Resources?
    var width: UInt16 = 0
    var height: UInt16 = 0
    var signal: Int32 = 0
    var all = false
    var mounts = false
    var note: String?

    init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "v": version = try reader.value()
            case "id": id = try reader.value()
            case "do": name = try reader.value()
            case "stream": stream = try reader.value()
            case "exec": exec = try reader.value()
            case "process": process = try reader.value()
            case "resources": resources = try reader.value()
            case "width": width = try reader.value()
            case "height": height = try reader.value()
            case "signal": signal = try reader.value()
            case "all": all = try reader.value()
            case "mounts": mounts = try reader.value()
            case "note": note = try reader.value()
            default: try reader.skip()
            }
        }
    }
}

extension ShimRequest: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let members = try RequestMembers(from: &reader)
        guard let id = members.id else { throw reader.fault("id is missing") }
        guard members.version == ShimProtocol.version else { throw reader.fault("message has version \(members.version)") }
        self.id = id
        switch members.name {
        case "hello": action = .hello
        case "start": action = .start
        case "attach": action = .attach(members.stream)
        case "resize": action = .resize(exec: members.exec, width: members.width, height: members.height)
        case "signal": action = .signal(exec: members.exec, number: members.signal, all: members.all)
        case "exec":
            guard let exec = members.exec else { throw reader.fault("exec is missing") }
            guard let process = members.process else { throw reader.fault("process is missing") }
            action = .exec(ShimExec(exec: exec, process: process, stream: members.stream, note: members.note))
        case "pause": action = .pause
        case "resume": action = .resume
        case "update":
            guard let resources = members.resources else { throw reader.fault("resources is missing") }
            action = .update(resources)
        case "stats": action = .stats
        case "processes": action = .processes
        case "root": action = .root
        case "cloneRoot": action = .cloneRoot(mounts: members.mounts)
        case "closeStdin": action = .closeStdin(exec: members.exec)
        default: action = .unknown(members.name)
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("v", ShimProtocol.version)
            writer.member("id", id)
            writer.member("do", action.name)
            switch action {
            case .attach(let stream): writer.member("stream", stream)
            case .resize(let exec, let width, let height):
                writer.member("exec", ifPresent: exec)
                writer.member("width", width)
                writer.member("height", height)
            case .signal(let exec, let number, let all):
                writer.member("exec", ifPresent: exec)
                writer.member("signal", number)
                writer.member("all", all)
            case .exec(let exec):
                writer.member("exec", exec.exec)
                writer.member("process", exec.process)
                writer.member("stream", exec.stream)
                writer.member("note", ifPresent: exec.note)
            case .update(let resources): writer.member("resources", resources)
            case .cloneRoot(let mounts): writer.member("mounts", mounts)
            case .closeStdin(let exec): writer.member("exec", ifPresent: exec)
            default: break
            }
        }
    }
}

extension ShimStream: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(stdout: false, stderr: false)
        try reader.object { key, reader in
            switch key {
            case "stdin": stdin = try reader.value()
            case "stdout": stdout = try reader.value()
            case "stderr": stderr = try reader.value()
            case "framing":
                let name = try reader.string()
                guard let value = Framing(rawValue: name) else { throw reader.fault("unknown framing \"\(name)\"") }
                framing = value
            case "detachKeys": detachKeys = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("stdin", stdin)
            writer.member("stdout", stdout)
            writer.member("stderr", stderr)
            writer.member("framing", framing.rawValue)
            if !detachKeys.isEmpty { writer.member("detachKeys", detachKeys) }
        }
    }
}
