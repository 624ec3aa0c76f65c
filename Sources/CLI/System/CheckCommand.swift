import Client
import JSON
import Linux
import Model

/// `system check`: verifies everything at rest, and mends it; with --host what the kernel has and lacks.
enum CheckCommand {
    static let command = Command(
        "system check", group: .hidden, "Verify stored images, containers and volumes; --repair mends them", usage: "[OPTIONS]",
        .none,
        flags: [
            .bool(
                "repair", nil, "Mend what can be mended without asking anybody; nothing is deleted that cannot be made again"),
            .bool("host", nil, "Show what this machine's kernel has and lacks instead"),
            .string("format", nil, "Format output: 'table' (default) or 'json'", values: .words(["table", "json"])),
            .bool("quiet", "q", "No progress"),
        ],
        details: """
            Reads every stored content and compares its digest and size, makes the tar of every unpacked layer again and compares its
            digest, and looks for records without files, files without records, references to missing things, and damage in the
            state file. For each damage it says which images and containers are affected and what it takes to mend it.

            The exit status is 0 when everything is sound (or was mended), 1 when something is damaged.
            """, run: run)

    @Sendable private static func run(_ invocation: Invocation) throws -> CInt {
        let flags = invocation.flags
        let format = flags.string("format") ?? "table"
        guard ["table", "json"].contains(format) else { throw FlagFault("--format is table or json") }
        let client = try invocation.client()
        if flags.bool("host") { return try host(client, format) }
        let repair = flags.bool("repair")
        let connection = try client.stream(
            repair ? "POST" : "GET", "/skiff/v1/system/check", repair ? Query([("repair", "1")]) : Query(),
            headers: repair ? invocation.allCredentialHeaders() : [])
        let report = try receive(connection, showsProgress: !flags.bool("quiet") && StreamCalls.isTerminal(2))
        if format == "json" {
            try Screen.out(report.indented() + "\n")
        } else {
            try Screen.out(text(report))
        }
        return report["sound"]?.bool == true ? 0 : 1
    }

    /// Reads to the end; progress goes to a terminal's error stream, in one line.
    private static func receive(_ connection: HTTPConnection, showsProgress: Bool) throws -> JSONValue {
        var line: [UInt8] = []
        var report: JSONValue?
        var isShown = false
        while true {
            let more: Void? = try connection.readBody { bytes in
                for byte in bytes {
                    guard byte == 0x0A else {
                        line.append(byte)
                        continue
                    }
                    let message = try EngineClient.decode(line, as: JSONValue.self)
                    line.removeAll(keepingCapacity: true)
                    if let error = message["error"]?.string { throw Fault(.system, error) }
                    report = message["report"] ?? report
                    if showsProgress, let progress = message["progress"] {
                        isShown = true
                        Screen.error("\r\u{1B}[2K" + self.progress(progress))
                    }
                }
            }
            if more == nil { break }
        }
        if isShown { Screen.error("\r\u{1B}[2K") }
        guard let report else { throw Fault(.system, "the engine ended the check without a report") }
        return report
    }

    private static func progress(_ progress: JSONValue) -> String {
        let (done, total) = (progress["done"]?.int ?? 0, progress["total"]?.int ?? 0)
        let percent = total > 0 ? done * 100 / total : 0
        return "checking \(percent)% \(progress["what"]?.string ?? "")"
    }

    private static func text(_ report: JSONValue) -> String {
        func count(_ key: String) -> Int { report["checked"]?[key]?.int ?? 0 }
        func words(_ key: String, _ one: String) -> String { "\(count(key)) \(count(key) == 1 ? one : one + "s")" }
        var text = "Checked: \(words("images", "image")), \(words("layers", "layer")), \(words("blobs", "content")), "
        text += "\(words("containers", "container")), \(words("volumes", "volume")); "
        text += "\(ByteSize.human(Double(count("bytes")))) read\n"
        let damages = report["damages"]?.array ?? []
        if damages.isEmpty { return text + "Nothing is damaged.\n" }
        for damage in damages {
            func names(_ key: String) -> String { (damage[key]?.array ?? []).compactMap(\.string).joined(separator: ", ") }
            text += "\n\(damage["kind"]?.string ?? "") \(damage["subject"]?.string ?? "")\n"
            text += "  problem:    \(damage["problem"]?.string ?? "")\n"
            if !names("images").isEmpty { text += "  images:     \(names("images"))\n" }
            if !names("containers").isEmpty { text += "  containers: \(names("containers"))\n" }
            if let repaired = damage["repaired"]?.string {
                text += "  repaired:   \(repaired)\n"
            } else {
                text += "  remedy:     \(damage["remedy"]?.string ?? "")\n"
            }
        }
        let left = damages.filter { $0["repaired"] == nil }.count
        return text + "\n\(damages.count) damaged, \(damages.count - left) repaired, \(left) left\n"
    }

    private static func host(_ client: EngineClient, _ format: String) throws -> CInt {
        let features = try client.get("/skiff/v1/system/host", as: JSONValue.self)
        if format == "json" {
            try Screen.out(features.indented() + "\n")
            return 0
        }
        var lines = ["FEATURE\tSTATUS\tDETAIL\tWHAT DOES NOT WORK"]
        for feature in features.array ?? [] {
            let cells = ["name", "status", "detail", "without"].map { feature[$0]?.string ?? "" }
            lines.append(cells.joined(separator: "\t"))
        }
        try Screen.out(TabbedText.align(lines))
        return 0
    }
}
