import JSON
import Linux
import Model
import Runtime

/// `state`, `list` and `ps`.
enum ListCommands {
    static func state(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let id = try CommandOptions(arguments, CommandOptions.Known()).onlyOperand("state")
        let row = ContainerRow(try context.folder.load(id), context.options.root, showsOwner: false)
        StandardOutput.write(try JSONValue(json: row.json).indented(by: "  "))
        return 0
    }

    static func list(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try CommandOptions(
            arguments, CommandOptions.Known(values: ["format"], switches: ["quiet"], short: [("f", "format"), ("q", "quiet")]))
        guard options.operands.isEmpty else { throw UsageFault("list", "\"list\" requires exactly 0 argument(s)") }
        var rows: [ContainerRow] = []
        for id in try context.folder.list() {
            do { rows.append(ContainerRow(try context.folder.load(id), context.options.root, showsOwner: true)) } catch {
                context.report(.error, "load container \(id): \(error)")
            }
        }
        if options.has("quiet") {
            StandardOutput.write(rows.map { $0.state.id + "\n" }.joined())
            return 0
        }
        switch options.value("format") ?? "table" {
        case "table":
            var table = TextTable(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"])
            for row in rows {
                table.add([
                    row.state.id, String(row.pid), row.status.rawValue, row.state.bundle, row.state.created.description,
                    row.owner,
                ])
            }
            StandardOutput.write(table.text)
        case "json":
            var writer = JSONWriter()
            if rows.isEmpty { writer.null() } else { rows.write(to: &writer) }
            writer.newline()
            StandardOutput.write(writer.text)
        default: throw Fault(.invalid, "invalid format option")
        }
        return 0
    }

    static func ps(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try CommandOptions(
            arguments, CommandOptions.Known(values: ["format"], short: [("f", "format")], interspersed: false))
        guard let id = options.operands.first else { throw UsageFault("ps", "\"ps\" requires a minimum of 1 argument") }
        let state = try context.folder.load(id)
        let pids = state.cgroup.map { Cgroup(record: $0).processes() } ?? (state.isAlive ? [state.pid] : [])
        switch options.value("format") ?? "table" {
        case "json":
            var writer = JSONWriter()
            pids.sorted().write(to: &writer)
            writer.newline()
            StandardOutput.write(writer.text)
        case "table":
            var words = options.operands.dropFirst().drop { $0 == "--" }
            if words.isEmpty { words = ["-ef"] }
            StandardOutput.write(try ProcessListing.filtered(Array(words), Set(pids)))
        default: throw Fault(.invalid, "invalid format option")
        }
        return 0
    }
}

/// One container as `state` and `list` show it.
private struct ContainerRow: JSONWritable {
    let state: ContainerState
    let status: OCI.Status
    let pid: CInt
    let owner: String

    init(_ state: ContainerState, _ root: String, showsOwner: Bool) {
        self.state = state
        status = state.status(stateRoot: root)
        pid = status == .stopped ? 0 : state.pid
        owner = showsOwner ? UserNames.name(of: state.owner) : ""
    }

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("ociVersion", state.spec.ociVersion)
            writer.member("id", state.id)
            writer.member("pid", pid)
            writer.member("status", status.rawValue)
            writer.member("bundle", state.bundle)
            let root = state.spec.root?.path ?? ""
            writer.member("rootfs", root.hasPrefix("/") ? root : state.bundle + "/" + root)
            writer.member("created", state.created)
            writer.member("annotations", unlessEmpty: state.spec.annotations)
            writer.member("owner", owner)
        }
    }
}

/// Names from /etc/passwd, read as a file: the name service does not work in a static program.
enum UserNames {
    static func name(of user: UInt32) -> String {
        guard let bytes = try? Files.read("/etc/passwd", limit: 1 << 20) else { return "#\(user)" }
        for line in bytes.split(separator: 0x0A) {
            let fields = line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            if fields.count > 2, UInt32(String(decoding: fields[2], as: UTF8.self)) == user {
                return String(decoding: fields[0], as: UTF8.self)
            }
        }
        return "#\(user)"
    }
}

/// Columns as Go's tabwriter aligns them: at least 12 wide, three spaces between.
struct TextTable {
    private var rows: [[String]]
    init(_ head: [String]) { rows = [head] }
    mutating func add(_ row: [String]) { rows.append(row) }

    var text: String {
        guard let columns = rows.first?.count else { return "" }
        let widths = (0..<columns).map { column in max(12, (rows.map { $0[column].count }.max() ?? 0) + 3) }
        return rows.map { row in
            row.indices.map { column in
                column == columns - 1
                    ? row[column] : row[column] + String(repeating: " ", count: widths[column] - row[column].count)
            }.joined() + "\n"
        }.joined()
    }
}

/// The machine's ps(1), of whose lines only those of the container are shown.
private enum ProcessListing {
    static func filtered(_ arguments: [String], _ pids: Set<CInt>) throws -> String {
        guard let program = ["/bin/ps", "/usr/bin/ps"].first(where: { Files.isExecutable($0) }) else {
            throw Fault(.unsupported, "ps is not installed on this machine: use --format json")
        }
        let output = try Files.memory("ps")
        let pid = try Processes.spawn(program, ["ps"] + arguments, ProcessEnvironment.all, streams: [0, output.raw, 2])
        guard let ended = try Processes.reap(pid, wait: true), ended.status == .exited(0) else {
            throw Fault(.invalid, "ps \(arguments.joined(separator: " ")) failed")
        }
        let text = String(decoding: try Files.readFromStart(output.raw, limit: 8 << 20), as: UTF8.self)
        let lines = text.split(separator: "\n")
        guard let head = lines.first else { return "" }
        guard let column = head.split(separator: " ").firstIndex(of: "PID") else {
            throw Fault(.invalid, "couldn't find PID field in ps output")
        }
        let rows = lines.dropFirst().filter { line in
            let fields = line.split(separator: " ")
            return fields.count > column && CInt(fields[column]).map(pids.contains) ?? false
        }
        return ([head] + rows).map { $0 + "\n" }.joined()
    }
}
