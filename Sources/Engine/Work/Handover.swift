import Linux
import Model

/// What waits for a reader, in the order and the pieces in which it is to be read.
protocol HandoverContents: Sendable {
    associatedtype Item: Sendable
    /// The next item; nil when there is none.
    mutating func take() -> Item?
    mutating func clear()
}

/// From threads and tasks that work to one reader that pulls. Either side may go: the reader's task is cancelled, or the work ends.
final class Handover<Contents: HandoverContents>: Sendable {
    private typealias Reader = CheckedContinuation<Contents.Item?, any Error>

    private struct State {
        var contents: Contents
        var end: Result<Void, any Error>?
        var isAbandoned = false
        /// Waits only while it was given nothing.
        var reader: Reader?
    }

    private enum Handed {
        case refused, kept
        case reader(Reader, Contents.Item?)
    }

    private let state: Monitor<State>

    init(_ contents: Contents) { state = Monitor(State(contents: contents)) }

    /// Changes what waits. Blocks while `body` answers nil; with true a reader who waits is given the next item, with false it waits
    /// for more.
    /// - Returns: false, without asking `body`, when nobody reads any more or the end was told.
    func put(_ body: (inout Contents) -> Bool?) -> Bool {
        let handed: Handed = state.wait { state in
            if state.isAbandoned || state.end != nil { return .refused }
            guard let isDue = body(&state.contents) else { return nil }
            guard isDue, let reader = state.reader else { return .kept }
            state.reader = nil
            return .reader(reader, state.contents.take())
        }
        switch handed {
        case .refused: return false
        case .kept: return true
        case .reader(let reader, let item):
            reader.resume(returning: item)
            return true
        }
    }

    /// Nothing more will come. Only the first end counts.
    /// - Parameter dropping: not even what waits.
    func end(_ result: Result<Void, any Error>, dropping: Bool = false) {
        let handed: (Reader, Contents.Item?)? = state.update { state in
            if dropping { state.contents.clear() }
            guard state.end == nil else { return nil }
            state.end = result
            guard let reader = state.reader else { return nil }
            state.reader = nil
            return (reader, state.contents.take())
        }
        guard let (reader, item) = handed else { return }
        if item == nil, case .failure(let error) = result { return reader.resume(throwing: error) }
        reader.resume(returning: item)
    }

    /// Nobody reads any more.
    func abandon() {
        let reader = state.update { state in
            state.isAbandoned = true
            state.contents.clear()
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(throwing: CancellationError())
    }

    /// The next item; nil at the end. Cancelling the task abandons the handover.
    func next() async throws -> Contents.Item? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let ready: Result<Contents.Item?, any Error>? = state.update { state in
                    if state.isAbandoned { return .failure(CancellationError()) }
                    if let item = state.contents.take() { return .success(item) }
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
}
