import Client
import JSON
import Linux
import Model

enum VolumeCommands {
    static var listing: Listing<Docker.Volume> {
        Listing(
            type: "*formatter.volumeContext",
            columns: [
                .init("Name", "VOLUME NAME") { $0.name ?? "" }, .init("Driver", "DRIVER") { $0.driver ?? "" },
                .init("Scope", "SCOPE") { $0.scope ?? "" }, .init("Mountpoint", "MOUNTPOINT") { $0.mountpoint ?? "" },
                .init("Labels", "LABELS") { row in
                    (row.labels ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
                },
                .init("Label", "LABEL") { (row: Docker.Volume) -> TemplateValue in
                    .map((row.labels ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
                },
                .init("Links", "LINKS") { $0.usageData.map { String($0.refCount ?? 0) } ?? "N/A" },
                .init("Size", "SIZE") { $0.usageData.map { ByteSize.human(Double($0.size ?? 0)) } ?? "N/A" },
                .init("Availability", "AVAILABILITY") { _ in "N/A" }, .init("Group", "GROUP") { _ in "N/A" },
                .init("Status", "STATUS") { _ in "N/A" },
            ], standard: ["Driver", "Name"])
    }

    static let list = Command(
        "volume ls", aliases: ["volume list"], group: .hidden, "List volumes", usage: "[OPTIONS]", .none,
        flags: [ListFlags.filter, ListFlags.format, .bool("quiet", "q", "Only display volume names")]
    ) { invocation in
        let flags = invocation.flags
        let shape = try listing.shape(flags.string("format"))
        var query = Query()
        query.filters(try ListFlags.filters(flags))
        let answer: Docker.VolumeListResponse = try invocation.client().get("/volumes", query)
        let rows = (answer.volumes ?? []).sorted { ($0.name ?? "") < ($1.name ?? "") }
        if flags.bool("quiet"), flags.string("format") == nil {
            try Screen.out(rows.map { ($0.name ?? "") + "\n" }.joined())
        } else {
            try Screen.out(try listing.text(rows, shape))
        }
        return 0
    }

    static let create = Command(
        "volume create", group: .hidden, "Create a volume", usage: "[OPTIONS] [VOLUME]", .atMost(1),
        flags: [
            .string("driver", "d", "Specify volume driver name", shows: "\"local\""),
            .list("label", nil, "Set metadata for a volume"),
            .string("name", nil, "Specify volume name", hidden: true),
            .list("opt", "o", "Set driver specific options", type: "map", shows: "map[]"),
        ]
    ) { invocation in
        let flags = invocation.flags
        var body = Docker.VolumeCreateRequest()
        body.name = invocation.arguments.first ?? flags.string("name")
        body.driver = flags.string("driver")
        let options = KeyValues.dictionary(flags.list("opt"))
        if !options.isEmpty { body.driverOpts = options }
        let labels = KeyValues.dictionary(flags.list("label"))
        if !labels.isEmpty { body.labels = labels }
        let volume: Docker.Volume = try invocation.client().post("/volumes/create", json: body.json)
        try Screen.out((volume.name ?? "") + "\n")
        return 0
    }

    static let remove = Command(
        "volume rm", aliases: ["volume remove"], group: .hidden, "Remove one or more volumes",
        usage: "[OPTIONS] VOLUME [VOLUME...]", .atLeast(1),
        flags: [.bool("force", "f", "Force the removal of one or more volumes")], completes: [.volumes]
    ) { invocation in
        var query = Query()
        query.flag("force", invocation.flags.bool("force"))
        let client = try invocation.client()
        var faults: [String] = []
        for name in invocation.arguments {
            do {
                try client.call("DELETE", "/volumes/\(Query.path(name))", query)
                try Screen.out(name + "\n")
            } catch let refusal as EngineRefusal { faults.append(refusal.description) }
        }
        if !faults.isEmpty { Screen.error(faults.joined(separator: "\n") + "\n") }
        return faults.isEmpty ? 0 : 1
    }

    static let prune = PruneCommand.make(
        "volume prune", "volume", "/volumes/prune", "Remove unused local volumes",
        question: "This will remove anonymous local volumes not used by at least one container.", list: "VolumesDeleted",
        title: "Deleted Volumes:", all: "Remove all unused volumes, not just anonymous ones",
        allQuestion: "This will remove all local volumes not used by at least one container.", allFilter: ("all", "1"))
}
