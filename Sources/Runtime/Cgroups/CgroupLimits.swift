import Linux
import Model

/// Sets one limit after the other; knows which field of the configuration each belongs to.
struct CgroupLimits {
    let cgroup: Cgroup

    /// The folder that has the controller, or a fault that names the field.
    func entry(_ controller: String, _ field: String) throws -> CgroupRecord.Entry {
        guard let entry = cgroup.entry(with: controller) else { throw Self.missing(controller, field) }
        return entry
    }

    static func missing(_ controller: String, _ field: String) -> Fault {
        let field = "linux.resources." + field
        return Fault(
            .unsupported, "\(field): the \(controller) cgroup controller is not available on this machine", subject: field)
    }

    func write(_ entry: CgroupRecord.Entry, _ file: String, _ value: String, _ field: String) throws {
        do { try CgroupFile.write(entry.path + "/" + file, value) } catch let fault as KernelFault {
            throw explain(fault, entry, file, value, field)
        }
    }

    func explain(_ fault: KernelFault, _ entry: CgroupRecord.Entry, _ file: String, _ value: String, _ field: String) -> Fault {
        let field = "linux.resources." + field
        if fault.isMissing && !CgroupFile.exists(entry.path + "/" + file) {
            let why =
                CgroupFile.exists(entry.path)
                ? "this kernel's cgroup has no file \(file) (controller switched off, or too old)" : "the cgroup is gone"
            return Fault(.unsupported, "\(field): \(why)", subject: field)
        }
        if fault.isInvalid || fault.isOutOfRange {
            return Fault(.invalid, "\(field): the kernel refuses \(value) for \(file)", subject: field, cause: fault)
        }
        return Fault(.system, "\(field): cannot write \(value) to \(file)", subject: field, cause: fault)
    }

    func has(_ entry: CgroupRecord.Entry, _ file: String) -> Bool { CgroupFile.exists(entry.path + "/" + file) }
}

extension Cgroup {
    /// Changes the limits of a container's cgroup (`update`): what is absent in `resources`, or zero, stays as it is. Devices
    /// are changed only when rules are given.
    ///
    /// A limit that this machine cannot keep is a fault that names its JSON path; those before it may have been set.
    public func apply(_ resources: OCI.Resources) throws {
        if let unit = record.systemdUnit { try updateSystemd(unit, resources) }
        if !isPureUnified { try enableNeeded(resources) }
        if !resources.devices.isEmpty { try applyDevices(resources.devices, isNew: false) }
        try applyLimits(resources)
    }

    func applyLimits(_ resources: OCI.Resources) throws {
        let limits = CgroupLimits(cgroup: self)
        if let cpu = resources.cpu {
            try limits.applyCpuset(cpu)
            try limits.applyCPU(cpu)
        }
        if let memory = resources.memory { try limits.applyMemory(memory) }
        if let pids = resources.pids { try limits.applyPids(pids) }
        if let blockIO = resources.blockIO { try limits.applyBlockIO(blockIO) }
        try limits.applyHugepages(resources.hugepageLimits)
        if let network = resources.network { try limits.applyNetwork(network) }
        try limits.applyRdma(resources.rdma)
        try limits.applyUnified(resources.unified)
    }
}

extension CgroupLimits {
    func applyPids(_ pids: OCI.PidsLimit) throws {
        guard let limit = pids.limit, limit != 0 else { return }
        let entry = try entry("pids", "pids.limit")
        try write(entry, "pids.max", CgroupConversion.maximum(limit), "pids.limit")
    }

    func applyHugepages(_ limits: [OCI.HugepageLimit]) throws {
        for (index, limit) in limits.enumerated() {
            let field = "hugepageLimits[\(index)]"
            guard !limit.pageSize.isEmpty, !limit.pageSize.contains("/"), !limit.pageSize.contains(".") else {
                let field = "linux.resources.\(field).pageSize"
                throw Fault(.invalid, "\(field): \(limit.pageSize) is not a page size such as 2MB", subject: field)
            }
            if limit.limit == 0 && cgroup.entry(with: "hugetlb") == nil { continue }
            let entry = try entry("hugetlb", field + ".limit")
            let base = "hugetlb." + limit.pageSize
            let ending = entry.isUnified ? "max" : "limit_in_bytes"
            if !has(entry, "\(base).\(ending)") && has(entry, "cgroup.procs") && anyHugepageFile(entry) {
                let field = "linux.resources.\(field).pageSize"
                throw Fault(.invalid, "\(field): this kernel has no huge pages of \(limit.pageSize)", subject: field)
            }
            try write(entry, "\(base).\(ending)", String(limit.limit), field + ".limit")
            // reservations count before the fault does; absent before 5.7
            if has(entry, "\(base).rsvd.\(ending)") {
                try write(entry, "\(base).rsvd.\(ending)", String(limit.limit), field + ".limit")
            }
        }
    }

    private func anyHugepageFile(_ entry: CgroupRecord.Entry) -> Bool {
        CgroupFile.folders("/sys/kernel/mm/hugepages").contains { name in
            guard let kilobytes = UInt64(name.dropFirst("hugepages-".count).dropLast(2)) else { return false }
            return has(entry, "hugetlb.\(Self.pageSize(kilobytes)).\(entry.isUnified ? "max" : "limit_in_bytes")")
        }
    }

    /// As the kernel names it in file names: 64KB, 2MB, 1GB.
    static func pageSize(_ kilobytes: UInt64) -> String {
        if kilobytes >= 1 << 20 { return "\(kilobytes >> 20)GB" }
        return kilobytes >= 1 << 10 ? "\(kilobytes >> 10)MB" : "\(kilobytes)KB"
    }

    func applyNetwork(_ network: OCI.NetworkLimits) throws {
        if let id = network.classID, id != 0 {
            let entry = try entry("net_cls", "network.classID")
            try write(entry, "net_cls.classid", String(id), "network.classID")
        }
        for (index, priority) in network.priorities.enumerated() {
            let entry = try entry("net_prio", "network.priorities")
            try write(entry, "net_prio.ifpriomap", "\(priority.name) \(priority.priority)", "network.priorities[\(index)]")
        }
    }

    func applyRdma(_ limits: [String: OCI.RdmaLimit]) throws {
        for (device, limit) in limits.sorted(by: { $0.key < $1.key }) {
            let field = "rdma.\(device)"
            let entry = try entry("rdma", field)
            var value = device
            if let handles = limit.hcaHandles { value += " hca_handle=\(handles)" }
            if let objects = limit.hcaObjects { value += " hca_object=\(objects)" }
            try write(entry, "rdma.max", value, field)
        }
    }

    /// Files of v2, written as they are. On a hybrid machine those of controllers that v2 has.
    func applyUnified(_ files: [String: String]) throws {
        for (file, value) in files.sorted(by: { $0.key < $1.key }) {
            let field = "linux.resources.unified.\(file)"
            guard !file.isEmpty, !file.contains("/"), file.contains(".") else {
                throw Fault(.invalid, "\(field): must be a file name of cgroup v2 without slashes", subject: field)
            }
            let controller = String(file.prefix { $0 != "." })
            guard let entry = cgroup.unified, cgroup.isPureUnified || entry.controllers.contains(controller) else {
                throw Fault(
                    .unsupported, "\(field): cgroup v2 does not have the \(controller) controller on this machine",
                    subject: field)
            }
            // several lines are several writes: the kernel takes one entry a time
            for line in value.split(separator: "\n") { try write(entry, file, String(line), "unified.\(file)") }
        }
    }
}
