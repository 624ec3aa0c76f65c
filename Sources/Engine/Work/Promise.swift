import Model
import Synchronization

/// A value that comes once, for any number of waiters.
package final class Promise<Value: Sendable>: Sendable {
    private struct State {
        var result: Result<Value, any Error>?
        var next: UInt64 = 0
        var waiting: [UInt64: CheckedContinuation<Value, any Error>] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package var isResolved: Bool { state.withLock { $0.result != nil } }

    /// The first resolution counts.
    package func resolve(_ result: Result<Value, any Error>) {
        let waiting: [CheckedContinuation<Value, any Error>] = state.withLock { state in
            guard state.result == nil else { return [] }
            state.result = result
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
        for continuation in waiting { continuation.resume(with: result) }
    }

    package func fulfil(_ value: Value) { resolve(.success(value)) }

    /// Waits; throws `cancelled` when the waiting task is.
    package func value() async throws -> Value {
        let key = state.withLock { state in
            state.next += 1
            return state.next
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let ready: Result<Value, any Error>? = state.withLock { state in
                    if let result = state.result { return result }
                    if Task.isCancelled { return .failure(Fault(.cancelled, "the wait was given up")) }
                    state.waiting[key] = continuation
                    return nil
                }
                if let ready { continuation.resume(with: ready) }
            }
        } onCancel: {
            let continuation = state.withLock { $0.waiting.removeValue(forKey: key) }
            continuation?.resume(throwing: Fault(.cancelled, "the wait was given up"))
        }
    }

    /// Waits for the value and for nothing else: cancellation does not end it.
    package func settled() async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let ready = state.withLock { state in
                if state.result == nil {
                    state.next += 1
                    state.waiting[state.next] = continuation
                }
                return state.result
            }
            if let ready { continuation.resume(with: ready) }
        }
    }

    /// Waits at most so long; nil when the time is over first.
    package func value(within limit: Duration) async throws -> Value? {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await self.value() }
            group.addTask {
                try await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }
}

/// Runs a command to its end though the task that asked for it is cancelled (its client has gone).
func shielded<T: Sendable>(_ command: @escaping @Sendable () async throws -> T) async throws -> T {
    try await Task { try await command() }.value
}
