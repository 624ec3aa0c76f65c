import JSON

extension OCI {
    /// What this runtime can do (features.md).
    public struct Features: Sendable, Equatable {
        public var ociVersionMin: String
        public var ociVersionMax: String
        public var hooks: [String]
        public var mountOptions: [String]
        public var linux: LinuxFeatures?
        public var annotations: [String: String]
        public var potentiallyUnsafeConfigAnnotations: [String]

        public init(
            ociVersionMin: String, ociVersionMax: String, hooks: [String] = [], mountOptions: [String] = [],
            linux: LinuxFeatures? = nil, annotations: [String: String] = [:], potentiallyUnsafeConfigAnnotations: [String] = []
        ) {
            self.ociVersionMin = ociVersionMin
            self.ociVersionMax = ociVersionMax
            self.hooks = hooks
            self.mountOptions = mountOptions
            self.linux = linux
            self.annotations = annotations
            self.potentiallyUnsafeConfigAnnotations = potentiallyUnsafeConfigAnnotations
        }
    }
}

extension OCI.Features: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var ociVersionMin: String?
        var ociVersionMax: String?
        var hooks: [String] = []
        var mountOptions: [String] = []
        var linux: OCI.LinuxFeatures?
        var annotations: [String: String] = [:]
        var potentiallyUnsafeConfigAnnotations: [String] = []
        try reader.object { key, reader in
            switch key {
            case "ociVersionMin": try reader.assign(&ociVersionMin)
            case "ociVersionMax": try reader.assign(&ociVersionMax)
            case "hooks": try reader.assign(&hooks)
            case "mountOptions": try reader.assign(&mountOptions)
            case "linux": try reader.assign(&linux)
            case "annotations": try reader.assign(&annotations)
            case "potentiallyUnsafeConfigAnnotations": try reader.assign(&potentiallyUnsafeConfigAnnotations)
            default: try reader.ignore()
            }
        }
        guard let ociVersionMin else { throw reader.fault("ociVersionMin is missing") }
        guard let ociVersionMax else { throw reader.fault("ociVersionMax is missing") }
        self.init(
            ociVersionMin: ociVersionMin, ociVersionMax: ociVersionMax, hooks: hooks, mountOptions: mountOptions, linux: linux,
            annotations: annotations, potentiallyUnsafeConfigAnnotations: potentiallyUnsafeConfigAnnotations)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("ociVersionMin", ociVersionMin)
            writer.member("ociVersionMax", ociVersionMax)
            writer.member("hooks", unlessEmpty: hooks)
            writer.member("mountOptions", unlessEmpty: mountOptions)
            writer.member("linux", ifPresent: linux)
            writer.member("annotations", unlessEmpty: annotations)
            writer.member("potentiallyUnsafeConfigAnnotations", unlessEmpty: potentiallyUnsafeConfigAnnotations)
        }
    }
}

extension OCI {
    /// `linux` of the features (features-linux.md).
    public struct LinuxFeatures: Sendable, Equatable {
        public var namespaces: [NamespaceType]
        public var capabilities: [String]
        public var cgroup: CgroupFeatures?
        public var seccomp: SeccompFeatures?
        public var apparmor: Feature?
        public var selinux: Feature?
        public var intelRdt: Feature?
        public var memoryPolicy: MemoryPolicyFeatures?
        public var mountExtensions: MountFeatures?
        public var netDevices: Feature?

        public init(
            namespaces: [NamespaceType] = [], capabilities: [String] = [], cgroup: CgroupFeatures? = nil,
            seccomp: SeccompFeatures? = nil, apparmor: Feature? = nil, selinux: Feature? = nil, intelRdt: Feature? = nil,
            memoryPolicy: MemoryPolicyFeatures? = nil, mountExtensions: MountFeatures? = nil, netDevices: Feature? = nil
        ) {
            self.namespaces = namespaces
            self.capabilities = capabilities
            self.cgroup = cgroup
            self.seccomp = seccomp
            self.apparmor = apparmor
            self.selinux = selinux
            self.intelRdt = intelRdt
            self.memoryPolicy = memoryPolicy
            self.mountExtensions = mountExtensions
            self.netDevices = netDevices
        }
    }
}

