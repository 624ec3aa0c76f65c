import Linux
import Model

extension Cgroup {
    /// Devices of the configuration and those of every container; everything else is denied. v1: devices.allow and
    /// devices.deny; v2: a program of ours, which replaces the one before it.
    func applyDevices(_ rules: [OCI.DeviceRule], isNew: Bool) throws {
        let rules = try DeviceRules(rules)
        if let entry = entry(with: "devices") { return try applyLegacy(rules, entry, isNew) }
        guard let entry = unified else {
            throw CgroupLimits.missing("devices", "devices")
        }
        do {
            let program = try DeviceProgram.load(rules.program)
            try DeviceProgram.attach(program, to: try CgroupFile.openFolder(entry.path))
        } catch let fault as KernelFault {
            let field = "linux.resources.devices"
            throw Fault(.system, "\(field): cannot install the device filter", subject: field, cause: fault)
        }
    }

    private func applyLegacy(_ rules: DeviceRules, _ entry: CgroupRecord.Entry, _ isNew: Bool) throws {
        let path = entry.path
        do {
            let present = isNew ? nil : DeviceRules(list: try CgroupFile.text(path + "/devices.list"))
            let changes = rules.changes(from: present)
            if changes.isEmpty { return }
            let allow = try CgroupFile.openForWriting(path + "/devices.allow")
            let deny = try CgroupFile.openForWriting(path + "/devices.deny")
            for change in changes {
                if change.allow {
                    try CgroupFile.write(allow, change.text, path + "/devices.allow")
                } else {
                    try CgroupFile.write(deny, change.text, path + "/devices.deny")
                }
            }
        } catch let fault as KernelFault {
            let field = "linux.resources.devices"
            throw Fault(.system, "\(field): cannot set device rules", subject: field, cause: fault)
        }
    }
}
