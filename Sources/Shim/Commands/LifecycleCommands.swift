import Linux
import Model
import Runtime

/// `start`, `kill`, `delete`, `pause` and `resume`.
enum LifecycleCommands {
    static func start(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let id = try CommandOptions(arguments, CommandOptions.Known()).onlyOperand("start")
        let state = try context.folder.load(id)
        switch state.status(stateRoot: context.options.root) {
        case .created: try startContainer(state, stateRoot: context.options.root, report: context.report)
        case .stopped: throw Fault(.conflict, "cannot start a container that has stopped", subject: id)
        case .running, .paused: throw Fault(.conflict, "cannot start an already running container", subject: id)
        case .creating: throw Fault(.conflict, "cannot start a container in the creating state", subject: id)
        }
        return 0
    }

    static func kill(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try CommandOptions(arguments, CommandOptions.Known(switches: ["all"], short: [("a", "all")]))
        guard (1...2).contains(options.operands.count) else {
            throw UsageFault("kill", "\"kill\" requires a minimum of 1 and a maximum of 2 arguments")
        }
        let state = try context.folder.load(options.operands[0])
        let text = options.operands.count == 2 ? options.operands[1] : "SIGTERM"
        guard let signal = Signals.number(text) else { throw Fault(.invalid, "unknown signal \"\(text)\"") }
        try signalContainer(state, signal, all: options.has("all"))
        return 0
    }

    static func delete(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try CommandOptions(arguments, CommandOptions.Known(switches: ["force"], short: [("f", "force")]))
        let id = try options.onlyOperand("delete")
        let isForced = options.has("force")
        try StateFolder.check(id)
        let state: ContainerState
        do { state = try context.folder.load(id) } catch let fault as Fault {
            guard fault.kind == .notFound else { throw fault }
            // A folder without a state: left by a runtime that was killed while it made the container.
            if isForced || context.folder.exists(id) {
                context.folder.discard(id)
                return 0
            }
            throw fault
        }
        let status = state.status(stateRoot: context.options.root)
        guard isForced || status == .stopped || status == .created else {
            throw Fault(.conflict, "cannot delete container \(id) that is not stopped: \(status.rawValue)", subject: id)
        }
        if status == .paused, let cgroup = state.cgroup { try? Cgroup(record: cgroup).thaw() }
        try destroyContainer(state, stateRoot: context.options.root, report: context.report)
        return 0
    }

    static func pause(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let id = try CommandOptions(arguments, CommandOptions.Known()).onlyOperand("pause")
        let state = try context.folder.load(id)
        switch state.status(stateRoot: context.options.root) {
        case .running, .created: try pauseContainer(state)
        case .paused: throw Fault(.conflict, "container already paused", subject: id)
        default: throw Fault(.conflict, "container not running", subject: id)
        }
        return 0
    }

    static func resume(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let id = try CommandOptions(arguments, CommandOptions.Known()).onlyOperand("resume")
        let state = try context.folder.load(id)
        guard state.status(stateRoot: context.options.root) == .paused else {
            throw Fault(.conflict, "container not paused", subject: id)
        }
        try resumeContainer(state)
        return 0
    }
}
