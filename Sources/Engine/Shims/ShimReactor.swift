import Linux
import Model
import Synchronization

/// One thread that waits on every descriptor the engine is interested in: the shims' connections, their processes, logs that
/// are followed. Handlers run on that thread, one at a time: they only hand things on.
final class ShimReactor: Sendable {
    typealias Handler = @Sendable (Epoll.Events) -> Void

    private struct Table {
        var next: UInt64 = 1
        var handlers: [UInt64: Handler] = [:]
    }

    private let epoll: Epoll
    private let table = Mutex(Table())

    init() throws {
        epoll = try Epoll()
        try startThread { [epoll, weak self] in
            while true {
                guard let ready = try? epoll.wait() else { return }
                guard let self else { return }
                for (token, events) in ready { self.handler(token)?(events) }
            }
        }
    }

    private func handler(_ token: UInt64) -> Handler? { table.withLock { $0.handlers[token] } }

    /// Calls `handler` whenever the descriptor is ready. Answers the token for `change` and `stop`.
    func watch(_ descriptor: CInt, _ events: Epoll.Events, _ handler: @escaping Handler) throws -> UInt64 {
        let token = table.withLock { table in
            let token = table.next
            table.next += 1
            table.handlers[token] = handler
            return token
        }
        do { try epoll.add(descriptor, events, token: token) } catch {
            _ = table.withLock { $0.handlers.removeValue(forKey: token) }
            throw error
        }
        return token
    }

    func change(_ token: UInt64, _ descriptor: CInt, _ events: Epoll.Events) {
        try? epoll.modify(descriptor, events, token: token)
    }

    /// Call before closing the descriptor. A handler that runs meanwhile may still be running when this returns.
    func stop(_ token: UInt64, _ descriptor: CInt) {
        epoll.remove(descriptor)
        _ = table.withLock { $0.handlers.removeValue(forKey: token) }
    }

    /// Reaps a child of ours when it ends.
    func reap(_ pid: CInt) {
        guard let process = try? openProcess(pid) else { return }
        let held = HeldDescriptor(process)
        let box = WatchToken()
        box.value.withLock { value in
            value = try? watch(held.raw, .input) { [weak self] _ in
                _ = reapChild(pid)
                guard let self, let token = box.value.withLock({ $0 }) else { return }
                self.stop(token, held.raw)
            }
        }
    }
}

/// A watch's token where its own handler can reach it.
final class WatchToken: Sendable { let value = Mutex<UInt64?>(nil) }

/// Bytes that come on the reactor's thread; what is more than a probe's output shows is dropped.
final class ProbeOutput: Sendable {
    private let kept = Mutex<[UInt8]>([])

    var bytes: [UInt8] { kept.withLock { $0 } }

    func append(_ part: ArraySlice<UInt8>) {
        kept.withLock { kept in if kept.count < 4096 { kept.append(contentsOf: part) } }
    }
}

/// Both ends of a stream, ours non-blocking.
func streamPair() throws -> (ours: HeldDescriptor, theirs: HeldDescriptor) {
    let ends = try streamSocketPair()
    let ours = HeldDescriptor(Descriptor(owning: ends[0]))
    let theirs = HeldDescriptor(Descriptor(owning: ends[1]))
    try PollIO.setNonblocking(ours.raw)
    return (ours, theirs)
}

/// A descriptor that several places hold; closed when the last lets go.
final class HeldDescriptor: Sendable {
    private let descriptor: Descriptor
    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
    var raw: CInt { descriptor.raw }
    func borrow<T>(_ body: (borrowing Descriptor) throws -> T) rethrows -> T { try body(descriptor) }
}
