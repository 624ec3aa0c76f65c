import Synchronization

/// Lets one command at a time through, in the order of asking. What a task holds is not given back by its cancellation.
package final class CommandQueue: Sendable {
    private struct State {
        var busy = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    package init() {}

    package func run<T: Sendable>(_ command: @Sendable () async throws -> T) async rethrows -> T {
        await enter()
        defer { leave() }
        return try await command()
    }

    private func enter() async {
        await withCheckedContinuation { continuation in
            let free = state.withLock { state in
                if state.busy {
                    state.waiting.append(continuation)
                    return false
                }
                state.busy = true
                return true
            }
            if free { continuation.resume() }
        }
    }

    private func leave() {
        let next: CheckedContinuation<Void, Never>? = state.withLock { state in
            if state.waiting.isEmpty {
                state.busy = false
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume()
    }
}
