import JSON

extension OCI {
    /// `linux` (config-linux.md).
    public struct Linux: Sendable, Equatable {
        public var uidMappings: [IDMapping]
        public var gidMappings: [IDMapping]
        public var sysctl: [String: String]
        public var resources: Resources?
        /// Absolute: below the cgroup root; relative: below the runtime's choice; `slice:prefix:name` with systemd.
        public var cgroupsPath: String?
        /// Of a type that is absent, the container shares the runtime's.
        public var namespaces: [Namespace]
        /// Made besides the default ones.
        public var devices: [Device]
        /// Network links moved into the container, by their name outside.
        public var netDevices: [String: NetDevice]
        public var seccomp: Seccomp?
        /// `private`, `shared`, `slave`, `unbindable`, each also with a leading `r`.
        public var rootfsPropagation: String?
        public var maskedPaths: [String]
        public var readonlyPaths: [String]
        /// SELinux.
        public var mountLabel: String?
        public var intelRdt: IntelRdt?
        public var memoryPolicy: MemoryPolicy?
        public var personality: Personality?
        public var timeOffsets: TimeOffsets?

        public init(
            uidMappings: [IDMapping] = [], gidMappings: [IDMapping] = [], sysctl: [String: String] = [:],
            resources: Resources? = nil, cgroupsPath: String? = nil, namespaces: [Namespace] = [], devices: [Device] = [],
            netDevices: [String: NetDevice] = [:], seccomp: Seccomp? = nil, rootfsPropagation: String? = nil,
            maskedPaths: [String] = [], readonlyPaths: [String] = [], mountLabel: String? = nil, intelRdt: IntelRdt? = nil,
            memoryPolicy: MemoryPolicy? = nil, personality: Personality? = nil, timeOffsets: TimeOffsets? = nil
        ) {
            self.uidMappings = uidMappings
            self.gidMappings = gidMappings
            self.sysctl = sysctl
            self.resources = resources
            self.cgroupsPath = cgroupsPath
            self.namespaces = namespaces
            self.devices = devices
            self.netDevices = netDevices
            self.seccomp = seccomp
            self.rootfsPropagation = rootfsPropagation
            self.maskedPaths = maskedPaths
            self.readonlyPaths = readonlyPaths
            self.mountLabel = mountLabel
            self.intelRdt = intelRdt
            self.memoryPolicy = memoryPolicy
            self.personality = personality
            self.timeOffsets = timeOffsets
        }
    }
}

extension OCI.Linux: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var uidMappings: [OCI.IDMapping] = []
        var gidMappings: [OCI.IDMapping] = []
        var sysctl: [String: String] = [:]
        var resources: OCI.Resources?
        var cgroupsPath: String?
        var namespaces: [OCI.Namespace] = []
        var devices: [OCI.Device] = []
        var netDevices: [String: OCI.NetDevice] = [:]
        var seccomp: OCI.Seccomp?
        var rootfsPropagation: String?
        var maskedPaths: [String] = []
        var readonlyPaths: [String] = []
        var mountLabel: String?
        var intelRdt: OCI.IntelRdt?
        var memoryPolicy: OCI.MemoryPolicy?
        var personality: OCI.Personality?
        var timeOffsets: OCI.TimeOffsets?
        try reader.object { key, reader in
            switch key {
            case "uidMappings": try reader.assign(&uidMappings)
            case "gidMappings": try reader.assign(&gidMappings)
            case "sysctl": try reader.assign(&sysctl)
            case "resources": try reader.assign(&resources)
            case "cgroupsPath": try reader.assign(&cgroupsPath)
            case "namespaces": try reader.assign(&namespaces)
            case "devices": try reader.assign(&devices)
            case "netDevices": try reader.assign(&netDevices)
            case "seccomp": try reader.assign(&seccomp)
            case "rootfsPropagation": try reader.assign(&rootfsPropagation)
            case "maskedPaths": try reader.assign(&maskedPaths)
            case "readonlyPaths": try reader.assign(&readonlyPaths)
            case "mountLabel": try reader.assign(&mountLabel)
            case "intelRdt": try reader.assign(&intelRdt)
            case "memoryPolicy": try reader.assign(&memoryPolicy)
            case "personality": try reader.assign(&personality)
            case "timeOffsets": try reader.assign(&timeOffsets)
            default: try reader.ignore()
            }
        }
        self.init(
            uidMappings: uidMappings, gidMappings: gidMappings, sysctl: sysctl, resources: resources, cgroupsPath: cgroupsPath,
            namespaces: namespaces, devices: devices, netDevices: netDevices, seccomp: seccomp,
            rootfsPropagation: rootfsPropagation, maskedPaths: maskedPaths, readonlyPaths: readonlyPaths,
            mountLabel: mountLabel, intelRdt: intelRdt, memoryPolicy: memoryPolicy, personality: personality,
            timeOffsets: timeOffsets)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("uidMappings", unlessEmpty: uidMappings)
            writer.member("gidMappings", unlessEmpty: gidMappings)
            writer.member("sysctl", unlessEmpty: sysctl)
            writer.member("resources", ifPresent: resources)
            writer.member("cgroupsPath", ifPresent: cgroupsPath)
            writer.member("namespaces", unlessEmpty: namespaces)
            writer.member("devices", unlessEmpty: devices)
            writer.member("netDevices", unlessEmpty: netDevices)
            writer.member("seccomp", ifPresent: seccomp)
            writer.member("rootfsPropagation", ifPresent: rootfsPropagation)
            writer.member("maskedPaths", unlessEmpty: maskedPaths)
            writer.member("readonlyPaths", unlessEmpty: readonlyPaths)
            writer.member("mountLabel", ifPresent: mountLabel)
            writer.member("intelRdt", ifPresent: intelRdt)
            writer.member("memoryPolicy", ifPresent: memoryPolicy)
            writer.member("personality", ifPresent: personality)
            writer.member("timeOffsets", ifPresent: timeOffsets)
        }
    }
}

