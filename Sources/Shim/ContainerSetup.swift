import JSON
import Linux
import Logs
import Model
import Runtime

/// Makes a container out of its bundle: root file system, stdio, log, namespaces, and its first process that waits for `start`.
enum ContainerSetup {
    static let socketName = "shim.sock"
    static let exitName = "exit.json"

    /// - Throws: a `Fault`; nothing is left behind then but files of the bundle.
    static func make(_ arguments: ShimArguments, _ forerunner: Forerunner?) throws -> ContainerKeeper {
        let config = try read(ShimConfig.self, arguments.bundle + "/shim.json")
        var spec = try read(OCI.Spec.self, arguments.bundle + "/config.json")
        if let netns = arguments.netns { setNetworkNamespace(&spec, "/proc/self/fd/\(netns)") }
        SmallFile.remove(arguments.bundle + "/" + exitName)
        let buffer = try PageBuffer(size: 64 << 10)
        let log = try config.log.map { log in
            do { return try LogWriter(log) } catch {
                throw Fault(.system, "cannot open the container's log \(log.path)", subject: log.path, cause: error)
            }
        }
        let stdio = try Stdio(config, owner: spec.process?.user)
        let root = try OwnedRoot(config, oldOverlay: arguments.forcesOldOverlay)
        var request = ContainerRequest(
            id: config.id.text, bundle: arguments.bundle, spec: spec, stateRoot: nil, root: root.source, io: stdio.child)
        request.wantsRootMount = true
        request.forerunner = forerunner
        request.report = Reporter { level, text in
            if level >= .warning { ShimDiagnostics.say("\(level): \(text)") }
        }
        var created = try createContainer(request)
        root.close()
        // The container has its namespace now; held here it would outlive its sandbox
        if let netns = arguments.netns { Files.close(netns) }
        do {
            let streams = try stdio.streams(created.ptyMaster.take(), config: config, log: log, buffer: buffer)
            let pidfd = Handle(try created.pidfd.duplicate())
            let rootMount = Handle(created.rootMount.take())
            let listener = try SeqPacket.listen(at: arguments.bundle + "/" + socketName)
            return ContainerKeeper(
                arguments, config: config, created: created, pidfd: pidfd, rootMount: rootMount, streams: streams,
                buffer: buffer, listener: Handle(listener))
        } catch {
            created.destroy()
            SmallFile.remove(arguments.bundle + "/" + socketName)
            throw error
        }
    }

    private static func read<T: JSONReadable>(_ type: T.Type, _ path: String) throws -> T {
        do { return try T(json: try SmallFile.read(path)) } catch let fault as JSONFault {
            throw Fault(.invalid, "malformed \(path): \(fault)", subject: path)
        } catch { throw Fault(.system, "cannot read \(path)", subject: path, cause: error) }
    }

    private static func setNetworkNamespace(_ spec: inout OCI.Spec, _ path: String) {
        var linux = spec.linux ?? OCI.Linux()
        linux.namespaces.removeAll { $0.type == .network }
        linux.namespaces.append(OCI.Namespace(type: .network, path: path))
        spec.linux = linux
    }
}

/// A root file system until the container has it.
private final class OwnedRoot {
    private var mount: Handle?
    let source: RootSource

    init(_ config: ShimConfig, oldOverlay: Bool) throws {
        switch config.rootfs {
        case .directory(let path): source = .path(path)
        case .overlay(let lower, let upper, let work):
            let mount = Handle(
                try OverlayRoot.mount(
                    lower: lower, upper: upper, work: work, isVolatile: config.volatileRoot, oldWay: oldOverlay))
            self.mount = mount
            source = .detachedMount(mount.raw)
        }
    }

    func close() { mount = nil }
}

/// Both ends of a process's stdio: the process's are borrowed by the runtime and closed with this value.
final class Stdio {
    private var input: Descriptor?
    private var output: Descriptor?
    private var error: Descriptor?
    private let childEnds: [Handle]
    let child: ProcessIO

    /// Pipes, owned by the process's user so that it can open /dev/stdout anew; a terminal needs none.
    /// What is not wanted is /dev/null.
    init(terminal: Bool, stdin: Bool, stdout: Bool, stderr: Bool, user: UInt32, group: UInt32) throws {
        guard !terminal else {
            childEnds = []
            child = ProcessIO(terminal: true)
            return
        }
        let null = Handle(try Files.open("/dev/null", .readWrite))
        var ends = [null]
        var numbers = [null.raw, null.raw, null.raw]
        func keep(_ descriptor: consuming Descriptor?, _ number: Int) throws {
            guard let descriptor = descriptor.take() else { return }
            if user != 0 || group != 0 { try Files.changeOwner(of: descriptor.raw, user: user, group: group) }
            let handle = Handle(descriptor)
            numbers[number] = handle.raw
            ends.append(handle)
        }
        if stdin {
            var pipe = try Pipe()
            input = pipe.takeOutput()
            try keep(pipe.takeInput(), 0)
        }
        if stdout {
            var pipe = try Pipe()
            output = pipe.takeInput()
            try keep(pipe.takeOutput(), 1)
        }
        if stderr {
            var pipe = try Pipe()
            error = pipe.takeInput()
            try keep(pipe.takeOutput(), 2)
        }
        childEnds = ends
        child = ProcessIO(stdin: numbers[0], stdout: numbers[1], stderr: numbers[2])
    }

    convenience init(_ config: ShimConfig, owner: OCI.User?) throws {
        try self.init(
            terminal: config.terminal, stdin: config.openStdin, stdout: true, stderr: true, user: owner?.uid ?? 0,
            group: owner?.gid ?? 0)
    }

    /// The shim's ends as streams; once.
    func streams(
        _ master: consuming Descriptor?, isTerminal: Bool, stdinOnce: Bool, log: LogWriter?, buffer: PageBuffer,
        takesInput: Bool
    ) throws -> ProcessStreams {
        guard isTerminal else {
            return try ProcessStreams(
                output: output.take(), error: error.take(), input: input.take(), isTerminal: false, stdinOnce: stdinOnce,
                log: log, buffer: buffer)
        }
        guard let master = master.take() else { throw Fault(.system, "the process got no terminal") }
        let writing = takesInput ? try master.duplicate() : nil
        return try ProcessStreams(
            output: master, error: nil, input: writing, isTerminal: true, stdinOnce: stdinOnce, log: log, buffer: buffer)
    }

    func streams(_ master: consuming Descriptor?, config: ShimConfig, log: LogWriter?, buffer: PageBuffer) throws
        -> ProcessStreams
    {
        try streams(
            master, isTerminal: config.terminal, stdinOnce: config.stdinOnce, log: log, buffer: buffer,
            takesInput: config.openStdin)
    }
}
