import Client
import JSON
import Linux
import Model

enum AttachCommand {
    static let command = Command(
        "attach", aliases: ["container attach"],
        "Attach local standard input, output, and error streams to a running container",
        usage: "[OPTIONS] CONTAINER", .exactly(1),
        flags: [
            .string("detach-keys", nil, "Override the key sequence for detaching a container"),
            .bool("no-stdin", nil, "Do not attach STDIN"),
            .bool("sig-proxy", nil, "Proxy all received signals to the process", shows: "true"),
        ], completes: [.containers], run: run)

    @Sendable private static func run(_ invocation: Invocation) throws -> CInt {
        let flags = invocation.flags
        let client = try invocation.client()
        let keys = try DetachSequence.from(flags)
        let container = try client.get("/containers/\(Query.path(invocation.arguments[0]))/json", as: JSONValue.self)
        let state = container["State"]
        if state?["Running"]?.bool != true { throw FlagFault("You cannot attach to a stopped container, start it first") }
        if state?["Paused"]?.bool == true { throw FlagFault("You cannot attach to a paused container, unpause it first") }
        if state?["Restarting"]?.bool == true {
            throw FlagFault("You cannot attach to a restarting container, wait until it is running")
        }
        guard let id = container["Id"]?.string else { throw Fault(.system, "the engine's answer has no Id") }
        let hasTerminal = container["Config"]?["Tty"]?.bool == true
        let wantsInput = !flags.bool("no-stdin") && container["Config"]?["OpenStdin"]?.bool == true
        if wantsInput, hasTerminal, !StreamCalls.isTerminal(0) { throw FlagFault("the input device is not a TTY") }
        let watch = try ExitWatch(client, id: id, condition: "not-running")
        var query = Query([("stream", "1"), ("stdout", "1"), ("stderr", "1")])
        query.flag("stdin", wantsInput)
        let stream = try client.hijack("/containers/\(id)/attach", query)
        try watch.subscribed()
        let proxies = flags.bool("sig-proxy", default: true) && !hasTerminal
        return try ContainerStreams(client, id, hasTerminal: hasTerminal, proxies: proxies, keys: keys)
            .follow(stream, watch, stdin: wantsInput ? 0 : nil)
    }
}

enum StartCommand {
    static let command = Command(
        "start", aliases: ["container start"], "Start one or more stopped containers",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        .atLeast(1),
        flags: [
            .bool("attach", "a", "Attach STDOUT/STDERR and forward signals"),
            .string("detach-keys", nil, "Override the key sequence for detaching a container"),
            .bool("interactive", "i", "Attach container's STDIN"),
        ], completes: [.containers], run: run)

    @Sendable private static func run(_ invocation: Invocation) throws -> CInt {
        let flags = invocation.flags
        guard flags.bool("attach") || flags.bool("interactive") else {
            return try ManyContainers.each(
                invocation, "POST", "start", summary: { "Error: failed to start containers: " + $0.joined(separator: ", ") })
        }
        guard invocation.arguments.count == 1 else {
            throw FlagFault("you cannot start and attach multiple containers at once")
        }
        let client = try invocation.client()
        let keys = try DetachSequence.from(flags)
        let container = try client.get("/containers/\(Query.path(invocation.arguments[0]))/json", as: JSONValue.self)
        guard let id = container["Id"]?.string else { throw Fault(.system, "the engine's answer has no Id") }
        let hasTerminal = container["Config"]?["Tty"]?.bool == true
        let wantsInput = flags.bool("interactive") && container["Config"]?["OpenStdin"]?.bool == true
        if wantsInput, hasTerminal, !StreamCalls.isTerminal(0) { throw FlagFault("the input device is not a TTY") }
        var query = Query([("stream", "1"), ("stdout", "1"), ("stderr", "1")])
        query.flag("stdin", wantsInput)
        let opening = try client.beginHijack("/containers/\(id)/attach", query)
        let removes = container["HostConfig"]?["AutoRemove"]?.bool == true
        let watch = try ExitWatch(client, id: id, condition: removes ? "removed" : "next-exit")
        let stream = try client.finishHijack(opening)
        try watch.subscribed()
        try client.call("POST", "/containers/\(id)/start")
        return try ContainerStreams(client, id, hasTerminal: hasTerminal, proxies: !hasTerminal, keys: keys)
            .follow(stream, watch, stdin: wantsInput ? 0 : nil)
    }
}

