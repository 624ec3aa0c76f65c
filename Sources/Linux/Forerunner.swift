import CKernel
import Glibc

/// A helper process that does beside its maker, which has one thread, what keeps the kernel busy: reads the table of mounts, and
/// makes a network namespace when told so (clone(2) CLONE_VM, unshare(2)). One at a time. At the end of this value the helper is
/// gone, and the namespace when nobody took it.
// Only its maker's thread uses it; what the helper writes is read after it was said to be there.
public final class Forerunner: @unchecked Sendable {
    private var helper: CInt

    /// Nil where no helper can be started. It closes a descriptor whose end takes time, if one is given.
    public init?(closing unneeded: CInt = -1) {
        helper = skiff_forerunner_begin(unneeded)
        if helper < 0 { return nil }
    }

    deinit { _ = takeNetwork() }

    /// /proc/self/mountinfo as it was at the start of the helper; nil when it must be read anew.
    public func mounts() -> [UInt8]? {
        var bytes: UnsafePointer<CChar>?
        let size = helper > 0 ? skiff_forerunner_mounts(&bytes) : -1
        guard size > 0, let bytes else { return nil }
        return Array(UnsafeRawBufferPointer(start: bytes, count: size))
    }

    public func beginNetwork() { if helper > 0 { skiff_forerunner_network() } }

    /// Waits until the namespace is made. Nil when none was begun, when the kernel refused, or when it was taken before.
    public func takeNetwork() -> Descriptor? {
        guard helper > 0 else { return nil }
        let network = skiff_forerunner_end(helper)
        helper = -1
        return network < 0 ? nil : Descriptor(owning: network)
    }
}
