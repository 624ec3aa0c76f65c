import Linux
import Model

/// A container's transient scope unit (systemd.scope(5)), from `slice:prefix:name`.
struct SystemdScope: Equatable {
    var slice: String
    var unit: String

    init(path: String?, id: String) throws {
        let text = path.flatMap { $0.isEmpty ? nil : $0 } ?? ":runc:" + id
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { String($0) }
        guard parts.count == 3, !parts[2].isEmpty, !text.contains("/"), text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Fault(
                .invalid, "linux.cgroupsPath \(text) is not of the form slice:prefix:name that --systemd-cgroup needs",
                subject: text)
        }
        slice = parts[0].isEmpty ? "system.slice" : parts[0]
        guard slice.hasSuffix(".slice") else {
            throw Fault(.invalid, "linux.cgroupsPath \(text): \(slice) is not the name of a slice", subject: text)
        }
        unit = parts[2].hasSuffix(".slice") ? parts[2] : (parts[1].isEmpty ? "" : parts[1] + "-") + parts[2] + ".scope"
    }

    /// `a-b.slice` is below `a.slice` (systemd.slice(5)).
    var cgroupPath: String { Self.folder(of: slice) + "/" + (unit.hasSuffix(".slice") ? Self.ownFolder(unit) : unit) }

    private static func ownFolder(_ slice: String) -> String {
        folder(of: slice).split(separator: "/").last.map { String($0) } ?? slice
    }

    private static func folder(of slice: String) -> String {
        guard slice != "-.slice" else { return "" }
        var path = ""
        var name = ""
        for part in slice.dropLast(6).split(separator: "-") {
            name += (name.isEmpty ? "" : "-") + part
            path += "/" + name + ".slice"
        }
        return path
    }

    /// The slice of a unit, by where its cgroup is.
    static func slice(of record: CgroupRecord) -> String {
        let parts = record.entries.first.map { $0.path.dropFirst($0.mountPoint.count).split(separator: "/") } ?? []
        return parts.count > 1 ? String(parts[parts.count - 2]) : "-.slice"
    }
}

extension Cgroup {
    /// Systemd driver: makes the unit around a waiting child, then sets the limits. systemd knows those that it would set
    /// back itself when it reloads; the others are written beside it, as is the device filter.
    public func adopt(_ pid: CInt, _ resources: OCI.Resources?) throws {
        guard let unit = record.systemdUnit else { throw Fault(.system, "the cgroup is not of the systemd driver") }
        let properties = [
            DBusProperty("Description", .string("container \(unit)")), DBusProperty("Delegate", .bool(true)),
            DBusProperty("DefaultDependencies", .bool(false)),
            DBusProperty(
                unit.hasSuffix(".slice") ? "Wants" : "Slice", unit.hasSuffix(".slice") ? .strings([]) : .string(slice)),
        ]
        let processes = unit.hasSuffix(".slice") ? [] : [DBusProperty("PIDs", .uint32s([UInt32(pid)]))]
        do {
            let manager = try SystemdManager()
            try manager.start(unit, properties + processes + (try systemdProperties(resources)))
            do {
                try enter(pid)
                try setUp(resources)
            } catch {
                try? manager.stop(unit)
                throw error
            }
        } catch let refusal as DBusConnection.Refusal {
            throw Fault(.system, "systemd refused to start \(unit)", subject: unit, cause: refusal)
        } catch let fault as KernelFault {
            throw Fault(.system, "cannot make the container's cgroup \(unit) by systemd", subject: unit, cause: fault)
        }
    }

    private var slice: String { SystemdScope.slice(of: record) }

    /// Hierarchies that systemd does not use are ours; in those that it does the child is already.
    private func enter(_ pid: CInt) throws {
        var made: [String] = []
        for entry in record.entries {
            if isPureUnified {
                if record.systemdUnit?.hasSuffix(".scope") ?? false { continue }
            } else {
                try make(entry, &made, mayBeOccupied: true)
            }
            try CgroupFile.write(entry.path + "/cgroup.procs", String(pid))
        }
    }

    /// Tells systemd of new limits (`update`).
    func updateSystemd(_ unit: String, _ resources: OCI.Resources) throws {
        let properties = try systemdProperties(resources)
        if properties.isEmpty { return }
        do {
            let manager = try SystemdManager()
            try manager.set(unit, properties)
        } catch let refusal as DBusConnection.Refusal {
            throw Fault(.system, "systemd refused to change \(unit)", subject: unit, cause: refusal)
        }
    }

    func stopSystemd(_ unit: String) throws {
        do {
            let manager = try SystemdManager()
            try manager.stop(unit)
        } catch let refusal as DBusConnection.Refusal {
            throw Fault(.system, "systemd refused to stop \(unit)", subject: unit, cause: refusal)
        }
    }

    /// Limits in systemd's words (systemd.resource-control(5)); on a machine with v1 hierarchies only the number of tasks.
    package func systemdProperties(_ resources: OCI.Resources?) throws -> [DBusProperty] {
        guard let resources else { return [] }
        var properties: [DBusProperty] = []
        func add(_ name: String, _ value: Int64?) {
            guard let value, value != 0 else { return }
            properties.append(DBusProperty(name, .uint64(value < 0 ? UInt64.max : UInt64(value))))
        }
        add("TasksMax", resources.pids?.limit)
        guard isPureUnified else { return properties }
        add("MemoryMax", resources.memory?.limit)
        add("MemoryLow", resources.memory?.reservation)
        if let memory = resources.memory,
            let swap = try CgroupConversion.swapMaximum(swap: memory.swap, memory: memory.limit)
        {
            properties.append(DBusProperty("MemorySwapMax", .uint64(swap < 0 ? UInt64.max : UInt64(swap))))
        }
        guard let cpu = resources.cpu else { return properties }
        if let shares = cpu.shares, shares != 0, cpu.idle != 1 {
            properties.append(DBusProperty("CPUWeight", .uint64(CgroupConversion.cpuWeight(shares: shares))))
        }
        if let quota = cpu.quota, quota != 0 {
            let period = cpu.period.flatMap { $0 == 0 ? nil : $0 } ?? 100_000
            if cpu.period != nil { properties.append(DBusProperty("CPUQuotaPeriodUSec", .uint64(period))) }
            // systemd keeps whole percents: rounded up, so that never less is granted
            let share = quota < 0 ? UInt64.max : (UInt64(quota) * 1_000_000 / period + 9999) / 10_000 * 10_000
            properties.append(DBusProperty("CPUQuotaPerSecUSec", .uint64(share)))
        }
        for (name, list) in [("AllowedCPUs", cpu.cpus), ("AllowedMemoryNodes", cpu.mems)] {
            guard let list, !list.isEmpty else { continue }
            properties.append(DBusProperty(name, .bytes(Self.mask(list))))
        }
        return properties
    }

    /// A bit for each number, the lowest first.
    private static func mask(_ list: String) -> [UInt8] {
        var mask: [UInt8] = []
        for number in Self.list(list) {
            while mask.count <= Int(number / 8) { mask.append(0) }
            mask[Int(number / 8)] |= 1 << UInt8(number % 8)
        }
        return mask
    }
}
