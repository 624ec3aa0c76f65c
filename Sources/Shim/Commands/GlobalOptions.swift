import Linux
import Model
import Runtime

/// What stands before the command.
struct GlobalOptions {
    var root = "/run/skiff-runtime"
    var log: String?
    var logFormat = CommandLog.Format.text
    var isDebug = false
    var usesSystemd = false
    var rootless = "auto"
    var showsVersion = false
    var showsHelp = false

    static let known = CommandOptions.Known(
        values: ["root", "log", "log-format", "criu", "rootless"],
        switches: ["debug", "systemd-cgroup", "version", "log-level"],
        short: [("v", "version"), ("h", "help")], interspersed: false)

    /// Reads the flags; answers the command and what follows.
    static func parse(_ arguments: ArraySlice<String>) throws -> (options: GlobalOptions, command: ArraySlice<String>) {
        let parsed = try CommandOptions(arguments, known)
        var options = GlobalOptions()
        if let root = parsed.value("root"), !root.isEmpty {
            options.root = root.hasPrefix("/") ? root : try Files.currentFolder() + "/" + root
        }
        options.log = parsed.value("log")
        if let format = parsed.value("log-format") {
            guard let known = CommandLog.Format(rawValue: format) else {
                throw Fault(.invalid, "unknown log-format \"\(format)\"")
            }
            options.logFormat = known
        }
        options.isDebug = parsed.has("debug")
        options.usesSystemd = parsed.has("systemd-cgroup")
        options.showsVersion = parsed.has("version")
        options.showsHelp = parsed.has("help")
        if let rootless = parsed.value("rootless") {
            guard ["auto", "true", "false"].contains(rootless) else {
                throw Fault(.invalid, "invalid value \"\(rootless)\" for flag -rootless: auto, true or false")
            }
            options.rootless = rootless
        }
        return (options, parsed.operands[...])
    }
}

/// What every command works with.
struct CommandContext {
    let options: GlobalOptions
    let log: CommandLog

    var folder: StateFolder { StateFolder(root: options.root) }
    var report: Reporter { log.reporter }
    var cgroupDriver: CgroupDriver { options.usesSystemd ? .systemd : .files }
}

enum StandardOutput {
    static func write(_ text: String) { try? Files.write(1, Array(text.utf8)) }
}
