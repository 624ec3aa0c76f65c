import Linux
import Model
import Runtime

/// `create` and `run`.
enum CreateCommand {
    private static let values = ["bundle", "console-socket", "pidfd-socket", "pid-file", "preserve-fds"]
    private static let switches = ["no-pivot", "no-new-keyring", "detach", "keep", "no-subreaper"]

    private static func options(_ arguments: ArraySlice<String>) throws -> CommandOptions {
        try CommandOptions(
            arguments, CommandOptions.Known(values: values, switches: switches, short: [("b", "bundle"), ("d", "detach")]))
    }

    static func create(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try options(arguments)
        let id = try options.onlyOperand("create")
        try SealedCopy.enter()
        let forerunner = Forerunner(closing: SealedCopy.mount)
        var request = try request(id, options, context)
        request.forerunner = forerunner
        request.startsByFIFO = true
        let console = try consoleSocket(options, request, isDetached: true)
        var container = try createContainer(request)
        do { try handOver(&container, console, options) } catch {
            container.destroy()
            throw error
        }
        return 0
    }

    static func run(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try options(arguments)
        let id = try options.onlyOperand("run")
        try SealedCopy.enter()
        let forerunner = Forerunner(closing: SealedCopy.mount)
        var request = try request(id, options, context)
        request.forerunner = forerunner
        request.startsAtOnce =
            ["console-socket", "pidfd-socket", "pid-file"].allSatisfy { (options.value($0) ?? "").isEmpty }
        let isDetached = options.has("detach")
        let console = try consoleSocket(options, request, isDetached: isDetached)
        let foreground = isDetached ? nil : try ForegroundProcess()
        if foreground != nil, !options.has("no-subreaper") { try? Identity.setSubreaper() }
        var container = try createContainer(request)
        do {
            if console != nil || isDetached { try handOver(&container, console, options) } else { try tell(container, options) }
            if foreground != nil { container.holdMounts() }
            try container.start()
        } catch {
            container.destroy()
            throw error
        }
        guard var foreground else { return 0 }
        let status = try foreground.follow(
            container.pidfd.raw, pid: container.pid, terminal: container.ptyMaster.take())
        if !options.has("keep") { container.destroy() }
        return status.code
    }

    private static func request(_ id: String, _ options: CommandOptions, _ context: CommandContext) throws -> ContainerRequest {
        try StateFolder.check(id)
        let bundle = try BundleFile.folder(options.value("bundle"))
        let spec = try BundleFile.load(bundle, report: context.report)
        guard let root = spec.root, !root.path.isEmpty else { throw Fault(.invalid, "root.path is missing") }
        var request = ContainerRequest(
            id: id, bundle: bundle, spec: spec, stateRoot: context.options.root,
            root: .path(root.path.hasPrefix("/") ? root.path : bundle + "/" + root.path),
            io: ProcessIO(terminal: spec.process?.terminal ?? false))
        request.cgroupDriver = context.cgroupDriver
        request.noPivot = options.has("no-pivot")
        request.noNewKeyring = options.has("no-new-keyring")
        request.extraDescriptors = try PreservedDescriptors.list(options)
        if !request.extraDescriptors.isEmpty { PreservedDescriptors.addListenVariables(&request.spec) }
        request.report = context.report
        return request
    }

    private static func consoleSocket(_ options: CommandOptions, _ request: ContainerRequest, isDetached: Bool) throws
        -> String?
    {
        let path = options.value("console-socket").flatMap { $0.isEmpty ? nil : $0 }
        if request.io.terminal, isDetached, path == nil {
            throw Fault(.invalid, "cannot allocate tty if runc will detach without setting console socket")
        }
        if path != nil, !(request.io.terminal && isDetached) {
            throw Fault(.invalid, "cannot use console socket if runc will not detach or allocate tty")
        }
        return path
    }

    /// Everything that others are told of a container before this process ends.
    private static func handOver(_ container: inout CreatedContainer, _ console: String?, _ options: CommandOptions) throws {
        if let console, let master = container.ptyMaster.take() { try ConsoleSocket.send(master.raw, to: console) }
        try tell(container, options)
    }

    private static func tell(_ container: borrowing CreatedContainer, _ options: CommandOptions) throws {
        if let path = options.value("pidfd-socket"), !path.isEmpty {
            let socket = try Sockets.connect(path)
            try Sockets.send(socket.raw, Array("pidfd".utf8), descriptors: [container.pidfd.raw])
        }
        if let path = options.value("pid-file"), !path.isEmpty { try PidFile.write(container.pid, path) }
    }
}

enum PidFile {
    /// Written aside and renamed: who waits for the file finds a whole number in it.
    static func write(_ pid: CInt, _ path: String) throws {
        do {
            let slash = path.lastIndex(of: "/")
            let folder = try Files.open(slash.map { String(path[...$0]) } ?? ".", [.path, .directory])
            let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
            try Files.replace(name, with: Array(String(pid).utf8), mode: 0o666, at: folder.raw)
        } catch { throw Fault(.system, "cannot write the pid file \(path)", subject: path, cause: error) }
    }
}

enum ConsoleSocket {
    /// The master as SCM_RIGHTS with its name, as runc sends it.
    static func send(_ master: CInt, to path: String) throws {
        do {
            let socket = try Sockets.connect(path)
            try Sockets.send(socket.raw, Array("/dev/ptmx".utf8), descriptors: [master])
        } catch { throw Fault(.system, "cannot send the terminal to the console socket \(path)", subject: path, cause: error) }
    }
}

/// `--preserve-fds` and systemd's LISTEN_FDS (sd_listen_fds(3)).
enum PreservedDescriptors {
    static func list(_ options: CommandOptions) throws -> [CInt] {
        let asked = try options.integer("preserve-fds", CInt.self) ?? 0
        let listen = ProcessEnvironment.value("LISTEN_FDS").flatMap { CInt($0) } ?? 0
        let count = asked + max(0, listen)
        guard (0...512).contains(count) else { throw Fault(.invalid, "cannot pass \(count) descriptors on") }
        for number in 3..<(3 + count) where !Processes.isOpen(number) {
            throw Fault(
                .invalid,
                "please check that preserved-fd \(number - 3) (of \(count)) is present: descriptor \(number) is not open")
        }
        return Array(3..<(3 + count))
    }

    static func addListenVariables(_ spec: inout OCI.Spec) {
        guard let count = ProcessEnvironment.value("LISTEN_FDS"), CInt(count) ?? 0 > 0 else { return }
        spec.process?.env += ["LISTEN_FDS=\(count)", "LISTEN_PID=1"]
        if let names = ProcessEnvironment.value("LISTEN_FDNAMES") { spec.process?.env.append("LISTEN_FDNAMES=\(names)") }
    }
}
