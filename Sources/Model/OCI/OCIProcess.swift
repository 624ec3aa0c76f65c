import JSON

extension OCI {
    /// `process`: also what `exec` is given.
    public struct Process: Sendable, Equatable {
        public var terminal: Bool
        public var consoleSize: ConsoleSize?
        public var user: User
        public var args: [String]
        /// Windows only.
        public var commandLine: String?
        public var env: [String]
        /// Absolute.
        public var cwd: String
        /// Absent: none at all, as with runc.
        public var capabilities: Capabilities?
        public var rlimits: [Rlimit]
        public var noNewPrivileges: Bool
        public var apparmorProfile: String?
        public var oomScoreAdj: Int?
        public var scheduler: Scheduler?
        public var selinuxLabel: String?
        public var ioPriority: IOPriority?
        public var execCPUAffinity: CPUAffinity?

        public init(
            terminal: Bool = false, consoleSize: ConsoleSize? = nil, user: User = User(), args: [String] = [],
            commandLine: String? = nil, env: [String] = [], cwd: String, capabilities: Capabilities? = nil,
            rlimits: [Rlimit] = [], noNewPrivileges: Bool = false, apparmorProfile: String? = nil, oomScoreAdj: Int? = nil,
            scheduler: Scheduler? = nil, selinuxLabel: String? = nil, ioPriority: IOPriority? = nil,
            execCPUAffinity: CPUAffinity? = nil
        ) {
            self.terminal = terminal
            self.consoleSize = consoleSize
            self.user = user
            self.args = args
            self.commandLine = commandLine
            self.env = env
            self.cwd = cwd
            self.capabilities = capabilities
            self.rlimits = rlimits
            self.noNewPrivileges = noNewPrivileges
            self.apparmorProfile = apparmorProfile
            self.oomScoreAdj = oomScoreAdj
            self.scheduler = scheduler
            self.selinuxLabel = selinuxLabel
            self.ioPriority = ioPriority
            self.execCPUAffinity = execCPUAffinity
        }
    }
}

extension OCI.Process: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var terminal = false
        var consoleSize: OCI.ConsoleSize?
        var user = OCI.User()
        var args: [String] = []
        var commandLine: String?
        var env: [String] = []
        var cwd: String?
        var capabilities: OCI.Capabilities?
        var rlimits: [OCI.Rlimit] = []
        var noNewPrivileges = false
        var apparmorProfile: String?
        var oomScoreAdj: Int?
        var scheduler: OCI.Scheduler?
        var selinuxLabel: String?
        var ioPriority: OCI.IOPriority?
        var execCPUAffinity: OCI.CPUAffinity?
        try reader.object { key, reader in
            switch key {
            case "terminal": try reader.assign(&terminal)
            case "consoleSize": try reader.assign(&consoleSize)
            case "user": try reader.assign(&user)
            case "args": try reader.assign(&args)
            case "commandLine": try reader.assign(&commandLine)
            case "env": try reader.assign(&env)
            case "cwd": try reader.assign(&cwd)
            case "capabilities": try reader.assign(&capabilities)
            case "rlimits": try reader.assign(&rlimits)
            case "noNewPrivileges": try reader.assign(&noNewPrivileges)
            case "apparmorProfile": try reader.assign(&apparmorProfile)
            case "oomScoreAdj": try reader.assign(&oomScoreAdj)
            case "scheduler": try reader.assign(&scheduler)
            case "selinuxLabel": try reader.assign(&selinuxLabel)
            case "ioPriority": try reader.assign(&ioPriority)
            case "execCPUAffinity": try reader.assign(&execCPUAffinity)
            default: try reader.ignore()
            }
        }
        guard let cwd else { throw reader.fault("cwd is missing") }
        self.init(
            terminal: terminal, consoleSize: consoleSize, user: user, args: args, commandLine: commandLine, env: env, cwd: cwd,
            capabilities: capabilities, rlimits: rlimits, noNewPrivileges: noNewPrivileges, apparmorProfile: apparmorProfile,
            oomScoreAdj: oomScoreAdj, scheduler: scheduler, selinuxLabel: selinuxLabel, ioPriority: ioPriority,
            execCPUAffinity: execCPUAffinity)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("terminal", ifTrue: terminal)
            writer.member("consoleSize", ifPresent: consoleSize)
            writer.member("user", user)
            writer.member("args", unlessEmpty: args)
            writer.member("commandLine", ifPresent: commandLine)
            writer.member("env", unlessEmpty: env)
            writer.member("cwd", cwd)
            writer.member("capabilities", ifPresent: capabilities)
            writer.member("rlimits", unlessEmpty: rlimits)
            writer.member("noNewPrivileges", ifTrue: noNewPrivileges)
            writer.member("apparmorProfile", ifPresent: apparmorProfile)
            writer.member("oomScoreAdj", ifPresent: oomScoreAdj)
            writer.member("scheduler", ifPresent: scheduler)
            writer.member("selinuxLabel", ifPresent: selinuxLabel)
            writer.member("ioPriority", ifPresent: ioPriority)
            writer.member("execCPUAffinity", ifPresent: execCPUAffinity)
        }
    }
}

