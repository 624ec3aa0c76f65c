import JSON

/// What the engine tells a shim about the container beyond the OCI configuration: `shim.json` in the bundle.
///
/// The engine starts `skiff-runtime shim --bundle DIR` with descriptor 3 as one end of a SEQPACKET socket pair (the first
/// control connection) and further descriptors as `--netns FD` and `--hold FD` (kept open while the container lives: reserved
/// host ports). The bundle holds `config.json` and `shim.json`; the shim adds `shim.sock` and `exit.json`.
public struct ShimConfig: Sendable, Equatable {
    /// Grows when a field changes its meaning; new optional fields do not need it.
    public static let currentVersion = 1

    public var version = ShimConfig.currentVersion
    public var id: ObjectID
    public var rootfs: ShimRootfs
    public var terminal = false
    /// Keep stdin open for attachments (`-i`).
    public var openStdin = false
    /// Close stdin when the first attachment with stdin ends.
    public var stdinOnce = false
    /// The overlay leaves out syncing to disk (overlayfs `volatile`): for containers that go with their end (`--rm`). Writes
    /// of programs that call fsync cost nothing then, and the last unmount does not write back the whole upper file system.
    public var volatileRoot = false
    public var log: ShimLog?

    public init(id: ObjectID, rootfs: ShimRootfs) {
        self.id = id
        self.rootfs = rootfs
    }
}

/// The container's root file system, mounted by the shim and nobody else.
public enum ShimRootfs: Sendable, Equatable {
    /// A detached overlay: lower folders with the topmost first, and the container's own upper and work folders.
    case overlay(lower: [String], upper: String, work: String)
    /// A folder that is used as it is.
    case directory(String)
}

/// The container's log file (docker's json-file lines; see the Logs room).
public struct ShimLog: Sendable, Equatable {
    public var path: String
    /// Bytes after which the file is rotated; nil is no limit.
    public var maximumSize: Int?
    /// Files kept, the current one included.
    public var maximumFiles: Int

    public init(path: String, maximumSize: Int? = 20 << 20, maximumFiles: Int = 5) {
        self.path = path
        self.maximumSize = maximumSize
        self.maximumFiles = maximumFiles
    }
}

extension ShimConfig: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var version = 0
        var id: ObjectID?
        var rootfs: ShimRootfs?
        var terminal = false
        var openStdin = false
        var stdinOnce = false
        var volatileRoot = false
        var log: ShimLog?
        try reader.object { key, reader in
            switch key {
            case "version": version = try reader.value()
            case "id": id = try reader.value()
            case "rootfs": rootfs = try reader.value()
            case "terminal": terminal = try reader.value()
            case "openStdin": openStdin = try reader.value()
            case "stdinOnce": stdinOnce = try reader.value()
            case "volatileRoot": volatileRoot = try reader.value()
            case "log": log = try reader.value()
            default: try reader.skip()
            }
        }
        guard (1...Self.currentVersion).contains(version) else {
            throw reader.fault("shim configuration has version \(version)")
        }
        guard let id else { throw reader.fault("id is missing") }
        guard let rootfs else { throw reader.fault("rootfs is missing") }
        self.init(id: id, rootfs: rootfs)
        self.version = version
        self.terminal = terminal
        self.openStdin = openStdin
        self.stdinOnce = stdinOnce
        self.volatileRoot = volatileRoot
        self.log = log
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("version", version)
            writer.member("id", id)
            writer.member("rootfs", rootfs)
            writer.member("terminal", terminal)
            writer.member("openStdin", openStdin)
            writer.member("stdinOnce", stdinOnce)
            if volatileRoot { writer.member("volatileRoot", true) }
            writer.member("log", ifPresent: log)
        }
    }
}

extension ShimRootfs: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var lower: [String] = []
        var upper: String?
        var work: String?
        var directory: String?
        try reader.object { key, reader in
            switch key {
            case "lower": lower = try reader.value()
            case "upper": upper = try reader.value()
            case "work": work = try reader.value()
            case "directory": directory = try reader.value()
            default: try reader.skip()
            }
        }
        if let directory {
            self = .directory(directory)
        } else if let upper, let work {
            self = .overlay(lower: lower, upper: upper, work: work)
        } else {
            throw reader.fault("neither directory nor upper and work are given")
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            switch self {
            case .overlay(let lower, let upper, let work):
                writer.member("lower", lower)
                writer.member("upper", upper)
                writer.member("work", work)
            case .directory(let path): writer.member("directory", path)
            }
        }
    }
}

extension ShimLog: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var path = ""
        var maximumSize: Int?
        var maximumFiles = 1
        try reader.object { key, reader in
            switch key {
            case "path": path = try reader.value()
            case "maximumSize": maximumSize = try reader.value()
            case "maximumFiles": maximumFiles = try reader.value()
            default: try reader.skip()
            }
        }
        guard !path.isEmpty else { throw reader.fault("path is missing") }
        self.init(path: path, maximumSize: maximumSize, maximumFiles: maximumFiles)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("path", path)
            writer.member("maximumSize", ifPresent: maximumSize)
            writer.member("maximumFiles", maximumFiles)
        }
    }
}
