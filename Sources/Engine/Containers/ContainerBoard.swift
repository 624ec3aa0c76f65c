import Model
import Synchronization

/// What anybody may know of a container without asking its actor, and who waits for it to end.
struct ContainerSnapshot: Sendable {
    let id: ObjectID
    var name: String
    let owner: Owner
    let created: Timestamp
    let imageID: String
    var description: ContainerDescription
    var status: ContainerStatus
    var removing = false
    var health: HealthState?
    /// The last sandbox's, for inspection while it runs.
    var sandbox: SandboxRecord? { status.running?.sandbox }
}

/// A container's snapshot and its waiters under one lock, so that no end falls between looking and registering.
final class ContainerBoard: Sendable {
    struct Ending: Sendable {
        var exitCode: Int32
        var error: String
    }

    private struct State {
        var snapshot: ContainerSnapshot
        var exitWaiters: [Promise<Ending>] = []
        var removalWaiters: [Promise<Ending>] = []
        var removed = false
    }

    private let state: Mutex<State>

    init(_ snapshot: ContainerSnapshot) { state = Mutex(State(snapshot: snapshot)) }

    var snapshot: ContainerSnapshot { state.withLock { $0.snapshot } }

    func update(_ change: (inout ContainerSnapshot) -> Void) { state.withLock { change(&$0.snapshot) } }

    /// Registers a waiter: the promise is fulfilled by the end that the condition names, at once where it has come already.
    func wait(for condition: WaitCondition) -> Promise<Ending> {
        let promise = Promise<Ending>()
        let now: Ending? = state.withLock { state in
            let last = state.snapshot.status.exited
            let ending = Ending(exitCode: last?.exitCode ?? 0, error: last?.error ?? "")
            switch condition {
            case .removed:
                if state.removed { return ending }
                state.removalWaiters.append(promise)
            case .notRunning where state.snapshot.status.running == nil: return ending
            case .notRunning, .nextExit:
                if state.removed { return ending }
                state.exitWaiters.append(promise)
            }
            return nil
        }
        if let now { promise.fulfil(now) }
        return promise
    }

    /// Somebody does not wait any more.
    func forget(_ promise: Promise<Ending>) {
        state.withLock { state in
            state.exitWaiters.removeAll { $0 === promise }
            state.removalWaiters.removeAll { $0 === promise }
        }
    }

    /// A run is over: who waited for an exit is told.
    func exited() {
        let (waiters, ending) = state.withLock { state in
            defer { state.exitWaiters = [] }
            let last = state.snapshot.status.exited
            return (state.exitWaiters, Ending(exitCode: last?.exitCode ?? 0, error: last?.error ?? ""))
        }
        for waiter in waiters { waiter.fulfil(ending) }
    }

    /// The container is gone: everybody is told.
    func removed() {
        let (waiters, ending) = state.withLock { state in
            state.removed = true
            defer {
                state.exitWaiters = []
                state.removalWaiters = []
            }
            let last = state.snapshot.status.exited
            return (
                state.exitWaiters + state.removalWaiters,
                Ending(exitCode: last?.exitCode ?? 0, error: last?.error ?? "")
            )
        }
        for waiter in waiters { waiter.fulfil(ending) }
    }

    /// Nobody waits any more: the engine ends.
    func abandon() {
        let waiters = state.withLock { state in
            defer {
                state.exitWaiters = []
                state.removalWaiters = []
            }
            return state.exitWaiters + state.removalWaiters
        }
        for waiter in waiters { waiter.resolve(.failure(Fault(.unavailable, "the engine is shutting down"))) }
    }
}
