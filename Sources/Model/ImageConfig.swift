import JSON

/// An image's configuration: OCI image-spec config.md, with docker's additions (Healthcheck, OnBuild, Shell, `comment`).
public struct ImageConfig: Sendable, Equatable {
    public static let limits = JSONLimits(size: 8 << 20, depth: 32)
    /// More layers than this are refused; the engine merges what the kernel cannot stack (500).
    public static let maximumLayers = 4096

    public var created: Timestamp?
    public var author = ""
    public var architecture = ""
    public var os = ""
    public var osVersion = ""
    public var osFeatures: [String] = []
    public var variant = ""
    /// Docker's message of a commit or an import.
    public var comment = ""
    public var dockerVersion = ""
    public var settings = ImageSettings()
    /// Digests of the uncompressed layer tars, the lowest first.
    public var diffIDs: [Digest] = []
    public var history: [ImageHistory] = []

    public init() {}

    public var platform: ImagePlatform { ImagePlatform(architecture: architecture, os: os, variant: variant) }

    /// Reads a whole configuration within the limits.
    public static func read(_ bytes: [UInt8]) throws -> ImageConfig {
        do { return try ImageConfig(json: bytes, limits: limits) } catch let fault as JSONFault {
            throw Fault(.invalid, "invalid image configuration: \(fault)")
        }
    }
}

/// What a container of the image starts with (`config` in the configuration).
public struct ImageSettings: Sendable, Equatable {
    public var user = ""
    /// `80/tcp`, sorted.
    public var exposedPorts: [String] = []
    public var env: [String] = []
    public var entrypoint: [String]?
    public var cmd: [String]?
    /// Paths, sorted.
    public var volumes: [String] = []
    public var workingDir = ""
    public var labels: [String: String] = [:]
    public var stopSignal = ""
    public var stopTimeout: Int?
    public var healthcheck: ImageHealthcheck?
    public var onBuild: [String] = []
    public var shell: [String] = []
    public var argsEscaped = false

    public init() {}
}

/// Docker's health check; times in nanoseconds, 0 is "inherit".
public struct ImageHealthcheck: Sendable, Equatable {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", command]` or empty to inherit.
    public var test: [String] = []
    public var interval: Int64 = 0
    public var timeout: Int64 = 0
    public var startPeriod: Int64 = 0
    public var startInterval: Int64 = 0
    public var retries = 0

    public init() {}
}

/// One step of how an image came to be, the oldest first in the configuration.
public struct ImageHistory: Sendable, Equatable {
    public var created: Timestamp?
    public var createdBy = ""
    public var author = ""
    public var comment = ""
    public var emptyLayer = false

    public init(created: Timestamp? = nil, createdBy: String = "", author: String = "", comment: String = "") {
        self.created = created
        self.createdBy = createdBy
        self.author = author
        self.comment = comment
    }
}

extension ImageConfig: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "created": created = try reader.lenientTime()
            case "author": author = try reader.value() ?? ""
            case "architecture": architecture = try reader.value() ?? ""
            case "os": os = try reader.value() ?? ""
            case "os.version": osVersion = try reader.value() ?? ""
            case "os.features": osFeatures = try reader.value()
            case "variant": variant = try reader.value() ?? ""
            case "comment": comment = try reader.value() ?? ""
            case "docker_version": dockerVersion = try reader.value() ?? ""
            case "config": settings = try reader.value() ?? ImageSettings()
            case "history": history = try reader.value()
            case "rootfs": try readRootfs(&reader)
            default: try reader.skip()
            }
        }
        guard diffIDs.count <= Self.maximumLayers else {
            throw reader.fault("\(diffIDs.count) layers are more than the limit of \(Self.maximumLayers)")
        }
    }

    private mutating func readRootfs(_ reader: inout JSONReader) throws {
        if reader.null() { return }
        try reader.object { key, reader in
            switch key {
            case "type":
                let type = try reader.string()
                guard type == "layers" else { throw reader.fault("\"\(type)\" is not \"layers\"") }
            case "diff_ids": diffIDs = try reader.value()
            default: try reader.skip()
            }
        }
    }

    /// Members in the order in which docker writes them, so that equal content has an equal digest everywhere.
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("architecture", architecture)
            writer.member("author", ifPresent: author.nilIfEmpty)
            writer.member("comment", ifPresent: comment.nilIfEmpty)
            writer.member("config", settings)
            writer.member("created", ifPresent: created)
            writer.member("docker_version", ifPresent: dockerVersion.nilIfEmpty)
            writer.member("history", ifPresent: history.isEmpty ? nil : history)
            writer.member("os", os)
            writer.member("os.features", ifPresent: osFeatures.isEmpty ? nil : osFeatures)
            writer.member("os.version", ifPresent: osVersion.nilIfEmpty)
            writer.key("rootfs")
            writer.object { writer in
                writer.member("type", "layers")
                writer.member("diff_ids", diffIDs)
            }
            writer.member("variant", ifPresent: variant.nilIfEmpty)
        }
    }
}

