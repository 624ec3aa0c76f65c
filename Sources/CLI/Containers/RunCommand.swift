import Client
import JSON
import Linux
import Model

package enum RunCommand {
    static let command = Command(
        "run", aliases: ["container run"], group: .common, "Create and run a new container from an image",
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]", .atLeast(1), mixesFlags: false, flags: RunFlags.run, completes: [.images]
    ) { invocation in try RunFault.wrap(invocation) { try run(invocation) } }

    package static let create = Command(
        "create", aliases: ["container create"], "Create a new container", usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        .atLeast(1),
        mixesFlags: false, flags: RunFlags.create, completes: [.images]
    ) { invocation in
        try RunFault.wrap(invocation) {
            var request = try CreateRequest(invocation.flags)
            let id = try ContainerCreation(invocation, &request).create()
            try Screen.out(id + "\n")
            return 0
        }
    }

    private static func run(_ invocation: Invocation) throws -> CInt {
        let flags = invocation.flags
        let detached = flags.bool("detach")
        let keys = try DetachSequence.from(flags)
        var request = try CreateRequest(flags, detached: detached)
        if !detached, request.body.attachStdin == true, request.hasTerminal, !StreamCalls.isTerminal(0) {
            throw ExitStatus(1, "the input device is not a TTY")
        }
        if request.hasTerminal, let size = TerminalCalls.size(1) {
            request.body.hostConfig?.consoleSize = [size.rows, size.columns]
        }
        let id = try ContainerCreation(invocation, &request).create()
        let client = try invocation.client()
        if detached {
            try client.call("POST", "/containers/\(id)/start")
            try Screen.out(id + "\n")
            return 0
        }
        return try attached(client, id, request, keys, proxies: flags.bool("sig-proxy", default: true))
    }

    private static func attached(
        _ client: EngineClient, _ id: String, _ request: CreateRequest, _ keys: [UInt8], proxies: Bool
    ) throws -> CInt {
        let body = request.body
        let wantsStreams = body.attachStdin == true || body.attachStdout == true || body.attachStderr == true
        var query = Query([("stream", "1")])
        query.flag("stdin", body.attachStdin == true && request.isInteractive)
        query.flag("stdout", body.attachStdout == true)
        query.flag("stderr", body.attachStderr == true)
        // Both subscriptions stand before the start: nothing is missed, and no exit comes too early.
        let opening = wantsStreams ? try client.beginHijack("/containers/\(id)/attach", query) : nil
        let watch = try ExitWatch(client, id: id, condition: request.autoRemove ? "removed" : "next-exit")
        let stream = try opening.map { try client.finishHijack($0) }
        try watch.subscribed()
        do { try client.call("POST", "/containers/\(id)/start") } catch {
            // With --rm the engine removes it: then the name is free again when this command has ended.
            if request.autoRemove, let descriptor = watch.descriptor {
                _ = try? StreamCalls.wait([(descriptor, .read)], milliseconds: 5_000)
            }
            throw error
        }
        return try ContainerStreams(client, id, hasTerminal: request.hasTerminal, proxies: proxies, keys: keys)
            .follow(stream, watch, stdin: body.attachStdin == true && request.isInteractive ? 0 : nil)
    }
}

/// The detach keys of a command line.
enum DetachSequence {
    static func from(_ flags: Parsed) throws -> [UInt8] {
        guard let text = flags.string("detach-keys"), !text.isEmpty else { return DetachKeys.standard }
        guard let keys = DetachKeys.parse(text) else {
            throw FlagFault("invalid detach keys (\(text)): unknown character or key")
        }
        return keys
    }
}

/// Joins this process's streams to a running container's, and gives its exit code.
struct ContainerStreams {
    private let client: EngineClient
    private let id: String
    private let hasTerminal: Bool
    private let proxies: Bool
    private let keys: [UInt8]

    init(_ client: EngineClient, _ id: String, hasTerminal: Bool, proxies: Bool, keys: [UInt8]) {
        self.client = client
        self.id = id
        self.hasTerminal = hasTerminal
        self.proxies = proxies
        self.keys = keys
    }

    /// 0 when the user detached.
    func follow(_ stream: HTTPConnection?, _ watch: ExitWatch, stdin: CInt?) throws -> CInt {
        let session = try AttachSession(stdin: stdin, multiplexed: !hasTerminal, terminal: hasTerminal, detachKeys: keys)
        defer { session.restore() }
        let reactions = self.reactions
        if hasTerminal { reactions.resize?() }
        if let stream, try session.run(stream, reactions, watch: watch) == .detached { return 0 }
        let code = try session.wait(for: watch, reactions)
        return CInt(truncatingIfNeeded: code)
    }

    var reactions: AttachSession.Reactions {
        let client = client
        let path = "/containers/\(Query.path(id))"
        var reactions = AttachSession.Reactions()
        if proxies {
            reactions.forward = { signal in
                let name = SignalCalls.name(signal).map { "SIG" + $0 } ?? String(signal)
                _ = try? client.call("POST", path + "/kill", Query([("signal", name)]))
            }
        }
        if hasTerminal { reactions.resize = { Self.resize(client, path) } }
        return reactions
    }

    static func resize(_ client: EngineClient, _ path: String) {
        guard let size = TerminalCalls.size(1) else { return }
        _ = try? client.call("POST", path + "/resize", Query([("h", String(size.rows)), ("w", String(size.columns))]))
    }
}

/// Errors of `run` and `create`: docker's layout and exit statuses.
package enum RunFault {
    static func wrap(_ invocation: Invocation, _ body: () throws -> CInt) throws -> CInt {
        do { return try body() } catch let exit as ExitStatus { throw exit } catch let fault as Fault
            where fault.kind == .cancelled
        {
            throw fault
        } catch {
            // Docker's `create` shows an engine's refusal as other commands do.
            if invocation.command.name == "create", !(error is FlagFault) { throw error }
            let text = CommandLineRun.text(error)
            throw ExitStatus(
                error is EngineRefusal ? status(text) : 125,
                "skiff: \(text)\n\nRun 'skiff \(invocation.spelling) --help' for more information")
        }
    }

    /// Docker tells a command that is missing from one that cannot be executed by the engine's words.
    package static func status(_ text: String) -> CInt {
        let missing = ["executable file not found", "no such file or directory", "system cannot find the file specified"]
        if missing.contains(where: { text.contains(text: $0) }) { return 127 }
        if ["permission denied", "is a directory"].contains(where: { text.contains(text: $0) }),
            !text.contains(text: "trying to connect")
        {
            return 126
        }
        return 125
    }
}
