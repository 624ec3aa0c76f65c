import Linux
import Model

/// Messages of a transfer on their way to one client: in order, but of a layer's progress only the newest waits. Bounded by the
/// number of layers, however slowly the client reads.
final class TransferBoard: Sendable {
    private struct Messages: HandoverContents {
        private var messages: [Docker.TransferMessage] = []
        /// Where the newest progress of an id waits.
        private var progress: [String: Int] = [:]

        mutating func append(_ message: Docker.TransferMessage) {
            if let id = message.id, message.current != nil, let waiting = progress[id] {
                messages[waiting] = message
            } else {
                if let id = message.id { progress[id] = message.current == nil ? nil : messages.count }
                messages.append(message)
            }
        }

        mutating func take() -> Docker.TransferMessage? {
            if messages.isEmpty { return nil }
            progress.removeAll(keepingCapacity: true)
            let first = messages.removeFirst()
            for (index, message) in messages.enumerated() {
                if let id = message.id, message.current != nil { progress[id] = index }
            }
            return first
        }

        mutating func clear() {
            messages = []
            progress = [:]
        }
    }

    private struct Work {
        var task: Task<Void, Never>?
        var isAbandoned = false
        /// When progress of an id was last told, in monotonic nanoseconds.
        var told: [String: Int64] = [:]
    }

    private let handover = Handover(Messages())
    private let work = Monitor(Work())
    /// Progress of one layer is told so often.
    private static let interval: Int64 = 100_000_000

    /// The task that fills the board; it is cancelled when nobody reads any more.
    func serve(_ task: Task<Void, Never>) {
        let isAbandoned = work.update { work in
            work.task = task
            return work.isAbandoned
        }
        if isAbandoned { task.cancel() }
    }

    func say(_ status: String, id: String? = nil) { post(Docker.TransferMessage(status, id: id)) }

    /// Progress; dropped where it comes too often.
    func show(_ status: String, id: String, current: Int64, total: Int64) {
        let now = Clock.monotonic
        let isDue = work.update { work in
            guard now - (work.told[id] ?? 0) >= Self.interval || current == total else { return false }
            work.told[id] = now
            return true
        }
        guard isDue else { return }
        var message = Docker.TransferMessage(status, id: id)
        message.current = current
        message.total = total
        post(message)
    }

    func post(_ message: Docker.TransferMessage) {
        _ = handover.put { messages in
            messages.append(message)
            return true
        }
    }

    func finish() { handover.end(.success(())) }
    func fail(_ error: any Error) { handover.end(.failure(error)) }

    func abandon() {
        handover.abandon()
        let task = work.update { work in
            work.isAbandoned = true
            return work.task
        }
        task?.cancel()
    }

    func next() async throws -> Docker.TransferMessage? {
        try await withTaskCancellationHandler {
            try await handover.next()
        } onCancel: {
            abandon()
        }
    }

    /// The stream, once there is something to say: what fails before is thrown. When nobody holds the stream any more, the work is
    /// cancelled.
    func stream() async throws -> PullStream<Docker.TransferMessage> {
        let reader = BoardReader(board: self, first: try await next())
        return PullStream { try await reader.next() }
    }
}

/// The one who reads a board.
private final class BoardReader: Sendable {
    private let board: TransferBoard
    private let first: Monitor<Docker.TransferMessage?>

    init(board: TransferBoard, first: Docker.TransferMessage?) {
        self.board = board
        self.first = Monitor(first)
    }

    deinit { board.abandon() }

    func next() async throws -> Docker.TransferMessage? {
        let first = first.update { first in
            defer { first = nil }
            return first
        }
        if let first { return first }
        return try await board.next()
    }
}
