import JSON
import Linux
import Model

/// Where a container's cgroups are: what the state file keeps.
public struct CgroupRecord: Sendable, Equatable {
    public struct Entry: Sendable, Equatable {
        /// As in the hierarchy that the folder is in.
        public var controllers: [String]
        /// Name of a v1 hierarchy without controllers.
        public var name: String?
        public var isUnified: Bool
        /// The folder, absolute.
        public var path: String
        /// Where the hierarchy is mounted: `path` begins with it.
        public var mountPoint: String

        public init(controllers: [String], name: String? = nil, isUnified: Bool, path: String, mountPoint: String) {
            self.controllers = controllers
            self.name = name
            self.isUnified = isUnified
            self.path = path
            self.mountPoint = mountPoint
        }
    }

    public var entries: [Entry]
    /// The scope unit, when systemd made the folders.
    public var systemdUnit: String?

    public init(entries: [Entry], systemdUnit: String? = nil) {
        self.entries = entries
        self.systemdUnit = systemdUnit
    }

    /// `cgroup_paths` as runc's state file has it: a path by controller, the v2 folder under the empty key.
    public var pathsByController: [String: String] {
        var paths: [String: String] = [:]
        for entry in entries {
            if entry.isUnified {
                paths[""] = entry.path
            } else if let name = entry.name {
                paths["name=\(name)"] = entry.path
            } else {
                for controller in entry.controllers { paths[controller] = entry.path }
            }
        }
        return paths
    }
}

extension CgroupRecord: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var entries: [Entry] = []
        var systemdUnit: String?
        try reader.object { key, reader in
            switch key {
            case "entries": entries = try reader.value()
            case "systemdUnit": systemdUnit = try reader.value()
            default: try reader.skip()
            }
        }
        self.init(entries: entries, systemdUnit: systemdUnit)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("entries", entries)
            writer.member("systemdUnit", ifPresent: systemdUnit)
        }
    }
}

extension CgroupRecord.Entry: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var controllers: [String] = []
        var name: String?
        var isUnified = false
        var path = ""
        var mountPoint = ""
        try reader.object { key, reader in
            switch key {
            case "controllers": controllers = try reader.value()
            case "name": name = try reader.value()
            case "unified": isUnified = try reader.value()
            case "path": path = try reader.value()
            case "mountPoint": mountPoint = try reader.value()
            default: try reader.skip()
            }
        }
        guard path.hasPrefix("/"), path.hasPrefix(mountPoint) else { throw reader.fault("path is not below mountPoint") }
        self.init(controllers: controllers, name: name, isUnified: isUnified, path: path, mountPoint: mountPoint)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("controllers", controllers)
            writer.member("name", ifPresent: name)
            writer.member("unified", isUnified)
            writer.member("path", path)
            writer.member("mountPoint", mountPoint)
        }
    }
}

extension CgroupRecord {
    /// Goes below, for a process that is to run there. A path without controllers holds for all that none names.
    /// - Throws: `invalid` for a controller that is in none of the hierarchies, `notFound` for a folder that is not there.
    mutating func enter(_ below: [SubCgroup]) throws {
        if below.isEmpty { return }
        for place in below {
            for controller in place.controllers
            where !entries.contains(where: { $0.controllers.contains(controller) || $0.name == controller }) {
                throw Fault(.invalid, "--cgroup: the container has no cgroup of controller \(controller)", subject: controller)
            }
        }
        for index in entries.indices {
            let entry = entries[index]
            let named = below.last { place in
                place.controllers.contains { entry.controllers.contains($0) || entry.name == $0 }
            }
            guard let path = (named ?? below.last { $0.controllers.isEmpty })?.path, !path.isEmpty else { continue }
            entries[index].path += "/" + path
            guard CgroupFile.exists(entries[index].path) else {
                throw Fault(.notFound, "--cgroup: there is no cgroup \(entries[index].path)", subject: path)
            }
        }
    }
}
