import CKernel
import Glibc

/// Descriptors by which the kernel tells of changes in a cgroup.
public enum CgroupWatch {
    /// v1: an eventfd(2) that counts what happens to `file` (cgroup.event_control; memory.rst, OOM Control). It is also
    /// counted up when the cgroup goes away.
    public static func eventDescriptor(folder: String, file: String) throws -> Descriptor {
        let event = Descriptor(owning: try kernel("eventfd") { ck_eventfd() })
        let watched = try CgroupFile.open(folder + "/" + file, O_RDONLY)
        try CgroupFile.write(folder + "/cgroup.event_control", "\(event.raw) \(watched.raw)")
        return event
    }

    /// An inotify(7) descriptor that tells when a v2 file such as memory.events has changed, or its cgroup is gone.
    public static func changes(of path: String) throws -> Descriptor {
        let watch = Descriptor(owning: try kernel("inotify_init1") { inotify_init1(CInt(O_CLOEXEC | O_NONBLOCK)) })
        let raw = watch.raw
        try kernel("inotify_add_watch", path) { inotify_add_watch(raw, path, UInt32(IN_MODIFY | IN_DELETE_SELF)) }
        return watch
    }

    /// Takes what made the descriptor readable.
    public static func drain(_ descriptor: borrowing Descriptor) {
        let raw = descriptor.raw
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            while Glibc.read(raw, buffer.baseAddress, buffer.count) > 8 {}
        }
    }
}
