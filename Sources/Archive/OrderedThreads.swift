import Linux
import Model

/// Pieces of work on several threads, taken back in the order in which they were handed over. One user.
final class OrderedThreads<Piece: AnyObject & Sendable>: Sendable {
    private struct State {
        var waiting: [(index: Int, piece: Piece)] = []
        var done: [Int: Piece] = [:]
        var submitted = 0
        var taken = 0
        var isClosed = false

        mutating func take() -> Piece? {
            guard let piece = done.removeValue(forKey: taken) else { return nil }
            taken += 1
            return piece
        }
    }

    private let state = Monitor(State())
    private let most: Int

    /// - Throws: when not one thread can be had.
    init(_ count: Int, _ work: @escaping @Sendable (Piece) -> Void) throws {
        most = max(1, count) + 2
        var threads = 0
        for _ in 0..<max(1, count) {
            do {
                try startThread { [state] in Self.run(state, work) }
                threads += 1
            } catch { guard threads > 0 else { throw error } }
        }
    }

    deinit { close() }

    private static func run(_ state: Monitor<State>, _ work: (Piece) -> Void) {
        while true {
            let job: (index: Int, piece: Piece)? = state.wait { state in
                if state.isClosed { return .some(nil) }
                return state.waiting.isEmpty ? nil : .some(state.waiting.removeFirst())
            }
            guard let (index, piece) = job else { return }
            work(piece)
            state.update { $0.done[index] = piece }
        }
    }

    /// As many pieces are under way as should be: take one before the next is handed over.
    var isFull: Bool { state.update { $0.submitted - $0.taken >= most } }

    func submit(_ piece: Piece) {
        state.update { state in
            state.waiting.append((state.submitted, piece))
            state.submitted += 1
        }
    }

    /// The next piece if it is done.
    func ready() -> Piece? { state.update { $0.take() } }

    /// Waits for the next piece; nil when all were taken.
    func next() -> Piece? {
        state.wait { state -> Piece?? in
            if state.taken == state.submitted { return .some(nil) }
            return state.take().map { .some($0) }
        }
    }

    /// What waits is not begun any more.
    func close() { state.update { $0.isClosed = true } }
}
