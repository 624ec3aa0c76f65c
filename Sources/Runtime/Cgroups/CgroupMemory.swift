import Linux
import Model

extension CgroupLimits {
    func applyMemory(_ memory: OCI.MemoryLimits) throws {
        let asked: [(value: Int64?, field: String)] = [
            (memory.limit, "memory.limit"), (memory.reservation, "memory.reservation"), (memory.swap, "memory.swap"),
            (memory.kernelTCP, "memory.kernelTCP"),
        ]
        let field =
            asked.first { ($0.value ?? 0) != 0 }?.field
            ?? (memory.disableOOMKiller == true ? "memory.disableOOMKiller" : nil)
            ?? ((memory.swappiness ?? 0) != 0 && memory.swappiness != UInt64.max ? "memory.swappiness" : nil)
        guard let entry = cgroup.entry(with: "memory") else {
            if let field { throw Self.missing("memory", field) }
            return
        }
        if entry.isUnified { try applyUnifiedMemory(memory, entry) } else { try applyLegacyMemory(memory, entry) }
    }

    private func check(_ memory: OCI.MemoryLimits, _ entry: CgroupRecord.Entry, _ usageFile: String) throws {
        guard memory.checkBeforeUpdate == true, let limit = memory.limit, limit > 0 else { return }
        guard let usage = CgroupFile.number(entry.path + "/" + usageFile), usage > UInt64(limit) else { return }
        let field = "linux.resources.memory.limit"
        throw Fault(.conflict, "\(field): rejecting memory limit \(limit) because of the usage \(usage)", subject: field)
    }

    // MARK: v2

    private func applyUnifiedMemory(_ memory: OCI.MemoryLimits, _ entry: CgroupRecord.Entry) throws {
        if memory.disableOOMKiller == true {
            throw unsupported("memory.disableOOMKiller", "cgroup v2 cannot switch the OOM killer off")
        }
        if let swappiness = memory.swappiness, swappiness != 0, swappiness != UInt64.max {
            throw unsupported("memory.swappiness", "cgroup v2 has no swappiness of its own")
        }
        if (memory.kernelTCP ?? 0) > 0 { throw unsupported("memory.kernelTCP", "cgroup v2 counts it as memory") }
        try check(memory, entry, "memory.current")
        if let swap = try CgroupConversion.swapMaximum(swap: memory.swap, memory: memory.limit) {
            if has(entry, "memory.swap.max") {
                try write(entry, "memory.swap.max", CgroupConversion.maximum(swap), "memory.swap")
            } else if swap > 0 {
                throw unsupported("memory.swap", "this kernel does not count swap")
            }
        }
        if let limit = memory.limit, limit != 0 {
            try write(entry, "memory.max", CgroupConversion.maximum(limit), "memory.limit")
        }
        if let reservation = memory.reservation, reservation != 0 {
            try write(entry, "memory.low", CgroupConversion.maximum(reservation), "memory.reservation")
        }
    }

    private func unsupported(_ field: String, _ why: String) -> Fault {
        let field = "linux.resources." + field
        return Fault(.unsupported, "\(field): \(why)", subject: field)
    }

    // MARK: v1

    private func applyLegacyMemory(_ memory: OCI.MemoryLimits, _ entry: CgroupRecord.Entry) throws {
        try check(memory, entry, "memory.usage_in_bytes")
        try applyLimitAndSwap(memory, entry)
        if let reservation = memory.reservation, reservation != 0 {
            try write(entry, "memory.soft_limit_in_bytes", String(reservation), "memory.reservation")
        }
        // memory.kernel is deprecated and has no effect since 5.16: passed over, as the specification permits
        if let kernelTCP = memory.kernelTCP, kernelTCP != 0 {
            try write(entry, "memory.kmem.tcp.limit_in_bytes", String(kernelTCP), "memory.kernelTCP")
        }
        if memory.disableOOMKiller == true { try write(entry, "memory.oom_control", "1", "memory.disableOOMKiller") }
        if let swappiness = memory.swappiness, swappiness != UInt64.max {
            guard swappiness <= 100 else {
                let field = "linux.resources.memory.swappiness"
                throw Fault(.invalid, "\(field): \(swappiness) is not from 0 to 100", subject: field)
            }
            try write(entry, "memory.swappiness", String(swappiness), "memory.swappiness")
        }
    }

    /// The kernel keeps memory.limit <= memsw.limit at every moment, so the order depends on which way they move.
    private func applyLimitAndSwap(_ memory: OCI.MemoryLimits, _ entry: CgroupRecord.Entry) throws {
        let limit = memory.limit ?? 0
        var swap = memory.swap ?? 0
        let swapFile = "memory.memsw.limit_in_bytes"
        if limit == -1 && swap == 0 && has(entry, swapFile) { swap = -1 }
        if swap > 0 && limit > 0 && swap < limit {
            let field = "linux.resources.memory.swap"
            throw Fault(.invalid, "\(field): memory+swap limit should be >= memory limit", subject: field)
        }
        if swap == -1 && !has(entry, swapFile) { swap = 0 }
        let present = CgroupFile.number(entry.path + "/memory.limit_in_bytes") ?? UInt64.max
        let swapFirst = limit != 0 && swap != 0 && (swap == -1 || present < UInt64(bitPattern: swap))
        if swapFirst { try write(entry, swapFile, String(swap), "memory.swap") }
        if limit != 0 { try writeLegacyLimit(limit, entry) }
        if swap != 0 && !swapFirst { try write(entry, swapFile, String(swap), "memory.swap") }
    }

    private func writeLegacyLimit(_ limit: Int64, _ entry: CgroupRecord.Entry) throws {
        let file = "memory.limit_in_bytes"
        do { try CgroupFile.write(entry.path + "/" + file, String(limit)) } catch let fault as KernelFault {
            guard fault.isBusy, let usage = CgroupFile.number(entry.path + "/memory.usage_in_bytes") else {
                throw explain(fault, entry, file, String(limit), "memory.limit")
            }
            let field = "linux.resources.memory.limit"
            throw Fault(.conflict, "\(field): unable to set memory limit to \(limit) (current usage: \(usage))", subject: field)
        }
    }
}
