import JSON

extension OCI {
    /// A container's configuration: the whole of `config.json` (runtime spec 1.3, config.md).
    public struct Spec: Sendable, Equatable {
        /// The version of the specification that the document was written for.
        public var ociVersion: String
        /// What to run; may be absent until `start`.
        public var process: Process?
        /// The root file system.
        public var root: Root?
        public var hostname: String?
        public var domainname: String?
        /// In the order in which they are mounted.
        public var mounts: [Mount]
        public var hooks: Hooks?
        public var annotations: [String: String]
        public var linux: Linux?

        public init(
            ociVersion: String, process: Process? = nil, root: Root? = nil, hostname: String? = nil, domainname: String? = nil,
            mounts: [Mount] = [], hooks: Hooks? = nil, annotations: [String: String] = [:], linux: Linux? = nil
        ) {
            self.ociVersion = ociVersion
            self.process = process
            self.root = root
            self.hostname = hostname
            self.domainname = domainname
            self.mounts = mounts
            self.hooks = hooks
            self.annotations = annotations
            self.linux = linux
        }
    }
}

extension OCI.Spec: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var ociVersion: String?
        var process: OCI.Process?
        var root: OCI.Root?
        var hostname: String?
        var domainname: String?
        var mounts: [OCI.Mount] = []
        var hooks: OCI.Hooks?
        var annotations: [String: String] = [:]
        var linux: OCI.Linux?
        try reader.object { key, reader in
            switch key {
            case "ociVersion": try reader.assign(&ociVersion)
            case "process": try reader.assign(&process)
            case "root": try reader.assign(&root)
            case "hostname": try reader.assign(&hostname)
            case "domainname": try reader.assign(&domainname)
            case "mounts": try reader.assign(&mounts)
            case "hooks": try reader.assign(&hooks)
            case "annotations": try reader.assign(&annotations)
            case "linux": try reader.assign(&linux)
            default: try reader.ignore()
            }
        }
        guard let ociVersion else { throw reader.fault("ociVersion is missing") }
        self.init(
            ociVersion: ociVersion, process: process, root: root, hostname: hostname, domainname: domainname, mounts: mounts,
            hooks: hooks, annotations: annotations, linux: linux)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("ociVersion", ociVersion)
            writer.member("process", ifPresent: process)
            writer.member("root", ifPresent: root)
            writer.member("hostname", ifPresent: hostname)
            writer.member("domainname", ifPresent: domainname)
            writer.member("mounts", unlessEmpty: mounts)
            writer.member("hooks", ifPresent: hooks)
            writer.member("annotations", unlessEmpty: annotations)
            writer.member("linux", ifPresent: linux)
        }
    }
}

extension OCI {
    /// `root`.
    public struct Root: Sendable, Equatable {
        /// Absolute, or relative to the bundle.
        public var path: String
        public var readonly: Bool

        public init(path: String, readonly: Bool = false) {
            self.path = path
            self.readonly = readonly
        }
    }
}

extension OCI.Root: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var path: String?
        var readonly = false
        try reader.object { key, reader in
            switch key {
            case "path": try reader.assign(&path)
            case "readonly": try reader.assign(&readonly)
            default: try reader.ignore()
            }
        }
        guard let path else { throw reader.fault("path is missing") }
        self.init(path: path, readonly: readonly)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("path", path)
            writer.member("readonly", ifTrue: readonly)
        }
    }
}

extension OCI {
    /// `mounts[]`.
    public struct Mount: Sendable, Equatable {
        /// Absolute path inside the container; relative ones are taken as below `/`.
        public var destination: String
        public var type: String?
        public var source: String?
        public var options: [String]
        /// For an idmapped mount.
        public var uidMappings: [IDMapping]
        public var gidMappings: [IDMapping]

        public init(
            destination: String, type: String? = nil, source: String? = nil, options: [String] = [],
            uidMappings: [IDMapping] = [], gidMappings: [IDMapping] = []
        ) {
            self.destination = destination
            self.type = type
            self.source = source
            self.options = options
            self.uidMappings = uidMappings
            self.gidMappings = gidMappings
        }
    }
}

extension OCI.Mount: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var destination: String?
        var type: String?
        var source: String?
        var options: [String] = []
        var uidMappings: [OCI.IDMapping] = []
        var gidMappings: [OCI.IDMapping] = []
        try reader.object { key, reader in
            switch key {
            case "destination": try reader.assign(&destination)
            case "type": try reader.assign(&type)
            case "source": try reader.assign(&source)
            case "options": try reader.assign(&options)
            case "uidMappings": try reader.assign(&uidMappings)
            case "gidMappings": try reader.assign(&gidMappings)
            default: try reader.ignore()
            }
        }
        guard let destination else { throw reader.fault("destination is missing") }
        self.init(
            destination: destination, type: type, source: source, options: options, uidMappings: uidMappings,
            gidMappings: gidMappings)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("destination", destination)
            writer.member("type", ifPresent: type)
            writer.member("source", ifPresent: source)
            writer.member("options", unlessEmpty: options)
            writer.member("uidMappings", unlessEmpty: uidMappings)
            writer.member("gidMappings", unlessEmpty: gidMappings)
        }
    }
}

