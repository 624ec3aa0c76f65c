import Client
import JSON
import Linux
import Model

/// Commands that change the state of containers.
enum LifecycleCommands {
    private static let several = "[OPTIONS] CONTAINER [CONTAINER...]"

    static let stop = Command(
        "stop", aliases: ["container stop"], "Stop one or more running containers", usage: several, .atLeast(1),
        flags: stopFlags, completes: [.containers]
    ) { try ManyContainers.each($0, "POST", "stop", stopQuery($0.flags)) }

    static let restart = Command(
        "restart", aliases: ["container restart"], "Restart one or more containers", usage: several, .atLeast(1),
        flags: stopFlags, completes: [.containers]
    ) { try ManyContainers.each($0, "POST", "restart", stopQuery($0.flags)) }

    private static var stopFlags: [Flag] {
        [
            .string("signal", "s", "Signal to send to the container"),
            Flag("timeout", "t", .int, "Seconds to wait before killing the container"),
            Flag("time", nil, .int, "Seconds to wait before killing the container (deprecated: use --timeout)", hidden: true),
        ]
    }

    private static func stopQuery(_ flags: Parsed) -> Query {
        var query = Query()
        query.add(ifSet: "signal", flags.string("signal") ?? "")
        if let time = flags.int("timeout") ?? flags.int("time") { query.add("t", String(time)) }
        return query
    }

    static let kill = Command(
        "kill", aliases: ["container kill"], "Kill one or more running containers", usage: several, .atLeast(1),
        flags: [.string("signal", "s", "Signal to send to the container")], completes: [.containers]
    ) { invocation in
        var query = Query()
        query.add(ifSet: "signal", invocation.flags.string("signal") ?? "")
        return try ManyContainers.each(invocation, "POST", "kill", query)
    }

    static let pause = Command(
        "pause", aliases: ["container pause"], "Pause all processes within one or more containers",
        usage: "CONTAINER [CONTAINER...]",
        .atLeast(1), completes: [.containers]
    ) { try ManyContainers.each($0, "POST", "pause") }

    static let unpause = Command(
        "unpause", aliases: ["container unpause"], "Unpause all processes within one or more containers",
        usage: "CONTAINER [CONTAINER...]",
        .atLeast(1), completes: [.containers]
    ) { try ManyContainers.each($0, "POST", "unpause") }

    static let wait = Command(
        "wait", aliases: ["container wait"], "Block until one or more containers stop, then print their exit codes",
        usage: "CONTAINER [CONTAINER...]", .atLeast(1), completes: [.containers]
    ) { invocation in
        try ManyContainers.each(
            invocation, "POST", "wait",
            prints: { _, answer in
                let value = try EngineClient.decode(answer, as: JSONValue.self)
                if let message = value["Error"]?["Message"]?.string, !message.isEmpty { throw Fault(.system, message) }
                return String(value["StatusCode"]?.int ?? 0)
            })
    }

    static let remove = Command(
        "rm", aliases: ["container rm", "container remove"], "Remove one or more containers", usage: several, .atLeast(1),
        flags: [
            .bool("force", "f", "Force the removal of a running container (uses SIGKILL)"),
            .bool("link", "l", "Remove the specified link"),
            .bool("volumes", "v", "Remove anonymous volumes associated with the container"),
        ], completes: [.containers]
    ) { invocation in
        let flags = invocation.flags
        var query = Query()
        query.flag("v", flags.bool("volumes"))
        query.flag("link", flags.bool("link"))
        query.flag("force", flags.bool("force"))
        let names = invocation.arguments.map { $0.hasPrefix("/") ? String($0.drop { $0 == "/" }) : $0 }
        guard !names.contains("") else { throw FlagFault("container name cannot be empty") }
        return try ManyContainers.each(
            invocation, "DELETE", "", query, names: names, forgives: { flags.bool("force") && $0.isNotFound })
    }

    static let rename = Command(
        "rename", aliases: ["container rename"], "Rename a container", usage: "CONTAINER NEW_NAME", .exactly(2),
        completes: [.containers, .none]
    ) { invocation in
        let (old, new) = (invocation.arguments[0], invocation.arguments[1])
        guard !old.isEmpty, !new.isEmpty else { throw FlagFault("Error: Neither old nor new names may be empty") }
        do { try invocation.client().call("POST", "/containers/\(Query.path(old))/rename", Query([("name", new)])) } catch let
            refusal as EngineRefusal
        { throw ExitStatus(1, "\(refusal)\nError: failed to rename container named \(old)") }
        return 0
    }

