import Linux
import Model

/// Kills what is left of a container, removes its cgroup and state folder and runs poststop hooks. Goes on after a failure and
/// throws the first. A container that is gone in part is no fault.
///
/// The caller reaps the init when it is its child: before, or it stays a zombie. `closing`: descriptors, now this function's, by
/// which the container's mounts are held; the caller has one thread then.
public func destroyContainer(_ state: ContainerState, stateRoot: String?, report: Reporter, closing: [CInt] = []) throws {
    var first: (any Error)?
    func attempt(_ body: () throws -> Void) {
        do { try body() } catch { first = first ?? error }
    }
    attempt {
        guard let pidfd = try state.openInit() else { return }
        try? Processes.signal(pidfd: pidfd.raw, Signals.kill)
        try? waitForEnd(pidfd.raw)
    }
    let mounts = ClosingAside(closing)
    if let record = state.cgroup {
        let cgroup = Cgroup(record: record)
        attempt {
            do { try cgroup.remove() } catch {
                // Somebody is in it still: without a pid namespace of its own the init's end does not end the others.
                try cgroup.killAll()
                try cgroup.remove()
            }
        }
    }
    // What a hook may want to unmount is free then.
    _ = consume mounts
    if let stateRoot { StateFolder(root: stateRoot).remove(state.id) }
    if let hooks = state.spec.hooks?.poststop, !hooks.isEmpty {
        HookRunner.runAll(hooks, "poststop", state: state.ociState(.stopped), folder: state.bundle, report: report)
    }
    if let first { throw first }
}

/// Up to ten seconds; the process may not be our child.
private func waitForEnd(_ pidfd: CInt) throws {
    var entries = [PollEntry(pidfd)]
    let count = try Polling.wait(&entries, milliseconds: 10_000)
    if count == 0 { throw Fault(.system, "the container's init did not end within 10 s of SIGKILL") }
}

extension ContainerState {
    /// Whether the init lives: the pid is in use, by the same process, which is no zombie.
    public var isAlive: Bool {
        guard pid > 0, let stat = Processes.stat(pid), stat.startTicks == startTicks else { return false }
        return stat.state != UInt8(ascii: "Z") && stat.state != UInt8(ascii: "X")
    }

    /// The init as a descriptor that cannot come to stand for another process; nil when it has ended.
    func openInit() throws -> Descriptor? {
        guard isAlive else { return nil }
        do {
            let pidfd = try Processes.open(pid)
            // Looked at again after the descriptor was taken: the pid may have gone to another in between.
            guard isAlive else { return nil }
            return pidfd
        } catch let fault as KernelFault {
            if fault.isGone { return nil }
            throw Fault(.system, "cannot reach the container's first process", subject: id, cause: fault)
        }
    }

    /// What the container is doing now; `stateRoot` tells created from running.
    public func status(stateRoot: String?) -> OCI.Status {
        guard isAlive else { return .stopped }
        if let stateRoot, StateFolder(root: stateRoot).isWaiting(id) { return .created }
        if let cgroup, Cgroup(record: cgroup).isFrozen { return .paused }
        return .running
    }

    /// For hooks, listeners and `state`.
    public func ociState(_ status: OCI.Status) -> OCI.State {
        OCI.State(
            ociVersion: spec.ociVersion, id: id, status: status, pid: status == .stopped ? nil : Int(pid), bundle: bundle,
            annotations: spec.annotations)
    }
}
