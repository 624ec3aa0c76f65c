import Linux
import Model

extension Cgroup {
    /// Makes the folders and sets the limits. On failure nothing that was made is left.
    ///
    /// A folder that is there already is taken over when no process is in it. Not for the systemd driver: see `adopt`.
    public func create(_ resources: OCI.Resources?, unifiedIsMade: Bool = false) throws -> CgroupEntrance {
        var made: [String] = []
        do {
            for entry in record.entries where !(unifiedIsMade && entry.isUnified) { try make(entry, &made) }
            if !isPureUnified { try enableNeeded(resources ?? OCI.Resources()) }
            try setUp(resources)
            return try entrance()
        } catch {
            for path in made.reversed() { try? CgroupFile.removeFolder(path) }
            throw error
        }
    }

    /// On a hybrid machine: makes v2's folder alone, so that the container's process can be cloned into it (`create` makes the
    /// rest). Nil without v2. On failure nothing that was made is left.
    func createUnifiedAhead() throws -> CgroupEntrance? {
        guard let entry = unified else { return nil }
        var made: [String] = []
        do {
            try make(entry, &made)
            return CgroupEntrance(folder: try CgroupFile.openFolder(entry.path).release(), procs: nil, tasks: [])
        } catch {
            for path in made.reversed() { try? CgroupFile.removeFolder(path) }
            throw error
        }
    }

    /// Removes what `createUnifiedAhead` made; no process may be in it.
    func removeUnified() { if let entry = unified { try? CgroupFile.removeFolder(entry.path) } }

    /// Limits of a new cgroup: devices are denied unless allowed, whether or not the configuration speaks of them.
    func setUp(_ resources: OCI.Resources?) throws {
        try applyDevices(resources?.devices ?? [], isNew: true)
        if let resources { try applyLimits(resources) }
    }

    /// Makes one folder ready for processes; notes in `made` what is new.
    func make(_ entry: CgroupRecord.Entry, _ made: inout [String], mayBeOccupied: Bool = false) throws {
        do {
            let known = made.count
            try makeFolder(entry, &made, mayBeOccupied)
            if isPureUnified {
                try enableControllers(entry, entry.controllers.filter { Self.enabledControllers.contains($0) })
            } else if !entry.isUnified, entry.controllers.contains("cpuset") {
                try fillCpuset(entry, isNew: made.count > known)
            }
        } catch let fault as KernelFault {
            let hint = fault.isRefused ? "; is the cgroup file system writable here?" : ""
            throw Fault(
                fault.isRefused ? .forbidden : .system, "cannot make cgroup \(entry.path)\(hint)", subject: entry.path,
                cause: fault)
        }
    }

    private func makeFolder(_ entry: CgroupRecord.Entry, _ made: inout [String], _ mayBeOccupied: Bool) throws {
        do {
            if try CgroupFile.makeFolder(entry.path) {
                made.append(entry.path)
            } else if !mayBeOccupied {
                try checkUnused(entry)
            }
        } catch let fault as KernelFault where fault.isMissing {
            var path = entry.mountPoint
            for part in entry.path.dropFirst(entry.mountPoint.count).split(separator: "/") {
                path += "/" + part
                guard try CgroupFile.makeFolder(path) else { continue }
                made.append(path)
                // the children of a folder of our own get its processors and memory nodes by themselves
                if !entry.isUnified, entry.controllers.contains("cpuset"), path != entry.path {
                    try CgroupFile.write(path + "/cgroup.clone_children", "1")
                }
            }
        }
    }

    private func checkUnused(_ entry: CgroupRecord.Entry) throws {
        let processes = try CgroupFile.read(entry.path + "/cgroup.procs").split(separator: 0x0A)
        guard processes.isEmpty else {
            throw Fault(
                .conflict, "container's cgroup \(entry.path) is not empty: \(processes.count) process(es) found",
                subject: entry.path)
        }
    }

    /// A v1 cpuset without processors or memory nodes takes no process (cpuset(7)): fills it, and its parents, from above.
    private func fillCpuset(_ entry: CgroupRecord.Entry, isNew: Bool) throws {
        for file in ["/cpuset.cpus", "/cpuset.mems"] { _ = try fill(entry.path, file, entry.mountPoint, isEmpty: isNew) }
    }

    private func fill(_ path: String, _ file: String, _ mountPoint: String, isEmpty: Bool = false) throws -> String {
        let present = isEmpty ? "" : try CgroupFile.text(path + file)
        guard present.isEmpty, path.utf8.count > mountPoint.utf8.count, let slash = path.lastIndex(of: "/") else {
            return present
        }
        let above = try fill(String(path[..<slash]), file, mountPoint)
        if !above.isEmpty { try CgroupFile.write(path + file, above) }
        return above
    }

    /// Switches v2 controllers on from the mount down to the folder's parent. One that cannot be switched on (a parent with
    /// processes, a threaded parent) stays off: a limit that needs it is refused when it is set.
    private func enableControllers(_ entry: CgroupRecord.Entry, _ wanted: [String]) throws {
        if wanted.isEmpty { return }
        let present = try CgroupFile.text(entry.path + "/cgroup.controllers").split(separator: " ")
        if wanted.allSatisfy({ controller in present.contains { $0 == controller } }) { return }
        var path = entry.mountPoint
        for part in entry.path.dropFirst(entry.mountPoint.count).split(separator: "/") {
            let file = path + "/cgroup.subtree_control"
            path += "/" + part
            do {
                try CgroupFile.write(file, wanted.map { "+" + $0 }.joined(separator: " "))
            } catch {
                for controller in wanted { try? CgroupFile.write(file, "+" + controller) }
            }
        }
    }

    /// On a hybrid machine v2's rarer controllers are switched on only for who asks for them: one in use cannot be mounted as
    /// v1 any more.
    func enableNeeded(_ resources: OCI.Resources) throws {
        guard let entry = unified, !entry.controllers.isEmpty else { return }
        var names: Set<String> = ["cpu", "cpuset", "io", "memory", "pids"]
        for file in resources.unified.keys { names.insert(String(file.prefix { $0 != "." })) }
        if !resources.hugepageLimits.isEmpty { names.insert("hugetlb") }
        if !resources.rdma.isEmpty { names.insert("rdma") }
        let wanted = entry.controllers.filter { names.contains($0) && Self.enabledControllers.contains($0) }
        do { try enableControllers(entry, wanted) } catch let fault as KernelFault {
            throw Fault(.system, "cannot switch on controllers of cgroup \(entry.path)", subject: entry.path, cause: fault)
        }
    }

    private static let enabledControllers: Set<String> = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc"]

    /// Gives the v2 folder to the host's user that is root in the container, so that it can make cgroups below (runtime
    /// specification, "Cgroup ownership"). Only for a new cgroup namespace with a writable cgroup mount.
    public func delegate(toUser user: UInt32) throws {
        guard isPureUnified, let entry = unified else { return }
        do {
            let files =
                (try? CgroupFile.text("/sys/kernel/cgroup/delegate")) ?? "cgroup.procs\ncgroup.threads\ncgroup.subtree_control"
            try CgroupFile.changeOwner(entry.path, user: user, group: UInt32.max)
            for file in files.split(separator: "\n") {
                let path = entry.path + "/" + file
                if CgroupFile.exists(path) { try CgroupFile.changeOwner(path, user: user, group: UInt32.max) }
            }
        } catch let fault as KernelFault {
            throw Fault(.system, "cannot give cgroup \(entry.path) to user \(user)", subject: entry.path, cause: fault)
        }
    }
}
