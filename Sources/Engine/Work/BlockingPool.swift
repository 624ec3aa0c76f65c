import Dispatch
import Synchronization

/// Threads for calls that block, so that the cooperative pool never does. Jobs run side by side up to a width; beyond that
/// they queue behind the least loaded thread.
final class BlockingPool: Sendable {
    private let queues: [DispatchQueue]
    private let load: Mutex<[Int]>

    init(width: Int, label: String) {
        // Serial queues get threads of their own at once; a concurrent one would wait for a core to be free.
        queues = (0..<width).map { DispatchQueue(label: "\(label).\($0)") }
        load = Mutex(Array(repeating: 0, count: width))
    }

    func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        let index = load.withLock { load in
            let index = load.indices.min { load[$0] < load[$1] } ?? 0
            load[index] += 1
            return index
        }
        defer { load.withLock { $0[index] -= 1 } }
        return try await withCheckedThrowingContinuation { continuation in
            queues[index].async { continuation.resume(with: Result { try body() }) }
        }
    }
}
