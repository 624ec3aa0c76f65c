import Client
import JSON
import Linux
import Model

enum InfoCommand {
    static let command = Command(
        "info", aliases: ["system info"], group: .common, "Display system-wide information", usage: "[OPTIONS]", .none,
        flags: [
            .string(
                "format", "f",
                "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template."
            )
        ]
    ) { invocation in
        let format = invocation.flags.string("format") ?? ""
        let info = try invocation.client().get("/info", as: JSONValue.self)
        if format.isEmpty {
            try Screen.out(text(info))
        } else {
            let template = format == "json" ? nil : try Template(Listing<Int>.unescaped(format))
            try Screen.out((try template?.run(TemplateValue(info)) ?? info.jsonText) + "\n")
        }
        return 0
    }

    private static func text(_ info: JSONValue) -> String {
        var lines = ["Client:", " Version:    \(Version.text)", " Context:    default", " Debug Mode: false", "", "Server:"]
        func add(_ label: String, _ key: String) {
            switch info[key] {
            case .string(let text)? where !text.isEmpty: lines.append("\(label): \(text)")
            case .number(let digits)?: lines.append("\(label): \(digits)")
            case .bool(let on)?: lines.append("\(label): \(on)")
            default: break
            }
        }
        add(" Containers", "Containers")
        add("  Running", "ContainersRunning")
        add("  Paused", "ContainersPaused")
        add("  Stopped", "ContainersStopped")
        add(" Images", "Images")
        add(" Server Version", "ServerVersion")
        add(" Storage Driver", "Driver")
        for pair in info["DriverStatus"]?.array ?? [] { lines.append("  \(pair[0]?.string ?? ""): \(pair[1]?.string ?? "")") }
        add(" Logging Driver", "LoggingDriver")
        add(" Cgroup Driver", "CgroupDriver")
        add(" Cgroup Version", "CgroupVersion")
        func words(_ value: JSONValue?) -> String { (value?.array ?? []).compactMap(\.string).joined(separator: " ") }
        if let plugins = info["Plugins"] {
            lines.append(" Plugins:")
            for kind in ["Volume", "Network", "Authorization", "Log"] where !words(plugins[kind]).isEmpty {
                lines.append("  \(kind): \(words(plugins[kind]))")
            }
        }
        if let state = info["Swarm"]?["LocalNodeState"]?.string {
            lines.append(" Swarm: \(state.isEmpty ? "inactive" : state)")
        }
        if let runtimes = info["Runtimes"]?.members {
            lines.append(" Runtimes: " + runtimes.map(\.key).sorted().joined(separator: " "))
        }
        add(" Default Runtime", "DefaultRuntime")
        add(" Init Binary", "InitBinary")
        lines += security(info)
        add(" Kernel Version", "KernelVersion")
        add(" Operating System", "OperatingSystem")
        add(" OSType", "OSType")
        add(" Architecture", "Architecture")
        add(" CPUs", "NCPU")
        if let memory = info["MemTotal"]?.int { lines.append(" Total Memory: \(ByteSize.binary(Double(memory)))") }
        add(" Name", "Name")
        add(" ID", "ID")
        add(" Root Dir", "DockerRootDir")
        add(" Debug Mode", "Debug")
        add(" Experimental", "ExperimentalBuild")
        add(" Live Restore Enabled", "LiveRestoreEnabled")
        for warning in info["Warnings"]?.array ?? [] { lines.append(warning.string ?? "") }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func security(_ info: JSONValue) -> [String] {
        let options = (info["SecurityOptions"]?.array ?? []).compactMap(\.string)
        guard !options.isEmpty else { return [] }
        return [" Security Options:"]
            + options.flatMap { option -> [String] in
                let pairs = option.split(separator: ",").compactMap { GoText.cut(String($0), "=") }
                let name = pairs.first { $0.before == "name" }?.after ?? option
                return ["  " + name]
                    + pairs.filter { $0.before != "name" }.map {
                        "   \($0.before.prefix(1).uppercased() + $0.before.dropFirst()): \($0.after)"
                    }
            }
    }
}
