import Client
import JSON
import Linux
import Model

/// `system df`: docker's tables, and what the engine's folder holds that no record names.
enum DiskUsageCommand {
    private struct UsageRow {
        let type: String
        let total: Int
        let active: Int
        let size: Int
        let reclaimable: Int
        let hasPercent: Bool
    }

    static let command = Command(
        "system df", group: .hidden, "Show disk usage", usage: "[OPTIONS]", .none,
        flags: [ListFlags.format, .bool("verbose", "v", "Show detailed information on space usage")]
    ) { invocation in
        let format = invocation.flags.string("format") ?? ""
        let isVerbose = invocation.flags.bool("verbose")
        if isVerbose, !format.isEmpty, format != "table" {
            let template = format == "json" ? nil : try Template(Listing<Int>.unescaped(format))
            let usage = try invocation.client().get("/system/df", as: JSONValue.self)
            let shown = try VerboseUsage(usage).record()
            try Screen.out((try template?.run(TemplateValue(shown)) ?? shown.jsonText) + "\n")
            return 0
        }
        let shape = try listing.shape(format.isEmpty ? nil : format)
        let usage = try invocation.client().get("/system/df", as: JSONValue.self)
        if isVerbose {
            try Screen.out(try VerboseUsage(usage).text())
        } else {
            try Screen.out(try listing.text(rows(usage, withOurs: format.isEmpty || format == "table"), shape))
        }
        return 0
    }

    private static var listing: Listing<UsageRow> {
        Listing(
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
    }

    private static func rows(_ usage: JSONValue, withOurs: Bool) -> [UsageRow] {
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
        var rows = [
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
        if withOurs, let kinds = usage["Skiff"]?["Kinds"] {
            let count = kinds["unaccounted"]?["Count"]?.int ?? 0
            let bytes = kinds["unaccounted"]?["Bytes"]?.int ?? 0
            rows.append(
                UsageRow(type: "Unaccounted", total: count, active: 0, size: bytes, reclaimable: bytes, hasPercent: false))
        }
        return rows
    }
}

/// `system df -v`: a table for each kind, then every byte below the data root by what it belongs to.
private struct VerboseUsage {
    let usage: JSONValue

    init(_ usage: JSONValue) { self.usage = usage }

    private func list<T: JSONReadable>(_ key: String, as type: T.Type) throws -> [T] {
        try usage[key].map { try EngineClient.decode(Array($0.jsonText.utf8), as: [T].self) } ?? []
    }

    /// One line for an image, under its first name.
    private func images() throws -> [ImageRows.Row] {
        try list("Images", as: Docker.ImageSummary.self).compactMap { ImageRows.rows([$0], digests: false).first }
    }

    /// The rows as `--format json` has them, by kind.
    func record() throws -> JSONValue {
        let now = FileCalls.now
        func rows<Row>(_ listing: Listing<Row>, _ rows: [Row]) throws -> JSONValue {
            let lines = try listing.text(rows, .json).split(separator: "\n").joined(separator: ",")
            return try EngineClient.decode(Array("[\(lines)]".utf8))
        }
        return .object([
            .init(key: "Images", value: try rows(ImageRows(full: true, now: now).listing, try images())),
            .init(
                key: "Containers",
                value: try rows(
                    ContainerRows(full: false, now: now, showsVirtual: false).listing,
                    try list("Containers", as: Docker.ContainerSummary.self))),
            .init(key: "Volumes", value: try rows(VolumeCommands.listing, try list("Volumes", as: Docker.Volume.self))),
            .init(key: "BuildCache", value: .array([])),
        ])
    }

    func text() throws -> String {
        let now = FileCalls.now
        var text = "Images space usage:\n\n"
        text += try ImageRows(full: false, now: now).listing.text(
            try images(), .table(["Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"]))
        let containers = ContainerRows(full: false, now: now, showsVirtual: false).listing
        text += "\nContainers space usage:\n\n"
        text += try containers.text(
            try list("Containers", as: Docker.ContainerSummary.self),
            .table(["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"]))
        text += "\nLocal Volumes space usage:\n\n"
        text += try VolumeCommands.listing.text(try list("Volumes", as: Docker.Volume.self), .table(["Name", "Links", "Size"]))
        let cache = (usage["BuildCache"]?.array ?? []).reduce(0) { $0 + ($1["Size"]?.int ?? 0) }
        text += "\nBuild cache usage: \(ByteSize.human(Double(cache), digits: 4))\n\n"
        text += TabbedText.align(["CACHE ID\tCACHE TYPE\tSIZE\tCREATED\tLAST USED\tUSAGE\tSHARED"])
        if let ours = usage["Skiff"] { text += self.ours(ours) }
        return text
    }

    private func ours(_ ours: JSONValue) -> String {
        let names = [
            "database": "State file", "blob": "Contents", "partialBlob": "Unfinished contents",
            "blobRecord": "Records of contents", "layer": "Layers",
            "mergedLayer": "Merged layers", "chain": "Flattened layers", "container": "Containers", "volume": "Volumes",
            "temporary": "Work in progress",
            "deleting": "Being removed", "house": "Folders and lock", "unaccounted": "Unaccounted",
        ]
        var lines = ["BELONGS TO\tCOUNT\tSIZE"]
        for member in ours["Kinds"]?.members ?? [] {
            let size = ByteSize.human(Double(member.value["Bytes"]?.int ?? 0), digits: 4)
            lines.append("\(names[member.key] ?? member.key)\t\(member.value["Count"]?.int ?? 0)\t\(size)")
        }
        let total = ByteSize.human(Double(ours["Total"]?.int ?? 0), digits: 4)
        var text = "\nData root usage: \(total)\n\n" + TabbedText.align(lines)
        let unaccounted = ours["Unaccounted"]?.array ?? []
        if !unaccounted.isEmpty {
            text += "\nPaths that no record names (skiff system check --repair removes what is the engine's):\n"
            for item in unaccounted {
                text += "  \(item["Path"]?.string ?? "") (\(ByteSize.human(Double(item["Bytes"]?.int ?? 0))))\n"
            }
        }
        return text
    }
}
