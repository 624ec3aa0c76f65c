import Linux
import Model

/// One entry of `mounts[]`, checked; the sources of binds are opened and cloned already, in the runtime's own mount namespace
/// (a container's namespaces may not be able to reach them).
struct MountPlan: Sendable {
    enum Source: Sendable {
        /// A new instance of a file system.
        case fileSystem(type: String, source: String)
        /// A detached clone; `isFolder` says what to make where the destination is missing.
        case bind(SharedDescriptor, isFolder: Bool)
        case cgroup
    }

    var place: String
    /// Without leading, trailing and double slashes, `.` and `..` resolved by text; empty is the root itself.
    var destination: String
    var source: Source
    var options: MountOptions
    /// A user namespace that carries the map of an idmapped mount.
    var map: SharedDescriptor?
    var isRecursiveMap = false

    init(_ mount: OCI.Mount, index: Int, spec: OCI.Spec, bundle: String) throws {
        place = "mounts[\(index)]"
        let linux = spec.linux
        options = MountOptions(mount.options)
        guard !mount.destination.isEmpty, !mount.destination.utf8.contains(0) else {
            throw Fault(.invalid, "\(place).destination is empty or contains a NUL")
        }
        destination = Self.normal(mount.destination)
        if options.isBind || mount.type == "bind" {
            source = try Self.bind(mount, options, place, bundle)
        } else if mount.type == "cgroup" || mount.type == "cgroup2" {
            source = .cgroup
        } else {
            guard let type = mount.type, !type.isEmpty else {
                throw Fault(.invalid, "\(place).type is missing: name a file system, or bind in the options")
            }
            source = .fileSystem(type: type, source: mount.source ?? type)
        }
        if options.copiesUp {
            guard case .fileSystem("tmpfs", _) = source else {
                throw Fault(.invalid, "\(place).options: tmpcopyup is for tmpfs only")
            }
        }
        if !mount.uidMappings.isEmpty || !mount.gidMappings.isEmpty || options.isIDMapped {
            try takeMap(mount, linux)
        }
    }

    private mutating func takeMap(_ mount: OCI.Mount, _ linux: OCI.Linux?) throws {
        var users = mount.uidMappings
        var groups = mount.gidMappings
        if users.isEmpty && groups.isEmpty {
            users = linux?.uidMappings ?? []
            groups = linux?.gidMappings ?? []
        }
        guard !users.isEmpty, !groups.isEmpty else {
            throw Fault(.invalid, "\(place): an idmapped mount needs uidMappings and gidMappings, here or in linux")
        }
        try IDMaps.check(users, "\(place).uidMappings")
        try IDMaps.check(groups, "\(place).gidMappings")
        do { map = try IDMaps.namespace(users: users, groups: groups) } catch {
            throw Fault(Fault(error).kind, "\(place).uidMappings: cannot make the map", cause: error)
        }
        isRecursiveMap = options.isRecursivelyIDMapped
        // A bind is mapped here: the container's own namespace may not have the right to.
        guard case .bind(let clone, _) = source else { return }
        do { try applyMap(to: clone.raw) } catch let fault as KernelFault {
            throw Fault(.unsupported, "\(place): this file system cannot be idmapped", subject: mount.source, cause: fault)
        }
    }

    func applyMap(to mount: CInt) throws {
        guard let map else { return }
        try Mounts.change(mount, set: .idmapped, userNamespace: map.raw, recursive: isRecursiveMap)
    }

    private static func bind(_ mount: OCI.Mount, _ options: MountOptions, _ place: String, _ bundle: String) throws -> Source {
        guard var path = mount.source, !path.isEmpty else {
            throw Fault(.invalid, "\(place).source is missing: a bind needs one")
        }
        if !path.hasPrefix("/") { path = bundle + "/" + path }
        guard options.data.isEmpty else {
            throw Fault(.invalid, "\(place).options: \(options.data[0]) means nothing to a bind mount")
        }
        do {
            let clone = try ForeignMount.clone(path) ?? Mounts.clone(path, recursive: options.isRecursiveBind)
            let kind = try Files.status(of: clone.raw).kind
            return .bind(SharedDescriptor(clone), isFolder: kind == .folder)
        } catch let fault as KernelFault {
            throw Fault(
                fault.isMissingFile ? .notFound : .system, "\(place).source: cannot bind \(path)", subject: path, cause: fault)
        }
    }

    /// What nearly every path is: `/a/b` as `a/b`. Nil where more is to do.
    private static func plain(_ path: String) -> String? {
        let slash = UInt8(ascii: "/")
        var bytes = path.utf8[...]
        guard bytes.popFirst() == slash else { return nil }
        if bytes.isEmpty { return "" }
        var before = slash
        for byte in bytes {
            // a part that is empty, or begins with a dot
            if before == slash, byte == slash || byte == UInt8(ascii: ".") { return nil }
            before = byte
        }
        return before == slash ? nil : String(Substring(bytes))
    }

    /// `/a//b/./../c/` as `a/c`.
    static func normal(_ path: String) -> String {
        if let plain = plain(path) { return plain }
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return parts.joined(separator: "/")
    }
}
