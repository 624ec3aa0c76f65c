import JSON
import Linux
import Model

/// Runs hooks one after the other, each with the state on its standard input (config.md, POSIX-platform Hooks).
///
/// A hook gets exactly the environment that is configured and nothing of the runtime's descriptors: what an image or a caller
/// put into the runtime's environment must not reach it.
enum HookRunner {
    /// The first hook that fails ends the run: a fault that carries the end of what it wrote.
    static func run(_ hooks: [OCI.Hook], _ name: String, state: OCI.State, folder: String?) throws {
        if hooks.isEmpty { return }
        let json = state.json
        for (index, hook) in hooks.enumerated() { try run(hook, "hooks.\(name)[\(index)]", json, folder) }
    }

    /// As `run`, but goes on after a failure and says it: poststart and poststop must not stop anything.
    static func runAll(_ hooks: [OCI.Hook], _ name: String, state: OCI.State, folder: String?, report: Reporter) {
        if hooks.isEmpty { return }
        let json = state.json
        for (index, hook) in hooks.enumerated() {
            do { try run(hook, "hooks.\(name)[\(index)]", json, folder) } catch { report(.warning, "\(error)") }
        }
    }

    private static func run(_ hook: OCI.Hook, _ place: String, _ state: [UInt8], _ folder: String?) throws {
        let input = try Files.memory("state", state)
        let output = try Files.memory("output")
        let pid: CInt
        do {
            pid = try Processes.spawn(
                hook.path, hook.args.isEmpty ? [hook.path] : hook.args, hook.env, streams: [input.raw, output.raw, output.raw],
                folder: folder)
        } catch let fault as KernelFault {
            throw Fault(.system, "\(place): cannot run \(hook.path)", subject: hook.path, cause: fault)
        }
        let pidfd = try Processes.open(pid)
        if let timeout = hook.timeout {
            let end = KernelClock.monotonic + Int64(timeout) * 1_000_000_000
            var entries = [PollEntry(pidfd.raw)]
            var ended = false
            while !ended {
                let left = (end - KernelClock.monotonic) / 1_000_000
                if left < 0 { break }
                ended = try Polling.wait(&entries, milliseconds: CInt(clamping: left + 1)) > 0
            }
            if !ended {
                try? Processes.signal(pidfd: pidfd.raw, Signals.kill)
                _ = try? Processes.wait(pidfd: pidfd.raw)
                throw Fault(
                    .system, "\(place): \(hook.path) did not end within \(timeout) s and was killed", subject: hook.path)
            }
        }
        let status = try Processes.wait(pidfd: pidfd.raw)
        guard status != .exited(0) else { return }
        let said = String(decoding: (try? Files.readFromStart(output.raw, limit: 2048)) ?? [], as: UTF8.self)
        let how =
            switch status {
            case .exited(let code): "exit status \(code)"
            case .signaled(let signal): "killed by signal \(signal)"
            }
        let words = said.split(whereSeparator: \.isNewline).joined(separator: " | ")
        throw Fault(.system, "\(place): \(hook.path): \(how)" + (words.isEmpty ? "" : ": \(words)"), subject: hook.path)
    }
}
