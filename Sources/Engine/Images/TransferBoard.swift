import Linux
import Model

/// Messages of a transfer on their way to one client: in order, but of a layer's progress only the newest waits. Bounded by the
/// number of layers, however slowly the client reads.
final class TransferBoard: Sendable {
    private struct State {
        var messages: [Docker.TransferMessage] = []
        /// Where the newest progress of an id waits.
        var progress: [String: Int] = [:]
        /// When progress of an id was last told, in monotonic nanoseconds.
        var told: [String: Int64] = [:]
        var end: Result<Void, any Error>?
        var reader: CheckedContinuation<Docker.TransferMessage?, any Error>?
        var isAbandoned = false
        var work: Task<Void, Never>?

        mutating func take() -> Docker.TransferMessage? {
            if messages.isEmpty { return nil }
            progress.removeAll(keepingCapacity: true)
            let first = messages.removeFirst()
            for (index, message) in messages.enumerated() {
                if let id = message.id, message.current != nil { progress[id] = index }
            }
            return first
        }
    }

    private let state = Monitor(State())
    /// Progress of one layer is told so often.
    private static let interval: Int64 = 100_000_000

    /// The task that fills the board; it is cancelled when nobody reads any more.
    func serve(_ work: Task<Void, Never>) {
        let isAbandoned = state.update { state in
            state.work = work
            return state.isAbandoned
        }
        if isAbandoned { work.cancel() }
    }

    func say(_ status: String, id: String? = nil) { post(Docker.TransferMessage(status, id: id)) }

    /// Progress; dropped where it comes too often.
    func show(_ status: String, id: String, current: Int64, total: Int64) {
        let now = Clock.monotonic
        let isDue = state.update { state in
            guard now - (state.told[id] ?? 0) >= Self.interval || current == total else { return false }
            state.told[id] = now
            return true
        }
        guard isDue else { return }
        var message = Docker.TransferMessage(status, id: id)
        message.current = current
        message.total = total
        post(message)
    }

    func post(_ message: Docker.TransferMessage) {
        let handed = state.update {
            state -> (CheckedContinuation<Docker.TransferMessage?, any Error>, Docker.TransferMessage?)? in
            guard state.end == nil, !state.isAbandoned else { return nil }
            if let id = message.id, message.current != nil, let waiting = state.progress[id] {
                state.messages[waiting] = message
            } else {
                if let id = message.id { state.progress[id] = message.current == nil ? nil : state.messages.count }
                state.messages.append(message)
            }
            guard let reader = state.reader else { return nil }
            state.reader = nil
            return (reader, state.take())
        }
        handed.map { $0.0.resume(returning: $0.1) }
    }

    func finish() { end(.success(())) }
    func fail(_ error: any Error) { end(.failure(error)) }

    private func end(_ result: Result<Void, any Error>) {
        let reader = state.update { state -> CheckedContinuation<Docker.TransferMessage?, any Error>? in
            guard state.end == nil else { return nil }
            state.end = result
            defer { state.reader = nil }
            return state.reader
        }
        // A reader waits only while there is no message.
        reader?.resume(with: result.map { nil })
    }

    func abandon() {
        let (reader, work) = state.update { state in
            state.isAbandoned = true
            state.messages = []
            defer { state.reader = nil }
            return (state.reader, state.work)
        }
        work?.cancel()
        reader?.resume(throwing: CancellationError())
    }

    func next() async throws -> Docker.TransferMessage? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let ready: Result<Docker.TransferMessage?, any Error>? = state.update { state in
                    if state.isAbandoned { return .failure(CancellationError()) }
                    if let message = state.take() { return .success(message) }
                    if let end = state.end { return end.map { nil } }
                    state.reader = continuation
                    return nil
                }
                if let ready { continuation.resume(with: ready) }
            }
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
