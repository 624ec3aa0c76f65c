import JSON
import Linux
import Model
import Runtime

/// `update`: other limits for a container's cgroup.
enum UpdateCommand {
    private static let known = CommandOptions.Known(
        values: [
            "resources", "blkio-weight", "cpu-period", "cpu-quota", "cpu-burst", "cpu-share", "cpu-rt-period", "cpu-rt-runtime",
            "cpuset-cpus", "cpuset-mems", "cpu-idle", "kernel-memory", "kernel-memory-tcp", "memory", "memory-reservation",
            "memory-swap", "pids-limit", "l3-cache-schema", "mem-bw-schema",
        ], switches: ["memory-check-before-update"], short: [("r", "resources")])

    static func run(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try CommandOptions(arguments, known)
        let id = try options.onlyOperand("update")
        var state = try context.folder.load(id)
        guard let record = state.cgroup else {
            throw Fault(.unsupported, "container \(id) has no cgroup of its own", subject: id)
        }
        for name in ["l3-cache-schema", "mem-bw-schema"] where !(options.value(name) ?? "").isEmpty {
            throw Fault(.unsupported, "--\(name): intelRdt is not supported")
        }
        let resources = try options.value("resources").map { try fromFile($0, context) } ?? fromFlags(options)
        try Cgroup(record: record).apply(resources)
        state.spec.linux = state.spec.linux ?? OCI.Linux()
        let old = state.spec.linux?.resources ?? OCI.Resources()
        state.spec.linux?.resources = merge(old, resources)
        try context.folder.save(state)
        return 0
    }

    private static func fromFile(_ path: String, _ context: CommandContext) throws -> OCI.Resources {
        let bytes: [UInt8]
        do { bytes = try path == "-" ? Files.read(0, "stdin", limit: 1 << 20) : Files.read(path, limit: 1 << 20) } catch {
            throw Fault(.notFound, "cannot read the resources from \(path)", subject: path, cause: error)
        }
        return try BundleFile.read(bytes, path == "-" ? "stdin" : path, context.report)
    }

    private static func fromFlags(_ options: CommandOptions) throws -> OCI.Resources {
        var cpu = OCI.CPULimits()
        cpu.period = try options.integer("cpu-period")
        cpu.quota = try options.integer("cpu-quota")
        cpu.burst = try options.integer("cpu-burst")
        cpu.shares = try options.integer("cpu-share")
        cpu.realtimePeriod = try options.integer("cpu-rt-period")
        cpu.realtimeRuntime = try options.integer("cpu-rt-runtime")
        cpu.idle = try options.integer("cpu-idle")
        cpu.cpus = options.value("cpuset-cpus")
        cpu.mems = options.value("cpuset-mems")
        var memory = OCI.MemoryLimits()
        memory.limit = try bytes(options, "memory")
        memory.reservation = try bytes(options, "memory-reservation")
        memory.swap = try bytes(options, "memory-swap")
        memory.kernel = try bytes(options, "kernel-memory")
        memory.kernelTCP = try bytes(options, "kernel-memory-tcp")
        if options.has("memory-check-before-update") { memory.checkBeforeUpdate = true }
        var resources = OCI.Resources()
        if cpu != OCI.CPULimits() { resources.cpu = cpu }
        if memory != OCI.MemoryLimits() { resources.memory = memory }
        if let limit = try options.integer("pids-limit", Int64.self) { resources.pids = OCI.PidsLimit(limit: limit) }
        if let weight = try options.integer("blkio-weight", UInt16.self) { resources.blockIO = OCI.BlockIO(weight: weight) }
        return resources
    }

    /// A number with k, m, g, t (powers of 1024), or -1.
    package static func byteCount(_ text: String) -> Int64? {
        if text == "-1" { return -1 }
        var digits = text.lowercased()[...]
        if digits.hasSuffix("ib") { digits.removeLast(2) } else if digits.hasSuffix("b") { digits.removeLast() }
        let factor: Int64
        switch digits.last {
        case "k": factor = 1 << 10
        case "m": factor = 1 << 20
        case "g": factor = 1 << 30
        case "t": factor = 1 << 40
        default: factor = 1
        }
        if factor > 1 { digits.removeLast() }
        if let whole = Int64(digits), whole >= 0 {
            let (product, overflow) = whole.multipliedReportingOverflow(by: factor)
            return overflow ? nil : product
        }
        guard let fraction = Double(digits), fraction >= 0, fraction * Double(factor) < 9e18 else { return nil }
        return Int64(fraction * Double(factor))
    }

    private static func bytes(_ options: CommandOptions, _ name: String) throws -> Int64? {
        guard let text = options.value(name), !text.isEmpty else { return nil }
        guard let value = byteCount(text) else { throw Fault(.invalid, "invalid value for \(name): \"\(text)\"") }
        return value
    }

    /// What `exec` and a later `update` find in the state.
    private static func merge(_ old: OCI.Resources, _ new: OCI.Resources) -> OCI.Resources {
        var result = old
        result.memory = new.memory ?? old.memory
        result.cpu = new.cpu ?? old.cpu
        result.pids = new.pids ?? old.pids
        result.blockIO = new.blockIO ?? old.blockIO
        if !new.hugepageLimits.isEmpty { result.hugepageLimits = new.hugepageLimits }
        result.unified.merge(new.unified) { $1 }
        return result
    }
}
