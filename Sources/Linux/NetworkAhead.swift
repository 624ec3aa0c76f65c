import CKernel
import Glibc

/// A network namespace that is made while its maker, which has one thread, does other things (clone(2) CLONE_VM, unshare(2)).
/// One at a time. At the end of this value the namespace is gone when nobody took it.
public final class NetworkAhead {
    private let result: UnsafeMutablePointer<CInt>
    private var helper: CInt

    /// Nil where no helper can be started.
    public init?() {
        result = .allocate(capacity: 1)
        helper = skiff_network_begin(result)
        if helper < 0 { return nil }
    }

    deinit {
        _ = take()
        result.deallocate()
    }

    /// Waits until it is made. Nil when the kernel refused, or when it was taken before.
    public func take() -> Descriptor? {
        guard helper > 0 else { return nil }
        while skiff_network_end(helper) < 0 && errno == EINTR {}
        helper = -1
        return result.pointee < 0 ? nil : Descriptor(owning: result.pointee)
    }
}