extension OCI {
    /// `linux.namespaces[].type`.
    public enum NamespaceType: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case pid
        case network
        case mount
        case ipc
        case uts
        case user
        case cgroup
        case time
    }
}

extension OCI {
    /// `linux.namespaces[]`.
    public struct Namespace: Sendable, Equatable {
        public var type: NamespaceType
        /// Absent: a new one.
        public var path: String?

        public init(type: NamespaceType, path: String? = nil) {
            self.type = type
            self.path = path
        }
    }
}

extension OCI.Namespace: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var type: OCI.NamespaceType?
        var path: String?
        try reader.object { key, reader in
            switch key {
            case "type": try reader.assign(&type)
            case "path": try reader.assign(&path)
            default: try reader.ignore()
            }
        }
        guard let type else { throw reader.fault("type is missing") }
        self.init(type: type, path: path)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("type", type)
            writer.member("path", ifPresent: path)
        }
    }
}

extension OCI {
    /// `linux.devices[]`.
    public struct Device: Sendable, Equatable {
        /// `c`, `b`, `u` or `p`.
        public var type: String
        /// Inside the container.
        public var path: String
        public var major: Int64?
        public var minor: Int64?
        public var fileMode: UInt32?
        public var uid: UInt32?
        public var gid: UInt32?

        public init(
            type: String, path: String, major: Int64? = nil, minor: Int64? = nil, fileMode: UInt32? = nil, uid: UInt32? = nil,
            gid: UInt32? = nil
        ) {
            self.type = type
            self.path = path
            self.major = major
            self.minor = minor
            self.fileMode = fileMode
            self.uid = uid
            self.gid = gid
        }
    }
}

extension OCI.Device: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var type: String?
        var path: String?
        var major: Int64?
        var minor: Int64?
        var fileMode: UInt32?
        var uid: UInt32?
        var gid: UInt32?
        try reader.object { key, reader in
            switch key {
            case "type": try reader.assign(&type)
            case "path": try reader.assign(&path)
            case "major": try reader.assign(&major)
            case "minor": try reader.assign(&minor)
            case "fileMode": try reader.assign(&fileMode)
            case "uid": try reader.assign(&uid)
            case "gid": try reader.assign(&gid)
            default: try reader.ignore()
            }
        }
        guard let type else { throw reader.fault("type is missing") }
        guard let path else { throw reader.fault("path is missing") }
        guard ["c", "b", "u", "p"].contains(type) else { throw reader.fault("type \"\(type)\" is none of c, b, u, p") }
        self.init(type: type, path: path, major: major, minor: minor, fileMode: fileMode, uid: uid, gid: gid)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("type", type)
            writer.member("path", path)
            writer.member("major", ifPresent: major)
            writer.member("minor", ifPresent: minor)
            writer.member("fileMode", ifPresent: fileMode)
            writer.member("uid", ifPresent: uid)
            writer.member("gid", ifPresent: gid)
        }
    }
}

extension OCI {
    /// `linux.netDevices.*`.
    public struct NetDevice: Sendable, Equatable {
        /// Inside the container; absent: the same.
        public var name: String?

        public init(name: String? = nil) {
            self.name = name
        }
    }
}

extension OCI.NetDevice: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var name: String?
        try reader.object { key, reader in
            switch key {
            case "name": try reader.assign(&name)
            default: try reader.ignore()
            }
        }
        self.init(name: name)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("name", ifPresent: name)
        }
    }
}

extension OCI {
    /// `linux.intelRdt`.
    public struct IntelRdt: Sendable, Equatable {
        public var closID: String?
        public var schemata: [String]
        public var l3CacheSchema: String?
        public var memBwSchema: String?
        public var enableMonitoring: Bool

        public init(
            closID: String? = nil, schemata: [String] = [], l3CacheSchema: String? = nil, memBwSchema: String? = nil,
            enableMonitoring: Bool = false
        ) {
            self.closID = closID
            self.schemata = schemata
            self.l3CacheSchema = l3CacheSchema
            self.memBwSchema = memBwSchema
            self.enableMonitoring = enableMonitoring
        }
    }
}

extension OCI.IntelRdt: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var closID: String?
        var schemata: [String] = []
        var l3CacheSchema: String?
        var memBwSchema: String?
        var enableMonitoring = false
        try reader.object { key, reader in
            switch key {
            case "closID": try reader.assign(&closID)
            case "schemata": try reader.assign(&schemata)
            case "l3CacheSchema": try reader.assign(&l3CacheSchema)
            case "memBwSchema": try reader.assign(&memBwSchema)
            case "enableMonitoring": try reader.assign(&enableMonitoring)
            default: try reader.ignore()
            }
        }
        self.init(
            closID: closID, schemata: schemata, l3CacheSchema: l3CacheSchema, memBwSchema: memBwSchema,
            enableMonitoring: enableMonitoring)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("closID", ifPresent: closID)
            writer.member("schemata", unlessEmpty: schemata)
            writer.member("l3CacheSchema", ifPresent: l3CacheSchema)
            writer.member("memBwSchema", ifPresent: memBwSchema)
            writer.member("enableMonitoring", ifTrue: enableMonitoring)
        }
    }
}
