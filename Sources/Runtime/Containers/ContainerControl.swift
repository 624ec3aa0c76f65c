import Linux
import Model

/// Lets a container that waits at its FIFO execute its process; poststart hooks run.
public func startContainer(_ state: ContainerState, stateRoot: String, report: Reporter) throws {
    let folder = StateFolder(root: stateRoot)
    let path = folder.fifo(state.id)
    do {
        let fifo = try Files.open(path, [.writeOnly, .nonBlocking, .noFollow])
        // Removed first: of two that start at once only one writes.
        try Files.removeExisting(path)
        try Files.write(fifo.raw, [InitMessage.go])
    } catch let fault as KernelFault {
        if fault.isMissingFile { throw Fault(.conflict, "cannot start an already running container", subject: state.id) }
        if fault.isNoReader { throw Fault(.conflict, "cannot start a container that has stopped", subject: state.id) }
        throw Fault(.system, "cannot start container \(state.id)", subject: state.id, cause: fault)
    }
    let hooks = state.spec.hooks?.poststart ?? []
    HookRunner.runAll(hooks, "poststart", state: state.ociState(.running), folder: state.bundle, report: report)
}

/// Sends a signal to the init, or to all processes of the cgroup. Without a pid namespace of its own the container has no
/// init whose end ends the others: SIGKILL goes to all then.
public func signalContainer(_ state: ContainerState, _ signal: CInt, all: Bool) throws {
    let cgroup = state.cgroup.map { Cgroup(record: $0) }
    let hasPidNamespace = state.spec.linux?.namespaces.contains { $0.type == .pid } ?? false
    if all || (!hasPidNamespace && signal == Signals.kill), let cgroup {
        if signal == Signals.kill { try cgroup.killAll() } else { try cgroup.signalAll(signal) }
        if all { return }
    }
    guard let pidfd = try state.openInit() else {
        if !hasPidNamespace && signal == Signals.kill { return }
        throw Fault(.conflict, "container not running", subject: state.id)
    }
    do { try Processes.signal(pidfd: pidfd.raw, signal) } catch let fault as KernelFault {
        if fault.isGone { throw Fault(.conflict, "container not running", subject: state.id) }
        throw Fault(.system, "cannot signal container \(state.id)", subject: state.id, cause: fault)
    }
    // A frozen v1 cgroup would never act on it.
    if signal == Signals.kill, let cgroup, cgroup.isFrozen { try? cgroup.thaw() }
}

/// Stops all processes of the container where they are. Success means that all stand still.
public func pauseContainer(_ state: ContainerState) throws { try cgroup(of: state).freeze() }

public func resumeContainer(_ state: ContainerState) throws { try cgroup(of: state).thaw() }

private func cgroup(of state: ContainerState) throws -> Cgroup {
    guard let record = state.cgroup else {
        throw Fault(.unsupported, "container \(state.id) has no cgroup of its own", subject: state.id)
    }
    return Cgroup(record: record)
}
