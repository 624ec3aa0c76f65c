import JSON

/// What a container has used, read from its cgroup at one moment. Counters grow from the container's start; what the kernel
/// does not tell stays nil. Times in nanoseconds, sizes in bytes.
public struct ContainerStats: Sendable, Equatable {
    public var readAt: Timestamp
    public var cpu = CPU()
    public var memory = Memory()
    public var pids = Pids()
    public var blockIO = BlockIO()
    /// Links of the container's network namespace by name, without lo; nil from a shim that does not tell.
    public var interfaces: [String: Interface]?

    /// Counters of a link, as the container sees them.
    public struct Interface: Sendable, Equatable {
        public var receivedBytes: UInt64 = 0
        public var receivedPackets: UInt64 = 0
        public var receivedErrors: UInt64 = 0
        public var receivedDropped: UInt64 = 0
        public var sentBytes: UInt64 = 0
        public var sentPackets: UInt64 = 0
        public var sentErrors: UInt64 = 0
        public var sentDropped: UInt64 = 0
        public init() {}
    }

    public struct CPU: Sendable, Equatable {
        public var total: UInt64 = 0
        public var user: UInt64 = 0
        public var kernel: UInt64 = 0
        /// By processor, cgroup v1 only.
        public var perProcessor: [UInt64] = []
        public var periods: UInt64 = 0
        public var throttledPeriods: UInt64 = 0
        public var throttledTime: UInt64 = 0
        public init() {}
    }

    public struct Memory: Sendable, Equatable {
        public var usage: UInt64 = 0
        public var maximumUsage: UInt64?
        /// Nil is no limit.
        public var limit: UInt64?
        /// How often the limit was met.
        public var failures: UInt64 = 0
        public var swapUsage: UInt64?
        /// The lines of memory.stat.
        public var details: [String: UInt64] = [:]
        public init() {}
    }

    public struct Pids: Sendable, Equatable {
        public var current: UInt64 = 0
        public var limit: UInt64?
        public init() {}
    }

    public struct BlockIO: Sendable, Equatable {
        public var bytes: [Entry] = []
        public var operations: [Entry] = []
        public init() {}

        public struct Entry: Sendable, Equatable {
            public var major: UInt32
            public var minor: UInt32
            /// read, write, sync, async, discard, total
            public var operation: String
            public var value: UInt64

            public init(major: UInt32, minor: UInt32, operation: String, value: UInt64) {
                self.major = major
                self.minor = minor
                self.operation = operation
                self.value = value
            }
        }
    }

    public init(readAt: Timestamp) { self.readAt = readAt }
}

/// One process of a container, as /proc shows it to the host: what `top` makes its table of.
public struct ContainerProcess: Sendable, Equatable {
    public var pid: Int32 = 0
    public var parent: Int32 = 0
    public var uid: UInt32 = 0
    /// One letter, as in ps(1).
    public var state = "?"
    public var startedAt = Timestamp(nanoseconds: 0)
    /// The terminal's name (`pts/0`), or `?`.
    public var terminal = "?"
    /// Nanoseconds of processor time.
    public var cpuTime: UInt64 = 0
    /// Bytes.
    public var virtualSize: UInt64 = 0
    public var residentSize: UInt64 = 0
    public var nice: Int32 = 0
    public var name = ""
    /// The arguments; empty for a kernel thread or a zombie.
    public var command: [String] = []

    public init() {}
}

extension ContainerStats: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(readAt: Timestamp(nanoseconds: 0))
        try reader.object { key, reader in
            switch key {
            case "readAt": readAt = try reader.value()
            case "cpu": cpu = try reader.value()
            case "memory": memory = try reader.value()
            case "pids": pids = try reader.value()
            case "blockIO": blockIO = try reader.value()
            case "interfaces": interfaces = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("readAt", readAt)
            writer.member("cpu", cpu)
            writer.member("memory", memory)
            writer.member("pids", pids)
            writer.member("blockIO", blockIO)
            writer.member("interfaces", ifPresent: interfaces)
        }
    }
}

