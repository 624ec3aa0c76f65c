import Linux
import Model

extension CgroupLimits {
    func applyCPU(_ cpu: OCI.CPULimits) throws {
        let asked: [(isSet: Bool, field: String)] = [
            ((cpu.shares ?? 0) != 0, "cpu.shares"), ((cpu.quota ?? 0) != 0, "cpu.quota"),
            ((cpu.period ?? 0) != 0, "cpu.period"),
            ((cpu.burst ?? 0) != 0, "cpu.burst"), ((cpu.idle ?? 0) != 0, "cpu.idle"),
            ((cpu.realtimeRuntime ?? 0) != 0, "cpu.realtimeRuntime"), ((cpu.realtimePeriod ?? 0) != 0, "cpu.realtimePeriod"),
        ]
        guard let first = asked.first(where: { $0.isSet }) else {
            guard let entry = cgroup.entry(with: "cpu"), let idle = cpu.idle, has(entry, "cpu.idle") else { return }
            return try write(entry, "cpu.idle", String(idle), "cpu.idle")
        }
        let entry = try entry("cpu", first.field)
        if let shares = cpu.shares, shares == 1 || shares > 262_144 {
            let field = "linux.resources.cpu.shares"
            throw Fault(.invalid, "\(field): \(shares) is not from 2 to 262144", subject: field)
        }
        if entry.isUnified { try applyUnifiedCPU(cpu, entry) } else { try applyLegacyCPU(cpu, entry) }
    }

    // MARK: v2

    private func applyUnifiedCPU(_ cpu: OCI.CPULimits, _ entry: CgroupRecord.Entry) throws {
        for (value, field) in [
            (Int64(cpu.realtimePeriod ?? 0), "cpu.realtimePeriod"), (cpu.realtimeRuntime ?? 0, "cpu.realtimeRuntime"),
        ]
        where value != 0 {
            let field = "linux.resources." + field
            throw Fault(.unsupported, "\(field): cgroup v2 has no realtime limits", subject: field)
        }
        if let idle = cpu.idle { try write(entry, "cpu.idle", String(idle), "cpu.idle") }
        // an idle group has no weight: the kernel would refuse it
        if let shares = cpu.shares, shares != 0, cpu.idle != 1 {
            try write(entry, "cpu.weight", String(CgroupConversion.cpuWeight(shares: shares)), "cpu.shares")
        }
        let burst = cpu.burst.map { String($0) }
        try applyUnifiedQuota(cpu, entry, burst)
    }

    private func applyUnifiedQuota(_ cpu: OCI.CPULimits, _ entry: CgroupRecord.Entry, _ burst: String?) throws {
        // the burst may not exceed the quota: a smaller one goes before it, a larger one after
        var burst = burst
        if let value = burst, (try? CgroupFile.write(entry.path + "/cpu.max.burst", value)) != nil { burst = nil }
        if (cpu.quota ?? 0) != 0 || (cpu.period ?? 0) != 0 {
            var parts = ((try? CgroupFile.text(entry.path + "/cpu.max")) ?? "max 100000").split(separator: " ").map(String.init)
            if parts.count != 2 { parts = ["max", "100000"] }
            if let quota = cpu.quota, quota != 0 { parts[0] = CgroupConversion.maximum(quota) }
            if let period = cpu.period, period != 0 { parts[1] = String(period) }
            let field = (cpu.quota ?? 0) != 0 ? "cpu.quota" : "cpu.period"
            try write(entry, "cpu.max", parts.joined(separator: " "), field)
        }
        if let burst { try write(entry, "cpu.max.burst", burst, "cpu.burst") }
    }

    // MARK: v1

    private func applyLegacyCPU(_ cpu: OCI.CPULimits, _ entry: CgroupRecord.Entry) throws {
        try applyRealtime(cpu, entry)
        if let idle = cpu.idle { try write(entry, "cpu.idle", String(idle), "cpu.idle") }
        if let shares = cpu.shares, shares != 0, cpu.idle != 1 { try write(entry, "cpu.shares", String(shares), "cpu.shares") }
        var burst = cpu.burst.map { String($0) }
        if let value = burst, (try? CgroupFile.write(entry.path + "/cpu.cfs_burst_us", value)) != nil { burst = nil }
        // a period that the present quota does not permit must wait for the new quota
        var period = cpu.period.flatMap { $0 == 0 ? nil : String($0) }
        if let value = period, (cpu.quota ?? 0) != 0, (try? CgroupFile.write(entry.path + "/cpu.cfs_period_us", value)) != nil {
            period = nil
        }
        if let quota = cpu.quota, quota != 0 { try write(entry, "cpu.cfs_quota_us", String(quota), "cpu.quota") }
        if let period { try write(entry, "cpu.cfs_period_us", period, "cpu.period") }
        if let burst { try write(entry, "cpu.cfs_burst_us", burst, "cpu.burst") }
    }

    /// Parents must grant realtime before a child can have it.
    private func applyRealtime(_ cpu: OCI.CPULimits, _ entry: CgroupRecord.Entry) throws {
        var period = cpu.realtimePeriod.flatMap { $0 == 0 ? nil : String($0) }
        if let value = period, (cpu.realtimeRuntime ?? 0) != 0,
            (try? CgroupFile.write(entry.path + "/cpu.rt_period_us", value)) != nil
        {
            period = nil
        }
        if let runtime = cpu.realtimeRuntime, runtime != 0 {
            try write(entry, "cpu.rt_runtime_us", String(runtime), "cpu.realtimeRuntime")
        }
        if let period { try write(entry, "cpu.rt_period_us", period, "cpu.realtimePeriod") }
    }

    func applyCpuset(_ cpu: OCI.CPULimits) throws {
        for (value, file, field) in [(cpu.cpus, "cpuset.cpus", "cpu.cpus"), (cpu.mems, "cpuset.mems", "cpu.mems")] {
            guard let value, !value.isEmpty else { continue }
            let entry = try entry("cpuset", field)
            try write(entry, file, value, field)
        }
    }
}
