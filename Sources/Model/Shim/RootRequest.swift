import JSON

/// What `skiff-runtime open-root` is asked on descriptor 3: the root file system of a container that does not run, with what is
/// mounted into it. The answer is one packet: `{}` with a descriptor, or `{"fault":…}`.
public struct RootRequest: Sendable, Equatable {
    public var rootfs: ShimRootfs
    /// See `ShimConfig.volatileRoot`.
    public var isVolatile = false
    public var isReadOnly = false
    /// Binds, outer folders before what lies in them.
    public var mounts: [OCI.Mount] = []

    public init(rootfs: ShimRootfs) { self.rootfs = rootfs }
}

public struct RootAnswer: Sendable, Equatable {
    public var fault: Fault?
    public init(fault: Fault? = nil) { self.fault = fault }
}

extension RootRequest: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var rootfs: ShimRootfs?
        var isVolatile = false
        var isReadOnly = false
        var mounts: [OCI.Mount] = []
        try reader.object { key, reader in
            switch key {
            case "rootfs": rootfs = try reader.value()
            case "volatile": isVolatile = try reader.value()
            case "readOnly": isReadOnly = try reader.value()
            case "mounts": mounts = try reader.value()
            default: try reader.skip()
            }
        }
        guard let rootfs else { throw reader.fault("rootfs is missing") }
        self.init(rootfs: rootfs)
        self.isVolatile = isVolatile
        self.isReadOnly = isReadOnly
        self.mounts = mounts
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("rootfs", rootfs)
            writer.member("volatile", isVolatile)
            writer.member("readOnly", isReadOnly)
            writer.member("mounts", mounts)
        }
    }
}

extension RootAnswer: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init()
        try reader.object { key, reader in
            if key == "fault" { fault = try reader.value() } else { try reader.skip() }
        }
    }

    public func write(to writer: inout JSONWriter) { writer.object { $0.member("fault", ifPresent: fault) } }
}
