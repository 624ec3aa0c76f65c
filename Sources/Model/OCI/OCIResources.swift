import JSON

extension OCI {
    /// `linux.resources`: the limits of the container's cgroup; also what `update` is given.
    public struct Resources: Sendable, Equatable {
        public var devices: [DeviceRule]
        public var memory: MemoryLimits?
        public var cpu: CPULimits?
        public var pids: PidsLimit?
        public var blockIO: BlockIO?
        public var hugepageLimits: [HugepageLimit]
        public var network: NetworkLimits?
        /// By device.
        public var rdma: [String: RdmaLimit]
        /// Files of cgroup v2 and what is written to them.
        public var unified: [String: String]

        public init(
            devices: [DeviceRule] = [], memory: MemoryLimits? = nil, cpu: CPULimits? = nil, pids: PidsLimit? = nil,
            blockIO: BlockIO? = nil, hugepageLimits: [HugepageLimit] = [], network: NetworkLimits? = nil,
            rdma: [String: RdmaLimit] = [:], unified: [String: String] = [:]
        ) {
            self.devices = devices
            self.memory = memory
            self.cpu = cpu
            self.pids = pids
            self.blockIO = blockIO
            self.hugepageLimits = hugepageLimits
            self.network = network
            self.rdma = rdma
            self.unified = unified
        }
    }
}

extension OCI.Resources: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var devices: [OCI.DeviceRule] = []
        var memory: OCI.MemoryLimits?
        var cpu: OCI.CPULimits?
        var pids: OCI.PidsLimit?
        var blockIO: OCI.BlockIO?
        var hugepageLimits: [OCI.HugepageLimit] = []
        var network: OCI.NetworkLimits?
        var rdma: [String: OCI.RdmaLimit] = [:]
        var unified: [String: String] = [:]
        try reader.object { key, reader in
            switch key {
            case "devices": try reader.assign(&devices)
            case "memory": try reader.assign(&memory)
            case "cpu": try reader.assign(&cpu)
            case "pids": try reader.assign(&pids)
            case "blockIO": try reader.assign(&blockIO)
            case "hugepageLimits": try reader.assign(&hugepageLimits)
            case "network": try reader.assign(&network)
            case "rdma": try reader.assign(&rdma)
            case "unified": try reader.assign(&unified)
            default: try reader.ignore()
            }
        }
        self.init(
            devices: devices, memory: memory, cpu: cpu, pids: pids, blockIO: blockIO, hugepageLimits: hugepageLimits,
            network: network, rdma: rdma, unified: unified)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("devices", unlessEmpty: devices)
            writer.member("memory", ifPresent: memory)
            writer.member("cpu", ifPresent: cpu)
            writer.member("pids", ifPresent: pids)
            writer.member("blockIO", ifPresent: blockIO)
            writer.member("hugepageLimits", unlessEmpty: hugepageLimits)
            writer.member("network", ifPresent: network)
            writer.member("rdma", unlessEmpty: rdma)
            writer.member("unified", unlessEmpty: unified)
        }
    }
}

extension OCI {
    /// `linux.resources.devices[]`.
    public struct DeviceRule: Sendable, Equatable {
        public var allow: Bool
        /// `a` (all), `c` or `b`.
        public var type: String?
        /// Absent or -1: all.
        public var major: Int64?
        public var minor: Int64?
        /// Some of `r`, `w`, `m`.
        public var access: String?

        public init(allow: Bool, type: String? = nil, major: Int64? = nil, minor: Int64? = nil, access: String? = nil) {
            self.allow = allow
            self.type = type
            self.major = major
            self.minor = minor
            self.access = access
        }
    }
}

extension OCI.DeviceRule: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var allow: Bool?
        var type: String?
        var major: Int64?
        var minor: Int64?
        var access: String?
        try reader.object { key, reader in
            switch key {
            case "allow": try reader.assign(&allow)
            case "type": try reader.assign(&type)
            case "major": try reader.assign(&major)
            case "minor": try reader.assign(&minor)
            case "access": try reader.assign(&access)
            default: try reader.ignore()
            }
        }
        guard let allow else { throw reader.fault("allow is missing") }
        self.init(allow: allow, type: type, major: major, minor: minor, access: access)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("allow", allow)
            writer.member("type", ifPresent: type)
            writer.member("major", ifPresent: major)
            writer.member("minor", ifPresent: minor)
            writer.member("access", ifPresent: access)
        }
    }
}

extension OCI {
    /// `linux.resources.memory`, bytes; -1 is no limit.
    public struct MemoryLimits: Sendable, Equatable {
        public var limit: Int64?
        public var reservation: Int64?
        /// Memory and swap together.
        public var swap: Int64?
        /// Deprecated.
        public var kernel: Int64?
        public var kernelTCP: Int64?
        public var swappiness: UInt64?
        public var disableOOMKiller: Bool?
        public var useHierarchy: Bool?
        public var checkBeforeUpdate: Bool?

        public init(
            limit: Int64? = nil, reservation: Int64? = nil, swap: Int64? = nil, kernel: Int64? = nil, kernelTCP: Int64? = nil,
            swappiness: UInt64? = nil, disableOOMKiller: Bool? = nil, useHierarchy: Bool? = nil, checkBeforeUpdate: Bool? = nil
        ) {
            self.limit = limit
            self.reservation = reservation
            self.swap = swap
            self.kernel = kernel
            self.kernelTCP = kernelTCP
            self.swappiness = swappiness
            self.disableOOMKiller = disableOOMKiller
            self.useHierarchy = useHierarchy
            self.checkBeforeUpdate = checkBeforeUpdate
        }
    }
}

