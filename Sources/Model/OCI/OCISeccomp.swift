import JSON

extension OCI {
    /// `linux.seccomp`.
    public struct Seccomp: Sendable, Equatable {
        public var defaultAction: SeccompAction
        public var defaultErrnoRet: UInt32?
        public var architectures: [SeccompArch]
        public var flags: [SeccompFlag]
        /// The socket to which the notify descriptor is sent.
        public var listenerPath: String?
        public var listenerMetadata: String?
        public var syscalls: [SeccompRule]

        public init(
            defaultAction: SeccompAction, defaultErrnoRet: UInt32? = nil, architectures: [SeccompArch] = [],
            flags: [SeccompFlag] = [], listenerPath: String? = nil, listenerMetadata: String? = nil,
            syscalls: [SeccompRule] = []
        ) {
            self.defaultAction = defaultAction
            self.defaultErrnoRet = defaultErrnoRet
            self.architectures = architectures
            self.flags = flags
            self.listenerPath = listenerPath
            self.listenerMetadata = listenerMetadata
            self.syscalls = syscalls
        }
    }
}

extension OCI.Seccomp: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var defaultAction: OCI.SeccompAction?
        var defaultErrnoRet: UInt32?
        var architectures: [OCI.SeccompArch] = []
        var flags: [OCI.SeccompFlag] = []
        var listenerPath: String?
        var listenerMetadata: String?
        var syscalls: [OCI.SeccompRule] = []
        try reader.object { key, reader in
            switch key {
            case "defaultAction": try reader.assign(&defaultAction)
            case "defaultErrnoRet": try reader.assign(&defaultErrnoRet)
            case "architectures": try reader.assign(&architectures)
            case "flags": try reader.assign(&flags)
            case "listenerPath": try reader.assign(&listenerPath)
            case "listenerMetadata": try reader.assign(&listenerMetadata)
            case "syscalls": try reader.assign(&syscalls)
            default: try reader.ignore()
            }
        }
        guard let defaultAction else { throw reader.fault("defaultAction is missing") }
        self.init(
            defaultAction: defaultAction, defaultErrnoRet: defaultErrnoRet, architectures: architectures, flags: flags,
            listenerPath: listenerPath, listenerMetadata: listenerMetadata, syscalls: syscalls)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("defaultAction", defaultAction)
            writer.member("defaultErrnoRet", ifPresent: defaultErrnoRet)
            writer.member("architectures", unlessEmpty: architectures)
            writer.member("flags", unlessEmpty: flags)
            writer.member("listenerPath", ifPresent: listenerPath)
            writer.member("listenerMetadata", ifPresent: listenerMetadata)
            writer.member("syscalls", unlessEmpty: syscalls)
        }
    }
}

extension OCI {
    /// `linux.seccomp.syscalls[]`.
    public struct SeccompRule: Sendable, Equatable {
        public var names: [String]
        public var action: SeccompAction
        public var errnoRet: UInt32?
        public var args: [SeccompArg]

        public init(names: [String], action: SeccompAction, errnoRet: UInt32? = nil, args: [SeccompArg] = []) {
            self.names = names
            self.action = action
            self.errnoRet = errnoRet
            self.args = args
        }
    }
}

extension OCI.SeccompRule: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var names: [String]?
        var action: OCI.SeccompAction?
        var errnoRet: UInt32?
        var args: [OCI.SeccompArg] = []
        try reader.object { key, reader in
            switch key {
            case "names": try reader.assign(&names)
            case "action": try reader.assign(&action)
            case "errnoRet": try reader.assign(&errnoRet)
            case "args": try reader.assign(&args)
            default: try reader.ignore()
            }
        }
        guard let names else { throw reader.fault("names is missing") }
        guard let action else { throw reader.fault("action is missing") }
        self.init(names: names, action: action, errnoRet: errnoRet, args: args)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("names", names)
            writer.member("action", action)
            writer.member("errnoRet", ifPresent: errnoRet)
            writer.member("args", unlessEmpty: args)
        }
    }
}

extension OCI {
    /// `linux.seccomp.syscalls[].args[]`.
    public struct SeccompArg: Sendable, Equatable {
        public var index: UInt32
        public var value: UInt64
        public var valueTwo: UInt64?
        public var op: SeccompOperator

        public init(index: UInt32, value: UInt64, valueTwo: UInt64? = nil, op: SeccompOperator) {
            self.index = index
            self.value = value
            self.valueTwo = valueTwo
            self.op = op
        }
    }
}

extension OCI.SeccompArg: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var index: UInt32?
        var value: UInt64?
        var valueTwo: UInt64?
        var op: OCI.SeccompOperator?
        try reader.object { key, reader in
            switch key {
            case "index": try reader.assign(&index)
            case "value": try reader.assign(&value)
            case "valueTwo": try reader.assign(&valueTwo)
            case "op": try reader.assign(&op)
            default: try reader.ignore()
            }
        }
        guard let index else { throw reader.fault("index is missing") }
        guard let value else { throw reader.fault("value is missing") }
        guard let op else { throw reader.fault("op is missing") }
        self.init(index: index, value: value, valueTwo: valueTwo, op: op)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("index", index)
            writer.member("value", value)
            writer.member("valueTwo", ifPresent: valueTwo)
            writer.member("op", op)
        }
    }
}

