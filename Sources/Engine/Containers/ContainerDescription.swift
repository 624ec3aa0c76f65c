import JSON
import Model

/// What a container is and how it is to run: fixed at its creation but for `update` and `rename`. Stored as JSON.
package struct ContainerDescription: Sendable {
    package static let currentVersion = 1

    package var version = ContainerDescription.currentVersion
    /// The image as the user named it.
    package var imageName = ""
    /// The container's settings, the image's merged into them.
    package var config = Docker.ContainerConfig()
    package var host = Docker.HostConfig()
    /// What is wished of each network, by the network's name, as it came. `connect` and `disconnect` change it.
    package var endpoints: [String: Docker.EndpointSettings] = [:]
    package var mounts: [ContainerMount] = []

    package init() {}

    /// Entrypoint and command together.
    package var command: [String] { (config.entrypoint?.words ?? []) + (config.cmd?.words ?? []) }
    package var autoRemove: Bool { host.autoRemove == true }
    package var restartPolicy: RestartPolicy { RestartPolicy(host.restartPolicy) }
    package var hasTerminal: Bool { config.tty == true }
    package var network: NetworkMode { NetworkMode(host.networkMode) }
    /// The networks that it is to be on: the one of its mode first, the others by name.
    package var networkNames: [String] {
        let first = network.name
        let others = endpoints.keys.filter { $0 != first }.sorted()
        return endpoints[first] == nil ? others : [first] + others
    }
}

/// Something mounted into a container besides what every container has.
package struct ContainerMount: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable, JSONReadable, JSONWritable { case bind, volume, tmpfs }

    package var kind: Kind
    /// The volume's name.
    package var name: String?
    /// The folder or file on the host; empty for a tmpfs.
    package var source = ""
    package var destination: String
    package var readOnly = false
    /// `rprivate`, `rshared`, …; empty is the default.
    package var propagation = ""
    /// What stood behind the second colon of `-v`.
    package var mode = ""
    package var recursive = true
    /// Make the source where there is none (`-v` does, `--mount` does not).
    package var createsSource = false
    /// Do not fill an empty volume with what the image has there.
    package var noCopy = false
    /// Of a volume: the folder in it.
    package var subpath = ""
    /// Made for this container alone, removed with it on `rm -v` and `--rm`.
    package var anonymous = false
    /// Options of a tmpfs.
    package var options: [String] = []
    /// Came by `--mount` rather than `-v` or the image.
    package var fromMounts = false

    package init(kind: Kind, destination: String) {
        self.kind = kind
        self.destination = destination
    }
}

package enum NetworkMode: Sendable, Equatable {
    case bridge
    case none
    case host
    case container(String)
    /// A network of a user's, by name or id.
    case named(String)

    package init(_ text: String?) {
        switch text ?? "" {
        case "", "default", "bridge": self = .bridge
        case "none": self = .none
        case "host": self = .host
        case let text where text.hasPrefix("container:"): self = .container(String(text.dropFirst(10)))
        case let text: self = .named(text)
        }
    }

    /// False where another's network namespace is used.
    package var isPrivate: Bool {
        switch self {
        case .bridge, .none, .named: true
        case .host, .container: false
        }
    }

    /// Of the network that it names; empty where it shares another container's.
    package var name: String {
        switch self {
        case .bridge: "bridge"
        case .none: "none"
        case .host: "host"
        case .named(let name): name
        case .container: ""
        }
    }
}

package enum RestartPolicy: Sendable, Equatable {
    case no
    case always
    case unlessStopped
    /// At most so many times in a row; 0 is no limit.
    case onFailure(Int)

    package init(_ policy: Docker.RestartPolicy?) {
        switch policy?.name ?? "" {
        case "always": self = .always
        case "unless-stopped": self = .unlessStopped
        case "on-failure": self = .onFailure(policy?.maximumRetryCount ?? 0)
        default: self = .no
        }
    }

    /// Docker's checks and words.
    package static func validate(_ policy: Docker.RestartPolicy?, autoRemove: Bool) throws {
        guard let policy else { return }
        let count = policy.maximumRetryCount ?? 0
        switch policy.name ?? "" {
        case "always", "unless-stopped", "no":
            if count != 0 {
                throw Fault(
                    .invalid,
                    "invalid restart policy: maximum retry count can only be used with 'on-failure'"
                        + (count < 0 ? " and cannot be negative" : ""))
            }
        case "on-failure":
            if count < 0 { throw Fault(.invalid, "invalid restart policy: maximum retry count cannot be negative") }
        case "":
            if count > 0 {
                throw Fault(.invalid, "invalid restart policy: maximum retry count can only be used with 'on-failure'")
            }
        case let name:
            throw Fault(
                .invalid,
                "invalid restart policy: unknown policy '\(name)'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )
        }
        if autoRemove, RestartPolicy(policy) != .no {
            throw Fault(.invalid, "can't create 'AutoRemove' container with restart policy")
        }
    }
}

extension ContainerDescription: JSONReadable, JSONWritable {
    package init(from reader: inout JSONReader) throws {
        var isKnown = false
        var single = Docker.EndpointSettings()
        try reader.object { key, reader in
            switch key {
            case "version": version = try reader.value()
            case "imageName": imageName = try reader.value()
            case "config": config = try reader.value()
            case "host": host = try reader.value()
            case "endpoint": single = try reader.value()
            case "endpoints":
                endpoints = try reader.value()
                isKnown = true
            case "mounts": mounts = try reader.value()
            default: try reader.skip()
            }
        }
        guard version <= Self.currentVersion else { throw reader.fault("a container's record has version \(version)") }
        // Records from the days of one network.
        if !isKnown, !network.name.isEmpty { endpoints = [network.name: single] }
    }

    package func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("version", version)
            writer.member("imageName", imageName)
            writer.member("config", config)
            writer.member("host", host)
            writer.member("endpoints", endpoints)
            writer.member("mounts", mounts)
        }
    }
}

extension ContainerMount: JSONReadable, JSONWritable {
    package init(from reader: inout JSONReader) throws {
        self.init(kind: .bind, destination: "")
        try reader.object { key, reader in
            switch key {
            case "kind": kind = try reader.value()
            case "name": name = try reader.value()
            case "source": source = try reader.value()
            case "destination": destination = try reader.value()
            case "readOnly": readOnly = try reader.value()
            case "propagation": propagation = try reader.value()
            case "mode": mode = try reader.value()
            case "recursive": recursive = try reader.value()
            case "createsSource": createsSource = try reader.value()
            case "noCopy": noCopy = try reader.value()
            case "subpath": subpath = try reader.value()
            case "anonymous": anonymous = try reader.value()
            case "options": options = try reader.value()
            case "fromMounts": fromMounts = try reader.value()
            default: try reader.skip()
            }
        }
    }

    package func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("kind", kind)
            writer.member("name", ifPresent: name)
            writer.member("source", source)
            writer.member("destination", destination)
            writer.member("readOnly", ifTrue: readOnly)
            writer.member("propagation", ifPresent: propagation.isEmpty ? nil : propagation)
            writer.member("mode", ifPresent: mode.isEmpty ? nil : mode)
            writer.member("recursive", recursive)
            writer.member("createsSource", ifTrue: createsSource)
            writer.member("noCopy", ifTrue: noCopy)
            writer.member("subpath", ifPresent: subpath.isEmpty ? nil : subpath)
            writer.member("anonymous", ifTrue: anonymous)
            writer.member("options", unlessEmpty: options)
            writer.member("fromMounts", ifTrue: fromMounts)
        }
    }
}
