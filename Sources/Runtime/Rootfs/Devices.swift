import Linux
import Model

/// Device nodes (config-linux.md, "Devices" and "Default Devices") and the links beside them.
enum Devices {
    static let defaults: [OCI.Device] = [
        OCI.Device(type: "c", path: "/dev/null", major: 1, minor: 3),
        OCI.Device(type: "c", path: "/dev/zero", major: 1, minor: 5),
        OCI.Device(type: "c", path: "/dev/full", major: 1, minor: 7),
        OCI.Device(type: "c", path: "/dev/random", major: 1, minor: 8),
        OCI.Device(type: "c", path: "/dev/urandom", major: 1, minor: 9),
        OCI.Device(type: "c", path: "/dev/tty", major: 5, minor: 0),
    ]
}

extension RootFolder {
    /// Makes default and extra devices, `/dev/ptmx` and the links. `binds` where mknod(2) is not allowed (user namespaces).
    borrowing func makeDevices(_ extra: [OCI.Device], binds: Bool) throws {
        let dev: Descriptor
        do { dev = try findStraight("dev") } catch let fault as KernelFault {
            if fault.isLink || fault.isNoFolder {
                throw Fault(.invalid, "/dev is a symbolic link, or no folder, in the root file system", subject: "/dev")
            }
            guard fault.isMissingFile else { throw fault }
            try Files.makeFolder("dev", mode: 0o755, at: mount.raw)
            return try makeDevices(extra, binds: binds)
        }
        for device in Devices.defaults where !extra.contains(where: { $0.path == device.path }) {
            try make(device, dev.raw, String(device.path.dropFirst(5)), binds: binds, "/dev")
        }
        for (index, device) in extra.enumerated() {
            let place = "linux.devices[\(index)]"
            let path = MountPlan.normal(device.path)
            let (folder, name) = Self.split(path)
            guard !name.isEmpty else { throw Fault(.invalid, "\(place).path: \"\(device.path)\" names no file") }
            let parent = try makeFolder(folder)
            try make(device, parent.raw, name, binds: binds, place)
        }
        try links(dev.raw)
    }

    private borrowing func make(_ device: OCI.Device, _ folder: CInt, _ name: String, binds: Bool, _ place: String) throws {
        do {
            if binds && device.type != "p" { return try bind(device, folder, name, place) }
            let kind: NodeStatus.Kind = device.type == "b" ? .block : device.type == "p" ? .pipe : .character
            let mode = device.fileMode.map { $0 & 0o7777 } ?? 0o666
            let major = UInt32(truncatingIfNeeded: device.major ?? 0)
            let minor = UInt32(truncatingIfNeeded: device.minor ?? 0)
            do {
                try Files.makeNode(name, kind, permissions: mode, major: major, minor: minor, at: folder)
            } catch let fault as KernelFault where fault.isExisting {
                let there = try Files.status(name, at: folder, follow: false)
                guard there.kind == kind, kind == .pipe || (there.major == major && there.minor == minor) else {
                    throw Fault(.conflict, "\(place): \(device.path) is there already, as something else", subject: device.path)
                }
                return
            } catch let fault as KernelFault where fault.isNotPermitted && kind != .pipe {
                return try bind(device, folder, name, place)
            }
            let user = device.uid ?? 0
            let group = device.gid ?? 0
            if user != 0 || group != 0 { try Files.changeOwner(name, user: user, group: group, at: folder) }
        } catch let fault as KernelFault {
            throw Fault(.system, "\(place): cannot make \(device.path)", subject: device.path, cause: fault)
        }
    }

    /// The machine's own node in place of a new one.
    private borrowing func bind(_ device: OCI.Device, _ folder: CInt, _ name: String, _ place: String) throws {
        let clone = try Mounts.clone(device.path, recursive: false, follow: false)
        let status = try Files.status(of: clone.raw)
        guard status.kind == (device.type == "b" ? .block : .character), Int64(status.major) == device.major ?? 0,
            Int64(status.minor) == device.minor ?? 0
        else {
            throw Fault(.unsupported, "\(place): \(device.path) of the machine is another device and none can be made here")
        }
        do {
            _ = try Files.open(name, [.writeOnly, .create, .exclusive, .noFollow], mode: 0o666, at: folder)
        } catch let fault as KernelFault where fault.isExisting {}
        let target = try Files.openInside(folder, name, .path, resolve: [.beneath, .noSymlinks])
        try Mounts.change(clone.raw, propagation: .private)
        try Mounts.attach(clone.raw, onto: target.raw)
    }

    private borrowing func links(_ dev: CInt) throws {
        var links = [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")]
        links.append(("stderr", "/proc/self/fd/2"))
        links.append(("ptmx", "pts/ptmx"))
        if Files.exists("/proc/kcore") { links.append(("core", "/proc/kcore")) }
        for (name, target) in links {
            do { try Files.link(name, to: target, at: dev) } catch let fault as KernelFault where fault.isExisting {
                guard name == "ptmx" else { continue }
                // The machine's multiplexer would lead out of the container's devpts.
                let status = try Files.status(name, at: dev, follow: false)
                if status.kind == .link, (try? Files.readLink(name, at: dev)) == target { continue }
                try Files.remove(name, at: dev)
                try Files.link(name, to: target, at: dev)
            }
        }
    }
}
