import Client
import JSON
import Linux
import Model

enum LogsCommand {
    static let command = Command(
        "logs", aliases: ["container logs"], "Fetch the logs of a container", usage: "[OPTIONS] CONTAINER", .exactly(1),
        flags: [
            .bool("details", nil, "Show extra details provided to logs"),
            .bool("follow", "f", "Follow log output"),
            .string(
                "since", nil,
                "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"),
            .string("tail", "n", "Number of lines to show from the end of the logs", shows: "\"all\""),
            .bool("timestamps", "t", "Show timestamps"),
            .string(
                "until", nil,
                "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"),
        ], completes: [.containers]
    ) { invocation in
        let flags = invocation.flags
        var options = LogFollower.Options()
        options.follow = flags.bool("follow")
        options.timestamps = flags.bool("timestamps")
        options.details = flags.bool("details")
        options.tail = flags.string("tail") ?? "all"
        let now = FileCalls.now
        do { options.since = try TimeArgument.parse(flags.string("since") ?? "", now: now) } catch let fault as FlagFault {
            throw FlagFault("invalid value for \"since\": " + fault.message)
        }
        do { options.until = try TimeArgument.parse(flags.string("until") ?? "", now: now) } catch let fault as FlagFault {
            throw FlagFault("invalid value for \"until\": " + fault.message)
        }
        var follower = LogFollower(
            try invocation.client(), container: invocation.arguments[0], options: options, output: OutputStreams())
        try follower.run()
        return 0
    }
}

enum TopCommand {
    static let command = Command(
        "top", aliases: ["container top"], "Display the running processes of a container", usage: "CONTAINER [ps OPTIONS]",
        .atLeast(1),
        mixesFlags: false, completes: [.containers]
    ) { invocation in
        var query = Query()
        query.add(ifSet: "ps_args", invocation.arguments.dropFirst().joined(separator: " "))
        let answer: Docker.ContainerTopResponse = try invocation.client()
            .get("/containers/\(Query.path(invocation.arguments[0]))/top", query)
        let rows = [answer.titles ?? []] + (answer.processes ?? [])
        try Screen.out(TabbedText.align(rows.map { $0.joined(separator: "\t") }, minimum: 20, padding: 3))
        return 0
    }
}

enum PortCommand {
    static let command = Command(
        "port", aliases: ["container port"], "List port mappings or a specific mapping for the container",
        usage: "CONTAINER [PRIVATE_PORT[/PROTO]]", .between(1, 2), completes: [.containers, .none]
    ) { invocation in
        let name = invocation.arguments[0]
        let container = try invocation.client().get("/containers/\(Query.path(name))/json", as: JSONValue.self)
        let ports = container["NetworkSettings"]?["Ports"]?.members ?? []
        func line(_ binding: JSONValue) -> String {
            let address = binding["HostIp"]?.string ?? ""
            return (address.contains(":") ? "[\(address)]" : address) + ":" + (binding["HostPort"]?.string ?? "")
        }
        var lines: [String] = []
        if invocation.arguments.count == 2 {
            let wanted = invocation.arguments[1].contains("/") ? invocation.arguments[1] : invocation.arguments[1] + "/tcp"
            lines = (ports.first { $0.key == wanted }?.value.array ?? []).map(line)
            if lines.isEmpty { throw FlagFault("Error: No public port '\(invocation.arguments[1])' published for \(name)") }
        } else {
            for port in ports { lines += (port.value.array ?? []).map { "\(port.key) -> \(line($0))" } }
            lines.sort { natural($0) < natural($1) }
        }
        try Screen.out(lines.map { $0 + "\n" }.joined())
        return 0
    }

    private static func natural(_ line: String) -> String {
        let digits = line.prefix { $0.isNumber }
        return GoText.pad(Int(digits) ?? 0, 6) + line.dropFirst(digits.count)
    }
}

