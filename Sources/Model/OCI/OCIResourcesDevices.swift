import JSON

extension OCI {
    /// `linux.resources.blockIO`.
    public struct BlockIO: Sendable, Equatable {
        public var weight: UInt16?
        public var leafWeight: UInt16?
        public var weightDevice: [BlockIOWeight]
        public var throttleReadBpsDevice: [BlockIOThrottle]
        public var throttleWriteBpsDevice: [BlockIOThrottle]
        public var throttleReadIOPSDevice: [BlockIOThrottle]
        public var throttleWriteIOPSDevice: [BlockIOThrottle]

        public init(
            weight: UInt16? = nil, leafWeight: UInt16? = nil, weightDevice: [BlockIOWeight] = [],
            throttleReadBpsDevice: [BlockIOThrottle] = [], throttleWriteBpsDevice: [BlockIOThrottle] = [],
            throttleReadIOPSDevice: [BlockIOThrottle] = [], throttleWriteIOPSDevice: [BlockIOThrottle] = []
        ) {
            self.weight = weight
            self.leafWeight = leafWeight
            self.weightDevice = weightDevice
            self.throttleReadBpsDevice = throttleReadBpsDevice
            self.throttleWriteBpsDevice = throttleWriteBpsDevice
            self.throttleReadIOPSDevice = throttleReadIOPSDevice
            self.throttleWriteIOPSDevice = throttleWriteIOPSDevice
        }
    }
}

extension OCI.BlockIO: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var weight: UInt16?
        var leafWeight: UInt16?
        var weightDevice: [OCI.BlockIOWeight] = []
        var throttleReadBpsDevice: [OCI.BlockIOThrottle] = []
        var throttleWriteBpsDevice: [OCI.BlockIOThrottle] = []
        var throttleReadIOPSDevice: [OCI.BlockIOThrottle] = []
        var throttleWriteIOPSDevice: [OCI.BlockIOThrottle] = []
        try reader.object { key, reader in
            switch key {
            case "weight": try reader.assign(&weight)
            case "leafWeight": try reader.assign(&leafWeight)
            case "weightDevice": try reader.assign(&weightDevice)
            case "throttleReadBpsDevice": try reader.assign(&throttleReadBpsDevice)
            case "throttleWriteBpsDevice": try reader.assign(&throttleWriteBpsDevice)
            case "throttleReadIOPSDevice": try reader.assign(&throttleReadIOPSDevice)
            case "throttleWriteIOPSDevice": try reader.assign(&throttleWriteIOPSDevice)
            default: try reader.ignore()
            }
        }
        self.init(
            weight: weight, leafWeight: leafWeight, weightDevice: weightDevice, throttleReadBpsDevice: throttleReadBpsDevice,
            throttleWriteBpsDevice: throttleWriteBpsDevice, throttleReadIOPSDevice: throttleReadIOPSDevice,
            throttleWriteIOPSDevice: throttleWriteIOPSDevice)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("weight", ifPresent: weight)
            writer.member("leafWeight", ifPresent: leafWeight)
            writer.member("weightDevice", unlessEmpty: weightDevice)
            writer.member("throttleReadBpsDevice", unlessEmpty: throttleReadBpsDevice)
            writer.member("throttleWriteBpsDevice", unlessEmpty: throttleWriteBpsDevice)
            writer.member("throttleReadIOPSDevice", unlessEmpty: throttleReadIOPSDevice)
            writer.member("throttleWriteIOPSDevice", unlessEmpty: throttleWriteIOPSDevice)
        }
    }
}

extension OCI {
    /// `linux.resources.blockIO.weightDevice[]`.
    public struct BlockIOWeight: Sendable, Equatable {
        public var major: Int64
        public var minor: Int64
        public var weight: UInt16?
        public var leafWeight: UInt16?

        public init(major: Int64, minor: Int64, weight: UInt16? = nil, leafWeight: UInt16? = nil) {
            self.major = major
            self.minor = minor
            self.weight = weight
            self.leafWeight = leafWeight
        }
    }
}

extension OCI.BlockIOWeight: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var major: Int64?
        var minor: Int64?
        var weight: UInt16?
        var leafWeight: UInt16?
        try reader.object { key, reader in
            switch key {
            case "major": try reader.assign(&major)
            case "minor": try reader.assign(&minor)
            case "weight": try reader.assign(&weight)
            case "leafWeight": try reader.assign(&leafWeight)
            default: try reader.ignore()
            }
        }
        guard let major else { throw reader.fault("major is missing") }
        guard let minor else { throw reader.fault("minor is missing") }
        self.init(major: major, minor: minor, weight: weight, leafWeight: leafWeight)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("major", major)
            writer.member("minor", minor)
            writer.member("weight", ifPresent: weight)
            writer.member("leafWeight", ifPresent: leafWeight)
        }
    }
}

