import Glibc

/// An engine of a test's own: data and run folders in a scratch, a cgroup scope, its own bridge name.
public final class EngineFixture {
    public let scratch: Scratch
    public let dataRoot: String
    public let runRoot: String
    public private(set) var pid: pid_t = 0

    /// What starts the engine's program, before its words.
    private let prefix: [String]

    public init(_ name: String = #function, flags: [String] = [], prefix: [String] = []) throws {
        self.prefix = prefix
        scratch = try Scratch(name)
        dataRoot = scratch.path + "/data"
        runRoot = scratch.path + "/run"
        try start(flags: flags)
    }

    deinit { clean() }

    public var socket: String { runRoot + "/skiff.sock" }

    public func start(flags: [String] = [], environment: [String: String] = [:]) throws {
        let log = scratch.path + "/skiffd.log"
        let words =
            prefix + [
                binaries + "/skiffd", "--data-root", dataRoot, "--run-root", runRoot, "--cgroup-parent", testCgroup,
            ] + flags
        let script = "exec \"$@\" >>\(log) 2>&1 </dev/null"
        let process = try RunningProcess(["/bin/sh", "-c", script, "-"] + words, environment: environment)
        pid = process.pid
        guard eventually(timeout: 10, { run(["/usr/bin/test", "-S", socket]).status == 0 && skiff("version").status == 0 })
        else {
            throw SetupFailure("skiffd does not answer: \(run(["/usr/bin/tail", "-5", log]).output)")
        }
    }

    /// The engine's log so far.
    public var log: String { run(["/bin/cat", scratch.path + "/skiffd.log"]).output }

    /// Runs the client against this engine.
    @discardableResult
    public func skiff(_ arguments: String..., input: String? = nil, timeout: Double = 60) -> ProcessResult {
        run([binaries + "/skiff", "-H", "unix://" + socket] + arguments, input: input, timeout: timeout)
    }

    /// Ends the engine with a signal and waits for it; containers stay.
    public func end(_ signal: CInt = SIGTERM) {
        guard pid > 0 else { return }
        kill(pid, signal)
        var status: CInt = 0
        let deadline = monotonic() + 10
        while waitpid(pid, &status, WNOHANG) == 0, monotonic() < deadline { usleep(2_000) }
        if kill(pid, 0) == 0 { kill(pid, SIGKILL) }
        pid = 0
    }

    /// A busybox image under that name.
    public func importBusybox(_ reference: String = "busybox:test") throws {
        let root = try scratch.busyboxRoot("image")
        let result = run([
            "/bin/sh", "-c", "tar -C '\(root)' -cf - . | '\(binaries)/skiff' -H 'unix://\(socket)' import - \(reference)",
        ])
        guard result.status == 0 else { throw SetupFailure("cannot import busybox: \(result.error)") }
    }

    public func clean() {
        if pid > 0 {
            let all = skiff("ps", "-aq").output.split(separator: "\n").map(String.init)
            if !all.isEmpty { _ = run([binaries + "/skiff", "-H", "unix://" + socket, "rm", "-f"] + all) }
            _ = eventually(timeout: 3) {
                run(["/bin/sh", "-c", "ls '\(runRoot)/shims' 2>/dev/null | wc -l"]).output.hasPrefix("0")
            }
        }
        end()
        scratch.clean()
    }
}
