import Engine
import Model
import Synchronization
import Testing

struct WorkTests {
    @Test func `A promise is kept for everybody, once`() async throws {
        let promise = Promise<Int>()
        async let first = promise.value()
        async let second = promise.settled()
        promise.fulfil(1)
        promise.fulfil(2)
        #expect(try await first == 1)
        #expect(try await second == 1)
        #expect(try await promise.value(within: .seconds(1)) == 1)
    }

    @Test func `Waiting ends with its time or its task`() async throws {
        let promise = Promise<Int>()
        #expect(try await promise.value(within: .milliseconds(5)) == nil)
        let task = Task { try await promise.value() }
        task.cancel()
        await #expect(throws: Fault.self) { try await task.value }
    }

    /// How many are inside, and how many there were at most.
    private final class Gauge: Sendable {
        private let state = Mutex((now: 0, most: 0))
        var most: Int { state.withLock { $0.most } }
        func enter() {
            state.withLock { state in
                state.now += 1
                state.most = max(state.most, state.now)
            }
        }
        func leave() { state.withLock { $0.now -= 1 } }
    }

    @Test func `Commands pass one at a time`() async {
        let queue = CommandQueue()
        let gauge = Gauge()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    await queue.run {
                        gauge.enter()
                        await Task.yield()
                        gauge.leave()
                    }
                }
            }
        }
        #expect(gauge.most == 1)
    }
}
