import Linux
import Model
import Synchronization

/// A container's root in the hands of a thread that copies. As long as it is held the root's file system stays mounted, so the
/// container's next start waits for it, and in the end takes it away.
final class RootLease: Sendable {
    private struct State {
        var root: HeldDescriptor?
        var isRevoked = false
        var stop: (@Sendable () -> Void)?
    }

    private let state: Mutex<State>
    /// Fulfilled when the descriptor is closed.
    let ended = Promise<Void>()

    init(_ root: HeldDescriptor) { state = Mutex(State(root: root)) }

    deinit { end() }

    /// What is to be done when the lease is taken away: `stop` wakes whoever waits for a client, and the copying ends with a fault.
    func whenRevoked(_ stop: @escaping @Sendable () -> Void) {
        let now = state.withLock { state in
            state.stop = stop
            return state.isRevoked
        }
        if now { stop() }
    }

    /// - Throws: where the lease has ended.
    func root() throws -> HeldDescriptor {
        guard let root = state.withLock({ $0.isRevoked ? nil : $0.root }) else { throw Self.revoked }
        return root
    }

    func revoke() {
        let stop = state.withLock { state in
            state.isRevoked = true
            return state.stop
        }
        stop?()
    }

    /// The copying is over, every descriptor below the root is closed.
    func end() {
        let root = state.withLock { state in
            state.stop = nil
            return state.root.take()
        }
        guard root != nil else { return }
        withExtendedLifetime(root) {}
        ended.fulfil(())
    }

    static var revoked: Fault { Fault(.conflict, "the container was started or removed meanwhile") }
}

/// The leases of one container's root.
final class RootLeases: Sendable {
    private struct State {
        var leases: [ObjectIdentifier: Entry] = [:]
        /// The one mount of a stopped container's root, shared by all who copy at the same time.
        var stopped: Weak?
    }

    private struct Entry { weak var lease: RootLease? }
    private struct Weak { weak var root: HeldDescriptor? }

    private let state = Mutex(State())

    /// - Parameter isStopped: the root was mounted for this: others may share it.
    func lease(_ root: HeldDescriptor, isStopped: Bool = false) -> RootLease {
        let lease = RootLease(root)
        state.withLock { state in
            state.leases = state.leases.filter { $0.value.lease != nil }
            state.leases[ObjectIdentifier(lease)] = Entry(lease: lease)
            if isStopped { state.stopped = Weak(root: root) }
        }
        return lease
    }

    /// A further lease on the mount of a stopped container, where there is one.
    func shareStopped() -> RootLease? {
        guard let root = state.withLock({ $0.stopped?.root }) else { return nil }
        return lease(root)
    }

    /// Returns when nobody holds the root any more. After `patience` those that still do are made to stop.
    func vacate(patience: Duration) async throws {
        for lease in live where try await lease.ended.value(within: patience) == nil { lease.revoke() }
        for lease in live where try await lease.ended.value(within: .seconds(20)) == nil {
            throw Fault(.unavailable, "files are still being copied from or to the container, try again")
        }
    }

    func revokeAll() { for lease in live { lease.revoke() } }

    private var live: [RootLease] { state.withLock { $0.leases.values.compactMap(\.lease) } }
}
