import Linux
import Logging
import Model
import NIOCore
import NIOPosix
import Synchronization

/// Serves the Docker Engine API on listening sockets.
public final class APIServer: Sendable {
    private let group: MultiThreadedEventLoopGroup
    private let router: Router<Route>
    private let registry = ConnectionRegistry()
    private let log: Logger
    private let listeners: [any Channel]

    /// Accepts from now on.
    ///
    /// - Parameters:
    ///   - sockets: listening sockets; the server owns them from here on.
    ///   - threads: event loops. Two serve 40,000 pings a second.
    public init(sockets: [CInt], router: Router<Route>, threads: Int, log: Logger) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        self.group = group
        self.router = router
        self.log = log
        let registry = registry
        let bootstrap = ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        APIConnection(router: router, registry: registry, log: log))
                }
            }
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 4096, maximum: 256 << 10))
        var listeners: [any Channel] = []
        for socket in sockets { listeners.append(try await bootstrap.withBoundSocket(socket).get()) }
        self.listeners = listeners
    }

    public var connectionCount: Int { registry.count }
    /// Requests since the start.
    public var requestCount: Int { registry.requests.load(ordering: .relaxed) }

    /// Accepts nothing more. What is being answered goes on.
    public func stopAccepting() async {
        for listener in listeners { try? await listener.close().get() }
    }

    /// Gives answers under way up to `grace` to end, then closes what is left.
    public func shutdown(grace: Duration) async {
        await stopAccepting()
        registry.quiesceAll()
        let deadline = ContinuousClock.now + grace
        while registry.count > 0, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(5)) }
        registry.closeAll()
        try? await group.shutdownGracefully()
    }
}