extension OCI {
    /// `process.consoleSize`, in characters.
    public struct ConsoleSize: Sendable, Equatable {
        public var height: UInt64
        public var width: UInt64

        public init(height: UInt64, width: UInt64) {
            self.height = height
            self.width = width
        }
    }
}

extension OCI.ConsoleSize: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var height: UInt64?
        var width: UInt64?
        try reader.object { key, reader in
            switch key {
            case "height": try reader.assign(&height)
            case "width": try reader.assign(&width)
            default: try reader.ignore()
            }
        }
        guard let height else { throw reader.fault("height is missing") }
        guard let width else { throw reader.fault("width is missing") }
        self.init(height: height, width: width)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("height", height)
            writer.member("width", width)
        }
    }
}

extension OCI {
    /// `process.user`: numeric, inside the container.
    public struct User: Sendable, Equatable {
        public var uid: UInt32
        public var gid: UInt32
        public var umask: UInt32?
        public var additionalGids: [UInt32]
        /// Windows only.
        public var username: String?

        public init(
            uid: UInt32 = 0, gid: UInt32 = 0, umask: UInt32? = nil, additionalGids: [UInt32] = [], username: String? = nil
        ) {
            self.uid = uid
            self.gid = gid
            self.umask = umask
            self.additionalGids = additionalGids
            self.username = username
        }
    }
}

extension OCI.User: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var uid: UInt32 = 0
        var gid: UInt32 = 0
        var umask: UInt32?
        var additionalGids: [UInt32] = []
        var username: String?
        try reader.object { key, reader in
            switch key {
            case "uid": try reader.assign(&uid)
            case "gid": try reader.assign(&gid)
            case "umask": try reader.assign(&umask)
            case "additionalGids": try reader.assign(&additionalGids)
            case "username": try reader.assign(&username)
            default: try reader.ignore()
            }
        }
        self.init(uid: uid, gid: gid, umask: umask, additionalGids: additionalGids, username: username)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("uid", uid)
            writer.member("gid", gid)
            writer.member("umask", ifPresent: umask)
            writer.member("additionalGids", unlessEmpty: additionalGids)
            writer.member("username", ifPresent: username)
        }
    }
}

extension OCI {
    /// `process.capabilities`, names as in capabilities(7).
    public struct Capabilities: Sendable, Equatable {
        public var bounding: [String]
        public var effective: [String]
        public var inheritable: [String]
        public var permitted: [String]
        public var ambient: [String]

        public init(
            bounding: [String] = [], effective: [String] = [], inheritable: [String] = [], permitted: [String] = [],
            ambient: [String] = []
        ) {
            self.bounding = bounding
            self.effective = effective
            self.inheritable = inheritable
            self.permitted = permitted
            self.ambient = ambient
        }
    }
}

extension OCI.Capabilities: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var bounding: [String] = []
        var effective: [String] = []
        var inheritable: [String] = []
        var permitted: [String] = []
        var ambient: [String] = []
        try reader.object { key, reader in
            switch key {
            case "bounding": try reader.assign(&bounding)
            case "effective": try reader.assign(&effective)
            case "inheritable": try reader.assign(&inheritable)
            case "permitted": try reader.assign(&permitted)
            case "ambient": try reader.assign(&ambient)
            default: try reader.ignore()
            }
        }
        self.init(bounding: bounding, effective: effective, inheritable: inheritable, permitted: permitted, ambient: ambient)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("bounding", unlessEmpty: bounding)
            writer.member("effective", unlessEmpty: effective)
            writer.member("inheritable", unlessEmpty: inheritable)
            writer.member("permitted", unlessEmpty: permitted)
            writer.member("ambient", unlessEmpty: ambient)
        }
    }
}

extension OCI {
    /// `process.rlimits[]`, names as in getrlimit(2).
    public struct Rlimit: Sendable, Equatable {
        public var type: String
        public var hard: UInt64
        public var soft: UInt64

        public init(type: String, hard: UInt64, soft: UInt64) {
            self.type = type
            self.hard = hard
            self.soft = soft
        }
    }
}

extension OCI.Rlimit: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var type: String?
        var hard: UInt64?
        var soft: UInt64?
        try reader.object { key, reader in
            switch key {
            case "type": try reader.assign(&type)
            case "hard": try reader.assign(&hard)
            case "soft": try reader.assign(&soft)
            default: try reader.ignore()
            }
        }
        guard let type else { throw reader.fault("type is missing") }
        guard let hard else { throw reader.fault("hard is missing") }
        guard let soft else { throw reader.fault("soft is missing") }
        self.init(type: type, hard: hard, soft: soft)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("type", type)
            writer.member("hard", hard)
            writer.member("soft", soft)
        }
    }
}

