import Client
import JSON
import Linux
import Model

enum ListFlags {
    static let formatHelp =
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n"
        + "'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n"
        + "'TEMPLATE':         Print output using the given Go template."

    static var format: Flag { .string("format", nil, formatHelp) }
    static var filter: Flag { filter("f") }

    /// `prune` commands have no short form: -f is their --force.
    static func filter(_ short: Character?, _ help: String = "Filter output based on conditions provided") -> Flag {
        .list("filter", short, help, type: "filter", check: { _ = try ListFlags.pair($0) })
    }

    /// `name=value` of a --filter.
    static func pair(_ text: String) throws -> (String, String) {
        guard let (name, value) = GoText.cut(text, "=") else { throw FlagFault("bad format of filter (expected name=value)") }
        return (name.trimmingSpaces().lowercased(), value.trimmingSpaces())
    }

    static func filters(_ flags: Parsed) throws -> [(String, String)] { try flags.list("filter").map { try pair($0) } }
}

enum PsCommand {
    static let command = Command(
        "ps", aliases: ["container ls", "container list", "container ps"], group: .common, "List containers",
        usage: "[OPTIONS]", .none,
        flags: [
            .bool("all", "a", "Show all containers (default shows just running)"), ListFlags.filter, ListFlags.format,
            Flag("last", "n", .int, "Show n last created containers (includes all states)", shows: "-1"),
            .bool("latest", "l", "Show the latest created container (includes all states)"),
            .bool("no-trunc", nil, "Don't truncate output"),
            .bool("quiet", "q", "Only display container IDs"),
            .bool("size", "s", "Display total file sizes"),
        ], run: run)

    @Sendable private static func run(_ invocation: Invocation) throws -> CInt {
        let flags = invocation.flags
        let full = flags.bool("no-trunc")
        let listing = ContainerRows(full: full, now: FileCalls.now).listing
        var columns = listing.standard
        if flags.bool("size") { columns.append("Size") }
        let shape = try listing.shape(flags.string("format"), columns: columns)
        var query = Query()
        query.flag("all", flags.bool("all"))
        if flags.bool("latest") {
            query.add("limit", "1")
        } else if let last = flags.int("last"), last > 0 {
            query.add("limit", String(last))
        }
        var wantsSize = flags.bool("size")
        if case .template(let template) = shape, template.mentions("Size") { wantsSize = true }
        if case .templateTable(let template) = shape, template.mentions("Size") { wantsSize = true }
        query.flag("size", wantsSize)
        query.filters(try ListFlags.filters(flags))
        let rows: [Docker.ContainerSummary] = try invocation.client().get("/containers/json", query)
        if flags.bool("quiet"), flags.string("format") == nil {
            try Screen.out(rows.map { Shortened.id($0.id ?? "", full: full) + "\n" }.joined())
        } else {
            try Screen.out(try listing.text(rows, shape))
        }
        return 0
    }
}

/// Containers as rows.
package struct ContainerRows {
    let full: Bool
    let now: Int64

    /// Sizes with what the image has too.
    let showsVirtual: Bool

    package init(full: Bool, now: Int64, showsVirtual: Bool = true) {
        self.full = full
        self.now = now
        self.showsVirtual = showsVirtual
    }

    package var listing: Listing<Docker.ContainerSummary> {
        Listing(
            type: "*formatter.ContainerContext",
            columns: [
                .init("ID", "CONTAINER ID") { Shortened.id($0.id ?? "", full: full) },
                .init("Image", "IMAGE", image),
                .init("Command", "COMMAND") { GoText.quote(full ? $0.command ?? "" : Shortened.text($0.command ?? "", 20)) },
                .init("CreatedAt", "CREATED AT") { HumanTime.full(seconds: Int64($0.created ?? 0)) },
                .init("RunningFor", "CREATED") { HumanTime.ago(seconds: Int64($0.created ?? 0), now: now) },
                .init("Ports", "PORTS") { PortsText.text($0.ports ?? []) },
                .init("State", "STATE") { $0.state ?? "" },
                .init("Status", "STATUS") { $0.status ?? "" },
                .init("Size", "SIZE", size),
                .init("Names", "NAMES", names),
                .init("Labels", "LABELS") { row in
                    (row.labels ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
                },
                .init("Label", "LABEL") { (row: Docker.ContainerSummary) -> TemplateValue in
                    .map((row.labels ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
                },
                .init("Mounts", "MOUNTS", mounts),
                .init("LocalVolumes", "LOCAL VOLUMES") { row in String((row.mounts ?? []).filter { $0.driver == "local" }.count)
                },
                .init("Networks", "NETWORKS") { row in
                    (row.networkSettings?.networks ?? [:]).keys.sorted().joined(separator: ",")
                },
            ], standard: ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"])
    }

    private func image(_ row: Docker.ContainerSummary) -> String {
        let name = row.image ?? ""
        if name.isEmpty { return "<no image>" }
        if full { return name }
        if name.hasPrefix("sha256:") { return Shortened.id(name) }
        return GoText.cut(name, "@").map { $0.before } ?? name
    }

    private func names(_ row: Docker.ContainerSummary) -> String {
        (row.names ?? []).map { $0.hasPrefix("/") ? String($0.dropFirst()) : $0 }.filter { full || !$0.contains("/") }.joined(
            separator: ",")
    }

    private func size(_ row: Docker.ContainerSummary) -> String {
        let own = ByteSize.human(Double(row.sizeRw ?? 0))
        let whole = row.sizeRootFs ?? 0
        return showsVirtual && whole > 0 ? "\(own) (virtual \(ByteSize.human(Double(whole))))" : own
    }

    private func mounts(_ row: Docker.ContainerSummary) -> String {
        (row.mounts ?? []).map { mount in
            let name = mount.name?.isEmpty == false ? mount.name ?? "" : mount.source ?? ""
            return full ? name : Shortened.text(name, 15)
        }.joined(separator: ",")
    }
}
