import JSON

extension OCI {
    /// `linux.memoryPolicy.mode`.
    public enum MemoryPolicyMode: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case `default` = "MPOL_DEFAULT"
        case bind = "MPOL_BIND"
        case interleave = "MPOL_INTERLEAVE"
        case weightedInterleave = "MPOL_WEIGHTED_INTERLEAVE"
        case preferred = "MPOL_PREFERRED"
        case preferredMany = "MPOL_PREFERRED_MANY"
        case local = "MPOL_LOCAL"
    }
}

extension OCI {
    /// `linux.memoryPolicy.flags[]`.
    public enum MemoryPolicyFlag: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case numaBalancing = "MPOL_F_NUMA_BALANCING"
        case relativeNodes = "MPOL_F_RELATIVE_NODES"
        case staticNodes = "MPOL_F_STATIC_NODES"
    }
}

extension OCI {
    /// `linux.memoryPolicy`, as set_mempolicy(2) takes it.
    public struct MemoryPolicy: Sendable, Equatable {
        public var mode: MemoryPolicyMode
        /// A list such as `0-3,7`.
        public var nodes: String?
        public var flags: [MemoryPolicyFlag]

        public init(mode: MemoryPolicyMode, nodes: String? = nil, flags: [MemoryPolicyFlag] = []) {
            self.mode = mode
            self.nodes = nodes
            self.flags = flags
        }
    }
}

extension OCI.MemoryPolicy: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var mode: OCI.MemoryPolicyMode?
        var nodes: String?
        var flags: [OCI.MemoryPolicyFlag] = []
        try reader.object { key, reader in
            switch key {
            case "mode": try reader.assign(&mode)
            case "nodes": try reader.assign(&nodes)
            case "flags": try reader.assign(&flags)
            default: try reader.ignore()
            }
        }
        guard let mode else { throw reader.fault("mode is missing") }
        self.init(mode: mode, nodes: nodes, flags: flags)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("mode", mode)
            writer.member("nodes", ifPresent: nodes)
            writer.member("flags", unlessEmpty: flags)
        }
    }
}

extension OCI {
    /// `linux.personality.domain`.
    public enum PersonalityDomain: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case linux = "LINUX"
        case linux32 = "LINUX32"
    }
}

extension OCI {
    /// `linux.personality`.
    public struct Personality: Sendable, Equatable {
        public var domain: PersonalityDomain
        /// The specification defines none yet.
        public var flags: [String]

        public init(domain: PersonalityDomain, flags: [String] = []) {
            self.domain = domain
            self.flags = flags
        }
    }
}

extension OCI.Personality: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var domain: OCI.PersonalityDomain?
        var flags: [String] = []
        try reader.object { key, reader in
            switch key {
            case "domain": try reader.assign(&domain)
            case "flags": try reader.assign(&flags)
            default: try reader.ignore()
            }
        }
        guard let domain else { throw reader.fault("domain is missing") }
        self.init(domain: domain, flags: flags)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("domain", domain)
            writer.member("flags", unlessEmpty: flags)
        }
    }
}

extension OCI {
    /// `linux.timeOffsets` (time_namespaces(7)).
    public struct TimeOffsets: Sendable, Equatable {
        public var boottime: TimeOffset?
        public var monotonic: TimeOffset?

        public init(boottime: TimeOffset? = nil, monotonic: TimeOffset? = nil) {
            self.boottime = boottime
            self.monotonic = monotonic
        }
    }
}

extension OCI.TimeOffsets: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var boottime: OCI.TimeOffset?
        var monotonic: OCI.TimeOffset?
        try reader.object { key, reader in
            switch key {
            case "boottime": try reader.assign(&boottime)
            case "monotonic": try reader.assign(&monotonic)
            default: try reader.ignore()
            }
        }
        self.init(boottime: boottime, monotonic: monotonic)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("boottime", ifPresent: boottime)
            writer.member("monotonic", ifPresent: monotonic)
        }
    }
}

extension OCI {
    /// `linux.timeOffsets.*`.
    public struct TimeOffset: Sendable, Equatable {
        public var secs: Int64
        public var nanosecs: UInt32

        public init(secs: Int64 = 0, nanosecs: UInt32 = 0) {
            self.secs = secs
            self.nanosecs = nanosecs
        }
    }
}

extension OCI.TimeOffset: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var secs: Int64 = 0
        var nanosecs: UInt32 = 0
        try reader.object { key, reader in
            switch key {
            case "secs": try reader.assign(&secs)
            case "nanosecs": try reader.assign(&nanosecs)
            default: try reader.ignore()
            }
        }
        self.init(secs: secs, nanosecs: nanosecs)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("secs", secs)
            writer.member("nanosecs", nanosecs)
        }
    }
}
