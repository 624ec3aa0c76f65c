import CKernel
import Glibc
import Model

/// Network namespaces (network_namespaces(7)). They belong to threads: call these from a thread of your own, never from a
/// shared pool, and go back with `enter` before the thread does anything else.
public enum NetNamespace {
    /// The calling thread's.
    public static func current() throws -> Descriptor {
        Descriptor(
            owning: try kernel("open", "/proc/thread-self/ns/net") {
                Glibc.open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
            })
    }

    /// A process's.
    public static func open(pid: Int32) throws -> Descriptor {
        let path = "/proc/\(pid)/ns/net"
        return Descriptor(owning: try kernel("open", path) { Glibc.open(path, O_RDONLY | O_CLOEXEC) })
    }

    /// Makes a namespace and puts the calling thread into it (unshare(2) CLONE_NEWNET). It lives while a thread is in it or the
    /// descriptor, or a socket made in it, is open.
    public static func unshare() throws -> Descriptor {
        try kernel("unshare CLONE_NEWNET") { skiff_unshare(0x4000_0000) }
        return try current()
    }

    /// Puts the calling thread into a namespace (setns(2)).
    public static func enter(_ namespace: CInt) throws {
        try kernel("setns CLONE_NEWNET") { skiff_setns(namespace, 0x4000_0000) }
    }
}

/// Files under /proc/sys/net, which show the calling thread's network namespace (sysctl(8)).
public enum NetSysctl {
    /// The value without the newline. `key` is a path such as `ipv4/ip_forward`.
    public static func read(_ key: String) throws -> String {
        String(decoding: try content("/proc/sys/net/" + key, limit: 4096).prefix { $0 != 0x0A }, as: UTF8.self)
    }

    /// A small text file such as /etc/resolv.conf, cut at 64 KiB; nil where it cannot be read.
    public static func text(_ path: String) -> String? {
        (try? content(path, limit: 64 << 10)).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func content(_ path: String, limit: Int) throws -> [UInt8] {
        let descriptor = Descriptor(owning: try kernel("open", path) { open(path, O_RDONLY | O_CLOEXEC) })
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = try kernel("read", path) { Glibc.read(descriptor.raw, &buffer, limit) }
        return Array(buffer[..<count])
    }

    public static func write(_ key: String, _ value: String) throws {
        let path = "/proc/sys/net/" + key
        let descriptor = Descriptor(owning: try kernel("open", path) { open(path, O_WRONLY | O_CLOEXEC) })
        let bytes = Array(value.utf8)
        try kernel("write", path) { Glibc.write(descriptor.raw, bytes, bytes.count) }
    }
}

public enum NetClock {
    /// clock_gettime(2) CLOCK_REALTIME
    public static var now: Timestamp { Timestamp(nanoseconds: skiff_clock_realtime()) }

    /// Blocks the calling thread (nanosleep(2)).
    public static func sleep(milliseconds: Int) { usleep(UInt32(milliseconds) * 1000) }
    public static func sleep(microseconds: UInt32) { usleep(microseconds) }
}