enum CommitCommand {
    static let command = Command(
        "commit", aliases: ["container commit"], "Create a new image from a container's changes",
        usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", .between(1, 2),
        flags: [
            .string("author", "a", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"),
            .list("change", "c", "Apply Dockerfile instruction to the created image"),
            .string("message", "m", "Commit message"),
            .bool("pause", "p", "Pause container during commit", shows: "true"),
        ], completes: [.containers, .images]
    ) { invocation in
        let flags = invocation.flags
        var query = Query([("container", invocation.arguments[0])])
        if invocation.arguments.count > 1 {
            do { _ = try Reference(invocation.arguments[1]) } catch let fault as Fault { throw FlagFault(fault.message) }
            let (repository, tag) = ImageName.split(invocation.arguments[1])
            query.add("repo", repository)
            query.add("tag", tag)
        }
        query.add(ifSet: "author", flags.string("author") ?? "")
        query.add(ifSet: "comment", flags.string("message") ?? "")
        for change in flags.list("change") { query.add("changes", change) }
        if !flags.bool("pause", default: true) { query.add("pause", "0") }
        let client = try invocation.client()
        let origin = CommitOrigin(client, invocation.arguments[0])
        let answer: JSONValue = try client.post("/commit", query, json: origin.settings)
        try Screen.out((answer["Id"]?.string ?? "") + "\n")
        origin.remark(changes: flags.list("change"))
        return 0
    }
}

/// What the image of a `commit` is made of, and what is worth saying about it.
private struct CommitOrigin {
    private let container: JSONValue?
    private let image: JSONValue?

    init(_ client: EngineClient, _ name: String) {
        container = try? client.get("/containers/\(Query.path(name))/json")
        image = container?["Image"]?.string.flatMap { try? client.get("/images/\(Query.path($0))/json") }
    }

    private static func words(_ value: JSONValue?) -> [String] { (value?.array ?? []).compactMap(\.string) }

    /// The container was given another entrypoint than its image's: for a look inside, not for all that come after.
    private var hasForeignEntrypoint: Bool {
        guard let container, let image else { return false }
        return Self.words(container["Config"]?["Entrypoint"]) != Self.words(image["Config"]?["Entrypoint"])
    }

    /// The request's body: with the image's own entrypoint where the container's is foreign.
    var settings: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            guard hasForeignEntrypoint else { return }
            writer.member("Entrypoint", Self.words(image?["Config"]?["Entrypoint"]))
            writer.member("Cmd", Self.words(image?["Config"]?["Cmd"]))
        }
        return writer.bytes
    }

    func remark(changes: [String]) {
        let sets = changes.contains { $0.trimmingSpaces().uppercased().hasPrefix("ENTRYPOINT") }
        if hasForeignEntrypoint, !sets {
            let own = Self.words(container?["Config"]?["Entrypoint"]).jsonText
            Screen.error(
                "NOTE: the image keeps its entrypoint, the container's own \(own) is not taken over; -c 'ENTRYPOINT \(own)' sets it\n"
            )
        }
        let mounts = (container?["Mounts"]?.array ?? []).filter { $0["Type"]?.string != "tmpfs" }
        guard !mounts.isEmpty else { return }
        let names = mounts.map { mount in
            let place = mount["Destination"]?.string ?? ""
            return mount["Name"]?.string.map { "\(place) (volume \($0))" } ?? "\(place) (\(mount["Source"]?.string ?? ""))"
        }
        Screen.error("WARNING: what is mounted is not in the image: \(names.joined(separator: ", "))\n")
    }
}

enum DiffCommand {
    static let command = Command(
        "diff", aliases: ["container diff"], "Inspect changes to files or directories on a container's filesystem",
        usage: "CONTAINER",
        .exactly(1), completes: [.containers]
    ) { invocation in
        let changes: [Docker.FilesystemChange] = try EngineClient.decode(
            try invocation.client().call("GET", "/containers/\(Query.path(invocation.arguments[0]))/changes"))
        let letters = ["C", "A", "D"]
        let lines = changes.map { change in
            let kind = change.kind ?? 0
            return "\(letters.indices.contains(kind) ? letters[kind] : "?") \(change.path ?? "")\n"
        }
        try Screen.out(lines.joined())
        return 0
    }
}