extension ContainerStats.Interface: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "receivedBytes": receivedBytes = try reader.value()
            case "receivedPackets": receivedPackets = try reader.value()
            case "receivedErrors": receivedErrors = try reader.value()
            case "receivedDropped": receivedDropped = try reader.value()
            case "sentBytes": sentBytes = try reader.value()
            case "sentPackets": sentPackets = try reader.value()
            case "sentErrors": sentErrors = try reader.value()
            case "sentDropped": sentDropped = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("receivedBytes", receivedBytes)
            writer.member("receivedPackets", receivedPackets)
            writer.member("receivedErrors", receivedErrors)
            writer.member("receivedDropped", receivedDropped)
            writer.member("sentBytes", sentBytes)
            writer.member("sentPackets", sentPackets)
            writer.member("sentErrors", sentErrors)
            writer.member("sentDropped", sentDropped)
        }
    }
}

extension ContainerStats.CPU: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "total": total = try reader.value()
            case "user": user = try reader.value()
            case "kernel": kernel = try reader.value()
            case "perProcessor": perProcessor = try reader.value()
            case "periods": periods = try reader.value()
            case "throttledPeriods": throttledPeriods = try reader.value()
            case "throttledTime": throttledTime = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("total", total)
            writer.member("user", user)
            writer.member("kernel", kernel)
            writer.member("perProcessor", perProcessor)
            writer.member("periods", periods)
            writer.member("throttledPeriods", throttledPeriods)
            writer.member("throttledTime", throttledTime)
        }
    }
}

extension ContainerStats.Memory: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "usage": usage = try reader.value()
            case "maximumUsage": maximumUsage = try reader.value()
            case "limit": limit = try reader.value()
            case "failures": failures = try reader.value()
            case "swapUsage": swapUsage = try reader.value()
            case "details": details = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("usage", usage)
            writer.member("maximumUsage", ifPresent: maximumUsage)
            writer.member("limit", ifPresent: limit)
            writer.member("failures", failures)
            writer.member("swapUsage", ifPresent: swapUsage)
            writer.member("details", details)
        }
    }
}

extension ContainerStats.Pids: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "current": current = try reader.value()
            case "limit": limit = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("current", current)
            writer.member("limit", ifPresent: limit)
        }
    }
}

extension ContainerStats.BlockIO: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "bytes": bytes = try reader.value()
            case "operations": operations = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("bytes", bytes)
            writer.member("operations", operations)
        }
    }
}

extension ContainerStats.BlockIO.Entry: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(major: 0, minor: 0, operation: "", value: 0)
        try reader.object { key, reader in
            switch key {
            case "major": major = try reader.value()
            case "minor": minor = try reader.value()
            case "operation": operation = try reader.value()
            case "value": value = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("major", major)
            writer.member("minor", minor)
            writer.member("operation", operation)
            writer.member("value", value)
        }
    }
}

extension ContainerProcess: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "pid": pid = try reader.value()
            case "parent": parent = try reader.value()
            case "uid": uid = try reader.value()
            case "state": state = try reader.value()
            case "startedAt": startedAt = try reader.value()
            case "terminal": terminal = try reader.value()
            case "cpuTime": cpuTime = try reader.value()
            case "virtualSize": virtualSize = try reader.value()
            case "residentSize": residentSize = try reader.value()
            case "nice": nice = try reader.value()
            case "name": name = try reader.value()
            case "command": command = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("pid", pid)
            writer.member("parent", parent)
            writer.member("uid", uid)
            writer.member("state", state)
            writer.member("startedAt", startedAt)
            writer.member("terminal", terminal)
            writer.member("cpuTime", cpuTime)
            writer.member("virtualSize", virtualSize)
            writer.member("residentSize", residentSize)
            writer.member("nice", nice)
            writer.member("name", name)
            writer.member("command", command)
        }
    }
}
