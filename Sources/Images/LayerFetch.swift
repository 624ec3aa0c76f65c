import Archive
import Linux
import Model
import State

/// A layer that was fetched and proven.
struct FetchedLayer: Sendable {
    var place: NewLayer.Place
    var blob: NewBlob
}

/// Contents that are being fetched, each once however many pulls want it.
final class LayerFetches: Sendable {
    private let running = Monitor([Digest: LayerFetch]())
    private let slots = FetchSlots()
    private let most = Monitor(4)

    /// Contents that one pull fetches at the same time. A pull whose registry stalls does not hold up others.
    var width: Int { most.update { $0 } }
    func setWidth(_ width: Int) { most.update { $0 = max(1, width) } }

    /// Contents whose partial file somebody writes: never two, whatever sizes their manifests claim.
    private let partials = Monitor(Set<Digest>())

    /// False when another fetch of that content has the partial file.
    fileprivate func claimPartial(_ digest: Digest) -> Bool { partials.update { $0.insert(digest).inserted } }
    fileprivate func releasePartial(_ digest: Digest) { partials.update { _ = $0.remove(digest) } }

    /// Takes part in the fetch of a content, which begins when nobody else has it under way.
    func join(_ descriptor: ContentDescriptor, _ store: ImageStore, _ fetcher: @Sendable () -> any ContentFetcher) -> LayerLease
    {
        let (fetch, isNew) = running.update { running -> (LayerFetch, Bool) in
            if let fetch = running[descriptor.digest], fetch.descriptor.size == descriptor.size, fetch.enter() {
                return (fetch, false)
            }
            let fetch = LayerFetch(descriptor, store, fetcher())
            running[descriptor.digest] = fetch
            return (fetch, true)
        }
        if isNew { fetch.start(slots) }
        return LayerLease(fetch: fetch, fetches: self, isOwner: isNew)
    }

    func leave(_ fetch: LayerFetch) {
        guard fetch.leave() else { return }
        running.update { running in
            if running[fetch.descriptor.digest] === fetch { running[fetch.descriptor.digest] = nil }
        }
    }
}

/// One pull's part in a fetch. What was fetched stays until the last lease is released.
final class LayerLease: Sendable {
    private let fetch: LayerFetch
    private let fetches: LayerFetches
    private let isReleased = Monitor(false)
    /// The fetch began for this pull, with its credentials.
    let isOwner: Bool

    init(fetch: LayerFetch, fetches: LayerFetches, isOwner: Bool) {
        self.fetch = fetch
        self.fetches = fetches
        self.isOwner = isOwner
    }

    deinit { release() }

    /// The layer. Cancelling the task ends the wait, and the fetch when nobody else waits.
    func wait(_ progress: @escaping @Sendable (LayerStage) -> Void) async throws -> FetchedLayer {
        let id = ObjectID.random()
        return try await withTaskCancellationHandler {
            try await fetch.result(id, progress)
        } onCancel: {
            fetch.stopWaiting(id)
            release()
        }
    }

    func release() {
        let first = isReleased.update { released in
            defer { released = true }
            return !released
        }
        if first { fetches.leave(fetch) }
    }
}

/// Every lease of one pull.
final class LayerLeases: Sendable {
    private let list = Monitor([LayerLease]())
    func add(_ lease: LayerLease) { list.update { $0.append(lease) } }
    func release() { for lease in list.update({ $0 }) { lease.release() } }
}

/// Threads that fetch: so many at a time whatever is asked for, the others wait in order.
final class FetchSlots: Sendable {
    private static let width = 48

    private struct State {
        var running = 0
        var waiting: [@Sendable () -> Void] = []
    }

    private let state = Monitor(State())

    /// Runs `body` on a thread of its own when it is its turn.
    func run(_ body: @escaping @Sendable () -> Void) {
        let now = state.update { state -> Bool in
            if state.running < Self.width {
                state.running += 1
                return true
            }
            state.waiting.append(body)
            return false
        }
        if now { begin(body) }
    }

    private func begin(_ body: @escaping @Sendable () -> Void) {
        do {
            try startThread(stackSize: 1 << 20) { [self] in
                body()
                trimHeap()
                next()
            }
        } catch {
            // No thread to be had: the caller's must do.
            body()
            next()
        }
    }

    private func next() {
        let body = state.update { state -> (@Sendable () -> Void)? in
            if !state.waiting.isEmpty { return state.waiting.removeFirst() }
            state.running -= 1
            return nil
        }
        if let body { begin(body) }
    }
}

/// The fetch of one content.
final class LayerFetch: Sendable {
    private struct State {
        var stage = LayerStage.waiting
        var told: Int64 = 0
        var leases = 1
        var result: Result<FetchedLayer, any Error>?
        var waiting: [ObjectID: CheckedContinuation<FetchedLayer, any Error>] = [:]
        var observers: [ObjectID: @Sendable (LayerStage) -> Void] = [:]
        var isCancelled = false
        var workshop: Workshop?
        /// The partial file is this fetch's to write and to hand on, until the workshop is given up.
        var ownsPartial = false
        var isRunning = false

