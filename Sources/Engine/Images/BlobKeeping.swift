import Images
import Linux
import Logging
import Model
import Synchronization

/// What is done about the disk in the background: the reserve for a full one is filled again, and second forms of layers are dropped as
/// the engine's settings want it.
final class BlobKeeping: Sendable {
    private let core: EngineCore
    private let reserve: DiskReserve
    private let isWanted = Atomic(true)
    private let tasks = Mutex<[Task<Void, Never>]>([])

    init(_ core: EngineCore, _ reserve: DiskReserve) {
        self.core = core
        self.reserve = reserve
    }

    func start() {
        let wish = core.configuration.keepBlobs
        let age = core.configuration.keepBlobsFor
        // Nothing becomes due sooner than so.
        let pause = Duration.nanoseconds(max(1_000_000_000, min(age / 4, 300_000_000_000)))
        tasks.withLock {
            $0 = [
                Task { [self] in
                    repeat { try? await core.background.run { [reserve] in reserve.fill() } } while await rests(.seconds(60))
                }
            ]
            guard wish != .all else { return }
            $0.append(Task { [self] in while await rests(pause) { await condense(wish, age) } })
        }
    }

    /// False when the engine ends.
    private func rests(_ time: Duration) async -> Bool { (try? await Task.sleep(for: time)) != nil }

    /// What is being computed is given up.
    func stop() {
        isWanted.store(false, ordering: .relaxed)
        tasks.withLock { for task in $0 { task.cancel() } }
    }

    private func condense(_ wish: KeepBlobs, _ age: Int64) async {
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
