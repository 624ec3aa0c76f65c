import Client
import JSON
import Linux
import Model

enum SystemCommands {
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
        question += "  - all networks not used by at least one container\n"
        if flags.bool("volumes") { question += "  - all anonymous volumes not used by at least one container\n" }
        question += all ? "  - all images without at least one container associated to them\n" : "  - all dangling images\n"
        question += all ? "  - all build cache\n" : "  - unused build cache\n"
        let wanted = flags.list("filter")
        if !wanted.isEmpty {
            question += "\n  Items to be pruned will be filtered with:\n" + wanted.map { "  - \($0)\n" }.joined()
        }
        guard try PruneCommand.confirm(flags, question) else { return 0 }
        let client = try invocation.client()
        let filters = try ListFlags.filters(flags)
        // Docker's words: volumes have no age.
        if flags.bool("volumes"), filters.contains(where: { $0.0 == "until" }) {
            throw ExitStatus(1, #"ERROR: The "until" filter is not supported with "--volumes""#)
        }
        var freed = try PruneCommand.prune(
            client, "/containers/prune", filters, all: false, "ContainersDeleted", "Deleted Containers:")
        _ = try PruneCommand.prune(client, "/networks/prune", filters, all: false, "NetworksDeleted", "Deleted Networks:")
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
            "use `skiff bootstrap`, `skiff import` or `skiff commit`")
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