extension OCI {
    /// `linux.uidMappings[]` and its kin: a range of ids of the container and where it lies on the host.
    public struct IDMapping: Sendable, Equatable {
        public var containerID: UInt32
        public var hostID: UInt32
        public var size: UInt32

        public init(containerID: UInt32, hostID: UInt32, size: UInt32) {
            self.containerID = containerID
            self.hostID = hostID
            self.size = size
        }
    }
}

extension OCI.IDMapping: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var containerID: UInt32?
        var hostID: UInt32?
        var size: UInt32?
        try reader.object { key, reader in
            switch key {
            case "containerID": try reader.assign(&containerID)
            case "hostID": try reader.assign(&hostID)
            case "size": try reader.assign(&size)
            default: try reader.ignore()
            }
        }
        guard let containerID else { throw reader.fault("containerID is missing") }
        guard let hostID else { throw reader.fault("hostID is missing") }
        guard let size else { throw reader.fault("size is missing") }
        self.init(containerID: containerID, hostID: hostID, size: size)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("containerID", containerID)
            writer.member("hostID", hostID)
            writer.member("size", size)
        }
    }
}

extension OCI {
    /// `hooks`, by the moment at which they run (config.md, POSIX-platform Hooks).
    public struct Hooks: Sendable, Equatable {
        /// Deprecated, runs with createRuntime, before it.
        public var prestart: [Hook]
        /// In the runtime's namespaces, after the container's were made.
        public var createRuntime: [Hook]
        /// In the container's namespaces, before pivot_root.
        public var createContainer: [Hook]
        /// In the container, before the process is executed.
        public var startContainer: [Hook]
        /// In the runtime's namespaces, after the process was started.
        public var poststart: [Hook]
        /// In the runtime's namespaces, after the container was deleted.
        public var poststop: [Hook]

        public init(
            prestart: [Hook] = [], createRuntime: [Hook] = [], createContainer: [Hook] = [], startContainer: [Hook] = [],
            poststart: [Hook] = [], poststop: [Hook] = []
        ) {
            self.prestart = prestart
            self.createRuntime = createRuntime
            self.createContainer = createContainer
            self.startContainer = startContainer
            self.poststart = poststart
            self.poststop = poststop
        }
    }
}

extension OCI.Hooks: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var prestart: [OCI.Hook] = []
        var createRuntime: [OCI.Hook] = []
        var createContainer: [OCI.Hook] = []
        var startContainer: [OCI.Hook] = []
        var poststart: [OCI.Hook] = []
        var poststop: [OCI.Hook] = []
        try reader.object { key, reader in
            switch key {
            case "prestart": try reader.assign(&prestart)
            case "createRuntime": try reader.assign(&createRuntime)
            case "createContainer": try reader.assign(&createContainer)
            case "startContainer": try reader.assign(&startContainer)
            case "poststart": try reader.assign(&poststart)
            case "poststop": try reader.assign(&poststop)
            default: try reader.ignore()
            }
        }
        self.init(
            prestart: prestart, createRuntime: createRuntime, createContainer: createContainer, startContainer: startContainer,
            poststart: poststart, poststop: poststop)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("prestart", unlessEmpty: prestart)
            writer.member("createRuntime", unlessEmpty: createRuntime)
            writer.member("createContainer", unlessEmpty: createContainer)
            writer.member("startContainer", unlessEmpty: startContainer)
            writer.member("poststart", unlessEmpty: poststart)
            writer.member("poststop", unlessEmpty: poststop)
        }
    }
}

extension OCI {
    /// `hooks.*[]`.
    public struct Hook: Sendable, Equatable {
        /// Absolute.
        public var path: String
        /// As for execv(3): the first is the name.
        public var args: [String]
        public var env: [String]
        /// Seconds, more than 0.
        public var timeout: Int?

        public init(path: String, args: [String] = [], env: [String] = [], timeout: Int? = nil) {
            self.path = path
            self.args = args
            self.env = env
            self.timeout = timeout
        }
    }
}

extension OCI.Hook: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var path: String?
        var args: [String] = []
        var env: [String] = []
        var timeout: Int?
        try reader.object { key, reader in
            switch key {
            case "path": try reader.assign(&path)
            case "args": try reader.assign(&args)
            case "env": try reader.assign(&env)
            case "timeout": try reader.assign(&timeout)
            default: try reader.ignore()
            }
        }
        guard let path else { throw reader.fault("path is missing") }
        self.init(path: path, args: args, env: env, timeout: timeout)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("path", path)
            writer.member("args", unlessEmpty: args)
            writer.member("env", unlessEmpty: env)
            writer.member("timeout", ifPresent: timeout)
        }
    }
}
