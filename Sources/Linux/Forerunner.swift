import CKernel
import Glibc

/// A helper process that does beside its maker, which has one thread, what keeps the kernel busy: reads the table of mounts, and
/// makes a network namespace when told so (clone(2) CLONE_VM, unshare(2)). One at a time; one that the program's first lines have
/// begun is taken over. At the end of this value the helper is gone.
// Only its maker's thread uses it; what the helper writes is read after it was said to be there.
public final class Forerunner: @unchecked Sendable {
    private var helper: CInt

    /// Nil where no helper can be started. It closes a descriptor whose end takes time, if one is given.
    public init?(closing unneeded: CInt = -1) {
        helper = skiff_forerunner_begin(unneeded)
        if helper < 0 { return nil }
    }

    deinit { end() }

    /// /proc/self/mountinfo as it was at the start of the helper; nil when it must be read anew.
    public func mounts() -> [UInt8]? {
        var bytes: UnsafePointer<CChar>?
        let size = helper > 0 ? skiff_forerunner_mounts(&bytes) : -1
        guard size > 0, let bytes else { return nil }
        return Array(UnsafeRawBufferPointer(start: bytes, count: size))
    }

    /// The namespace goes over the socket, which stays open until `end`: one message, the byte `n`, with the namespace's descriptor or,
    /// when the kernel refuses, without.
    public func beginNetwork(to channel: CInt) { if helper > 0 { skiff_forerunner_network(channel) } }

    /// Waits until all that was ordered is done.
    public func end() {
        guard helper > 0 else { return }
        skiff_forerunner_end(helper)
        helper = -1
    }
}

/// Closes descriptors by a helper process, beside what its maker does until the end of this value; they are closed then. For those
/// whose last close takes the kernel's time: mounts, and namespaces full of them, wait for a grace period of RCU. For callers with one
/// thread, one at a time.
public struct ClosingAside: ~Copyable {
    private var helper: CInt = -1

    /// Takes up to four descriptors over.
    public init(_ descriptors: [CInt]) {
        if descriptors.isEmpty { return }
        helper = skiff_close_aside(descriptors, CInt(descriptors.count))
        if helper < 0 { for descriptor in descriptors { close(descriptor) } }
    }

    deinit { if helper > 0 { skiff_close_aside_end(helper) } }
}
