import NIOCore
import Synchronization

/// The connections that are open, so that a shutdown can end them.
final class ConnectionRegistry: Sendable {
    /// Tells a connection that it ends with the answer it is giving.
    struct Quiesce: Sendable {}

    /// Requests so far.
    let requests = Atomic<Int>(0)
    private let channels = Mutex<[ObjectIdentifier: any Channel]>([:])

    func add(_ channel: any Channel) { channels.withLock { $0[ObjectIdentifier(channel)] = channel } }
    func remove(_ channel: any Channel) { channels.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(channel)) } }

    var count: Int { channels.withLock { $0.count } }

    private var all: [any Channel] { channels.withLock { Array($0.values) } }

    func quiesceAll() {
        for channel in all { channel.pipeline.fireUserInboundEventTriggered(Quiesce()) }
    }

    func closeAll() {
        for channel in all { channel.close(promise: nil) }
    }
}