package enum ExecCommand {
    package static let command = Command(
        "exec", aliases: ["container exec"], group: .common, "Execute a command in a running container",
        usage: "[OPTIONS] CONTAINER COMMAND [ARG...]", .atLeast(2), mixesFlags: false,
        flags: [
            .bool("detach", "d", "Detached mode: run command in the background"),
            .string("detach-keys", nil, "Override the key sequence for detaching a container"),
            .list("env", "e", "Set environment variables"),
            .list("env-file", nil, "Read in a file of environment variables", values: .files),
            .bool("interactive", "i", "Keep STDIN open even if not attached"),
            .bool("privileged", nil, "Give extended privileges to the command"),
            .bool("tty", "t", "Allocate a pseudo-TTY"),
            .string("user", "u", "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
            .string("workdir", "w", "Working directory inside the container"),
        ], completes: [.containers, .none], run: run)

    @Sendable private static func run(_ invocation: Invocation) throws -> CInt {
        let flags = invocation.flags
        let detached = flags.bool("detach")
        let hasTerminal = flags.bool("tty")
        let wantsInput = flags.bool("interactive") && !detached
        let keys = try DetachSequence.from(flags)
        if wantsInput, hasTerminal, !StreamCalls.isTerminal(0) { throw FlagFault("the input device is not a TTY") }
        var config = Docker.ExecConfig()
        config.attachStdin = wantsInput
        config.attachStdout = !detached
        config.attachStderr = !detached
        config.tty = hasTerminal
        config.cmd = Array(invocation.arguments.dropFirst())
        let environment = try KeyValues.environment(files: flags.list("env-file"), words: flags.list("env"))
        if !environment.isEmpty { config.env = environment }
        if flags.bool("privileged") { config.privileged = true }
        config.user = flags.string("user")
        config.workingDir = flags.string("workdir")
        config.detachKeys = flags.string("detach-keys")
        let size = hasTerminal && !detached ? TerminalCalls.size(1) : nil
        config.consoleSize = size.map { [$0.rows, $0.columns] }
        let client = try invocation.client()
        let answer: JSONValue = try client.post("/containers/\(Query.path(invocation.arguments[0]))/exec", json: config.json)
        guard let id = answer["Id"]?.string else { throw Fault(.system, "exec ID empty") }
        var start = Docker.ExecStartConfig()
        start.detach = detached
        start.tty = hasTerminal
        start.consoleSize = config.consoleSize
        if detached {
            try client.call("POST", "/exec/\(id)/start", body: .json(start.json))
            return 0
        }
        return try attached(client, id, start.json, hasTerminal: hasTerminal, wantsInput: wantsInput, keys)
    }

    private static func attached(
        _ client: EngineClient, _ id: String, _ start: [UInt8], hasTerminal: Bool, wantsInput: Bool, _ keys: [UInt8]
    ) throws -> CInt {
        let stream = try client.hijack("/exec/\(id)/start", json: start)
        let session = try AttachSession(
            stdin: wantsInput ? 0 : nil, multiplexed: !hasTerminal, terminal: hasTerminal, detachKeys: keys)
        defer { session.restore() }
        var reactions = AttachSession.Reactions()
        if hasTerminal { reactions.resize = { ContainerStreams.resize(client, "/exec/\(id)") } }
        reactions.resize?()
        if try session.run(stream, reactions) == .detached { return 0 }
        // The streams come from the shim itself: the engine may learn of the end a moment after this client.
        let deadline = FileCalls.monotonic + 10_000_000_000
        var pause = 0
        while true {
            let state = try client.get("/exec/\(id)/json", as: JSONValue.self)
            if state["Running"]?.bool != true || FileCalls.monotonic > deadline {
                return CInt(truncatingIfNeeded: state["ExitCode"]?.int ?? 1)
            }
            if pause > 0 { FileCalls.sleep(milliseconds: pause) }
            pause = min(pause + 1, 20)
        }
    }
}