extension OCI {
    /// `linux.resources.blockIO.throttle*[]`.
    public struct BlockIOThrottle: Sendable, Equatable {
        public var major: Int64
        public var minor: Int64
        public var rate: UInt64

        public init(major: Int64, minor: Int64, rate: UInt64 = 0) {
            self.major = major
            self.minor = minor
            self.rate = rate
        }
    }
}

extension OCI.BlockIOThrottle: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var major: Int64?
        var minor: Int64?
        var rate: UInt64 = 0
        try reader.object { key, reader in
            switch key {
            case "major": try reader.assign(&major)
            case "minor": try reader.assign(&minor)
            case "rate": try reader.assign(&rate)
            default: try reader.ignore()
            }
        }
        guard let major else { throw reader.fault("major is missing") }
        guard let minor else { throw reader.fault("minor is missing") }
        self.init(major: major, minor: minor, rate: rate)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("major", major)
            writer.member("minor", minor)
            writer.member("rate", rate)
        }
    }
}

extension OCI {
    /// `linux.resources.hugepageLimits[]`.
    public struct HugepageLimit: Sendable, Equatable {
        /// `64KB`, `2MB`, `1GB` …
        public var pageSize: String
        /// Bytes.
        public var limit: UInt64

        public init(pageSize: String, limit: UInt64) {
            self.pageSize = pageSize
            self.limit = limit
        }
    }
}

extension OCI.HugepageLimit: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var pageSize: String?
        var limit: UInt64?
        try reader.object { key, reader in
            switch key {
            case "pageSize": try reader.assign(&pageSize)
            case "limit": try reader.assign(&limit)
            default: try reader.ignore()
            }
        }
        guard let pageSize else { throw reader.fault("pageSize is missing") }
        guard let limit else { throw reader.fault("limit is missing") }
        guard OCI.isPageSize(pageSize) else {
            throw reader.fault("pageSize \"\(pageSize)\" is no size such as 2MB (a number and KB, MB or GB)")
        }
        self.init(pageSize: pageSize, limit: limit)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("pageSize", pageSize)
            writer.member("limit", limit)
        }
    }
}

extension OCI {
    /// `linux.resources.network`: cgroup v1's net_cls and net_prio.
    public struct NetworkLimits: Sendable, Equatable {
        public var classID: UInt32?
        public var priorities: [InterfacePriority]

        public init(classID: UInt32? = nil, priorities: [InterfacePriority] = []) {
            self.classID = classID
            self.priorities = priorities
        }
    }
}

extension OCI.NetworkLimits: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var classID: UInt32?
        var priorities: [OCI.InterfacePriority] = []
        try reader.object { key, reader in
            switch key {
            case "classID": try reader.assign(&classID)
            case "priorities": try reader.assign(&priorities)
            default: try reader.ignore()
            }
        }
        self.init(classID: classID, priorities: priorities)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("classID", ifPresent: classID)
            writer.member("priorities", unlessEmpty: priorities)
        }
    }
}

extension OCI {
    /// `linux.resources.network.priorities[]`.
    public struct InterfacePriority: Sendable, Equatable {
        public var name: String
        public var priority: UInt32

        public init(name: String, priority: UInt32) {
            self.name = name
            self.priority = priority
        }
    }
}

extension OCI.InterfacePriority: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var name: String?
        var priority: UInt32?
        try reader.object { key, reader in
            switch key {
            case "name": try reader.assign(&name)
            case "priority": try reader.assign(&priority)
            default: try reader.ignore()
            }
        }
        guard let name else { throw reader.fault("name is missing") }
        guard let priority else { throw reader.fault("priority is missing") }
        self.init(name: name, priority: priority)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("name", name)
            writer.member("priority", priority)
        }
    }
}

extension OCI {
    /// `linux.resources.rdma.*`.
    public struct RdmaLimit: Sendable, Equatable {
        public var hcaHandles: UInt32?
        public var hcaObjects: UInt32?

        public init(hcaHandles: UInt32? = nil, hcaObjects: UInt32? = nil) {
            self.hcaHandles = hcaHandles
            self.hcaObjects = hcaObjects
        }
    }
}

extension OCI.RdmaLimit: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var hcaHandles: UInt32?
        var hcaObjects: UInt32?
        try reader.object { key, reader in
            switch key {
            case "hcaHandles": try reader.assign(&hcaHandles)
            case "hcaObjects": try reader.assign(&hcaObjects)
            default: try reader.ignore()
            }
        }
        self.init(hcaHandles: hcaHandles, hcaObjects: hcaObjects)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("hcaHandles", ifPresent: hcaHandles)
            writer.member("hcaObjects", ifPresent: hcaObjects)
        }
    }
}
