import Linux
import Model

/// A bind whose source is in another process's mount namespace: /proc/PID/root/dev/shm of a container whose IPC is shared.
/// open_tree(2) clones mounts of the caller's namespace only, so a child goes there and hands the clone over.
enum ForeignMount {
    /// Nil where the path is no such one. Symbolic links on the way, which the other container may have made, are refused.
    static func clone(_ path: String) throws -> Descriptor? {
        let parts = path.split(separator: "/", maxSplits: 3)
        guard parts.count == 4, parts[0] == "proc", parts[2] == "root", let pid = CInt(parts[1]) else { return nil }
        let namespace = try Files.open("/proc/\(pid)/ns/mnt", .readOnly)
        let root = try Files.open("/proc/\(pid)/root", [.path, .directory])
        let inside = String(parts[3])
        let ends = try Sockets.pair()
        let child = try Processes.clone()
        if child.isChild {
            do {
                try Processes.join(namespace.raw, .mount)
                let place = try Files.openInside(root.raw, inside, .path, resolve: [.beneath, .noSymlinks])
                let mount = try Mounts.clone(of: place.raw, recursive: false)
                try Sockets.send(ends.other.raw, [0], descriptors: [mount.raw])
            } catch {
                let errno = (error as? KernelFault)?.errno ?? 5
                _ = try? Sockets.send(ends.other.raw, [UInt8(clamping: errno)])
            }
            Processes.exitNow(0)
        }
        let pidOfChild = child.pid
        defer { _ = try? Processes.reap(pidOfChild, wait: true) }
        var answer = try Sockets.receive(ends.one.raw, limit: 1, descriptors: 1)
        guard let mount = answer.takeDescriptor() else {
            throw KernelFault("open_tree", errno: CInt(answer.bytes.first ?? 5), path)
        }
        return mount
    }
}
