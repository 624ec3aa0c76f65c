import Linux
import Logs
import Model
import Synchronization

extension ContainerService {
    /// The log from its file: works for containers that run, have ended, or whose shim is busy.
    public func logs(_ reference: String, _ options: LogsOptions) async throws -> LogStream {
        let container = try core.registry.resolve(reference)
        let snapshot = container.snapshot
        guard options.stdout || options.stderr else {
            throw Fault(.invalid, "Bad parameters: you must choose at least one stream")
        }
        guard snapshot.description.host.logConfig?.type != "none" else {
            throw Fault(.unsupported, "configured logging driver does not support reading", subject: reference)
        }
        let terminal = snapshot.description.hasTerminal
        let follower = LogFollower(
            path: core.layout.container(snapshot.id) + "/log/json.log", options: options, isMultiplexed: !terminal,
            container: container, core: core)
        return LogStream(isMultiplexed: !terminal, chunks: PullStream { try await follower.next() })
    }
}

/// Reads one client's view of a log. The reader blocks only on files, on a thread of the engine's pool; waiting for news is
/// the reactor's business.
final class LogFollower: Sendable {
    /// Bytes of one chunk at most, more or less.
    static let chunkLimit = 64 << 10

    private struct State {
        var reader: LogReader
        var ended = false
    }

    private let state: Mutex<State>
    private let options: LogsOptions
    private let isMultiplexed: Bool
    private let container: Container
    private let core: EngineCore
    /// The end of the run that is followed.
    private let exit: Promise<ContainerBoard.Ending>

    init(path: String, options: LogsOptions, isMultiplexed: Bool, container: Container, core: EngineCore) {
        var wish = LogReader.Options()
        wish.tail = options.tail
        wish.since = options.since
        wish.until = options.until
        wish.stdout = options.stdout
        wish.stderr = options.stderr
        state = Mutex(State(reader: LogReader(path: path, options: wish)))
        self.options = options
        self.isMultiplexed = isMultiplexed
        self.container = container
        self.core = core
        exit = container.board.wait(for: .notRunning)
    }

    deinit { container.board.forget(exit) }

    func next() async throws -> [UInt8]? {
        while true {
            if Task.isCancelled { return nil }
            // Looked at before reading: what was written before the end is then read after it.
            let over = exit.isResolved
            let chunk = try await core.background.run { [self] in try readChunk() }
            if !chunk.isEmpty { return chunk }
            if !options.follow || over || state.withLock({ $0.reader.isPastUntil }) { return nil }
            await waitForNews()
        }
    }

    private func readChunk() throws -> [UInt8] {
        try state.withLock { state in
            if options.follow { _ = try state.reader.waitDescriptor() }
            state.reader.clearWait()
            var chunk: [UInt8] = []
            while chunk.count < Self.chunkLimit, let record = try state.reader.next() { append(record, to: &chunk) }
            return chunk
        }
    }

    private func append(_ record: LogRecord, to chunk: inout [UInt8]) {
        var text: [UInt8] = []
        if options.timestamps { text = Array((record.time.fixedDescription + " ").utf8) }
        text += record.text
        if isMultiplexed {
            chunk.append(record.stream == .stdout ? 1 : 2)
            chunk.append(contentsOf: [0, 0, 0])
            for shift in [24, 16, 8, 0] { chunk.append(UInt8(truncatingIfNeeded: text.count >> shift)) }
        }
        chunk.append(contentsOf: text)
    }

    /// Returns when the log has changed, the container has ended, the client has gone, or a second is over.
    private func waitForNews() async {
        let news = Promise<Void>()
        let descriptor = try? state.withLock { try $0.reader.waitDescriptor() }
        let token = descriptor.flatMap { descriptor in
            try? core.reactor.watch(descriptor, [.input, .once]) { _ in news.fulfil(()) }
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { _ = try? await news.value() }
            group.addTask { _ = try? await self.exit.value() }
            group.addTask { try? await Task.sleep(for: .seconds(1)) }
            await group.next()
            group.cancelAll()
        }
        if let token, let descriptor { core.reactor.stop(token, descriptor) }
    }
}
