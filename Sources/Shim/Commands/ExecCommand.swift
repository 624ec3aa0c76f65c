import JSON
import Linux
import Model
import Runtime

/// `exec`: a further process in a running container.
enum ExecCommand {
    private static let known = CommandOptions.Known(
        values: [
            "console-socket", "pidfd-socket", "cwd", "env", "user", "additional-gids", "process", "pid-file", "process-label",
            "apparmor", "cap", "preserve-fds", "cgroup",
        ],
        switches: ["tty", "detach", "no-new-privs", "ignore-paused", "no-subreaper"],
        short: [
            ("e", "env"), ("t", "tty"), ("u", "user"), ("g", "additional-gids"), ("p", "process"), ("d", "detach"),
            ("c", "cap"),
        ],
        interspersed: false)

    static func run(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try CommandOptions(arguments, known)
        guard let id = options.operands.first else { throw UsageFault("exec", "\"exec\" requires a minimum of 1 argument") }
        try SealedCopy.enter()
        let state = try context.folder.load(id)
        guard state.status(stateRoot: context.options.root) != .stopped else {
            throw Fault(.conflict, "cannot exec in a stopped container", subject: id)
        }
        let process = try process(options, state, context)
        var request = ExecRequest(process: process, io: ProcessIO(terminal: process.terminal))
        request.ignorePaused = options.has("ignore-paused")
        request.extraDescriptors = try PreservedDescriptors.list(options)
        request.subCgroups = try options.all("cgroup").map { try SubCgroup($0) }
        request.report = context.report
        let isDetached = options.has("detach")
        let console = options.value("console-socket").flatMap { $0.isEmpty ? nil : $0 }
        if process.terminal, isDetached, console == nil {
            throw Fault(.invalid, "cannot allocate tty if runc will detach without setting console socket")
        }
        if console != nil, !(process.terminal && isDetached) {
            throw Fault(.invalid, "cannot use console socket if runc will not detach or allocate tty")
        }
        let foreground = isDetached ? nil : try ForegroundProcess()
        if foreground != nil { try? Identity.setSubreaper() }
        var exec = try execInContainer(state, request)
        do {
            if let console, let master = exec.ptyMaster.take() { try ConsoleSocket.send(master.raw, to: console) }
            if let path = options.value("pidfd-socket"), !path.isEmpty {
                let socket = try Sockets.connect(path)
                try Sockets.send(socket.raw, Array("pidfd".utf8), descriptors: [exec.pidfd.raw])
            }
            if let path = options.value("pid-file"), !path.isEmpty { try PidFile.write(exec.pid, path) }
        } catch {
            try? Processes.signal(pidfd: exec.pidfd.raw, Signals.kill)
            throw error
        }
        guard var foreground else { return 0 }
        return try foreground.follow(exec.pidfd.raw, pid: exec.pid, terminal: exec.ptyMaster.take()).code
    }

    /// `--process FILE`, or the container's own process with what the flags change.
    private static func process(_ options: CommandOptions, _ state: ContainerState, _ context: CommandContext) throws
        -> OCI.Process
    {
        if let path = options.value("process"), !path.isEmpty {
            let bytes: [UInt8]
            do { bytes = try Files.read(path, limit: BundleFile.limit) } catch {
                throw Fault(.notFound, "cannot read the process file \(path)", subject: path, cause: error)
            }
            var process: OCI.Process = try BundleFile.read(bytes, path, context.report)
            if options.has("tty") { process.terminal = true }
            return process
        }
        let words = Array(options.operands.dropFirst())
        guard !words.isEmpty else { throw Fault(.invalid, "process args cannot be empty") }
        var process = state.spec.process ?? OCI.Process(cwd: "/")
        process.args = words
        process.terminal = options.has("tty")
        process.consoleSize = nil
        // The container's own scheduling and score are the init's, not an exec's.
        if let folder = options.value("cwd") { process.cwd = folder }
        if let label = options.value("process-label") { process.selinuxLabel = label }
        if let profile = options.value("apparmor") { process.apparmorProfile = profile }
        process.env += options.all("env")
        if options.has("no-new-privs") { process.noNewPrivileges = true }
        try takeUser(options, &process)
        takeCapabilities(options.all("cap"), &process)
        return process
    }

    private static func takeUser(_ options: CommandOptions, _ process: inout OCI.Process) throws {
        if let text = options.value("user") {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard let user = UInt32(parts[0]) else { throw Fault(.invalid, "parsing \(parts[0]) as int for uid failed") }
            process.user.uid = user
            if parts.count == 2 {
                guard let group = UInt32(parts[1]) else { throw Fault(.invalid, "parsing \(parts[1]) as int for gid failed") }
                process.user.gid = group
            }
        }
        for text in options.all("additional-gids") {
            guard let group = UInt32(text) else { throw Fault(.invalid, "additional-gids: \(text) is no group id") }
            process.user.additionalGids.append(group)
        }
    }

    private static func takeCapabilities(_ names: [String], _ process: inout OCI.Process) {
        if names.isEmpty { return }
        var sets = process.capabilities ?? OCI.Capabilities()
        let names = names.map { name in
            let upper = name.uppercased()
            return upper.hasPrefix("CAP_") ? upper : "CAP_" + upper
        }
        sets.bounding += names
        sets.effective += names
        sets.permitted += names
        // runc adds to the inheritable set only what could become ambient; neither is raised here.
        process.capabilities = sets
    }
}
