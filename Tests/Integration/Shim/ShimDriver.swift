import Glibc
import JSON
import Linux
import Logs
import Model
import Testing
import TestSupport

/// Drives one shim as an engine does: a bundle with an overlay over busybox, a control connection, requests and events.
final class ShimDriver {
    let scratch: Scratch
    let id: ObjectID
    let bundle: String
    let upper: String
    let logPath: String
    private(set) var shimPid: pid_t = 0
    private(set) var control: CInt
    private(set) var events: [ShimEvent] = []
    private(set) var lastDescriptor: PassedDescriptors?
    private(set) var isClosed = false
    private var nextID: UInt64 = 1
    private var isReaped = false

    typealias Configure = (inout OCI.Spec, inout ShimConfig) -> Void

    init(
        _ command: [String], arguments: [String] = [], without: [String] = [], lower: [String]? = nil,
        name: String = #function,
        configure: Configure = { _, _ in }
    ) throws {
        scratch = try Scratch(name)
        id = ObjectID.random()
        bundle = scratch.folder("bundle")
        upper = scratch.folder("upper")
        logPath = scratch.path + "/json.log"
        var spec = Self.spec(command, cgroup: testCgroup + "/shim-" + id.short)
        var config = ShimConfig(
            id: id,
            rootfs: .overlay(
                lower: try lower ?? [scratch.busyboxRoot("lower")], upper: upper, work: scratch.folder("work")))
        config.log = ShimLog(path: logPath)
        configure(&spec, &config)
        if let terminal = spec.process?.terminal, terminal { config.terminal = true }
        try SmallFile.replace(bundle + "/config.json", with: spec.json)
        try SmallFile.replace(bundle + "/shim.json", with: config.json)
        let ends = try SeqPacket.pair().release()
        control = ends[0]
        shimPid = try Self.spawn(
            Without.words(without) + [binaries + "/skiff-runtime", "shim", "--bundle", bundle] + arguments, control: ends[1],
            errors: scratch.path + "/shim.log")
        close(ends[1])
    }

    deinit {
        endContainer()
        disconnect()
        if !isReaped, waitForShim(timeout: 5) == nil {
            kill(shimPid, SIGKILL)
            _ = waitForShim(timeout: 5)
        }
        removeCgroups()
    }

    private var cgroup: String { testCgroup + "/shim-" + id.short }

    /// Whatever a test left running goes, also where its shim was killed.
    private func endContainer() {
        _ = run([
            "/bin/sh", "-c",
            """
            for d in /sys/fs/cgroup/*\(cgroup) /sys/fs/cgroup\(cgroup); do
              [ -e "$d/freezer.state" ] && echo THAWED >"$d/freezer.state"
              [ -e "$d/cgroup.procs" ] && cat "$d/cgroup.procs"
            done 2>/dev/null | sort -u | xargs -r kill -9 2>/dev/null; true
            """,
        ])
    }

    private func removeCgroups() {
        let folders = "/sys/fs/cgroup/*\(cgroup) /sys/fs/cgroup\(cgroup)"
        // Orphans are reaped by the first process, which may take two seconds
        _ = eventually(timeout: 6) {
            run(["/bin/sh", "-c", "! rmdir \(folders) 2>/dev/null; ! ls -d \(folders) 2>/dev/null"]).status == 0
        }
    }

    var diagnostics: String { run(["/bin/cat", scratch.path + "/shim.log"]).output }

