import HTTP
import Images
import JSON
import Linux
import Model
import Registry

extension ImageService {
    /// `docker push`. The last message but one carries the digest: `latest: digest: sha256:… size: 123`, then one with `aux`.
    public func push(_ request: PushRequest, caller: Caller) async throws -> PullStream<Docker.TransferMessage> {
        var repository = try Reference(request.image)
        if let tag = request.tag, !tag.isEmpty { repository = try repository.tagged(tag) }
        guard repository.digest == nil else {
            throw Fault(.invalid, "cannot push a digest reference", subject: repository.familiar)
        }
        let tags: [Reference]
        if request.allTags || (request.tag == nil && repository.tag == nil && request.tag?.isEmpty == true) {
            tags = try store.tags(of: repository).sorted { ($0.tag ?? "") < ($1.tag ?? "") }
        } else {
            tags = [repository.withDefaultTag]
        }
        var images: [(Reference, PushableImage)] = []
        for tag in tags {
            guard let image = try? store.pushable(tag.description) else { continue }
            if let wish = request.platform, !wish.isEmpty {
                try Self.expect(
                    [try Self.platform(wish)], try ImageConfig.read(image.configBytes).platform, tag.familiar)
            }
            images.append((tag, image))
        }
        if images.isEmpty { return try await nothing(toPush: repository) }
        let settings = core.configuration.registries
        var compression = settings.compression
        if let wish = request.compression, !wish.isEmpty {
            guard let known = LayerCompression(rawValue: wish) else {
                throw Fault(.invalid, "\"\(wish)\" is no compression: gzip and zstd are", subject: wish)
            }
            compression = known
        }
        let mounts = Set(
            try images.flatMap {
                try $0.1.layers.flatMap { try store.repositories(with: $0.descriptor.digest, in: repository.domain) }
            })
        let session = try RegistrySession(
            repository, actions: "pull,push", mounts: mounts.subtracting([repository.path]).sorted().prefix(4).map { $0 },
            settings: settings, credential: request.credential)
        let board = TransferBoard()
        let cancellation = WireCancellation()
        let push = ImagePush(
            service: self,
            push: RegistryPush(store: store, session: session, compression: compression, cancellation: cancellation),
            board: board, uploads: settings.uploads)
        let list = images
        let name = repository
        return try await Self.run(board, cancellation) {
            board.say("The push refers to repository [\(name.name)]")
            // Removed meanwhile, the images are still pushed whole.
            try await push.service.store.leased("push") { lease in
                try push.service.store.hold(list.map(\.1.id), lease)
                for (reference, image) in list { try await push.one(reference, image) }
            }
        }
    }

    /// docker says this within the stream.
    private func nothing(toPush repository: Reference) async throws -> PullStream<Docker.TransferMessage> {
        let isKnown = try repository.tag != nil && !store.tags(of: repository).isEmpty
        let words = isKnown ? "tag does not exist: " : "An image does not exist locally with the tag: "
        let name = isKnown ? repository.familiar : repository.familiarName
        let board = TransferBoard()
        return try await Self.run(board, WireCancellation()) {
            board.say("The push refers to repository [\(repository.name)]")
            throw Fault(.notFound, words + name, subject: repository.familiar)
        }
    }

    private static func expect(_ platforms: [ImagePlatform], _ own: ImagePlatform, _ name: String) throws {
        let choices = platforms.map { PlatformChoice($0) }
        guard !choices.isEmpty, !choices.contains(where: { $0.accepts(own) }) else { return }
        throw Fault(
            .notFound,
            "image with reference \(name) was found but its platform (\(PlatformChoice(own).text)) does not match the "
                + "specified platform (\(choices.map(\.text).joined(separator: ", ")))", subject: name)
    }

    /// Refuses, in docker's words, an image that is for none of these platforms (`linux/arm64`); none at all are any.
    public func expect(_ name: String, _ platforms: [String]) async throws {
        if platforms.isEmpty { return }
        try Self.expect(try platforms.map(Self.platform), try store.resolve(name).config.platform, name)
    }

    /// `POST /auth`: whether the registry takes the credential. Throws `forbidden` (401 in docker) when not.
    public func authenticate(_ credential: RegistryCredential) async throws -> Docker.AuthResponse {
        let settings = core.configuration.registries
        let token = try await Self.blocking { try RegistryQueries.login(credential, settings: settings, $0) }
        var response = Docker.AuthResponse()
        response.status = "Login Succeeded"
        response.identityToken = token
        return response
    }