    static let update = Command(
        "update", aliases: ["container update"], "Update configuration of one or more containers", usage: several, .atLeast(1),
        flags: [
            Flag("blkio-weight", nil, .uint16, "Block IO (relative weight), between 10 and 1000, or 0 to disable", shows: "0"),
            Flag("cpu-period", nil, .int, "Limit CPU CFS (Completely Fair Scheduler) period"),
            Flag("cpu-quota", nil, .int, "Limit CPU CFS (Completely Fair Scheduler) quota"),
            Flag("cpu-rt-period", nil, .int, "Limit the CPU real-time period in microseconds"),
            Flag("cpu-rt-runtime", nil, .int, "Limit the CPU real-time runtime in microseconds"),
            Flag("cpu-shares", "c", .int, "CPU shares (relative weight)"),
            Flag("cpus", nil, .decimal, "Number of CPUs"),
            .string("cpuset-cpus", nil, "CPUs in which to allow execution (0-3, 0,1)"),
            .string("cpuset-mems", nil, "MEMs in which to allow execution (0-3, 0,1)"),
            Flag("memory", "m", .bytes, "Memory limit"),
            Flag("memory-reservation", nil, .bytes, "Memory soft limit"),
            Flag("memory-swap", nil, .bytes, "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
            Flag("pids-limit", nil, .int, "Tune container pids limit (set -1 for unlimited)"),
            .string("restart", nil, "Restart policy to apply when a container exits"),
        ], completes: [.containers]
    ) { invocation in
        let body = try updateBody(invocation.flags)
        return try ManyContainers.each(
            invocation, "POST", "update", body: .json(body.json),
            prints: { name, answer in
                let value = try EngineClient.decode(answer, as: JSONValue.self)
                for warning in value["Warnings"]?.array ?? [] { Screen.error((warning.string ?? "") + "\n") }
                return name
            })
    }

    private static func updateBody(_ flags: Parsed) throws -> Docker.ContainerUpdateRequest {
        guard !flags.given.isEmpty else { throw FlagFault("you must provide one or more flags when using this command") }
        var body = Docker.ContainerUpdateRequest()
        body.blkioWeight = flags.int("blkio-weight")
        body.cpuPeriod = flags.int("cpu-period")
        body.cpuQuota = flags.int("cpu-quota")
        body.cpuRealtimePeriod = flags.int("cpu-rt-period")
        body.cpuRealtimeRuntime = flags.int("cpu-rt-runtime")
        body.cpuShares = flags.int("cpu-shares")
        body.nanoCpus = try flags.string("cpus").map { try NanoCPUs.parse($0) }
        body.cpusetCpus = flags.string("cpuset-cpus")
        body.cpusetMems = flags.string("cpuset-mems")
        body.memory = flags.bytes("memory")
        body.memoryReservation = flags.bytes("memory-reservation")
        body.memorySwap = flags.bytes("memory-swap")
        body.pidsLimit = flags.int("pids-limit")
        body.restartPolicy = try flags.string("restart").map { try RestartSpec.parse($0) }
        return body
    }

    static let prune = PruneCommand.make(
        "container prune", "containers", "/containers/prune", "Remove all stopped containers",
        question: "This will remove all stopped containers.", list: "ContainersDeleted", title: "Deleted Containers:")
}

/// Commands that remove what nobody uses.
enum PruneCommand {
    static func make(
        _ name: String, _ noun: String, _ path: String, _ summary: String, question: String, list: String, title: String,
        all: String? = nil, allQuestion: String? = nil, allFilter: (String, String) = ("dangling", "false")
    ) -> Command {
        Command(
            name, group: .hidden, summary, usage: "[OPTIONS]", .none,
            flags: [ListFlags.filter(nil), .bool("force", "f", "Do not prompt for confirmation")]
                + (all.map { [.bool("all", "a", $0)] } ?? [])
        ) { invocation in
            let asked = all != nil && invocation.flags.bool("all") ? allQuestion ?? question : question
            guard try confirm(invocation.flags, "WARNING! " + asked) else { return 0 }
            let freed = try prune(
                invocation.client(), path, try ListFlags.filters(invocation.flags), all: invocation.flags.bool("all"), list,
                title, allFilter: allFilter)
            try Screen.out("Total reclaimed space: \(ByteSize.human(Double(freed), digits: 4))\n")
            return 0
        }
    }

    static func confirm(_ flags: Parsed, _ question: String) throws -> Bool {
        if flags.bool("force") { return true }
        try Screen.out(question + "\nAre you sure you want to continue? [y/N] ")
        var line: [UInt8] = []
        var byte = [UInt8](repeating: 0, count: 1)
        while line.count < 64, try byte.withUnsafeMutableBytes({ try StreamCalls.read(0, into: $0) }) == 1, byte[0] != 0x0A {
            line.append(byte[0])
        }
        return ["y", "Y", "yes"].contains(String(decoding: line, as: UTF8.self).trimmingSpaces())
    }

    /// Freed bytes.
    static func prune(
        _ client: EngineClient, _ path: String, _ filters: [(String, String)], all: Bool, _ list: String, _ title: String,
        allFilter: (String, String) = ("dangling", "false")
    ) throws -> Int {
        var query = Query()
        query.filters(filters + (all ? [allFilter] : []))
        let answer: JSONValue = try client.post(path, query)
        let removed = answer[list]?.array ?? []
        if !removed.isEmpty {
            let lines = removed.map { item in
                item.string ?? item["Untagged"]?.string.map { "untagged: " + $0 } ?? item["Deleted"]?.string.map {
                    "deleted: " + $0
                } ?? ""
            }
            try Screen.out(title + "\n" + lines.map { $0 + "\n" }.joined() + "\n")
        }
        return answer["SpaceReclaimed"]?.int ?? 0
    }
}
