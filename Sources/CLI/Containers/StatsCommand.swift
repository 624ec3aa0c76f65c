import Client
import JSON
import Linux
import Model

enum StatsCommand {
    static let command = Command(
        "stats", aliases: ["container stats"], "Display a live stream of container(s) resource usage statistics",
        usage: "[OPTIONS] [CONTAINER...]", .atLeast(0),
        flags: [
            .bool("all", "a", "Show all containers (default shows just running)"), ListFlags.format,
            .bool("no-stream", nil, "Disable streaming stats and only pull the first result"),
            .bool("no-trunc", nil, "Do not truncate output"),
        ], completes: [.containers], run: run)

    @Sendable private static func run(_ invocation: Invocation) throws -> CInt {
        let flags = invocation.flags
        let client = try invocation.client()
        let listing = StatsRow.listing(full: flags.bool("no-trunc"))
        let shape = try listing.shape(flags.string("format"))
        var names = invocation.arguments
        let wantsAll = names.isEmpty
        if wantsAll { names = try containers(client, all: flags.bool("all")) }
        if flags.bool("no-stream") {
            var rows: [StatsRow] = []
            var faults: [String] = []
            let calls = names.map { ParallelCall("GET", "/containers/\(Query.path($0))/stats", Query([("stream", "false")])) }
            try client.parallel(calls) { index, result in
                do {
                    let stats = try EngineClient.decode(try result.get(), as: Docker.ContainerStatsResponse.self)
                    rows.append(StatsRow(name: names[index], stats: stats))
                } catch let refusal as EngineRefusal {
                    if !(wantsAll && refusal.isNotFound) { faults.append(refusal.description) }
                } catch { faults.append(CommandLineRun.text(error)) }
            }
            if !faults.isEmpty { throw ExitStatus(1, faults.joined(separator: "\n")) }
            try Screen.out(try listing.text(rows, shape))
            return 0
        }
        return try live(client, names, all: flags.bool("all"), follows: wantsAll, listing, shape)
    }

    private static func containers(_ client: EngineClient, all: Bool) throws -> [String] {
        var query = Query()
        query.flag("all", all)
        let rows: [Docker.ContainerSummary] = try client.get("/containers/json", query)
        return rows.compactMap { $0.id.map { Shortened.id($0) } }
    }

    private final class Feed {
        let name: String
        let connection: HTTPConnection
        var lines = JSONLines()
        var latest: StatsRow
        init(_ name: String, _ connection: HTTPConnection) {
            self.name = name
            self.connection = connection
            latest = StatsRow(name: name, stats: nil)
        }
    }

    /// One connection for each container, one screen twice a second.
    private static func live(
        _ client: EngineClient, _ names: [String], all: Bool, follows: Bool, _ listing: Listing<StatsRow>,
        _ shape: Listing<StatsRow>.Shape
    ) throws -> CInt {
        func open(_ name: String) throws -> Feed {
            Feed(name, try client.stream("GET", "/containers/\(Query.path(name))/stats", Query([("stream", "true")])))
        }
        var feeds = try names.map(open)
        let isTerminal = StreamCalls.isTerminal(1)
        var nextScreen: Int64 = 0
        var nextLook = FileCalls.monotonic + 2_000_000_000
        while true {
            let now = FileCalls.monotonic
            if now >= nextScreen {
                let text = try listing.text(feeds.map(\.latest), shape)
                try Screen.out((isTerminal ? "\u{1B}[H\u{1B}[2J" : "") + text)
                nextScreen = now + 500_000_000
            }
            if follows, now >= nextLook {
                nextLook = now + 2_000_000_000
                for name in try containers(client, all: all) where !feeds.contains(where: { $0.name == name }) {
                    if let feed = try? open(name) { feeds.append(feed) }
                }
            }
            if feeds.isEmpty, !follows { return 0 }
            let pause = CInt(max(1, (nextScreen - FileCalls.monotonic) / 1_000_000))
            guard let ready = try StreamCalls.wait(feeds.map { ($0.connection.descriptor, .read) }, milliseconds: pause) else {
                continue
            }
            var ended: [Int] = []
            for (index, readiness) in ready.enumerated() where readiness.readable || feeds[index].connection.hasBuffered {
                if try !take(feeds[index]) { ended.append(index) }
            }
            for index in ended.reversed() { feeds.remove(at: index) }
        }
    }

