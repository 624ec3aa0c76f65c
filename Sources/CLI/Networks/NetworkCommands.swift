import Client
import JSON
import Linux
import Model

enum NetworkCommands {
    static let list = Command(
        "network ls", aliases: ["network list"], group: .hidden, "List networks", usage: "[OPTIONS]", .none,
        flags: [
            ListFlags.filter, ListFlags.format, .bool("no-trunc", nil, "Do not truncate the output"),
            .bool("quiet", "q", "Only display network IDs"),
        ]
    ) { invocation in
        let flags = invocation.flags
        let full = flags.bool("no-trunc")
        let listing = Listing<JSONValue>(
            type: "*network.networkContext",
            columns: [
                .init("ID", "NETWORK ID") { Shortened.id($0["Id"]?.string ?? "", full: full) },
                .init("Name", "NAME") { $0["Name"]?.string ?? "" },
                .init("Driver", "DRIVER") { $0["Driver"]?.string ?? "" }, .init("Scope", "SCOPE") { $0["Scope"]?.string ?? "" },
                .init("IPv4", "IPV4") { String($0["EnableIPv4"]?.bool ?? true) },
                .init("IPv6", "IPV6") { String($0["EnableIPv6"]?.bool ?? false) },
                .init("Internal", "INTERNAL") { String($0["Internal"]?.bool ?? false) },
                .init("Labels", "LABELS") { row in
                    (row["Labels"]?.members ?? []).map { "\($0.key)=\($0.value.string ?? "")" }.sorted().joined(separator: ",")
                },
                .init("CreatedAt", "CREATED AT") { $0["Created"]?.string ?? "" },
            ], standard: ["ID", "Name", "Driver", "Scope"])
        let shape = try listing.shape(flags.string("format"))
        var query = Query()
        query.filters(try ListFlags.filters(flags))
        let networks: [JSONValue] = try invocation.client().get("/networks", query)
        let rows = networks.sorted { ($0["Name"]?.string ?? "") < ($1["Name"]?.string ?? "") }
        if flags.bool("quiet"), flags.string("format") == nil {
            try Screen.out(rows.map { Shortened.id($0["Id"]?.string ?? "", full: full) + "\n" }.joined())
        } else {
            try Screen.out(try listing.text(rows, shape))
        }
        return 0
    }
}
