import JSON
import Linux
import Model
import Runtime

/// `events`: statistics, and kills for want of memory, as JSON lines.
enum EventsCommand {
    static func run(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try CommandOptions(arguments, CommandOptions.Known(values: ["interval"], switches: ["stats"]))
        let id = try options.onlyOperand("events")
        let interval = try options.value("interval").map(seconds) ?? 5
        guard interval > 0 else { throw Fault(.invalid, "duration interval must be greater than 0") }
        let state = try context.folder.load(id)
        guard state.isAlive else { throw Fault(.conflict, "container with id \(id) is not running", subject: id) }
        guard let record = state.cgroup else {
            throw Fault(.unsupported, "container \(id) has no cgroup of its own", subject: id)
        }
        let cgroup = Cgroup(record: record)
        if options.has("stats") {
            writeStats(id, cgroup)
            return 0
        }
        try follow(state, cgroup, milliseconds: CInt(clamping: Int(interval * 1000)))
        return 0
    }

    private static func follow(_ state: ContainerState, _ cgroup: Cgroup, milliseconds: CInt) throws {
        let pidfd = try Processes.open(state.pid)
        let kills = try cgroup.openOOMEvents()
        var count = kills.take()
        writeStats(state.id, cgroup)
        var next = KernelClock.monotonic + Int64(milliseconds) * 1_000_000
        while true {
            var entries = [PollEntry(pidfd.raw), PollEntry(kills.descriptor.raw)]
            let left = max(0, (next - KernelClock.monotonic + 999_999) / 1_000_000)
            try Polling.wait(&entries, milliseconds: CInt(clamping: left))
            if entries[1].hasInput || entries[1].isHungUp {
                let now = kills.take()
                if now > count { StandardOutput.write("{\"type\":\"oom\",\"id\":\(state.id.jsonText)}\n") }
                count = max(count, now)
            }
            if entries[0].hasInput { return }
            if KernelClock.monotonic >= next {
                writeStats(state.id, cgroup)
                next = KernelClock.monotonic + Int64(milliseconds) * 1_000_000
            }
        }
    }

    private static func writeStats(_ id: String, _ cgroup: Cgroup) {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("type", "stats")
            writer.member("id", id)
            writer.key("data")
            cgroup.writeRuncStats(to: &writer)
        }
        writer.newline()
        StandardOutput.write(writer.text)
    }

    /// Go's durations: `5s`, `500ms`, `1m30s`.
    package static func seconds(_ text: String) throws -> Double {
        var rest = text[...]
        var total = 0.0
        let units: [(String, Double)] = [("ms", 0.001), ("us", 1e-6), ("ns", 1e-9), ("h", 3600), ("m", 60), ("s", 1)]
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(digits.count)
            guard let number = Double(digits), let unit = units.first(where: { rest.hasPrefix($0.0) }) else {
                throw Fault(.invalid, "invalid value \"\(text)\" for flag -interval: a duration such as 5s")
            }
            rest = rest.dropFirst(unit.0.count)
            total += number * unit.1
        }
        return total
    }
}
