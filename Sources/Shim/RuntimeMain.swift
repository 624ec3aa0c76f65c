import JSON
import Linux
import Model
import Runtime

/// `skiff-runtime`: the OCI runtime's command line, with runc's grammar; `shim` is the engine's way in. The exit code.
public func runtimeMain(isSealed: Bool = false, mount: CInt = -1) -> Int32 {
    if isSealed { SealedCopy.isEntered(from: mount) }
    let arguments = CommandLine.arguments
    if arguments.first?.hasSuffix("/docker-init") == true {
        return runAsInit(Array(arguments.dropFirst(arguments.count > 1 && arguments[1] == "--" ? 2 : 1)))
    }
    if arguments.count > 1, arguments[1] == "clear-shim" { return ClearCommand.run(Array(arguments.dropFirst(2))) }
    if arguments.count > 1, arguments[1] == "open-root" { return RootHelper.run() }
    if arguments.count > 1, arguments[1] == "names" { return NamesMode.run(Array(arguments.dropFirst(2))) }
    if arguments.count > 1, arguments[1] == "shim" { return shimMain(arguments: Array(arguments.dropFirst(2))) }
    return RuntimeCommand.run(arguments.dropFirst())
}

enum RuntimeCommand {
    static let version = "0.1.0"

    static func run(_ arguments: ArraySlice<String>) -> Int32 {
        let options: GlobalOptions
        var rest: ArraySlice<String>
        let log: CommandLog
        do {
            (options, rest) = try GlobalOptions.parse(arguments)
            log = try CommandLog(path: options.log, format: options.logFormat, isDebug: options.isDebug)
        } catch {
            try? Files.write(2, Array("skiff-runtime: \(error)\n".utf8))
            return 1
        }
        if options.showsVersion {
            StandardOutput.write("skiff-runtime version \(version)\nspec: \(OCI.version)\n")
            return 0
        }
        guard let name = rest.popFirst(), !options.showsHelp, name != "help" else {
            StandardOutput.write(CommandHelp.overview)
            return 0
        }
        let context = CommandContext(options: options, log: log)
        do { return try run(name, rest, context) } catch let fault as UsageFault {
            StandardOutput.write(CommandHelp.text(of: fault.command))
            log.fail(fault.description)
            return 1
        } catch {
            log.fail(Fault(error).description)
            return name == "exec" ? 255 : 1
        }
    }

    private static func run(_ name: String, _ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        if arguments.first == "--help" || arguments.first == "-h" {
            StandardOutput.write(CommandHelp.text(of: name))
            return 0
        }
        switch name {
        case "create": return try CreateCommand.create(arguments, context)
        case "run": return try CreateCommand.run(arguments, context)
        case "start": return try LifecycleCommands.start(arguments, context)
        case "state": return try ListCommands.state(arguments, context)
        case "kill": return try LifecycleCommands.kill(arguments, context)
        case "delete": return try LifecycleCommands.delete(arguments, context)
        case "exec": return try ExecCommand.run(arguments, context)
        case "ps": return try ListCommands.ps(arguments, context)
        case "list": return try ListCommands.list(arguments, context)
        case "pause": return try LifecycleCommands.pause(arguments, context)
        case "resume": return try LifecycleCommands.resume(arguments, context)
        case "update": return try UpdateCommand.run(arguments, context)
        case "events": return try EventsCommand.run(arguments, context)
        case "spec": return try SpecCommand.run(arguments, context)
        case "features": return try FeaturesCommand.run(arguments, context)
        case "checkpoint", "restore":
            throw Fault(.unsupported, "\(name) is not supported: skiff-runtime has no checkpoints")
        default: throw Fault(.invalid, "No help topic for '\(name)'")
        }
    }
}
