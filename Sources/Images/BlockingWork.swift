import Linux
import Model

/// Runs work that blocks on a thread of its own, so that no thread of the concurrency pool waits for a disk.
package func onThread<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        do {
            try startThread(stackSize: 1 << 20) {
                let result = Result { try body() }
                trimHeap()
                continuation.resume(with: result)
            }
        } catch {
            continuation.resume(throwing: Fault(.unavailable, "no thread for the work", cause: error))
        }
    }
}

/// Hands a value to exactly one thread.
///
/// `@unchecked Sendable`: made from a `sending` parameter or a fresh value, and used only by the work that it was made for.
struct Handed<Value>: @unchecked Sendable {
    let value: Value
}

/// One at a time, in the order of arrival: an asynchronous lock that may be held across `await`.
actor Gate {
    private var isHeld = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    private func enter() async {
        if !isHeld {
            isHeld = true
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    private func leave() {
        if waiting.isEmpty { isHeld = false } else { waiting.removeFirst().resume() }
    }

    nonisolated func alone<T: Sendable>(_ body: @Sendable () async throws -> T) async throws -> T {
        await enter()
        do {
            let result = try await body()
            await leave()
            return result
        } catch {
            await leave()
            throw error
        }
    }
}

/// A fault for the person who asked: what the kernel or the codecs said, in our kinds.
func imageFault(_ error: any Error, _ words: String? = nil) -> Fault {
    switch error {
    case let fault as Fault: return words.map { fault.prefixed($0) } ?? fault
    case let fault as KernelFault where fault.isDiskFull:
        return Fault(.unavailable, "no space left on the disk that holds the images")
    default: return Fault(.system, words ?? "images", cause: error)
    }
}