    /// `GET /images/search`
    public func search(_ request: SearchRequest) async throws -> [Docker.ImageSearchResponseItem] {
        try request.filters.validate(["is-automated", "is-official", "stars"])
        guard (1...100).contains(request.limit) else {
            throw Fault(.invalid, "limit \(request.limit) is outside the range of [1, 100]")
        }
        let official = try request.filters.bool("is-official")
        let automated = try request.filters.bool("is-automated")
        let stars = try request.filters.get("stars").compactMap { text -> Int in
            guard let number = Int(text) else { throw Fault(.invalid, "invalid filter 'stars=[\(text)]'") }
            return number
        }.max()
        let settings = core.configuration.registries
        let hits = try await Self.blocking {
            try RegistryQueries.search(
                request.term, limit: request.limit, settings: settings, credential: request.credential, $0)
        }
        return hits.filter { hit in
            (official.map { $0 == hit.isOfficial } ?? true) && (automated.map { $0 == hit.isAutomated } ?? true)
                && hit.stars >= stars ?? 0
        }.map { hit in
            var item = Docker.ImageSearchResponseItem()
            item.name = hit.name
            item.description = hit.description
            item.starCount = hit.stars
            item.isOfficial = hit.isOfficial
            item.isAutomated = hit.isAutomated
            return item
        }
    }

    /// Runs a piece of blocking work that ends with its task.
    static func blocking<T: Sendable>(_ body: @escaping @Sendable (WireCancellation) throws -> T) async throws -> T {
        let cancellation = WireCancellation()
        return try await withTaskCancellationHandler {
            try await onThread { try body(cancellation) }
        } onCancel: {
            cancellation.cancel()
        }
    }
}

/// One push under way.
private struct ImagePush: Sendable {
    let service: ImageService
    let push: RegistryPush
    let board: TransferBoard
    let uploads: Int

    func one(_ reference: Reference, _ image: PushableImage) async throws {
        let layers = try await layers(image)
        let tag = reference.tag ?? Reference.defaultTag
        let pushed = try await onThread { try push.finish(image, layers, tag: tag) }
        try await service.store.recordPush(image.id, as: reference.digested(pushed.digest))
        service.publish("push", reference.familiar, name: reference.familiarName)
        board.say("\(tag): digest: \(pushed.digest) size: \(pushed.size)")
        var message = Docker.TransferMessage("")
        message.aux = .object([
            .init(key: "Tag", value: .string(tag)), .init(key: "Digest", value: .string(pushed.digest.description)),
            .init(key: "Size", value: .number(String(pushed.size))),
        ])
        board.post(message)
    }

    /// Every layer once, as many at a time as the settings say; how the manifest names each.
    private func layers(_ image: PushableImage) async throws -> [ContentDescriptor] {
        var unique: [Digest: PushableLayer] = [:]
        for layer in image.layers where unique[layer.diffID] == nil { unique[layer.diffID] = layer }
        let work = Array(unique.values)
        let found = try await withThrowingTaskGroup(of: (Digest, ContentDescriptor).self) { group in
            var next = work.makeIterator()
            func add() {
                guard let layer = next.next() else { return }
                group.addTask { (layer.diffID, try await one(layer, asIs: image.isFromRegistry)) }
            }
            for _ in 0..<max(1, uploads) { add() }
            var found: [Digest: ContentDescriptor] = [:]
            while let (diffID, descriptor) = try await group.next() {
                found[diffID] = descriptor
                add()
            }
            return found
        }
        return image.layers.compactMap { found[$0.diffID] }
    }

    private func one(_ layer: PushableLayer, asIs: Bool) async throws -> ContentDescriptor {
        let id = layer.diffID.short
        return try await onThread {
            try push.layer(layer, asIs: asIs) { [board] stage in
                switch stage {
                case .preparing: board.show("Preparing", id: id, current: 0, total: 0)
                case .pushing(let count, let total): board.show("Pushing", id: id, current: count, total: total)
                case .exists: board.say("Layer already exists", id: id)
                case .mounted(let repository): board.say("Mounted from \(repository)", id: id)
                case .pushed: board.say("Pushed", id: id)
                }
            }
        }
    }
}
