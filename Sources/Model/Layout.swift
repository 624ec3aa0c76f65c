/// Where an engine keeps what: every path comes from here, so that an engine per user is the same code.
public struct Layout: Sendable, Hashable {
    /// Survives a reboot: images, containers, volumes, the SQLite file.
    public let dataRoot: String
    /// Gone after a reboot: sockets, shims, exit records.
    public let runRoot: String

    public init(dataRoot: String, runRoot: String) {
        self.dataRoot = dataRoot
        self.runRoot = runRoot
    }

    public static let system = Layout(dataRoot: "/var/lib/skiff", runRoot: "/run/skiff")

    public var socket: String { runRoot + "/skiff.sock" }
    public var pidFile: String { runRoot + "/skiffd.pid" }
    public var database: String { dataRoot + "/skiff.db" }
    public var blobs: String { dataRoot + "/blobs" }
    public var layers: String { dataRoot + "/layers" }
    public var containers: String { dataRoot + "/containers" }
    public var volumes: String { dataRoot + "/volumes" }
    public var temporary: String { dataRoot + "/tmp" }
    public var shims: String { runRoot + "/shims" }
    /// The runtime's own state (`--root` of `skiff-runtime`).
    public var runtimeState: String { runRoot + "/runtime" }

    /// A container's folder: `upper`, `work`, `hosts`, `hostname`, `resolv.conf`, `log/`.
    public func container(_ id: ObjectID) -> String { containers + "/" + id.text }
    /// A shim's folder: `config.json`, `shim.json`, `shim.sock`, `exit.json`. It is the OCI bundle.
    public func shim(_ id: ObjectID) -> String { shims + "/" + id.text }
}