extension OCI.LinuxFeatures: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var namespaces: [OCI.NamespaceType] = []
        var capabilities: [String] = []
        var cgroup: OCI.CgroupFeatures?
        var seccomp: OCI.SeccompFeatures?
        var apparmor: OCI.Feature?
        var selinux: OCI.Feature?
        var intelRdt: OCI.Feature?
        var memoryPolicy: OCI.MemoryPolicyFeatures?
        var mountExtensions: OCI.MountFeatures?
        var netDevices: OCI.Feature?
        try reader.object { key, reader in
            switch key {
            case "namespaces": try reader.assign(&namespaces)
            case "capabilities": try reader.assign(&capabilities)
            case "cgroup": try reader.assign(&cgroup)
            case "seccomp": try reader.assign(&seccomp)
            case "apparmor": try reader.assign(&apparmor)
            case "selinux": try reader.assign(&selinux)
            case "intelRdt": try reader.assign(&intelRdt)
            case "memoryPolicy": try reader.assign(&memoryPolicy)
            case "mountExtensions": try reader.assign(&mountExtensions)
            case "netDevices": try reader.assign(&netDevices)
            default: try reader.ignore()
            }
        }
        self.init(
            namespaces: namespaces, capabilities: capabilities, cgroup: cgroup, seccomp: seccomp, apparmor: apparmor,
            selinux: selinux, intelRdt: intelRdt, memoryPolicy: memoryPolicy, mountExtensions: mountExtensions,
            netDevices: netDevices)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("namespaces", unlessEmpty: namespaces)
            writer.member("capabilities", unlessEmpty: capabilities)
            writer.member("cgroup", ifPresent: cgroup)
            writer.member("seccomp", ifPresent: seccomp)
            writer.member("apparmor", ifPresent: apparmor)
            writer.member("selinux", ifPresent: selinux)
            writer.member("intelRdt", ifPresent: intelRdt)
            writer.member("memoryPolicy", ifPresent: memoryPolicy)
            writer.member("mountExtensions", ifPresent: mountExtensions)
            writer.member("netDevices", ifPresent: netDevices)
        }
    }
}

extension OCI {
    /// A feature that is compiled in or not.
    public struct Feature: Sendable, Equatable {
        public var enabled: Bool?

        public init(enabled: Bool? = nil) {
            self.enabled = enabled
        }
    }
}

extension OCI.Feature: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var enabled: Bool?
        try reader.object { key, reader in
            switch key {
            case "enabled": try reader.assign(&enabled)
            default: try reader.ignore()
            }
        }
        self.init(enabled: enabled)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("enabled", ifPresent: enabled)
        }
    }
}

extension OCI {
    /// `linux.cgroup` of the features.
    public struct CgroupFeatures: Sendable, Equatable {
        public var v1: Bool?
        public var v2: Bool?
        public var systemd: Bool?
        public var systemdUser: Bool?
        public var rdma: Bool?

        public init(v1: Bool? = nil, v2: Bool? = nil, systemd: Bool? = nil, systemdUser: Bool? = nil, rdma: Bool? = nil) {
            self.v1 = v1
            self.v2 = v2
            self.systemd = systemd
            self.systemdUser = systemdUser
            self.rdma = rdma
        }
    }
}

extension OCI.CgroupFeatures: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var v1: Bool?
        var v2: Bool?
        var systemd: Bool?
        var systemdUser: Bool?
        var rdma: Bool?
        try reader.object { key, reader in
            switch key {
            case "v1": try reader.assign(&v1)
            case "v2": try reader.assign(&v2)
            case "systemd": try reader.assign(&systemd)
            case "systemdUser": try reader.assign(&systemdUser)
            case "rdma": try reader.assign(&rdma)
            default: try reader.ignore()
            }
        }
        self.init(v1: v1, v2: v2, systemd: systemd, systemdUser: systemdUser, rdma: rdma)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("v1", ifPresent: v1)
            writer.member("v2", ifPresent: v2)
            writer.member("systemd", ifPresent: systemd)
            writer.member("systemdUser", ifPresent: systemdUser)
            writer.member("rdma", ifPresent: rdma)
        }
    }
}

