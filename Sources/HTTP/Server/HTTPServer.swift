import Linux
import Synchronization

/// How a server treats its clients.
public struct ServerSettings: Sendable {
    /// Connections served at one time; each is a thread. Further ones are answered with 503.
    public var connections = 512
    /// Milliseconds that a connection may rest between two requests.
    public var idleTimeout = 75_000
    /// Milliseconds for which nothing may move within a request.
    public var stallTimeout = 30_000
    /// Milliseconds for a whole head, from its first byte.
    public var headTimeout = 15_000
    public var limits = WireLimits()

    public init() {
        limits.head = 32 << 10
        limits.fields = 100
    }
}

/// What is logged of a request.
public struct AccessRecord: Sendable {
    public let peer: String
    public let method: String
    public let target: String
    public let status: Int
    /// Bytes of the body that were sent.
    public let sent: Int64
    public let microseconds: Int64
    public let agent: String
    public let note: String?
}

/// Serves HTTP/1.1 on any number of listeners: a thread for each connection, blocking, keep-alive.
public final class HTTPServer: Sendable {
    public typealias Handler = @Sendable (ServerRequest) -> ServerResponse

    let settings: ServerSettings
    let handler: Handler
    let report: @Sendable (AccessRecord) -> Void
    private let tls: Mutex<TLSContext?>
    private let table = Monitor(ConnectionTable())

    struct ConnectionTable {
        var isStopping = false
        var next: UInt64 = 0
        /// Sockets by connection, and whether a request is being answered on them.
        var open: [UInt64: (socket: CInt, isBusy: Bool)] = [:]
        var refused = 0
    }

    public init(
        settings: ServerSettings = ServerSettings(), tls: TLSContext? = nil,
        report: @escaping @Sendable (AccessRecord) -> Void = { _ in }, handler: @escaping Handler
    ) {
        self.settings = settings
        self.tls = Mutex(tls)
        self.report = report
        self.handler = handler
    }

    /// Connections from now on use this certificate.
    public func use(_ context: TLSContext) { tls.withLock { $0 = context } }

    public var isStopping: Bool { table.update { $0.isStopping } }
    public var connectionCount: Int { table.update { $0.open.count } }

    /// Accepts connections until `stop`. Blocks the calling thread.
    public func serve(_ listener: SharedDescriptor) {
        let raw = listener.raw
        while !isStopping {
            var entries = [PollEntry(raw)]
            guard (try? Polling.wait(&entries, milliseconds: 250)) ?? 0 > 0 else { continue }
            do {
                while let accepted = try ListenSocket.accept(raw) { begin(accepted) }
            } catch {
                // out of descriptors or memory: those who are served will free some
                NetClock.sleep(milliseconds: 50)
            }
        }
    }

    private func begin(_ accepted: consuming AcceptedSocket) {
        let peer = accepted.peer.description
        let socket = accepted.takeSocket()
        let raw = socket.raw
        let limit = settings.connections
        let id: UInt64? = table.update { table in
            guard !table.isStopping, table.open.count < limit else {
                table.refused += 1
                return nil
            }
            table.next += 1
            table.open[table.next] = (raw, false)
            return table.next
        }
        guard let id else { return refuse(socket, peer) }
        let shared = SharedDescriptor(socket)
        do {
            try startThread {
                self.run(id, shared, peer)
            }
        } catch {
            table.update { _ = $0.open.removeValue(forKey: id) }
        }
    }

    /// Too many: a short answer if the socket takes it at once. With TLS there is no cheap answer.
    private func refuse(_ socket: consuming Descriptor, _ peer: String) {
        if tls.withLock({ $0 == nil }) {
            let text = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            _ = Array(text.utf8).withUnsafeBytes { try? StreamSocket.write(socket.raw, $0) }
            PollIO.shutdownWrite(socket.raw)
        }
        report(
            AccessRecord(
                peer: peer, method: "-", target: "-", status: 503, sent: 0, microseconds: 0, agent: "",
                note: "more than \(settings.connections) connections"))
    }

    private func run(_ id: UInt64, _ socket: SharedDescriptor, _ peer: String) {
        defer { table.update { _ = $0.open.removeValue(forKey: id) } }
        do {
            let channel = try Channel(try Descriptor.duplicate(ofBorrowed: socket.raw), idleTimeout: settings.stallTimeout)
            let context = tls.withLock { $0 }
            if let context {
                channel.deadline = Clock.monotonic + Int64(settings.headTimeout) * 1_000_000
                try channel.startTLS(server: context)
                channel.deadline = nil
            }
            let connection = ServerConnection(server: self, id: id, channel: channel, peer: peer)
            try connection.serve()
        } catch {
            // a client that is gone, or that speaks no HTTP: nothing to answer
        }
    }

    /// Whether the connection may begin with another request.
    func setBusy(_ id: UInt64, _ isBusy: Bool) -> Bool {
        table.update { table in
            table.open[id]?.isBusy = isBusy
            return !table.isStopping
        }
    }

    /// No more connections are accepted, idle ones end at once, requests in progress have so long to come to their end.
    public func stop(grace milliseconds: Int) {
        table.update { table in
            table.isStopping = true
            for entry in table.open.values where !entry.isBusy { StreamSocket.end(entry.socket) }
        }
        let deadline = Clock.monotonic + Int64(milliseconds) * 1_000_000
        while Clock.monotonic < deadline, connectionCount > 0 { NetClock.sleep(milliseconds: 10) }
        table.update { table in
            for entry in table.open.values { StreamSocket.end(entry.socket) }
        }
        let last = Clock.monotonic + 1_000_000_000
        while Clock.monotonic < last, connectionCount > 0 { NetClock.sleep(milliseconds: 5) }
    }
}