    /// False when the stream is over.
    private static func take(_ feed: Feed) throws -> Bool {
        repeat {
            let more: Void?
            do {
                more = try feed.connection.readBody { bytes in
                    try feed.lines.feed(bytes) { line in
                        let stats = try EngineClient.decode(line, as: Docker.ContainerStatsResponse.self)
                        feed.latest = StatsRow(name: feed.name, stats: stats)
                    }
                }
            } catch let fault as Fault where fault.kind == .unavailable { return false }
            if more == nil { return false }
        } while feed.connection.hasBuffered
        return true
    }
}

/// What `stats` shows of one container.
struct StatsRow {
    let name: String
    let stats: Docker.ContainerStatsResponse?

    static func listing(full: Bool) -> Listing<StatsRow> {
        Listing(
            type: "*container.statsContext",
            columns: [
                .init("Container", "CONTAINER") { $0.name },
                .init("ID", "CONTAINER ID") { Shortened.id($0.stats?.id ?? "--", full: full) },
                .init("Name", "NAME") { row in
                    let name = row.stats?.name ?? ""
                    return name.isEmpty ? "--" : String(name.drop { $0 == "/" })
                },
                .init("CPUPerc", "CPU %") { $0.cpu.map { GoText.fixed($0, 2) + "%" } ?? "--" },
                .init("MemUsage", "MEM USAGE / LIMIT") { row in
                    row.stats == nil ? "-- / --" : "\(ByteSize.binary(row.memory)) / \(ByteSize.binary(row.memoryLimit))"
                },
                .init("MemPerc", "MEM %") { row in
                    row.stats == nil
                        ? "--" : GoText.fixed(row.memoryLimit > 0 ? row.memory / row.memoryLimit * 100 : 0, 2) + "%"
                },
                .init("NetIO", "NET I/O") { row in row.stats == nil ? "--" : row.network },
                .init("BlockIO", "BLOCK I/O") { row in row.stats == nil ? "--" : row.disk },
                .init("PIDs", "PIDS") { row in row.stats.map { String($0.pidsStats?.current ?? 0) } ?? "--" },
            ], standard: ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"])
    }

    /// Of one processor, between this sample and the one before.
    private var cpu: Double? {
        guard let stats else { return nil }
        let used = Double(stats.cpuStats?.cpuUsage?.totalUsage ?? 0) - Double(stats.precpuStats?.cpuUsage?.totalUsage ?? 0)
        let system = Double(stats.cpuStats?.systemCpuUsage ?? 0) - Double(stats.precpuStats?.systemCpuUsage ?? 0)
        var count = Double(stats.cpuStats?.onlineCpus ?? 0)
        if count == 0 { count = Double(stats.cpuStats?.cpuUsage?.percpuUsage?.count ?? 0) }
        return system > 0 && used > 0 ? used / system * count * 100 : 0
    }

    /// Without the page cache that can be dropped, as docker counts.
    private var memory: Double {
        let usage = Double(stats?.memoryStats?.usage ?? 0)
        let details = stats?.memoryStats?.stats ?? [:]
        for key in ["total_inactive_file", "inactive_file"] {
            if let inactive = details[key].flatMap({ $0 }), Double(inactive) < usage { return usage - Double(inactive) }
        }
        return usage
    }

    private var memoryLimit: Double { Double(stats?.memoryStats?.limit ?? 0) }

    private var network: String {
        let all = (stats?.networks ?? [:]).values
        let received = all.reduce(0.0) { $0 + Double($1.rxBytes ?? 0) }
        let sent = all.reduce(0.0) { $0 + Double($1.txBytes ?? 0) }
        return "\(ByteSize.human(received)) / \(ByteSize.human(sent))"
    }

    private var disk: String {
        var read = 0.0
        var written = 0.0
        for entry in stats?.blkioStats?.ioServiceBytesRecursive ?? [] {
            switch entry.op?.lowercased() {
            case "read": read += Double(entry.value ?? 0)
            case "write": written += Double(entry.value ?? 0)
            default: break
            }
        }
        return "\(ByteSize.human(read)) / \(ByteSize.human(written))"
    }
}