extension OCI {
    /// `process.scheduler.policy`.
    public enum SchedulerPolicy: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case other = "SCHED_OTHER"
        case fifo = "SCHED_FIFO"
        case roundRobin = "SCHED_RR"
        case batch = "SCHED_BATCH"
        case iso = "SCHED_ISO"
        case idle = "SCHED_IDLE"
        case deadline = "SCHED_DEADLINE"
    }
}

extension OCI {
    /// `process.scheduler.flags[]`.
    public enum SchedulerFlag: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case resetOnFork = "SCHED_FLAG_RESET_ON_FORK"
        case reclaim = "SCHED_FLAG_RECLAIM"
        case dlOverrun = "SCHED_FLAG_DL_OVERRUN"
        case keepPolicy = "SCHED_FLAG_KEEP_POLICY"
        case keepParams = "SCHED_FLAG_KEEP_PARAMS"
        case utilClampMin = "SCHED_FLAG_UTIL_CLAMP_MIN"
        case utilClampMax = "SCHED_FLAG_UTIL_CLAMP_MAX"
    }
}

extension OCI {
    /// `process.scheduler`, as sched_setattr(2) takes it.
    public struct Scheduler: Sendable, Equatable {
        public var policy: SchedulerPolicy
        public var nice: Int32?
        public var priority: Int32?
        public var flags: [SchedulerFlag]
        /// Nanoseconds, as the next two.
        public var runtime: UInt64?
        public var deadline: UInt64?
        public var period: UInt64?

        public init(
            policy: SchedulerPolicy, nice: Int32? = nil, priority: Int32? = nil, flags: [SchedulerFlag] = [],
            runtime: UInt64? = nil, deadline: UInt64? = nil, period: UInt64? = nil
        ) {
            self.policy = policy
            self.nice = nice
            self.priority = priority
            self.flags = flags
            self.runtime = runtime
            self.deadline = deadline
            self.period = period
        }
    }
}

extension OCI.Scheduler: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var policy: OCI.SchedulerPolicy?
        var nice: Int32?
        var priority: Int32?
        var flags: [OCI.SchedulerFlag] = []
        var runtime: UInt64?
        var deadline: UInt64?
        var period: UInt64?
        try reader.object { key, reader in
            switch key {
            case "policy": try reader.assign(&policy)
            case "nice": try reader.assign(&nice)
            case "priority": try reader.assign(&priority)
            case "flags": try reader.assign(&flags)
            case "runtime": try reader.assign(&runtime)
            case "deadline": try reader.assign(&deadline)
            case "period": try reader.assign(&period)
            default: try reader.ignore()
            }
        }
        guard let policy else { throw reader.fault("policy is missing") }
        self.init(
            policy: policy, nice: nice, priority: priority, flags: flags, runtime: runtime, deadline: deadline, period: period)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("policy", policy)
            writer.member("nice", ifPresent: nice)
            writer.member("priority", ifPresent: priority)
            writer.member("flags", unlessEmpty: flags)
            writer.member("runtime", ifPresent: runtime)
            writer.member("deadline", ifPresent: deadline)
            writer.member("period", ifPresent: period)
        }
    }
}

extension OCI {
    /// `process.ioPriority.class`.
    public enum IOPriorityClass: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case realTime = "IOPRIO_CLASS_RT"
        case bestEffort = "IOPRIO_CLASS_BE"
        case idle = "IOPRIO_CLASS_IDLE"
    }
}

extension OCI {
    /// `process.ioPriority`, as ioprio_set(2) takes it.
    public struct IOPriority: Sendable, Equatable {
        public var `class`: IOPriorityClass
        public var priority: Int32?

        public init(class: IOPriorityClass, priority: Int32? = nil) {
            self.class = `class`
            self.priority = priority
        }
    }
}

extension OCI.IOPriority: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var `class`: OCI.IOPriorityClass?
        var priority: Int32?
        try reader.object { key, reader in
            switch key {
            case "class": try reader.assign(&`class`)
            case "priority": try reader.assign(&priority)
            default: try reader.ignore()
            }
        }
        guard let `class` else { throw reader.fault("class is missing") }
        self.init(class: `class`, priority: priority)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("class", `class`)
            writer.member("priority", ifPresent: priority)
        }
    }
}

extension OCI {
    /// `process.execCPUAffinity`: CPU lists (`0-3,7`) of an exec, before and after it moved to the cgroup.
    public struct CPUAffinity: Sendable, Equatable {
        public var initial: String?
        public var final: String?

        public init(initial: String? = nil, final: String? = nil) {
            self.initial = initial
            self.final = final
        }
    }
}

extension OCI.CPUAffinity: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var initial: String?
        var final: String?
        try reader.object { key, reader in
            switch key {
            case "initial": try reader.assign(&initial)
            case "final": try reader.assign(&final)
            default: try reader.ignore()
            }
        }
        self.init(initial: initial, final: final)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("initial", ifPresent: initial)
            writer.member("final", ifPresent: final)
        }
    }
}
