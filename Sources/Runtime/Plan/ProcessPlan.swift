import Linux
import Model

/// A process of a container, checked and translated: everything that needs no kernel to be refused is refused here.
struct ProcessPlan: Sendable {
    struct Limit: Sendable {
        var name: String
        var number: CInt
        var soft: UInt64
        var hard: UInt64
    }

    var arguments: [String]
    var environment: [String]
    var folder: String
    var terminal: Bool
    var rows: UInt16 = 0
    var columns: UInt16 = 0
    var user: OCI.User
    var capabilities: CapabilityPlan
    var limits: [Limit] = []
    var noNewPrivileges: Bool
    var oomScoreAdjustment: Int?
    var scheduling: SchedulingAttributes?
    var ioClass: CInt?
    var ioLevel: CInt = 0
    var initialCPUs: CPUSet?
    var finalCPUs: CPUSet?
    var appArmor: String?
    var seLinux: String?
    var seccomp: SeccompProgram?

    init(_ process: OCI.Process, linux: OCI.Linux?, place: String = "process") throws {
        guard !process.args.isEmpty else {
            throw Fault(.invalid, "\(place).args is empty: name a command")
        }
        guard process.cwd.hasPrefix("/") else {
            throw Fault(.invalid, "\(place).cwd: \"\(process.cwd)\" is no absolute path")
        }
        for text in process.args + process.env where text.utf8.contains(0) {
            throw Fault(.invalid, "\(place).args, \(place).env: a NUL cannot be passed to a process")
        }
        arguments = process.args
        environment = process.env
        folder = process.cwd
        terminal = process.terminal
        user = process.user
        noNewPrivileges = process.noNewPrivileges
        capabilities = CapabilityPlan(process.capabilities)
        oomScoreAdjustment = process.oomScoreAdj
        appArmor = process.apparmorProfile.flatMap { $0.isEmpty ? nil : $0 }
        seLinux = process.selinuxLabel.flatMap { $0.isEmpty ? nil : $0 }
        try checkUser(linux, place)
        if let size = process.consoleSize {
            rows = UInt16(clamping: size.height)
            columns = UInt16(clamping: size.width)
        }
        if let score = oomScoreAdjustment, !(-1000...1000).contains(score) {
            throw Fault(.invalid, "\(place).oomScoreAdj: \(score) is not within -1000 and 1000")
        }
        try takeLimits(process.rlimits, place)
        try takeScheduling(process, place)
        if let profile = appArmor { try AppArmor.check(profile) }
        if let label = seLinux { try SELinux.check(label, field: "\(place).selinuxLabel") }
        if let profile = linux?.seccomp { seccomp = try compileSeccomp(profile) }
    }

    private func checkUser(_ linux: OCI.Linux?, _ place: String) throws {
        // (uid_t)-1 means "leave as it is" to setresuid(2): it would stay root
        for (id, name) in [(user.uid, "uid"), (user.gid, "gid")] where id == UInt32.max {
            throw Fault(.invalid, "\(place).user.\(name): \(id) is no id that a process can have")
        }
        if let index = user.additionalGids.firstIndex(of: UInt32.max) {
            throw Fault(.invalid, "\(place).user.additionalGids[\(index)]: \(UInt32.max) is no id that a process can have")
        }
        if let mask = user.umask, mask > 0o777 { throw Fault(.invalid, "\(place).user.umask: \(mask) is more than 511 (0777)") }
        guard let linux, linux.namespaces.contains(where: { $0.type == .user && ($0.path ?? "").isEmpty }) else { return }
        guard IDMaps.contains(linux.uidMappings, user.uid) else {
            throw Fault(.invalid, "\(place).user.uid: \(user.uid) has no host id in linux.uidMappings")
        }
        for id in [user.gid] + user.additionalGids where !IDMaps.contains(linux.gidMappings, id) {
            throw Fault(.invalid, "\(place).user: group \(id) has no host id in linux.gidMappings")
        }
    }

    private mutating func takeLimits(_ rlimits: [OCI.Rlimit], _ place: String) throws {
        for (index, limit) in rlimits.enumerated() {
            guard let known = Scheduling.limits.first(where: { $0.name == limit.type }) else {
                throw Fault(.invalid, "\(place).rlimits[\(index)].type: unknown limit \(limit.type)")
            }
            guard !limits.contains(where: { $0.number == known.number }) else {
                throw Fault(.invalid, "\(place).rlimits[\(index)].type: \(limit.type) is there twice")
            }
            guard limit.soft <= limit.hard else {
                throw Fault(.invalid, "\(place).rlimits[\(index)].soft: \(limit.soft) is more than hard, \(limit.hard)")
            }
            limits.append(Limit(name: limit.type, number: known.number, soft: limit.soft, hard: limit.hard))
        }
    }

    private mutating func takeScheduling(_ process: OCI.Process, _ place: String) throws {
        if let scheduler = process.scheduler { scheduling = try Self.attributes(scheduler, "\(place).scheduler") }
        if let priority = process.ioPriority {
            let level = priority.priority ?? 0
            guard (0...7).contains(level) else {
                throw Fault(.invalid, "\(place).ioPriority.priority: \(level) is not within 0 and 7")
            }
            ioLevel = CInt(level)
            switch priority.class {
            case .realTime: ioClass = 1
            case .bestEffort: ioClass = 2
            case .idle: ioClass = 3
            }
        }
        if let affinity = process.execCPUAffinity {
            func cpus(_ text: String?, _ name: String) throws -> CPUSet? {
                guard let text, !text.isEmpty else { return nil }
                guard let set = CPUSet(text) else {
                    throw Fault(.invalid, "\(place).execCPUAffinity.\(name): \"\(text)\" is no list such as 0-3,7")
                }
                return set
            }
            initialCPUs = try cpus(affinity.initial, "initial")
            finalCPUs = try cpus(affinity.final, "final")
        }
    }

    private static func attributes(_ scheduler: OCI.Scheduler, _ place: String) throws -> SchedulingAttributes {
        var value = SchedulingAttributes()
        switch scheduler.policy {
        case .other: value.policy = 0
        case .fifo: value.policy = 1
        case .roundRobin: value.policy = 2
        case .batch: value.policy = 3
        case .iso: throw Fault(.unsupported, "\(place).policy: the kernel never had SCHED_ISO")
        case .idle: value.policy = 5
        case .deadline: value.policy = 6
        }
        for flag in scheduler.flags {
            switch flag {
            case .resetOnFork: value.flags |= 0x01
            case .reclaim: value.flags |= 0x02
            case .dlOverrun: value.flags |= 0x04
            case .keepPolicy: value.flags |= 0x08
            case .keepParams: value.flags |= 0x10
            case .utilClampMin, .utilClampMax:
                throw Fault(
                    .unsupported, "\(place).flags: \(flag.rawValue) needs a value, for which the specification has no field")
            }
        }
        value.nice = scheduler.nice ?? 0
        guard (-20...19).contains(value.nice) else {
            throw Fault(.invalid, "\(place).nice: \(value.nice) is not within -20 and 19")
        }
        let priority = scheduler.priority ?? 0
        guard (0...99).contains(priority) else {
            throw Fault(.invalid, "\(place).priority: \(priority) is not within 0 and 99")
        }
        value.priority = UInt32(priority)
        value.runtime = scheduler.runtime ?? 0
        value.deadline = scheduler.deadline ?? 0
        value.period = scheduler.period ?? 0
        return value
    }
}
