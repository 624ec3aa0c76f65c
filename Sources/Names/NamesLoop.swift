import Linux
import Model

/// The one loop of the process that holds the names: sockets of sandboxes, of other servers, of engines.
public final class NamesLoop {
    /// What a token of the epoll set stands for.
    enum Source {
        case control
        case engine(EngineConnection)
        case datagrams(SandboxPort)
        case listener(SandboxPort)
        case client(StreamClient)
        case upstream(UpstreamSocket)
        case inner(InnerServer)
    }

    let epoll: Epoll
    let limits: NamesLimits
    var sources: [UInt64: Source] = [:]
    private var lastToken: UInt64 = 0
    var table = NamesTable()
    var ports: [ObjectID: SandboxPort] = [:]
    var customServers: [ObjectID: [NameServer]] = [:]
    var host: HostServers
    var book = ServerBook()
    var pending: [UInt64: PendingQuery] = [:]
    var clients: [UInt64: StreamClient] = [:]
    var paused: [SandboxPort] = []
    var counters = NamesCounters()
    var random = RandomNumbers()
    /// The monotonic time of this turn.
    var now: Int64
    /// Nothing that waits for a time waits for an earlier one.
    var nextTime: Int64 = .max
    var isEnding = false
    /// Descriptors that may be open; some are kept back for what cannot be refused.
    let capacity: Int

    private let control: Descriptor
    private let owner: UInt32
    let buffer: UnsafeMutableRawBufferPointer
    private var isIdle = false

    /// Engines that are connected.
    var engines = 0
    private let path: String?

    /// `control` is a listening SEQPACKET socket, at `path`; only processes of the user `owner` may ask over it.
    public init(control: consuming Descriptor, owner: UInt32, resolvConf: String, path: String? = nil) throws {
        self.path = path
        self.control = control
        self.owner = owner
        limits = NamesLimits()
        let files = (try? Scheduling.limit(7))?.soft ?? 1024
        capacity = max(64, Int(clamping: files) - 256)
        host = HostServers(path: resolvConf)
        epoll = try Epoll()
        now = Clock.monotonic
        buffer = .allocate(byteCount: 65_536, alignment: 16)
        _ = host.refresh(now: now)
        try PollIO.setNonblocking(self.control.raw)
        try epoll.add(self.control.raw, .input, token: 0)
        sources[0] = .control
    }

    deinit { buffer.deallocate() }

    func newToken() -> UInt64 {
        lastToken += 1
        return lastToken
    }

    /// Until an engine says that it is to end, or none can come any more.
    public func run() throws {
        var ready = EpollReady(limit: 64)
        while !isEnding {
            let count = try epoll.wait(milliseconds: timeout, into: &ready)
            now = Clock.monotonic
            // What engines say first: whoever asks for a name that was just given finds it
            for index in 0..<count {
                switch sources[ready[index].token] {
                case .control: acceptEngine()
                case .engine(let connection): serve(connection)
                default: break
                }
            }
            for index in 0..<count { handle(ready[index].token, ready[index].events) }
            if now >= nextTime { timePassed() }
            settle(count)
        }
    }

    /// An idle process gives its memory back once.
    private static let idleTime = 5_000

    /// Without an engine, so often it is looked whether one could come.
    private static let lonelyTime = 5_000

    private var timeout: Int? {
        if nextTime == .max { return !isIdle ? Self.idleTime : engines == 0 && path != nil ? Self.lonelyTime : nil }
        return Int(max(0, nextTime - Clock.monotonic) + 999_999) / 1_000_000
    }

    private func settle(_ count: Int) {
        if count > 0 {
            isIdle = false
        } else if nextTime == .max {
            if engines == 0, isForsaken { isEnding = true }
            if !isIdle { IdleMemory.release() }
            isIdle = true
        }
    }

    /// There is nothing to do until an engine comes, which starts a process of its own; or the control socket was removed, and
    /// no engine will find this one again.
    private var isForsaken: Bool {
        guard let path else { return false }
        if table.count == 0 { return true }
        do { _ = try Files.status(path) } catch let fault as KernelFault { return fault.isMissingFile } catch {}
        return false
    }

    private func handle(_ token: UInt64, _ events: Epoll.Events) {
        switch sources[token] {
        case .datagrams(let port): readDatagrams(port)
        case .listener(let port): acceptClient(port)
        case .client(let client): serve(client, events)
        case .upstream(let socket): serve(socket, events)
        case .inner(let server): serve(server)
        case .control, .engine, nil: return
        }
    }

    func wake(at time: Int64) { nextTime = min(nextTime, time) }

    /// Something may have waited for this moment.
    private func timePassed() {
        nextTime = .max
        for query in Array(pending.values) {
            if query.exchange.wakeTime <= now || query.exchange.deadline <= now {
                perform(query.exchange.timePassed(id: random.word(), book: &book, now: now), query)
            }
            if pending[query.key] != nil { wake(at: min(query.exchange.wakeTime, query.exchange.deadline)) }
        }
        for client in Array(clients.values) {
            if client.deadline <= now, !client.isBusy { close(client) } else { wake(at: max(client.deadline, now + 1_000_000)) }
        }
        resumePorts()
    }

    private func resumePorts() {
        let waiting = paused
        paused = []
        for port in waiting where !port.isClosed {
            guard let time = port.pausedUntil else { continue }
            if time <= now {
                port.pausedUntil = nil
                try? epoll.modify(port.datagrams.raw, .input, token: port.datagramToken)
            } else {
                paused.append(port)
                wake(at: time)
            }
        }
    }

    private func acceptEngine() {
        while let socket = try? SeqPacket.accept(control.raw) {
            guard let caller = try? SeqPacket.peer(of: socket.raw), caller.uid == owner else { continue }
            let connection = EngineConnection(socket, token: newToken())
            guard (try? epoll.add(connection.socket.raw, .input, token: connection.token)) != nil else { continue }
            sources[connection.token] = .engine(connection)
            engines += 1
        }
    }
}

/// Words that nobody can guess (getrandom(2)), drawn in fours.
struct RandomNumbers {
    private var generator = SystemRandomNumberGenerator()
    private var store: UInt64 = 0
    private var left = 0

    mutating func word() -> UInt16 {
        if left == 0 {
            store = generator.next()
            left = 4
        }
        left -= 1
        defer { store >>= 16 }
        return UInt16(truncatingIfNeeded: store)
    }
}
