import Engine
import Model
import Synchronization

/// Holds requests back until the engine has taken over what runs. `_ping` does not pass here.
final class ReadyGate: Sendable {
    private enum State {
        case waiting([CheckedContinuation<Services, any Error>])
        case open(Services)
        case failed(Fault)
    }

    private let state = Mutex(State.waiting([]))

    func services() async throws -> Services {
        if let open = state.withLock({ if case .open(let services) = $0 { services } else { nil } }) { return open }
        return try await withCheckedThrowingContinuation { continuation in
            let result: Result<Services, any Error>? = state.withLock { state in
                switch state {
                case .waiting(let waiters):
                    state = .waiting(waiters + [continuation])
                    return nil
                case .open(let services): return .success(services)
                case .failed(let fault): return .failure(fault)
                }
            }
            if let result { continuation.resume(with: result) }
        }
    }

    func open(_ services: Services) { settle(.open(services)) { $0.resume(returning: services) } }

    func fail(_ fault: Fault) { settle(.failed(fault)) { $0.resume(throwing: fault) } }

    private func settle(_ new: State, _ resume: (CheckedContinuation<Services, any Error>) -> Void) {
        let waiters: [CheckedContinuation<Services, any Error>] = state.withLock { state in
            guard case .waiting(let waiters) = state else { return [] }
            state = new
            return waiters
        }
        for waiter in waiters { resume(waiter) }
    }
}