        /// What is to be given up when nobody wants the result.
        mutating func surrender() -> (Workshop?, ownsPartial: Bool) {
            defer {
                workshop = nil
                ownsPartial = false
            }
            return (workshop, ownsPartial)
        }
    }

    let descriptor: ContentDescriptor
    private let store: ImageStore
    private let fetcher: any ContentFetcher
    private let state = Monitor(State())

    init(_ descriptor: ContentDescriptor, _ store: ImageStore, _ fetcher: any ContentFetcher) {
        self.descriptor = descriptor
        self.store = store
        self.fetcher = fetcher
    }

    // MARK: Who wants it

    /// Another pull wants it. False when it has failed, was cancelled, or its layer went to its place: a new fetch is due, or none.
    func enter() -> Bool {
        state.update { state in
            if state.isCancelled { return false }
            switch state.result {
            case .failure: return false
            case .success(let layer): if case .built(let built) = layer.place, !exists(built.folder) { return false }
            case nil: break
            }
            state.leases += 1
            return true
        }
    }

    /// A pull is through with it. True when it was the last one.
    func leave() -> Bool {
        let (isLast, things) = state.update { state -> (Bool, (Workshop?, ownsPartial: Bool)) in
            state.leases -= 1
            guard state.leases == 0 else { return (false, (nil, false)) }
            state.isCancelled = true
            return (true, state.isRunning ? (nil, false) : state.surrender())
        }
        if isLast { fetcher.cancel() }
        giveUp(things)
        return isLast
    }

    private func giveUp(_ things: (workshop: Workshop?, ownsPartial: Bool)) {
        if things.ownsPartial { store.fetches.releasePartial(descriptor.digest) }
        if let workshop = things.workshop { store.clearLater(workshop) }
    }

    func result(_ id: ObjectID, _ progress: @escaping @Sendable (LayerStage) -> Void) async throws -> FetchedLayer {
        try await withCheckedThrowingContinuation { continuation in
            let (ready, stage) = state.update { state -> (Result<FetchedLayer, any Error>?, LayerStage) in
                if let result = state.result { return (result, state.stage) }
                if Task.isCancelled { return (.failure(CancellationError()), state.stage) }
                state.waiting[id] = continuation
                state.observers[id] = progress
                return (nil, state.stage)
            }
            if stage != .waiting { progress(stage) }
            if let ready { continuation.resume(with: ready) }
        }
    }

    func stopWaiting(_ id: ObjectID) {
        let continuation = state.update { state in
            state.observers[id] = nil
            return state.waiting.removeValue(forKey: id)
        }
        continuation?.resume(throwing: CancellationError())
    }

    private func tell(_ stage: LayerStage) {
        let observers = state.update { state in
            state.stage = stage
            return Array(state.observers.values)
        }
        for observer in observers { observer(stage) }
    }

    // MARK: Work

    func start(_ slots: FetchSlots) { slots.run { [self] in run() } }

    private func run() {
        let isWanted = state.update { state -> Bool in
            state.isRunning = !state.isCancelled
            return state.isRunning
        }
        let result: Result<FetchedLayer, any Error> =
            isWanted ? Result { try fetch() } : .failure(Fault(.cancelled, "the pull was cancelled"))
        let (waiting, things) = state.update {
            state -> ([CheckedContinuation<FetchedLayer, any Error>], (Workshop?, ownsPartial: Bool)) in
            state.result = result
            state.isRunning = false
            defer {
                state.waiting = [:]
                state.observers = [:]
            }
            let unwanted: Bool
            if case .failure = result { unwanted = true } else { unwanted = state.leases == 0 }
            return (Array(state.waiting.values), unwanted ? state.surrender() : (nil, false))
        }
        giveUp(things)
        for continuation in waiting { continuation.resume(with: result) }
    }

    /// On this thread: from the row to the proven layer. A damaged rest of an earlier pull is thrown away once.
    private func fetch() throws -> FetchedLayer {
        let known = try store.database.read { transaction in
            try transaction.blob(descriptor.digest)?.diffID.flatMap { try transaction.layer(diff: $0) }
        }
        if let known { return FetchedLayer(place: .stored(known), blob: blob(known.diffID, file: nil)) }
        let workshop = try store.openWorkshop("pull")
        let ownsPartial = store.fetches.claimPartial(descriptor.digest)
        state.update { state in
            state.workshop = workshop
            state.ownsPartial = ownsPartial
        }
        // Somebody else's fetch of the same digest, of another size or on its way out, has the file: this one has no rest.
        guard ownsPartial else { return try fetch(workshop, workshop.file("content"), rest: 0) }
        return try fetch(workshop)
    }

    /// With the partial file.
    private func fetch(_ workshop: Workshop) throws -> FetchedLayer {
        try store.database.write { transaction in
            try transaction.setPartial(
                PartialBlobRow(
                    digest: descriptor.digest, size: descriptor.size, mediaType: descriptor.mediaType,
                    used: Timestamp(nanoseconds: Clock.realtime)))
        }
        TransferCrashPoint.pullRecorded.reach()
        do {
            return try fetch(
                workshop, store.layout.partialBlob(descriptor.digest), rest: try store.partialSize(descriptor))
        } catch {
            let fault = imageFault(error)
            // What is no layer will not become one, and a full disk needs its room.
            if fault.kind == .invalid || fault.message.hasPrefix("no space left") { store.dropPartial(descriptor.digest) }
            throw fault
        }
    }

