import JSON
import Linux
import Model

extension Cgroup {
    /// The `data` of runc's `events --stats` (runc's types/events.go), as one JSON value.
    public func writeRuncStats(to writer: inout JSONWriter) {
        let stats = stats(at: Timestamp(nanoseconds: 0))
        writer.object { writer in
            writer.key("cpu")
            Self.write(stats.cpu, to: &writer)
            writer.key("cpuset")
            writeCpuset(to: &writer)
            writer.key("memory")
            writeMemory(stats.memory, to: &writer)
            writer.key("pids")
            writer.object { writer in
                writer.member("current", stats.pids.current)
                // 0 is no limit
                if let limit = stats.pids.limit { writer.member("limit", limit) }
            }
            writer.key("blkio")
            writer.object { writer in
                Self.write(stats.blockIO.bytes, as: "ioServiceBytesRecursive", to: &writer)
                Self.write(stats.blockIO.operations, as: "ioServicedRecursive", to: &writer)
            }
            writer.key("hugetlb")
            writeHugepages(to: &writer)
            writer.key("intel_rdt")
            writer.object { _ in }
        }
    }

    private static func write(_ cpu: ContainerStats.CPU, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.key("usage")
            writer.object { writer in
                writer.member("total", cpu.total)
                if !cpu.perProcessor.isEmpty { writer.member("percpu", cpu.perProcessor) }
                writer.member("kernel", cpu.kernel)
                writer.member("user", cpu.user)
            }
            writer.key("throttling")
            writer.object { writer in
                writer.member("periods", cpu.periods)
                writer.member("throttledPeriods", cpu.throttledPeriods)
                writer.member("throttledTime", cpu.throttledTime)
            }
        }
    }

    private func writeCpuset(to writer: inout JSONWriter) {
        writer.object { writer in
            guard let entry = entry(with: "cpuset") else { return }
            let effective =
                entry.isUnified ? ("cpuset.cpus.effective", "cpuset.mems.effective") : ("cpuset.cpus", "cpuset.mems")
            for (key, file) in [("cpus", effective.0), ("mems", effective.1)] {
                let numbers = Self.list((try? CgroupFile.text(entry.path + "/" + file)) ?? "")
                if !numbers.isEmpty { writer.member(key, numbers) }
            }
        }
    }

    /// `0-2,7` as numbers (cpuset(7), List format).
    static func list(_ text: String) -> [UInt32] {
        var numbers: [UInt32] = []
        for range in text.split(separator: ",") {
            let ends = range.split(separator: "-").compactMap { UInt32($0) }
            guard let first = ends.first, let last = ends.last, first <= last, last < 65536 else { continue }
            numbers += first...last
        }
        return numbers
    }

    private func writeMemory(_ memory: ContainerStats.Memory, to writer: inout JSONWriter) {
        let entry = entry(with: "memory")
        let isUnified = entry?.isUnified ?? true
        writer.object { writer in
            writer.member("cache", memory.details[isUnified ? "file" : "cache"] ?? 0)
            writer.key("usage")
            writer.object { writer in
                writer.member("limit", memory.limit ?? UInt64.max)
                writer.member("usage", memory.usage)
                if let maximum = memory.maximumUsage { writer.member("max", maximum) }
                writer.member("failcnt", memory.failures)
            }
            let swap = isUnified ? ["memory.swap.max", "memory.swap.current", "", ""] : Self.counters("memory.memsw")
            let kernel = isUnified ? ["", "", "", ""] : Self.counters("memory.kmem")
            let tcp = isUnified ? ["", "", "", ""] : Self.counters("memory.kmem.tcp")
            for (key, files) in [("swap", swap), ("kernel", kernel), ("kernelTCP", tcp)] {
                writer.key(key)
                writer.object { writer in
                    for (name, file) in zip(["limit", "usage", "max"], files) where !file.isEmpty {
                        if let value = entry?.number(file) { writer.member(name, value) }
                    }
                    writer.member("failcnt", files[3].isEmpty ? 0 : entry?.number(files[3]) ?? 0)
                }
            }
            writer.member("raw", memory.details)
        }
    }

    private static func counters(_ prefix: String) -> [String] {
        ["limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt"].map { prefix + "." + $0 }
    }

    private static func write(_ entries: [ContainerStats.BlockIO.Entry], as key: String, to writer: inout JSONWriter) {
        if entries.isEmpty { return }
        writer.key(key)
        writer.array { writer in
            for entry in entries {
                writer.object { writer in
                    writer.member("major", entry.major)
                    writer.member("minor", entry.minor)
                    // v1 spells Read, Write, Sync
                    writer.member("op", entry.operation.prefix(1).uppercased() + entry.operation.dropFirst())
                    writer.member("value", entry.value)
                }
            }
        }
    }

    private func writeHugepages(to writer: inout JSONWriter) {
        writer.object { writer in
            guard let entry = entry(with: "hugetlb") else { return }
            for folder in CgroupFile.folders("/sys/kernel/mm/hugepages").sorted() {
                guard let kilobytes = UInt64(folder.dropFirst("hugepages-".count).dropLast(2)) else { continue }
                let size = CgroupLimits.pageSize(kilobytes)
                let names =
                    entry.isUnified ? ["current", "", "events"] : ["usage_in_bytes", "max_usage_in_bytes", "failcnt"]
                guard let usage = entry.number("hugetlb.\(size).\(names[0])") else { continue }
                writer.key(size)
                writer.object { writer in
                    writer.member("usage", usage)
                    if let maximum = entry.number("hugetlb.\(size).\(names[1])") { writer.member("max", maximum) }
                    let failures =
                        entry.isUnified ? entry.keyed("hugetlb.\(size).events")["max"] : entry.number("hugetlb.\(size).failcnt")
                    writer.member("failcnt", failures ?? 0)
                }
            }
        }
    }
}