    private static func spec(_ command: [String], cgroup: String) -> OCI.Spec {
        var process = OCI.Process(cwd: "/")
        process.args = command
        process.env = ["PATH=/bin:/sbin", "HOME=/root"]
        let all = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]
        process.capabilities = OCI.Capabilities(bounding: all, effective: all, permitted: all)
        var linux = OCI.Linux()
        linux.cgroupsPath = cgroup
        linux.namespaces = [.pid, .mount, .ipc, .uts, .network].map { OCI.Namespace(type: $0) }
        let mounts = [
            OCI.Mount(destination: "/proc", type: "proc", source: "proc"),
            OCI.Mount(destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=65536k"]),
            OCI.Mount(
                destination: "/dev/pts", type: "devpts", source: "devpts",
                options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ]
        return OCI.Spec(
            ociVersion: "1.3.0", process: process, root: OCI.Root(path: "rootfs"), hostname: "test", mounts: mounts,
            linux: linux)
    }

    private static func spawn(_ words: [String], control: CInt, errors: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)
        posix_spawn_file_actions_adddup2(&actions, 0, 1)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, control, 3)
        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, words[0], &actions, nil, &argv, environ)
        guard code == 0 else { throw SetupFailure("cannot start \(words[0]): errno \(code)") }
        return pid
    }

    // MARK: Messages

    /// Sends without waiting; answers the request's id.
    @discardableResult
    func post(_ action: ShimAction, passing: CInt? = nil) throws -> UInt64 {
        let id = nextID
        nextID += 1
        let packet = ShimRequest(id: id, action).packet
        _ = try SeqPacket.send(packet, descriptors: passing.map { [$0] } ?? [], on: control)
        if let passing { close(passing) }
        return id
    }

    /// Sends and waits for the answer; a fault is thrown.
    @discardableResult
    func request(_ action: ShimAction, passing: CInt? = nil, timeout: Double = 10) throws -> ShimOutcome {
        try answer(to: try post(action, passing: passing), timeout: timeout)
    }

    func answer(to id: UInt64, timeout: Double = 10) throws -> ShimOutcome {
        let deadline = monotonic() + timeout
        while monotonic() < deadline, let message = try next(until: deadline) {
            switch message {
            case .event(let event): events.append(event)
            case .reply(let reply) where reply.id == id:
                if case .fault(let fault) = reply.outcome { throw fault }
                return reply.outcome
            case .reply: continue
            }
        }
        throw SetupFailure("the shim did not answer: \(diagnostics)")
    }

    /// The next message; nil at the end of the connection or of the time.
    private func next(until deadline: Double) throws -> ShimMessage? {
        guard control >= 0, !isClosed else { return nil }
        while monotonic() < deadline {
            var poll = pollfd(fd: control, events: Int16(POLLIN), revents: 0)
            guard Glibc.poll(&poll, 1, CInt(max(1, (deadline - monotonic()) * 1000))) > 0 else { continue }
            switch try SeqPacket.receive(on: control) {
            case .nothing: continue
            case .end:
                isClosed = true
                return nil
            case .message(let bytes, let descriptors):
                if descriptors.count > 0 { lastDescriptor = descriptors }
                return try ShimMessage(json: bytes)
            }
        }
        return nil
    }

    @discardableResult
    func wait<T>(timeout: Double = 10, for pick: (ShimEvent) -> T?) throws -> T {
        if let found = events.lazy.compactMap(pick).first { return found }
        let deadline = monotonic() + timeout
        while let message = try next(until: deadline) {
            guard case .event(let event) = message else { continue }
            events.append(event)
            if let found = pick(event) { return found }
        }
        throw SetupFailure("the event did not come; \(isClosed ? "connection closed; " : "")\(diagnostics)")
    }

    func exit(timeout: Double = 10) throws -> ExitRecord {
        try wait(timeout: timeout) { if case .exit(let record) = $0 { record } else { nil } }
    }

    func execExit(_ exec: String, timeout: Double = 10) throws -> ExecExit {
        try wait(timeout: timeout) { if case .execExit(let exit) = $0, exit.exec == exec { exit } else { nil } }
    }

    // MARK: Connections

    func disconnect() {
        if control >= 0 { close(control) }
        control = -1
    }

    /// As a new engine does.
    func reconnect() throws {
        disconnect()
        control = try SeqPacket.connect(to: bundle + "/shim.sock").release()
        isClosed = false
    }

    func start() throws -> ShimStarted {
        guard case .started(let started) = try request(.start) else { throw SetupFailure("start was not answered") }
        return started
    }

    func hello() throws -> ShimHello {
        guard case .hello(let hello) = try request(.hello) else { throw SetupFailure("hello was not answered") }
        return hello
    }

    func attach(_ stream: ShimStream) throws -> StreamClient {
        let (ours, theirs) = try StreamClient.pair()
        try request(.attach(stream), passing: theirs)
        return StreamClient(ours)
    }

    /// Runs a command in the container with a client for its streams.
    func exec(_ name: String, _ command: [String], stream: ShimStream = ShimStream(), terminal: Bool = false) throws
        -> StreamClient
    {
        var process = OCI.Process(cwd: "/")
        process.args = command
        process.env = ["PATH=/bin:/sbin"]
        process.terminal = terminal
        let (ours, theirs) = try StreamClient.pair()
        try request(.exec(ShimExec(exec: name, process: process, stream: stream)), passing: theirs)
        return StreamClient(ours)
    }

    // MARK: What is left

    /// Waits for the shim's own end; its exit code.
    func waitForShim(timeout: Double = 10) -> CInt? {
        var code: CInt?
        _ = eventually(timeout: timeout) {
            code = reapShim()
            return code != nil
        }
        return code
    }

    private func reapShim() -> CInt? {
        guard !isReaped else { return nil }
        var status: CInt = 0
        guard waitpid(shimPid, &status, WNOHANG) == shimPid else { return nil }
        isReaped = true
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }

    func log(_ options: LogReader.Options = .init()) throws -> String {
        let reader = LogReader(path: logPath, options: options)
        var text: [UInt8] = []
        while let record = try reader.next() { text += record.text }
        return String(decoding: text, as: UTF8.self)
    }

    var exitRecord: ExitRecord? { (try? SmallFile.read(bundle + "/exit.json")).flatMap { try? ExitRecord(json: $0) } }
    func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}

/// The client's end of an attached stream.
final class StreamClient {
    private var raw: CInt
    private(set) var received: [UInt8] = []
    private(set) var isEnded = false

    static func pair() throws -> (CInt, CInt) {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw SetupFailure("socketpair: errno \(errno)")
        }
        return (ends[0], ends[1])
    }

    init(_ raw: CInt) {
        self.raw = raw
        _ = fcntl(raw, F_SETFL, O_NONBLOCK)
    }

    deinit { hangUp() }

    func send(_ text: String) { _ = Array(text.utf8).withUnsafeBytes { write(raw, $0.baseAddress, $0.count) } }
    func halfClose() { shutdown(raw, CInt(SHUT_WR)) }
    func hangUp() {
        if raw >= 0 { close(raw) }
        raw = -1
    }

    /// Reads what is there; at most `limit` bytes.
    func read(limit: Int = .max) {
        var part = [UInt8](repeating: 0, count: 1 << 16)
        let start = received.count
        while received.count - start < limit {
            let count = Glibc.read(raw, &part, part.count)
            if count == 0 { isEnded = true }
            guard count > 0 else { return }
            received += part[..<count]
        }
    }

    var text: String { String(decoding: received, as: UTF8.self) }

    /// Reads until the text is there.
    func expect(_ wanted: String, timeout: Double = 10) -> Bool {
        eventually(timeout: timeout) {
            read()
            return text.contains(wanted)
        }
    }

    /// Reads until the end.
    func readAll(timeout: Double = 10) -> String {
        _ = eventually(timeout: timeout) {
            read()
            return isEnded
        }
        return text
    }
}
