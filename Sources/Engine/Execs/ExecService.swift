import Linux
import Model

/// Further processes in running containers.
public final class ExecService: Sendable {
    private let core: EngineCore

    init(_ core: EngineCore) { self.core = core }

    /// Success means that the exec can be started; nothing runs yet.
    /// - Throws: `notFound` (`No such container: x`), `conflict` where it does not run or is paused.
    public func create(container reference: String, _ config: Docker.ExecConfig, caller: Caller) async throws
        -> Docker.IDResponse
    {
        let container = try core.registry.resolve(reference)
        try requireRunning(container)
        guard let command = config.cmd, !command.isEmpty else { throw Fault(.invalid, "No exec command specified") }
        _ = try DetachKeys.parse(config.detachKeys)
        let record = ExecRecord(id: .random(), container: container.id, config: config)
        core.execs.insert(record)
        await container.emit(
            "exec_create: " + command.joined(separator: " "), ["execID": record.id.text])
        var response = Docker.IDResponse()
        response.id = record.id.text
        return response
    }

    private func requireRunning(_ container: Container) throws {
        switch container.snapshot.status.phase {
        case .running: return
        case .paused:
            throw Fault(
                .conflict, "container \(container.id) is paused, unpause the container before exec", subject: container.id.text)
        case .restarting:
            throw Fault(
                .conflict, "container \(container.id) is restarting, wait until the container is running",
                subject: container.id.text)
        default: throw container.notRunning
        }
    }

    private func container(of exec: ExecRecord) throws -> Container {
        guard let container = core.registry.container(exec.container) else {
            throw Fault(.notFound, "No such container: \(exec.container)", subject: exec.container.text)
        }
        try requireRunning(container)
        return container
    }

    /// Detached start: success means that the process has been executed.
    public func start(_ id: String, _ config: Docker.ExecStartConfig, caller: Caller) async throws {
        let exec = try core.execs.exec(id)
        let container = try container(of: exec)
        try core.execs.claim(exec.id)
        try await shielded { try await container.run(exec, ShimStream(stdout: false, stderr: false), nil, config.consoleSize) }
    }

    /// Attached start: checks what can be refused; the offer then takes the connection over and starts the process. A command
    /// that cannot be executed is told in the stream, and by `inspect` as exit code 126 or 127.
    public func startAttached(_ id: String, _ config: Docker.ExecStartConfig, caller: Caller) async throws -> HijackOffer {
        let exec = try core.execs.exec(id)
        let container = try container(of: exec)
        try core.execs.claim(exec.id)
        let terminal = exec.config.tty == true
        var stream = ShimStream()
        stream.stdin = exec.config.attachStdin == true
        stream.stdout = exec.config.attachStdout == true
        stream.stderr = exec.config.attachStderr == true
        stream.framing = terminal ? .raw : .multiplexed
        stream.detachKeys = try DetachKeys.parse(exec.config.detachKeys)
        let wanted = stream
        return HijackOffer(isMultiplexed: !terminal) { connection in
            var stream = wanted
            stream.early = connection.early
            guard let descriptor = connection.take() else { return }
            let held = HeldDescriptor(descriptor)
            let final = stream
            do {
                try await shielded { try await container.run(exec, final, held, config.consoleSize) }
            } catch {
                // As docker: told in the stream, because the head of the answer has been sent.
                let text = Array((Fault(error).description + "\r\n").utf8)
                let bytes =
                    terminal
                    ? text : [2, 0, 0, 0] + (0..<4).map { UInt8(truncatingIfNeeded: text.count >> (24 - 8 * $0)) } + text
                _ = try? await self.core.pool.run { try writeWaiting(bytes, to: held.raw) }
                PollIO.shutdownWrite(held.raw)
            }
        }
    }

    public func inspect(_ id: String) async throws -> Docker.ExecInspectResponse {
        let exec = try await settled(id)
        var response = Docker.ExecInspectResponse()
        response.id = exec.id.text
        response.containerID = exec.container.text
        response.canRemove = false
        response.detachKeys = ""
        response.openStdin = exec.config.attachStdin ?? false
        response.openStdout = exec.config.attachStdout ?? false
        response.openStderr = exec.config.attachStderr ?? false
        var process = Docker.ProcessConfig()
        process.tty = exec.config.tty ?? false
        process.entrypoint = exec.config.cmd?.first ?? ""
        process.arguments = Array((exec.config.cmd ?? []).dropFirst())
        process.privileged = exec.config.privileged ?? false
        process.user = exec.config.user
        response.processConfig = process
        response.pid = 0
        response.running = false
        switch exec.phase {
        case .created: break
        case .running(let pid):
            response.running = true
            response.pid = Int(pid)
        case .ended(let code): response.exitCode = Int(code)
        }
        return response
    }

    /// The exec with its end, where it has ended: a client asks as soon as its stream is over, and the news of the end may still
    /// be on their way. The shim answers behind them. A shim that is stuck is waited for only a moment.
    private func settled(_ id: String) async throws -> ExecRecord {
        let exec = try core.execs.exec(id)
        guard case .running = exec.phase, let connection = try? await core.registry.container(exec.container)?.requireRunning()
        else { return exec }
        _ = try? await connection.post(.hello).value(within: .milliseconds(200))
        return try core.execs.exec(id)
    }

