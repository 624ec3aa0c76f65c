import HTTP
import Images
import Linux
import Model
import Registry

/// Images from and to registries.
///
/// Progress comes as docker's messages. What fails before the first message (no such image, no access, no connection) is thrown, so
/// that it gets a status; what fails later is thrown by the stream and belongs into it as a message. Cancelling the stream's
/// task cancels the transfer: what was received stays for the next attempt.
extension ImageService {
    /// `docker pull`. Success means that the image and its names survive a power cut.
    public func pull(_ request: PullRequest, caller: Caller) async throws -> PullStream<Docker.TransferMessage> {
        let reference = try Self.reference(request)
        let platform = try request.platform.flatMap { $0.isEmpty ? nil : try Self.platform($0) }
        let session = try RegistrySession(reference, settings: core.configuration.registries, credential: request.credential)
        let pull = ImagePull(
            service: self, session: session, platform: platform, caller: caller, board: TransferBoard(),
            cancellation: WireCancellation())
        // Not the pull itself: it holds the session.
        session.onWarning { [log = core.log, warnings = pull.warnings] text in
            log.warning("\(text)")
            warnings.tell(text)
        }
        return try await Self.run(pull.board, pull.cancellation) {
            if request.allTags { try await pull.all(reference) } else { try await pull.one(reference) }
        }
    }

    /// Runs a transfer whose messages go to a board.
    static func run(
        _ board: TransferBoard, _ cancellation: WireCancellation, _ body: @escaping @Sendable () async throws -> Void
    ) async throws -> PullStream<Docker.TransferMessage> {
        let task = Task {
            await withTaskCancellationHandler {
                do {
                    try await body()
                    board.finish()
                } catch { board.fail(error) }
            } onCancel: {
                cancellation.cancel()
            }
        }
        board.serve(task)
        return try await board.stream()
    }

    private static func reference(_ request: PullRequest) throws -> Reference {
        let reference = try Reference(request.image)
        guard let tag = request.tag, !tag.isEmpty else { return request.allTags ? reference : reference.withDefaultTag }
        if let digest = Digest(tag) { return reference.digested(digest) }
        return try reference.tagged(tag)
    }
}

/// One pull under way.
private struct ImagePull: Sendable {
    let service: ImageService
    let session: RegistrySession
    let platform: ImagePlatform?
    let caller: Caller
    let board: TransferBoard
    let cancellation: WireCancellation
    let warnings: PullWarnings

    init(
        service: ImageService, session: RegistrySession, platform: ImagePlatform?, caller: Caller, board: TransferBoard,
        cancellation: WireCancellation
    ) {
        self.service = service
        self.session = session
        self.platform = platform
        self.caller = caller
        self.board = board
        self.cancellation = cancellation
        warnings = PullWarnings(board)
    }

    private var store: ImageStore { service.core.images }

    func all(_ reference: Reference) async throws {
        let tags = try await onThread { try session.tags(cancellation) }
        guard !tags.isEmpty else {
            throw Fault(.notFound, "\(reference.familiarName) has no tags", subject: reference.familiarName)
        }
        var isNew = false
        for tag in tags { isNew = try await fetch(try reference.tagged(tag)) || isNew }
        say(isNew, reference.familiarName)
    }

    func one(_ reference: Reference) async throws { say(try await fetch(reference), reference.familiar) }

    private func say(_ isNew: Bool, _ name: String) {
        board.say("Status: \(isNew ? "Downloaded newer image for" : "Image is up to date for") \(name)")
    }

    /// Whether the name stands for another image now.
    private func fetch(_ reference: Reference) async throws -> Bool {
        let current = try await onThread { try session.currentDigest(reference, cancellation) }
        if let current, try upToDate(reference, current) {
            begin(reference)
            board.say("Digest: \(current)")
            return false
        }
        let resolved = try await onThread {
            try session.resolve(reference, known: current, platform: platform, cancellation)
        }
        begin(reference)
        var image = RemoteImage(
            manifest: resolved.manifest, manifestDigest: resolved.manifestDigest, manifestBytes: resolved.manifestBytes,
            configBytes: resolved.configBytes)
        image.tags = reference.digest == nil ? [reference] : []
        image.digests = [reference.digested(resolved.top.digest)]
        let before = reference.digest == nil ? try? store.resolve(reference.description).id : nil
        let display = LayerDisplay(resolved.manifest.layers, board)
        let record = try await store.pull(image, caller: caller, fetcher: session.fetcher, progress: display.show)
        try? store.remember(
            resolved.manifest.layers.map(\.digest), in: reference.path, of: reference.domain)
        service.publish("pull", reference.familiar, name: reference.familiarName)
        board.say("Digest: \(resolved.top.digest)")
        return record.id != before
    }

    private func begin(_ reference: Reference) {
        board.say("Pulling from \(reference.path)", id: reference.tag ?? reference.digest?.description)
        warnings.begin()
    }

    /// The name and its digest are known together: nothing has to be asked for.
    private func upToDate(_ reference: Reference, _ current: Digest) throws -> Bool {
        guard let known = try? store.resolve(reference.digested(current).description) else { return false }
        if let platform, !PlatformChoice(platform).accepts(known.config.platform) { return false }
        guard known.digests.contains(reference.digested(current)) else { return false }
        return reference.digest != nil || known.tags.contains(reference)
    }

}

/// Warnings of one pull. They wait for its first message: what fails before that has a status of its own.
private final class PullWarnings: Sendable {
    private let board: TransferBoard
    private let held = Monitor<[String]?>([])

    init(_ board: TransferBoard) { self.board = board }

    func tell(_ text: String) {
        let isHeld = held.update { held in
            held?.append(text)
            return held != nil
        }
        if !isHeld { say(text) }
    }

    func begin() {
        let texts = held.update { held in
            defer { held = nil }
            return held ?? []
        }
        for text in texts { say(text) }
    }

    private func say(_ text: String) { board.say("Warning: " + text) }
}

/// Tells a client about the layers of a pull in docker's words.
private final class LayerDisplay: Sendable {
    private enum Phase { case unknown, exists, waiting, downloading, extracting, complete }

    private let layers: [ContentDescriptor]
    private let board: TransferBoard
    /// By the layer's digest: a manifest may name one twice.
    private let phases = Monitor([Digest: Phase]())

    init(_ layers: [ContentDescriptor], _ board: TransferBoard) {
        self.layers = layers
        self.board = board
    }

    func show(_ position: Int, _ stage: LayerStage) {
        let layer = layers[position]
        let id = layer.digest.short
        switch stage {
        case .exists: if enter(layer, .exists, from: [.unknown]) { board.say("Already exists", id: id) }
        case .waiting: if enter(layer, .waiting, from: [.unknown]) { board.say("Pulling fs layer", id: id) }
        case .downloading(let count):
            if phases.update({ [.waiting, .downloading].contains($0[layer.digest] ?? .unknown) }) {
                board.show("Downloading", id: id, current: count, total: layer.size)
            }
        case .extracting:
            guard enter(layer, .extracting, from: [.waiting, .downloading]) else { return }
            board.say("Download complete", id: id)
            board.show("Extracting", id: id, current: layer.size, total: layer.size)
        case .complete:
            if enter(layer, .complete, from: [.waiting, .downloading, .extracting]) { board.say("Pull complete", id: id) }
        }
    }

    private func enter(_ layer: ContentDescriptor, _ phase: Phase, from allowed: [Phase]) -> Bool {
        phases.update { phases in
            guard allowed.contains(phases[layer.digest] ?? .unknown) else { return false }
            phases[layer.digest] = phase
            return true
        }
    }
}
