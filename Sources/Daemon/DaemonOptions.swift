import Engine
import Images
import JSON
import Linux
import Logging
import Model
import Registry

/// What skiffd is told: by its file first, then by its flags.
struct DaemonOptions: Sendable {
    var dataRoot = Layout.system.dataRoot
    var runRoot = Layout.system.runRoot
    /// Paths of Unix sockets; empty is the layout's one.
    var hosts: [String] = []
    var group: String?
    var level = Logger.Level.info
    var logFormat = LogFormat.automatic
    var cgroupParent: String?
    var bridge: String?
    var subnet: IPv4Subnet?
    /// Nil leaves it to the engine: on where the kernel has IPv6.
    var ipv6: Bool?
    /// The bridge's address with its subnet, and the subnet, or the part of it that containers get addresses from.
    var bridgeAddress6: (address: IPv6Address, subnet: IPv6Subnet)?
    var fixedSubnet6: IPv6Subnet?
    var mtu: UInt32?
    /// Rules in other programs' chains that forbid forwarding: `add` or `warn`.
    var forwardRules: ForwardRulesMode?
    /// How containers' roots are made; nil chooses.
    var storageDriver: String?
    /// Which compressed layers stay beside the unpacked ones, and for how long all do; nil is the engine's default.
    var keepBlobs: KeepBlobs?
    var keepBlobsFor: Timestamp?
    var pidFile: String?
    var runtime: String?
    var configurationFile: String?
    var registries = RegistrySettings()

    static let defaultFile = "/etc/skiff/skiffd.json"

    var layout: Layout { Layout(dataRoot: dataRoot, runRoot: runRoot) }
    var sockets: [String] { hosts.isEmpty ? [layout.socket] : hosts }

    enum ForwardRulesMode: String, Sendable, CaseIterable { case add, warn }
    enum LogFormat: String, Sendable, CaseIterable, JSONReadable { case automatic = "auto", text, json, journal }

    /// What the command line asks for.
    enum Wish: Sendable {
        case run(DaemonOptions)
        case validate
        case help
        case version
    }

    // MARK: Names of both

    /// One setting, by the name that it has in the file and, after two dashes, as a flag.
    mutating func set(_ name: String, _ value: String) throws {
        if try setRegistry(name, value) { return }
        switch name {
        case "data-root": dataRoot = try Self.path(name, value)
        case "exec-root", "run-root": runRoot = try Self.path(name, value)
        case "host", "hosts": hosts.append(try Self.socketPath(value))
        case "group": group = value
        case "log-level":
            guard let level = Logger.Level(rawValue: value == "warn" ? "warning" : value) else {
                let known = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
                throw Fault(.invalid, "unknown level \"\(value)\", known are \(known)")
            }
            self.level = level
        case "log-format":
            guard let format = LogFormat(rawValue: value) else {
                let known = LogFormat.allCases.map(\.rawValue).joined(separator: ", ")
                throw Fault(.invalid, "unknown format \"\(value)\", known are \(known)")
            }
            logFormat = format
        case "forward-rules":
            guard let mode = ForwardRulesMode(rawValue: value) else {
                throw Fault(.invalid, "\"\(value)\" says not what to do with chains that forbid forwarding: add and warn do")
            }
            forwardRules = mode
        case "cgroup-parent":
            guard value.hasPrefix("/"), !value.split(separator: "/").contains("..") else {
                throw Fault(.invalid, "\"\(value)\" is no absolute path of a cgroup")
            }
            cgroupParent = value
        case "bridge":
            guard !value.isEmpty, value.utf8.count <= 15, !value.contains("/") else {
                throw Fault(.invalid, "\"\(value)\" is no name of a link: at most 15 bytes, no slash")
            }
            bridge = value
        case "bip", "subnet":
            guard let subnet = IPv4Subnet(value) else { throw Fault(.invalid, "\"\(value)\" is no subnet like 172.30.0.0/16") }
            self.subnet = subnet
        case "ipv6":
            guard let flag = ["true": true, "1": true, "false": false, "0": false][value] else {
                throw Fault(.invalid, "\"\(value)\" is neither true nor false")
            }
            ipv6 = flag
        case "bip6":
            guard let subnet = IPv6Subnet(value), let address = value.split(separator: "/").first.flatMap({ IPv6Address($0) })
            else { throw Fault(.invalid, "\"\(value)\" is no address with its subnet like fd12:3456::1/64") }
            bridgeAddress6 = (address, subnet)
        case "fixed-cidr-v6", "subnet6":
            guard let subnet = IPv6Subnet(value) else { throw Fault(.invalid, "\"\(value)\" is no subnet like fd12:3456::/64") }
            fixedSubnet6 = subnet
        case "storage-driver":
            guard ["overlay2", "overlay", "btrfs", "copy", "vfs"].contains(value) else {
                throw Fault(.invalid, "there is no storage driver \"\(value)\": overlay2, btrfs and copy are")
            }
            storageDriver = value
        case "keep-blobs":
            guard let keep = KeepBlobs(rawValue: value) else {
                throw Fault(.invalid, "\"\(value)\" says not which contents to keep: all, needed and minimal do")
            }
            keepBlobs = keep
        case "keep-blobs-for": keepBlobsFor = try DurationText.parse(value)
        case "mtu":
            guard let mtu = UInt32(value), (68...65535).contains(mtu) else {
                throw Fault(.invalid, "\"\(value)\" is no MTU from 68 to 65535")
            }
            self.mtu = mtu
        case "pidfile": pidFile = try Self.path(name, value)
        case "runtime": runtime = try Self.path(name, value)
        default: throw Fault(.invalid, "unknown setting")
        }
    }