extension OCI.MemoryLimits: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var limit: Int64?
        var reservation: Int64?
        var swap: Int64?
        var kernel: Int64?
        var kernelTCP: Int64?
        var swappiness: UInt64?
        var disableOOMKiller: Bool?
        var useHierarchy: Bool?
        var checkBeforeUpdate: Bool?
        try reader.object { key, reader in
            switch key {
            case "limit": try reader.assign(&limit)
            case "reservation": try reader.assign(&reservation)
            case "swap": try reader.assign(&swap)
            case "kernel": try reader.assign(&kernel)
            case "kernelTCP": try reader.assign(&kernelTCP)
            case "swappiness": try reader.assign(&swappiness)
            case "disableOOMKiller": try reader.assign(&disableOOMKiller)
            case "useHierarchy": try reader.assign(&useHierarchy)
            case "checkBeforeUpdate": try reader.assign(&checkBeforeUpdate)
            default: try reader.ignore()
            }
        }
        self.init(
            limit: limit, reservation: reservation, swap: swap, kernel: kernel, kernelTCP: kernelTCP, swappiness: swappiness,
            disableOOMKiller: disableOOMKiller, useHierarchy: useHierarchy, checkBeforeUpdate: checkBeforeUpdate)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("limit", ifPresent: limit)
            writer.member("reservation", ifPresent: reservation)
            writer.member("swap", ifPresent: swap)
            writer.member("kernel", ifPresent: kernel)
            writer.member("kernelTCP", ifPresent: kernelTCP)
            writer.member("swappiness", ifPresent: swappiness)
            writer.member("disableOOMKiller", ifPresent: disableOOMKiller)
            writer.member("useHierarchy", ifPresent: useHierarchy)
            writer.member("checkBeforeUpdate", ifPresent: checkBeforeUpdate)
        }
    }
}

extension OCI {
    /// `linux.resources.cpu`, times in microseconds.
    public struct CPULimits: Sendable, Equatable {
        public var shares: UInt64?
        public var quota: Int64?
        public var burst: UInt64?
        public var period: UInt64?
        public var realtimeRuntime: Int64?
        public var realtimePeriod: UInt64?
        /// A list such as `0-3,7`, as is `mems`.
        public var cpus: String?
        public var mems: String?
        public var idle: Int64?

        public init(
            shares: UInt64? = nil, quota: Int64? = nil, burst: UInt64? = nil, period: UInt64? = nil,
            realtimeRuntime: Int64? = nil, realtimePeriod: UInt64? = nil, cpus: String? = nil, mems: String? = nil,
            idle: Int64? = nil
        ) {
            self.shares = shares
            self.quota = quota
            self.burst = burst
            self.period = period
            self.realtimeRuntime = realtimeRuntime
            self.realtimePeriod = realtimePeriod
            self.cpus = cpus
            self.mems = mems
            self.idle = idle
        }
    }
}

extension OCI.CPULimits: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var shares: UInt64?
        var quota: Int64?
        var burst: UInt64?
        var period: UInt64?
        var realtimeRuntime: Int64?
        var realtimePeriod: UInt64?
        var cpus: String?
        var mems: String?
        var idle: Int64?
        try reader.object { key, reader in
            switch key {
            case "shares": try reader.assign(&shares)
            case "quota": try reader.assign(&quota)
            case "burst": try reader.assign(&burst)
            case "period": try reader.assign(&period)
            case "realtimeRuntime": try reader.assign(&realtimeRuntime)
            case "realtimePeriod": try reader.assign(&realtimePeriod)
            case "cpus": try reader.assign(&cpus)
            case "mems": try reader.assign(&mems)
            case "idle": try reader.assign(&idle)
            default: try reader.ignore()
            }
        }
        self.init(
            shares: shares, quota: quota, burst: burst, period: period, realtimeRuntime: realtimeRuntime,
            realtimePeriod: realtimePeriod, cpus: cpus, mems: mems, idle: idle)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("shares", ifPresent: shares)
            writer.member("quota", ifPresent: quota)
            writer.member("burst", ifPresent: burst)
            writer.member("period", ifPresent: period)
            writer.member("realtimeRuntime", ifPresent: realtimeRuntime)
            writer.member("realtimePeriod", ifPresent: realtimePeriod)
            writer.member("cpus", ifPresent: cpus)
            writer.member("mems", ifPresent: mems)
            writer.member("idle", ifPresent: idle)
        }
    }
}

extension OCI {
    /// `linux.resources.pids`.
    public struct PidsLimit: Sendable, Equatable {
        /// 0 and less: no limit.
        public var limit: Int64?

        public init(limit: Int64? = nil) {
            self.limit = limit
        }
    }
}

extension OCI.PidsLimit: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var limit: Int64?
        try reader.object { key, reader in
            switch key {
            case "limit": try reader.assign(&limit)
            default: try reader.ignore()
            }
        }
        self.init(limit: limit)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("limit", ifPresent: limit)
        }
    }
}
