import Linux
import Model

extension Cgroup {
    /// The v1 freezer's folder, else the v2 folder.
    private var freezer: CgroupRecord.Entry? { entry(with: "freezer") ?? unified }

    /// The folder in which processes are counted: one that a process cannot leave without the host's help.
    private var census: CgroupRecord.Entry? {
        entry(with: "freezer") ?? unified ?? entry(with: "devices") ?? entry(with: "pids") ?? record.entries.first
    }

    /// Stops every process in the cgroup and below. Success means that all stand still.
    public func freeze() throws { try setFrozen(true) }

    /// Lets them go on. A cgroup that is not frozen, or gone, is no fault.
    public func thaw() throws { try setFrozen(false) }

    public var isFrozen: Bool {
        guard let freezer else { return false }
        if freezer.isUnified { return CgroupFile.number(freezer.path + "/cgroup.freeze") == 1 }
        return (try? CgroupFile.text(freezer.path + "/freezer.state")).map { $0 != "THAWED" } ?? false
    }

    private func setFrozen(_ frozen: Bool) throws {
        guard let freezer else {
            if !frozen { return }
            throw Fault(.unsupported, "cannot pause: the freezer controller is not mounted")
        }
        do {
            if freezer.isUnified {
                try freezeUnified(freezer.path, frozen)
            } else if frozen {
                try freezeLegacy(freezer.path + "/freezer.state")
            } else {
                try CgroupFile.write(freezer.path + "/freezer.state", "THAWED")
            }
        } catch let fault as KernelFault {
            if !frozen && fault.isMissing { return }
            throw Fault(
                .system, "cannot \(frozen ? "freeze" : "thaw") cgroup \(freezer.path)", subject: freezer.path, cause: fault)
        }
    }

    private func freezeUnified(_ path: String, _ frozen: Bool) throws {
        try CgroupFile.write(path + "/cgroup.freeze", frozen ? "1" : "0")
        guard frozen else { return }
        for attempt in 0..<2000 {
            if try CgroupFile.text(path + "/cgroup.events").split(separator: "\n").contains("frozen 1") { return }
            CgroupFile.pause(microseconds: attempt < 100 ? 100 : 1000)
        }
        try? CgroupFile.write(path + "/cgroup.freeze", "0")
        throw Fault(.system, "cannot freeze cgroup \(path): its processes do not stop", subject: path)
    }

    /// A v1 freezer can hang in FREEZING while new processes are made (freezer-subsystem.txt): thaws and tries again.
    private func freezeLegacy(_ file: String) throws {
        for attempt in 0..<1000 {
            if attempt % 50 == 49 {
                try CgroupFile.write(file, "THAWED")
                CgroupFile.pause(microseconds: 10_000)
            }
            try CgroupFile.write(file, "FROZEN")
            if attempt % 25 == 24 { CgroupFile.pause(microseconds: 10) }
            for look in 0..<20 {
                let state = try CgroupFile.text(file)
                if state == "FROZEN" { return }
                guard state == "FREEZING" else { throw Fault(.system, "unexpected state \(state) while freezing \(file)") }
                if look > 2 { CgroupFile.pause(microseconds: 20) }
            }
        }
        try? CgroupFile.write(file, "THAWED")
        throw Fault(.system, "cannot freeze \(file): its processes do not stop", subject: file)
    }

    /// Process ids in the cgroup, and in those below it when `recursive`. A gone cgroup has none.
    public func processes(recursive: Bool = true) -> [CInt] {
        guard let census else { return [] }
        var ids: [CInt] = []
        Self.collect(census.path, recursive, &ids)
        return ids
    }

    private static func collect(_ path: String, _ recursive: Bool, _ ids: inout [CInt]) {
        // a threaded v2 cgroup refuses cgroup.procs; its processes are in the domain above
        let bytes = (try? CgroupFile.read(path + "/cgroup.procs")) ?? []
        var number: CInt = 0
        for byte in bytes {
            if byte == 0x0A {
                if number > 0 { ids.append(number) }
                number = 0
            } else {
                number = number &* 10 &+ CInt(byte &- 0x30)
            }
        }
        guard recursive else { return }
        for name in CgroupFile.folders(path) { collect(path + "/" + name, true, &ids) }
    }

    /// Sends a signal to every process; frozen ones act on it when thawed.
    public func signalAll(_ signal: CInt) throws {
        if signal == 9 { return try killAll() }
        do { for pid in processes() { try CgroupFile.signal(pid, signal) } } catch let fault as KernelFault {
            throw Fault(.system, "cannot signal the container's processes", cause: fault)
        }
    }

    /// Kills everything in the cgroup and below. Success means that each process was sent SIGKILL and, without cgroup.kill,
    /// that none is left but zombies; reaping is the parents' task. A frozen cgroup is thawed. A gone one is no fault.
    public func killAll() throws {
        do {
            if let path = unified?.path {
                do {
                    try CgroupFile.write(path + "/cgroup.kill", "1")
                    if isPureUnified { return }
                } catch let fault as KernelFault where fault.isMissing || fault.isUnsupported {}
            }
            // no cgroup.kill (before 5.14, or v1): a frozen cgroup cannot fork while it is shot at
            for attempt in 0..<100 {
                let present = processes()
                if present.isEmpty { return }
                if attempt > 0 { try? freeze() }
                for pid in attempt > 0 ? processes() : present { try CgroupFile.signal(pid, 9) }
                try? thaw()
                CgroupFile.pause(microseconds: attempt < 10 ? 100 : 5000)
            }
        } catch let fault as KernelFault {
            throw Fault(.system, "cannot kill the container's processes", cause: fault)
        }
        let left = processes().map { String($0) }
        if left.isEmpty { return }
        throw Fault(.system, "processes of the container do not die: \(left.prefix(8).joined(separator: ", "))")
    }

    /// Removes the container's folders in all hierarchies, those below first. Tries again for about a second while the
    /// kernel calls them busy; goes on after a failure and reports the first.
    public func remove() throws {
        if let unit = record.systemdUnit { try? stopSystemd(unit) }
        var first: Fault?
        for entry in record.entries {
            do { try Self.remove(entry.path) } catch {
                first = first ?? Fault(.system, "cannot remove cgroup \(entry.path)", subject: entry.path, cause: error)
            }
        }
        if let first { throw first }
    }

    private static func remove(_ path: String) throws {
        var wait = 500
        while true {
            do { return try CgroupFile.removeFolder(path) } catch let fault as KernelFault where fault.isBusy {
                let below = CgroupFile.folders(path)
                for name in below { try remove(path + "/" + name) }
                if below.isEmpty {
                    if wait > 300_000 { throw fault }
                    CgroupFile.pause(microseconds: wait)
                    wait *= 2
                }
            }
        }
    }
}