    public func resize(_ id: String, width: Int, height: Int, caller: Caller) async throws {
        let exec = try core.execs.exec(id)
        guard (1...Int(UInt16.max)).contains(width), (1...Int(UInt16.max)).contains(height) else {
            throw Fault(.invalid, "invalid terminal size \(width)x\(height)")
        }
        guard case .running = exec.phase else {
            throw Fault(.conflict, "exec process is not started", subject: id)
        }
        let connection = try await container(of: exec).requireRunning()
        try await connection.request(.resize(exec: exec.id.text, width: UInt16(width), height: UInt16(height)))
    }
}

extension Container {
    /// Runs an exec in the container; success means that its process has been executed.
    func run(_ exec: ExecRecord, _ stream: ShimStream, _ client: HeldDescriptor?, _ size: [Int]?) async throws {
        let connection = try requireRunning()
        do {
            let process = try await execProcess(exec.config, connection, size)
            emit("exec_start: " + process.args.joined(separator: " "), ["execID": exec.id.text])
            let request = ShimExec(exec: exec.id.text, process: process, stream: stream, note: exec.note)
            let answer = try await connection.request(.exec(request), passing: client)
            guard case .exec(let pid) = answer.outcome else {
                throw Fault(.system, "the container's shim does not speak this engine's protocol")
            }
            core.execs.running(exec.id, pid: pid)
        } catch {
            let fault = Fault(error)
            let code: Int32 =
                switch fault.kind {
                case .commandNotFound: 127
                case .commandNotExecutable: 126
                default: 126
                }
            core.execs.end(exec.id, exitCode: code)
            throw fault
        }
    }

    /// The process that an exec asks for: the container's own settings, changed by the request's.
    func execProcess(_ config: Docker.ExecConfig, _ connection: ShimConnection, _ size: [Int]?) async throws -> OCI.Process {
        let description = board.snapshot.description
        let host = description.host
        let user = config.user.flatMap { $0.isEmpty ? nil : $0 } ?? description.config.user ?? ""
        let account = try await execAccount(user, host.groupAdd ?? [], connection)
        let terminal = config.tty == true
        let folder = config.workingDir.flatMap { $0.isEmpty ? nil : $0 } ?? description.config.workingDir ?? ""
        guard folder.isEmpty || folder.hasPrefix("/") else {
            throw Fault(.invalid, "Cwd must be an absolute path", subject: folder)
        }
        var process = OCI.Process(cwd: folder.isEmpty ? "/" : folder)
        process.terminal = terminal
        if let size = size ?? config.consoleSize, size.count == 2, size[0] > 0, size[1] > 0 {
            process.consoleSize = OCI.ConsoleSize(height: UInt64(size[0]), width: UInt64(size[1]))
        }
        process.args = config.cmd ?? []
        process.user = OCI.User(uid: account.uid, gid: account.gid)
        process.user.additionalGids = account.groups
        let environment = ContainerWishes.merged(description.config.env ?? [], config.env ?? [])
        let hostname = description.config.hostname.flatMap { $0.isEmpty ? nil : $0 } ?? id.short
        process.env = SpecBuilder.environment(environment, hostname: hostname, terminal: terminal, home: account.home)
        let privileged = config.privileged == true || host.privileged == true
        let granted = try CapabilitySet.granted(add: host.capAdd ?? [], drop: host.capDrop ?? [], privileged: privileged)
        process.capabilities = SpecBuilder.capabilities(granted, root: account.uid == 0)
        process.rlimits = try ResourceLimits.rlimits(host.ulimits)
        let security = try SecurityOptions(host.securityOpt ?? [])
        process.noNewPrivileges = security.noNewPrivileges
        // A privileged exec keeps the container's profile, as in docker
        process.apparmorProfile = try await core.apparmor.settled().profile(security, privileged: host.privileged == true)
        process.oomScoreAdj = host.oomScoreAdj.flatMap { $0 == 0 ? nil : $0 }
        return process
    }

    /// Looks the user up in the files as they are now: through the container's own root, by way of its shim.
    private func execAccount(_ user: String, _ groups: [String], _ connection: ShimConnection) async throws -> Account {
        guard let root = try await connection.request(.root).descriptor else {
            throw Fault(.system, "the container's shim did not hand out its root")
        }
        return try await core.pool.run {
            func content(_ path: String) throws -> [UInt8]? {
                do {
                    return try root.borrow { folder in
                        let file = try folder.open(inRoot: Array(path.utf8), [.read, .nonBlocking])
                        guard try file.status().kind == .regular else { return nil }
                        return try file.readAll(limit: AccountFiles.limit, path)
                    }
                } catch let fault as KernelFault where fault.isAbsent { return nil }
            }
            let files = AccountFiles(passwd: try content("etc/passwd"), group: try content("etc/group"))
            return try files.account(user, groupAdd: groups)
        }
    }
}