extension OCI {
    /// `linux.seccomp.defaultAction` and `.syscalls[].action`.
    public enum SeccompAction: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case kill = "SCMP_ACT_KILL"
        case killProcess = "SCMP_ACT_KILL_PROCESS"
        case killThread = "SCMP_ACT_KILL_THREAD"
        case trap = "SCMP_ACT_TRAP"
        case errno = "SCMP_ACT_ERRNO"
        case trace = "SCMP_ACT_TRACE"
        case allow = "SCMP_ACT_ALLOW"
        case log = "SCMP_ACT_LOG"
        case notify = "SCMP_ACT_NOTIFY"
    }
}

extension OCI {
    /// `linux.seccomp.syscalls[].args[].op`.
    public enum SeccompOperator: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case notEqual = "SCMP_CMP_NE"
        case less = "SCMP_CMP_LT"
        case lessOrEqual = "SCMP_CMP_LE"
        case equal = "SCMP_CMP_EQ"
        case greaterOrEqual = "SCMP_CMP_GE"
        case greater = "SCMP_CMP_GT"
        case maskedEqual = "SCMP_CMP_MASKED_EQ"
    }
}

extension OCI {
    /// `linux.seccomp.flags[]`.
    public enum SeccompFlag: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case tsync = "SECCOMP_FILTER_FLAG_TSYNC"
        case log = "SECCOMP_FILTER_FLAG_LOG"
        case specAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
        case waitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    }
}

extension OCI {
    /// `linux.seccomp.architectures[]`.
    public enum SeccompArch: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case x86 = "SCMP_ARCH_X86"
        case x86_64 = "SCMP_ARCH_X86_64"
        case x32 = "SCMP_ARCH_X32"
        case arm = "SCMP_ARCH_ARM"
        case aarch64 = "SCMP_ARCH_AARCH64"
        case loongarch64 = "SCMP_ARCH_LOONGARCH64"
        case m68k = "SCMP_ARCH_M68K"
        case mips = "SCMP_ARCH_MIPS"
        case mips64 = "SCMP_ARCH_MIPS64"
        case mips64n32 = "SCMP_ARCH_MIPS64N32"
        case mipsel = "SCMP_ARCH_MIPSEL"
        case mipsel64 = "SCMP_ARCH_MIPSEL64"
        case mipsel64n32 = "SCMP_ARCH_MIPSEL64N32"
        case ppc = "SCMP_ARCH_PPC"
        case ppc64 = "SCMP_ARCH_PPC64"
        case ppc64le = "SCMP_ARCH_PPC64LE"
        case s390 = "SCMP_ARCH_S390"
        case s390x = "SCMP_ARCH_S390X"
        case sh = "SCMP_ARCH_SH"
        case sheb = "SCMP_ARCH_SHEB"
        case parisc = "SCMP_ARCH_PARISC"
        case parisc64 = "SCMP_ARCH_PARISC64"
        case riscv64 = "SCMP_ARCH_RISCV64"
    }
}

extension OCI {
    /// What is sent to the listener socket together with the descriptors (runtime spec, ContainerProcessState).
    public struct SeccompState: Sendable, Equatable {
        public var ociVersion: String
        /// What the descriptors are, in their order.
        public var fds: [String]
        /// As the runtime sees it.
        public var pid: Int
        public var metadata: String?
        public var state: State

        public init(ociVersion: String, fds: [String], pid: Int, metadata: String? = nil, state: State) {
            self.ociVersion = ociVersion
            self.fds = fds
            self.pid = pid
            self.metadata = metadata
            self.state = state
        }
    }
}

extension OCI.SeccompState: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var ociVersion: String?
        var fds: [String]?
        var pid: Int?
        var metadata: String?
        var state: OCI.State?
        try reader.object { key, reader in
            switch key {
            case "ociVersion": try reader.assign(&ociVersion)
            case "fds": try reader.assign(&fds)
            case "pid": try reader.assign(&pid)
            case "metadata": try reader.assign(&metadata)
            case "state": try reader.assign(&state)
            default: try reader.ignore()
            }
        }
        guard let ociVersion else { throw reader.fault("ociVersion is missing") }
        guard let fds else { throw reader.fault("fds is missing") }
        guard let pid else { throw reader.fault("pid is missing") }
        guard let state else { throw reader.fault("state is missing") }
        self.init(ociVersion: ociVersion, fds: fds, pid: pid, metadata: metadata, state: state)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("ociVersion", ociVersion)
            writer.member("fds", fds)
            writer.member("pid", pid)
            writer.member("metadata", ifPresent: metadata)
            writer.member("state", state)
        }
    }
}