    private static func path(_ name: String, _ value: String) throws -> String {
        guard value.hasPrefix("/"), !value.utf8.contains(0) else { throw Fault(.invalid, "\"\(value)\" is no absolute path") }
        var path = value
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }

    static func socketPath(_ host: String) throws -> String {
        guard host.hasPrefix("unix://") else {
            throw Fault(.invalid, "\"\(host)\" is not served: only unix:///path is, so far")
        }
        let path = try path("host", String(host.dropFirst(7)))
        // sockaddr_un has room for 107 bytes (unix(7))
        guard path.utf8.count <= 107 else { throw Fault(.invalid, "the path of \"\(host)\" is longer than 107 bytes") }
        return path
    }

    // MARK: The file

    /// Reads settings from a JSON file; what it does not name stays. An unknown member is refused with its path.
    mutating func read(file path: String) throws {
        let bytes: [UInt8]
        do { bytes = try Files.read(path, limit: 1 << 20) } catch {
            throw Fault(.invalid, "cannot read the configuration", subject: path, cause: error)
        }
        do {
            var reader = try JSONReader(bytes)
            try reader.object { key, reader in try readMember(key, &reader) }
            try reader.end()
        } catch {
            throw Fault(.invalid, "\(path): \(error)")
        }
    }

    private mutating func readMember(_ key: String, _ reader: inout JSONReader) throws {
        if try readRegistry(key, &reader) { return }
        switch key {
        case "debug": if try reader.bool() { level = .debug }
        case "hosts":
            var listed: [String] = []
            try reader.array { reader in
                do { listed.append(try Self.socketPath(try reader.string())) } catch let fault as Fault {
                    throw reader.fault(fault.message)
                }
            }
            hosts = listed
        case "host": throw reader.fault("unknown setting: it is called hosts here, and is a list")
        case "mtu": try readSetting(key, String(try reader.integer(Int.self)), reader)
        case "ipv6": ipv6 = try reader.bool()
        default: try readSetting(key, try reader.string(), reader)
        }
    }

    private mutating func readSetting(_ key: String, _ value: String, _ reader: JSONReader) throws {
        do { try set(key, value) } catch let fault as Fault { throw reader.fault(fault.message) }
    }
}
