import Images
import Linux
import Logging
import Model
import Synchronization

/// Drops second forms of layers in the background, as the engine's settings want it.
final class BlobKeeping: Sendable {
    private let core: EngineCore
    private let isWanted = Atomic(true)
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(_ core: EngineCore) { self.core = core }

    func start() {
        let wish = core.configuration.keepBlobs
        guard wish != .all else { return }
        let age = core.configuration.keepBlobsFor
        // Nothing becomes due sooner than so.
        let pause = Duration.nanoseconds(max(1_000_000_000, min(age / 4, 300_000_000_000)))
        task.withLock {
            $0 = Task { [self] in while (try? await Task.sleep(for: pause)) != nil { await once(wish, age) } }
        }
    }

    /// What is being computed is given up.
    func stop() {
        isWanted.store(false, ordering: .relaxed)
        task.withLock { $0?.cancel() }
    }

    private func once(_ wish: KeepBlobs, _ age: Int64) async {
        do {
            let done = try await core.images.condense(wish, age: age) { [self] in isWanted.load(ordering: .relaxed) }
            if done.remade + done.fetchable > 0 {
                core.log.info(
                    "compressed layers were dropped",
                    metadata: [
                        "made-again": "\(done.remade)", "fetched-again": "\(done.fetchable)", "freed": "\(done.freed)",
                    ])
            }
        } catch { core.log.debug("no compressed layer could be dropped: \(Fault(error))") }
    }
}