    private enum Attempt {
        case layer(FetchedLayer)
        /// The bytes do not have the digest, or are no layer as far as they came.
        case wrong(Fault)
    }

    /// What is wrong is fetched once more, and what a mirror sent for as long as there is somebody else to ask.
    private func fetch(_ workshop: Workshop, _ file: String, rest: Int64) throws -> FetchedLayer {
        var (number, offset, isLast) = (0, rest, false)
        while true {
            let name = "layer-\(number)"
            switch try attempt(workshop, name, file: file, offset: offset) {
            case .layer(let layer): return layer
            case .wrong(let fault):
                removeFolder(file)
                removeFolder(workshop.file(name))
                // Whether it was the rest or what came after it, nobody knows.
                let hasOthers = offset == 0 && fetcher.distrust()
                if isLast, !hasOthers { throw fault }
                if !hasOthers { isLast = true }
            }
            (number, offset) = (number + 1, 0)
        }
    }

    private func attempt(_ workshop: Workshop, _ name: String, file path: String, offset: Int64) throws -> Attempt {
        let file = try Descriptor.open(path, [.readWrite, .create], permissions: 0o600)
        let hash = ContentHash(descriptor.digest.algorithm)
        let received = ReceivedContent(file, offset, descriptor, hash, fetcher) { [self] count in
            TransferCrashPoint.pullReceiving.reach()
            tell(count == descriptor.size ? .extracting : .downloading(count))
        }
        let ahead = try ReadAhead(received, buffers: 4)
        let built: BuiltLayer
        do {
            let start = PeekingSource(ahead)
            built = try LayerBuilder(privilege: store.privilege).build(start, folder: workshop.file(name))
            // What may follow the compressed stream belongs to the content as well.
            try start.copy(to: NullSink())
            ahead.close()
        } catch {
            ahead.abandon()
            ahead.close()
            let fault = imageFault(error)
            // Damaged on the way, or made so? Where the whole is not here, another attempt tells.
            if received.isComplete, try received.digest() != descriptor.digest { return .wrong(unproven) }
            if !received.isComplete, fault.kind == .invalid, !received.isRefused { return .wrong(fault) }
            throw fault
        }
        guard try received.digest() == descriptor.digest else { return .wrong(unproven) }
        TransferCrashPoint.pullUnpacked.reach()
        return .layer(FetchedLayer(place: .built(built), blob: blob(built.diffID, file: path)))
    }

    private var unproven: Fault {
        Fault(
            .invalid, "filesystem layer verification failed for digest \(descriptor.digest)",
            subject: descriptor.digest.description)
    }

    private func blob(_ diffID: Digest, file: String?) -> NewBlob {
        NewBlob(
            digest: descriptor.digest, size: descriptor.size, mediaType: descriptor.mediaType, file: file, diffID: diffID)
    }
}

// MARK: Files of what was partly received

extension ImageStore {
    /// Contents that one pull fetches at the same time.
    public func setDownloads(_ width: Int) { fetches.setWidth(width) }

    /// Bytes that are here already.
    func partialSize(_ descriptor: ContentDescriptor) throws -> Int64 {
        guard let file = try? Descriptor.open(layout.partialBlob(descriptor.digest), [.read]) else { return 0 }
        let size = try file.status().size
        return size <= descriptor.size ? size : 0
    }

    func emptyPartial(_ digest: Digest) { removeFolder(layout.partialBlob(digest)) }

    /// The file, then its row.
    func dropPartial(_ digest: Digest) {
        emptyPartial(digest)
        _ = try? database.write { try $0.deletePartial(digest) }
    }

    /// Contents that had come whole and were in their places when the engine died before it could record them are kept for the
    /// next pull, which need not fetch them again.
    func recoverArrived() throws {
        let (partials, files) = try database.read { (try $0.partials(), try $0.blobFiles()) }
        for row in partials where !files.contains(row.digest) {
            let place = layout.blob(row.digest)
            guard exists(place), !exists(layout.partialBlob(row.digest)) else { continue }
            try moveFolder(place, to: layout.partialBlob(row.digest))
        }
    }

    /// Files without a row, and rows without a file, go.
    func recoverPartials() throws {
        let rows = try database.read { try $0.partials() }
        let known = Set(rows.map { layout.partialBlob($0.digest) })
        for name in try Files.names(layout.partialBlobs) {
            let path = layout.partialBlobs + "/" + name
            if !known.contains(path) { removeFolder(path) }
        }
        let lost = rows.filter { !exists(layout.partialBlob($0.digest)) }
        try database.write { transaction in
            for row in lost { try transaction.deletePartial(row.digest) }
            try transaction.forgetUselessHints()
        }
    }
}
