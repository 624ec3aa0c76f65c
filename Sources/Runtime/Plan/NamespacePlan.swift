import Linux
import Model

/// Which namespaces are made and which are joined.
struct NamespacePlan: Sendable {
    struct Joined: Sendable {
        var kind: NamespaceKinds
        var descriptor: SharedDescriptor
    }

    var new: NamespaceKinds = []
    var joined: [Joined] = []

    init(_ linux: OCI.Linux) throws {
        var seen: NamespaceKinds = []
        for (index, namespace) in linux.namespaces.enumerated() {
            let kind = namespace.type.kind
            let place = "linux.namespaces[\(index)]"
            guard !seen.contains(kind) else {
                throw Fault(.invalid, "\(place): there are two namespaces of type \(namespace.type.rawValue)")
            }
            seen.insert(kind)
            guard let path = namespace.path, !path.isEmpty else {
                new.insert(kind)
                continue
            }
            let descriptor: Descriptor
            do { descriptor = try Files.open(path, .readOnly) } catch let fault as KernelFault {
                throw Fault(.invalid, "\(place).path: cannot open \(path)", subject: path, cause: fault)
            }
            guard Processes.namespaceKind(of: descriptor.raw) == kind else {
                throw Fault(.invalid, "\(place).path: \(path) is no \(namespace.type.rawValue) namespace", subject: path)
            }
            joined.append(Joined(kind: kind, descriptor: SharedDescriptor(descriptor)))
        }
    }

    /// Whether a network namespace that somebody else begins to make now is the container's: a new one, of the same user namespace.
    static func wantsNetworkAhead(_ linux: OCI.Linux?) -> Bool {
        guard let linux, linux.netDevices.isEmpty, linux.timeOffsets == nil else { return false }
        var wants = false
        for namespace in linux.namespaces {
            guard (namespace.path ?? "").isEmpty, namespace.type != .user else { return false }
            if namespace.type == .network { wants = true }
        }
        return wants
    }

    func has(_ kind: NamespaceKinds) -> Bool { new.contains(kind) || joins(kind) }
    func joins(_ kind: NamespaceKinds) -> Bool { joined.contains { $0.kind == kind } }

    /// The init is cloned by a process between that enters or prepares namespaces first: joining a pid, user or time
    /// namespace counts for children only, or must come before anything else.
    func needsProcessBetween(hasTimeOffsets: Bool) -> Bool {
        joins(.pid) || joins(.user) || joins(.time) || (new.contains(.time) && hasTimeOffsets)
            || (new.contains(.user) && !joined.isEmpty)
    }
}

extension OCI.NamespaceType {
    var kind: NamespaceKinds {
        switch self {
        case .pid: .pid
        case .network: .network
        case .mount: .mount
        case .ipc: .ipc
        case .uts: .uts
        case .user: .user
        case .cgroup: .cgroup
        case .time: .time
        }
    }
}

/// The user namespace that this process is in.
enum UserNamespace {
    /// Not the machine's first: not every id is mapped (user_namespaces(7)).
    static var isNested: Bool {
        guard let text = try? Files.read("/proc/self/uid_map") else { return false }
        return String(decoding: text, as: UTF8.self).split(whereSeparator: { $0 == " " || $0 == "\n" }) != [
            "0", "0", "4294967295",
        ]
    }
}

/// Id maps as /proc/<pid>/uid_map takes them (user_namespaces(7)).
enum IDMaps {
    static func text(_ maps: [OCI.IDMapping]) -> String {
        maps.map { "\($0.containerID) \($0.hostID) \($0.size)\n" }.joined()
    }

    static func check(_ maps: [OCI.IDMapping], _ place: String) throws {
        guard maps.count <= 340 else { throw Fault(.invalid, "\(place): \(maps.count) ranges, the kernel takes 340") }
        for (index, map) in maps.enumerated() {
            guard map.size > 0 else { throw Fault(.invalid, "\(place)[\(index)].size is 0") }
            guard UInt64(map.containerID) + UInt64(map.size) <= 1 << 32, UInt64(map.hostID) + UInt64(map.size) <= 1 << 32 else {
                throw Fault(.invalid, "\(place)[\(index)] goes beyond 4294967295")
            }
        }
    }

    static func contains(_ maps: [OCI.IDMapping], _ id: UInt32) -> Bool {
        maps.contains { id >= $0.containerID && id - $0.containerID < $0.size }
    }

    /// Writes both maps of a process in a new user namespace.
    static func write(pid: CInt, users: [OCI.IDMapping], groups: [OCI.IDMapping]) throws {
        do {
            if Processes.userID != 0 { try Files.put("deny", "/proc/\(pid)/setgroups") }
            try Files.put(text(groups), "/proc/\(pid)/gid_map")
            try Files.put(text(users), "/proc/\(pid)/uid_map")
        } catch let fault as KernelFault {
            throw Fault(.invalid, "linux.uidMappings, linux.gidMappings: the kernel refuses them", cause: fault)
        }
    }

    /// A user namespace that only serves as a map for idmapped mounts: no process stays in it.
    static func namespace(users: [OCI.IDMapping], groups: [OCI.IDMapping]) throws -> SharedDescriptor {
        let ends = try Sockets.pair()
        let child = try Processes.clone(.user)
        if child.isChild {
            _ = try? Sockets.receive(ends.other.raw, limit: 1)
            Processes.exitNow(0)
        }
        let pid = child.pid
        let result = Result {
            try write(pid: pid, users: users, groups: groups)
            return SharedDescriptor(try Files.open("/proc/\(pid)/ns/user", .readOnly))
        }
        _ = try? Sockets.send(ends.one.raw, [0])
        _ = try? Processes.reap(pid, wait: true)
        return try result.get()
    }
}
