import JSON
import Linux
import Model

extension Cgroup {
    /// What the container has used up to now. Files that are not there leave their fields empty.
    public func stats(at now: Timestamp) -> ContainerStats {
        var stats = ContainerStats(readAt: now)
        stats.cpu = cpuStats()
        if let entry = entry(with: "memory") {
            stats.memory = entry.isUnified ? unifiedMemory(entry) : legacyMemory(entry)
        }
        if let entry = entry(with: "pids") {
            stats.pids.current = entry.number("pids.current") ?? 0
            stats.pids.limit = entry.limit("pids.max")
        }
        if let entry = entry(with: "blkio") {
            stats.blockIO = legacyBlockIO(entry)
        } else if let entry = entry(with: "io") {
            stats.blockIO = unifiedBlockIO(entry)
        }
        return stats
    }

    private func cpuStats() -> ContainerStats.CPU {
        var cpu = ContainerStats.CPU()
        if entry(with: "cpuacct") == nil, let entry = unified {
            let values = entry.keyed("cpu.stat")
            cpu.total = (values["usage_usec"] ?? 0) &* 1000
            cpu.user = (values["user_usec"] ?? 0) &* 1000
            cpu.kernel = (values["system_usec"] ?? 0) &* 1000
            cpu.periods = values["nr_periods"] ?? 0
            cpu.throttledPeriods = values["nr_throttled"] ?? 0
            cpu.throttledTime = (values["throttled_usec"] ?? 0) &* 1000
            return cpu
        }
        if let entry = entry(with: "cpuacct") {
            cpu.total = entry.number("cpuacct.usage") ?? 0
            cpu.user = entry.number("cpuacct.usage_user") ?? 0
            cpu.kernel = entry.number("cpuacct.usage_sys") ?? 0
            cpu.perProcessor = entry.words("cpuacct.usage_percpu").compactMap { UInt64($0) }
        }
        if let entry = entry(with: "cpu") {
            let values = entry.keyed("cpu.stat")
            cpu.periods = values["nr_periods"] ?? 0
            cpu.throttledPeriods = values["nr_throttled"] ?? 0
            cpu.throttledTime = values["throttled_time"] ?? 0
        }
        return cpu
    }

    private func legacyMemory(_ entry: CgroupRecord.Entry) -> ContainerStats.Memory {
        var memory = ContainerStats.Memory()
        memory.usage = entry.number("memory.usage_in_bytes") ?? 0
        memory.maximumUsage = entry.number("memory.max_usage_in_bytes")
        memory.limit = entry.limit("memory.limit_in_bytes")
        memory.failures = entry.number("memory.failcnt") ?? 0
        memory.details = entry.keyed("memory.stat")
        memory.swapUsage = entry.number("memory.memsw.usage_in_bytes").map { $0 > memory.usage ? $0 - memory.usage : 0 }
        return memory
    }

    private func unifiedMemory(_ entry: CgroupRecord.Entry) -> ContainerStats.Memory {
        var memory = ContainerStats.Memory()
        memory.usage = entry.number("memory.current") ?? 0
        memory.maximumUsage = entry.number("memory.peak")
        memory.limit = entry.limit("memory.max")
        memory.failures = entry.keyed("memory.events")["max"] ?? 0
        memory.details = entry.keyed("memory.stat")
        memory.swapUsage = entry.number("memory.swap.current")
        return memory
    }

    /// `8:0 Read 4096`; the recursive files count the cgroups below as well.
    private func legacyBlockIO(_ entry: CgroupRecord.Entry) -> ContainerStats.BlockIO {
        var block = ContainerStats.BlockIO()
        func read(_ files: [String]) -> [ContainerStats.BlockIO.Entry] {
            for file in files {
                let rows = entry.lines(file).compactMap { line -> ContainerStats.BlockIO.Entry? in
                    let parts = line.split(separator: " ")
                    guard parts.count == 3, let device = Self.device(parts[0]), let value = UInt64(parts[2]) else { return nil }
                    return .init(
                        major: device.major, minor: device.minor, operation: parts[1].lowercased(), value: value)
                }
                if !rows.isEmpty { return rows }
            }
            return []
        }
        block.bytes = read([
            "blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes",
        ])
        block.operations = read([
            "blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced",
        ])
        return block
    }

    /// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`
    private func unifiedBlockIO(_ entry: CgroupRecord.Entry) -> ContainerStats.BlockIO {
        var block = ContainerStats.BlockIO()
        for line in entry.lines("io.stat") {
            let parts = line.split(separator: " ")
            guard let first = parts.first, let device = Self.device(first) else { continue }
            for part in parts.dropFirst() {
                let pair = part.split(separator: "=")
                guard pair.count == 2, let value = UInt64(pair[1]) else { continue }
                func row(_ operation: String) -> ContainerStats.BlockIO.Entry {
                    .init(major: device.major, minor: device.minor, operation: operation, value: value)
                }
                switch pair[0] {
                case "rbytes": block.bytes.append(row("read"))
                case "wbytes": block.bytes.append(row("write"))
                case "dbytes": block.bytes.append(row("discard"))
                case "rios": block.operations.append(row("read"))
                case "wios": block.operations.append(row("write"))
                case "dios": block.operations.append(row("discard"))
                default: break
                }
            }
        }
        return block
    }

    private static func device(_ text: Substring) -> (major: UInt32, minor: UInt32)? {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else { return nil }
        return (major, minor)
    }
}

extension CgroupRecord.Entry {
    func number(_ file: String) -> UInt64? { CgroupFile.number(path + "/" + file) }

    /// Nil is no limit: `max`, and what v1 says in its place.
    func limit(_ file: String) -> UInt64? { number(file).flatMap { $0 >= 0x7FFF_FFFF_FFFF_0000 ? nil : $0 } }

    func lines(_ file: String) -> [Substring] { ((try? CgroupFile.text(path + "/" + file)) ?? "").split(separator: "\n") }

    func words(_ file: String) -> [Substring] { ((try? CgroupFile.text(path + "/" + file)) ?? "").split(separator: " ") }

    /// A flat keyed file: a key and a number a line.
    func keyed(_ file: String) -> [String: UInt64] {
        var values: [String: UInt64] = [:]
        for line in lines(file) {
            let parts = line.split(separator: " ", maxSplits: 1)
            if parts.count == 2, let value = UInt64(parts[1]) { values[String(parts[0])] = value }
        }
        return values
    }
}