extension OCI {
    /// `linux.seccomp` of the features.
    public struct SeccompFeatures: Sendable, Equatable {
        public var enabled: Bool?
        public var actions: [SeccompAction]
        public var operators: [SeccompOperator]
        public var archs: [SeccompArch]
        public var knownFlags: [SeccompFlag]
        public var supportedFlags: [SeccompFlag]

        public init(
            enabled: Bool? = nil, actions: [SeccompAction] = [], operators: [SeccompOperator] = [], archs: [SeccompArch] = [],
            knownFlags: [SeccompFlag] = [], supportedFlags: [SeccompFlag] = []
        ) {
            self.enabled = enabled
            self.actions = actions
            self.operators = operators
            self.archs = archs
            self.knownFlags = knownFlags
            self.supportedFlags = supportedFlags
        }
    }
}

extension OCI.SeccompFeatures: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var enabled: Bool?
        var actions: [OCI.SeccompAction] = []
        var operators: [OCI.SeccompOperator] = []
        var archs: [OCI.SeccompArch] = []
        var knownFlags: [OCI.SeccompFlag] = []
        var supportedFlags: [OCI.SeccompFlag] = []
        try reader.object { key, reader in
            switch key {
            case "enabled": try reader.assign(&enabled)
            case "actions": try reader.assign(&actions)
            case "operators": try reader.assign(&operators)
            case "archs": try reader.assign(&archs)
            case "knownFlags": try reader.assign(&knownFlags)
            case "supportedFlags": try reader.assign(&supportedFlags)
            default: try reader.ignore()
            }
        }
        self.init(
            enabled: enabled, actions: actions, operators: operators, archs: archs, knownFlags: knownFlags,
            supportedFlags: supportedFlags)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("enabled", ifPresent: enabled)
            writer.member("actions", unlessEmpty: actions)
            writer.member("operators", unlessEmpty: operators)
            writer.member("archs", unlessEmpty: archs)
            writer.member("knownFlags", unlessEmpty: knownFlags)
            writer.member("supportedFlags", unlessEmpty: supportedFlags)
        }
    }
}

extension OCI {
    /// `linux.memoryPolicy` of the features.
    public struct MemoryPolicyFeatures: Sendable, Equatable {
        public var modes: [MemoryPolicyMode]
        public var flags: [MemoryPolicyFlag]

        public init(modes: [MemoryPolicyMode] = [], flags: [MemoryPolicyFlag] = []) {
            self.modes = modes
            self.flags = flags
        }
    }
}

extension OCI.MemoryPolicyFeatures: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var modes: [OCI.MemoryPolicyMode] = []
        var flags: [OCI.MemoryPolicyFlag] = []
        try reader.object { key, reader in
            switch key {
            case "modes": try reader.assign(&modes)
            case "flags": try reader.assign(&flags)
            default: try reader.ignore()
            }
        }
        self.init(modes: modes, flags: flags)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("modes", unlessEmpty: modes)
            writer.member("flags", unlessEmpty: flags)
        }
    }
}

extension OCI {
    /// `linux.mountExtensions` of the features.
    public struct MountFeatures: Sendable, Equatable {
        public var idmap: Feature?

        public init(idmap: Feature? = nil) {
            self.idmap = idmap
        }
    }
}

extension OCI.MountFeatures: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var idmap: OCI.Feature?
        try reader.object { key, reader in
            switch key {
            case "idmap": try reader.assign(&idmap)
            default: try reader.ignore()
            }
        }
        self.init(idmap: idmap)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("idmap", ifPresent: idmap)
        }
    }
}