extension ImageSettings: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "User": user = try reader.value() ?? ""
            case "ExposedPorts": exposedPorts = try reader.setMembers()
            case "Env": env = try reader.value()
            case "Entrypoint": entrypoint = try reader.value()
            case "Cmd": cmd = try reader.value()
            case "Volumes": volumes = try reader.setMembers()
            case "WorkingDir": workingDir = try reader.value() ?? ""
            case "Labels": labels = try reader.value()
            case "StopSignal": stopSignal = try reader.value() ?? ""
            case "StopTimeout": stopTimeout = try reader.value()
            case "Healthcheck": healthcheck = try reader.value()
            case "OnBuild": onBuild = try reader.value()
            case "Shell": shell = try reader.value()
            case "ArgsEscaped": argsEscaped = try reader.value() ?? false
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("User", ifPresent: user.nilIfEmpty)
            if !exposedPorts.isEmpty { writer.setMember("ExposedPorts", exposedPorts) }
            writer.member("Env", ifPresent: env.isEmpty ? nil : env)
            writer.member("Entrypoint", ifPresent: entrypoint)
            writer.member("Cmd", ifPresent: cmd)
            writer.member("Healthcheck", ifPresent: healthcheck)
            if argsEscaped { writer.member("ArgsEscaped", true) }
            if !volumes.isEmpty { writer.setMember("Volumes", volumes) }
            writer.member("WorkingDir", ifPresent: workingDir.nilIfEmpty)
            writer.member("OnBuild", ifPresent: onBuild.isEmpty ? nil : onBuild)
            writer.member("Labels", ifPresent: labels.isEmpty ? nil : labels)
            writer.member("StopSignal", ifPresent: stopSignal.nilIfEmpty)
            writer.member("StopTimeout", ifPresent: stopTimeout)
            writer.member("Shell", ifPresent: shell.isEmpty ? nil : shell)
        }
    }
}

extension ImageHealthcheck: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "Test": test = try reader.value()
            case "Interval": interval = try reader.value()
            case "Timeout": timeout = try reader.value()
            case "StartPeriod": startPeriod = try reader.value()
            case "StartInterval": startInterval = try reader.value()
            case "Retries": retries = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            if !test.isEmpty { writer.member("Test", test) }
            if interval != 0 { writer.member("Interval", interval) }
            if timeout != 0 { writer.member("Timeout", timeout) }
            if startPeriod != 0 { writer.member("StartPeriod", startPeriod) }
            if startInterval != 0 { writer.member("StartInterval", startInterval) }
            if retries != 0 { writer.member("Retries", retries) }
        }
    }
}

extension ImageHistory: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init()
        try reader.object { key, reader in
            switch key {
            case "created": created = try reader.lenientTime()
            case "created_by": createdBy = try reader.value() ?? ""
            case "author": author = try reader.value() ?? ""
            case "comment": comment = try reader.value() ?? ""
            case "empty_layer": emptyLayer = try reader.value() ?? false
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("created", ifPresent: created)
            writer.member("created_by", ifPresent: createdBy.nilIfEmpty)
            writer.member("author", ifPresent: author.nilIfEmpty)
            writer.member("comment", ifPresent: comment.nilIfEmpty)
            if emptyLayer { writer.member("empty_layer", true) }
        }
    }
}

extension JSONReader {
    /// Go's set, an object whose members have no content, as sorted names; null is empty.
    mutating func setMembers() throws -> [String] {
        if null() { return [] }
        var names: Set<String> = []
        try object { key, reader in
            try reader.skip()
            names.insert(key)
        }
        return names.sorted()
    }

    /// A time that old tools leave out, write as null, or as Go's zero or another one outside our range: nil.
    mutating func lenientTime() throws -> Timestamp? {
        if null() { return nil }
        return Timestamp(try string())
    }
}

extension JSONWriter {
    mutating func setMember(_ name: String, _ names: [String]) {
        key(name)
        object { writer in
            for name in names {
                writer.key(name)
                writer.object { _ in }
            }
        }
    }
}

extension String {
    fileprivate var nilIfEmpty: String? { isEmpty ? nil : self }
}
