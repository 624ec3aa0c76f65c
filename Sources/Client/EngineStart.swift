import Linux
import Model

/// The program `skiffd`, for commands that become it.
package enum EngineProgram {
    /// Beside our own binary, or in PATH.
    package static var path: String? { EngineStart.program() }
}

/// Starts `skiffd` where none answers at the default place. Several clients at once start one: a lock decides.
struct EngineStart {
    let endpoint: Endpoint
    private let layout = Layout.system

    /// How long a started engine may take until it answers.
    private static let patience = 2_000

    init(_ endpoint: Endpoint) { self.endpoint = endpoint }

    func connectOrStart() throws -> Descriptor {
        guard FileCalls.userID == 0 else {
            throw Fault(
                .forbidden,
                "Cannot connect to the Skiff engine at \(endpoint.text): it is not running and only root can start it; "
                    + "run `sudo skiff …` or start skiffd (engines of a user's own come later)")
        }
        let lock = try startLock()
        defer { _ = lock.raw }
        if let socket = try connected() { return socket }
        guard let program = Self.program() else {
            throw Fault(
                .notFound,
                "Cannot connect to the Skiff engine at \(endpoint.text), and no skiffd is beside skiff or in PATH to be started"
            )
        }
        let log = layout.runRoot + "/skiffd.log"
        let pid = try spawn(program, log)
        return try waitUntilReady(program, pid, log)
    }

    private func spawn(_ program: String, _ log: String) throws -> CInt {
        do {
            let file = try FileCalls.create(log, append: true, mode: 0o600)
            return try LaunchCalls.start(
                program, [], stdout: .descriptor(file.raw), stderr: .descriptor(file.raw), newSession: true)
        } catch { throw Fault(.system, "cannot start \(program)", cause: error) }
    }

    private func waitUntilReady(_ program: String, _ pid: CInt, _ log: String) throws -> Descriptor {
        let deadline = FileCalls.monotonic + Int64(Self.patience) * 1_000_000
        var pause = 1
        while true {
            if let socket = try connected() { return socket }
            if let ending = try LaunchCalls.poll(pid) {
                if let socket = try connected() { return socket }
                let how: String
                switch ending {
                case .exited(let code): how = "ended with status \(code)"
                case .signalled(let number): how = "was ended by SIG\(SignalCalls.name(number) ?? String(number))"
                }
                throw Fault(.unavailable, "\(program) \(how) when it was started" + lastLine(log))
            }
            guard FileCalls.monotonic < deadline else {
                throw Fault(.unavailable, "\(program) was started but does not answer at \(endpoint.text)" + lastLine(log))
            }
            FileCalls.sleep(milliseconds: pause)
            pause = min(pause + 1, 10)
        }
    }

    private func connected() throws -> Descriptor? {
        do { return try SocketCalls.connect(path: endpoint.path) } catch let fault as KernelFault {
            guard SocketCalls.nobodyThere(fault) else {
                throw Fault(.system, "cannot connect to \(endpoint.text)", cause: fault)
            }
            return nil
        }
    }

    /// Held by the one client that starts the engine; the others wait for it and then find the engine.
    private func startLock() throws -> Descriptor {
        do {
            try FileCalls.makeFolder(layout.runRoot, mode: 0o755)
            let lock = try FileCalls.create(layout.runRoot + "/start.lock", append: true, mode: 0o600)
            try FileCalls.lock(lock.raw)
            return lock
        } catch { throw Fault(.system, "cannot start skiffd", cause: error) }
    }

    /// Beside our own binary first, so that an installation or a build folder is of one piece.
    static func program() -> String? {
        if let own = FileCalls.resolve("/proc/self/exe"), let slash = own.lastIndex(of: "/"),
            let beside = LaunchCalls.find(own[..<slash] + "/skiffd")
        {
            return beside
        }
        return LaunchCalls.find("skiffd")
    }

    private func lastLine(_ log: String) -> String {
        guard let content = try? FileCalls.read(log, limit: 64 << 20) else { return "" }
        let lines = content.suffix(8192).split(separator: 0x0A)
        guard let last = lines.last else { return " (nothing in \(log))" }
        return ": " + String(decoding: last, as: UTF8.self) + " (\(log))"
    }
}
