import Client
import JSON
import Linux
import Model

enum SystemCommands {
    private struct UsageRow {
        let type: String
        let total: Int
        let active: Int
        let size: Int
        let reclaimable: Int
        let hasPercent: Bool
    }

    static let diskUsage = Command(
        "system df", group: .hidden, "Show disk usage", usage: "[OPTIONS]", .none, flags: [ListFlags.format]
    ) { invocation in
        let listing = Listing<UsageRow>(
            type: "*formatter.diskUsageContext",
            columns: [
                .init("Type", "TYPE") { $0.type }, .init("TotalCount", "TOTAL") { String($0.total) },
                .init("Active", "ACTIVE") { String($0.active) },
                .init("Size", "SIZE") { ByteSize.human(Double($0.size), digits: 4) },
                .init("Reclaimable", "RECLAIMABLE") { row in
                    let text = ByteSize.human(Double(row.reclaimable), digits: 4)
                    return row.hasPercent && row.size > 0 ? "\(text) (\(row.reclaimable * 100 / row.size)%)" : text
                },
            ], standard: ["Type", "TotalCount", "Active", "Size", "Reclaimable"])
        let shape = try listing.shape(invocation.flags.string("format"))
        let usage = try invocation.client().get("/system/df", as: JSONValue.self)
        try Screen.out(try listing.text(rows(usage), shape))
        return 0
    }

    private static func rows(_ usage: JSONValue) -> [UsageRow] {
        let images = usage["Images"]?.array ?? []
        let usedImages = images.filter { ($0["Containers"]?.int ?? 0) > 0 }
        let layers = usage["LayersSize"]?.int ?? images.reduce(0) { $0 + ($1["Size"]?.int ?? 0) }
        let used = usedImages.reduce(0) { $0 + (($1["Size"]?.int ?? 0) - max(0, $1["SharedSize"]?.int ?? 0)) }
        let containers = usage["Containers"]?.array ?? []
        func isActive(_ container: JSONValue) -> Bool {
            ["running", "paused", "restarting"].contains(container["State"]?.string ?? "")
        }
        func size(_ container: JSONValue) -> Int { container["SizeRw"]?.int ?? 0 }
        let volumes = usage["Volumes"]?.array ?? []
        func volumeSize(_ volume: JSONValue) -> Int { max(0, volume["UsageData"]?["Size"]?.int ?? 0) }
        func isUsed(_ volume: JSONValue) -> Bool { (volume["UsageData"]?["RefCount"]?.int ?? 0) > 0 }
        let cache = usage["BuildCache"]?.array ?? []
        let cacheSize = cache.reduce(0) { $0 + ($1["Size"]?.int ?? 0) }
        return [
            UsageRow(
                type: "Images", total: images.count, active: usedImages.count, size: layers, reclaimable: max(0, layers - used),
                hasPercent: true),
            UsageRow(
                type: "Containers", total: containers.count, active: containers.filter(isActive).count,
                size: containers.reduce(0) { $0 + size($1) },
                reclaimable: containers.filter { !isActive($0) }.reduce(0) { $0 + size($1) }, hasPercent: true),
            UsageRow(
                type: "Local Volumes", total: volumes.count, active: volumes.filter(isUsed).count,
                size: volumes.reduce(0) { $0 + volumeSize($1) },
                reclaimable: volumes.filter { !isUsed($0) }.reduce(0) { $0 + volumeSize($1) }, hasPercent: true),
            UsageRow(
                type: "Build Cache", total: cache.count, active: 0, size: cacheSize, reclaimable: cacheSize, hasPercent: false),
        ]
    }

    static let prune = Command(
        "system prune", group: .hidden, "Remove unused data", usage: "[OPTIONS]", .none,
        flags: [
            .bool("all", "a", "Remove all unused images not just dangling ones"), ListFlags.filter(nil),
            .bool("force", "f", "Do not prompt for confirmation"), .bool("volumes", nil, "Prune anonymous volumes"),
        ]
    ) { invocation in
        let flags = invocation.flags
        let all = flags.bool("all")
        var question = "WARNING! This will remove:\n  - all stopped containers\n"
        if flags.bool("volumes") { question += "  - all anonymous volumes not used by at least one container\n" }
        question += all ? "  - all images without at least one container associated to them\n" : "  - all dangling images\n"
        guard try PruneCommand.confirm(flags, question) else { throw ExitStatus(1, "system prune has been cancelled") }
        let client = try invocation.client()
        let filters = try ListFlags.filters(flags)
        var freed = try PruneCommand.prune(
            client, "/containers/prune", filters, all: false, "ContainersDeleted", "Deleted Containers:")
        if flags.bool("volumes") {
            freed += try PruneCommand.prune(client, "/volumes/prune", filters, all: false, "VolumesDeleted", "Deleted Volumes:")
        }
        freed += try PruneCommand.prune(client, "/images/prune", filters, all: all, "ImagesDeleted", "Deleted Images:")
        try Screen.out("Total reclaimed space: \(ByteSize.human(Double(freed), digits: 4))\n")
        return 0
    }
}

/// Docker commands that this engine does not have yet: they say so by name.
enum MissingCommands {
    static let all: [Command] = [
        make(
            "build", aliases: ["image build"], "Build an image from a Dockerfile",
            "use `skiff bootstrap`, `skiff import` or `skiff commit`"),
        make("pull", aliases: ["image pull"], "Download an image from a registry", "use `skiff load` or `skiff bootstrap`"),
        make("push", aliases: ["image push"], "Upload an image to a registry", "use `skiff save`"),
        make("login", "Authenticate to a registry", nil), make("logout", "Log out from a registry", nil),
        make("search", "Search a registry for images", nil),
        make(
            "cp", aliases: ["container cp"], "Copy files/folders between a container and the local filesystem",
            "use `skiff exec` with tar"),
    ]

    private static func make(_ name: String, aliases: [String] = [], _ summary: String, _ instead: String?) -> Command {
        Command(
            name, aliases: aliases, group: .plain, summary + " (not built yet)", usage: "[OPTIONS] [ARG...]", .atLeast(0),
            mixesFlags: false
        ) { _ in
            throw ExitStatus(1, "skiff: \(name) is not built yet" + (instead.map { ": " + $0 } ?? ""))
        }
    }
}
