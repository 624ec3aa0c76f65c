import Archive
import Images
import Linux
import Model

/// Images as clients see them, over the image store.
public final class ImageService: Sendable {
    let core: EngineCore
    var store: ImageStore { core.images }

    init(_ core: EngineCore) { self.core = core }

    // MARK: Looking

    /// - Parameter manifests: with what the image consists of on each platform.
    public func list(all: Bool = false, filters: Filters = Filters(), manifests: Bool = false) async throws -> [Docker
        .ImageSummary]
    {
        try filters.validate(["before", "dangling", "label", "reference", "since", "until"])
        let dangling = try filters.bool("dangling")
        let before = try filters.get("before").first.map { try store.resolve($0).config.created }
        let since = try filters.get("since").first.map { try store.resolve($0).config.created }
        let until = try filters.get("until").first.map { try TimeText.parse($0) }
        let zero = Timestamp(nanoseconds: 0)
        return try store.list().filter { image in
            let created = image.created ?? zero
            if let dangling, image.repoTags.isEmpty != dangling { return false }
            if let before, created >= before ?? zero { return false }
            if let since, created <= since ?? zero { return false }
            if let until, created >= until { return false }
            guard filters.matches("label", in: image.labels) else { return false }
            return true
        }.compactMap { image in
            var summary = show(image)
            if manifests { summary.manifests = Self.manifest(image).map { [$0] } ?? [] }
            guard filters.contains("reference") else { return summary }
            // Only the names that match are shown, as in docker.
            func matches(_ name: String) -> Bool {
                let tagged = name.firstIndex(of: "@").map { String(name[..<$0]) + ":" } ?? name
                return filters.get("reference").contains { ReferencePattern.matches($0, tagged) }
            }
            summary.repoTags = image.repoTags.filter(matches)
            summary.repoDigests = image.repoDigests.filter(matches)
            return summary.repoTags?.isEmpty != false && summary.repoDigests?.isEmpty != false ? nil : summary
        }
    }

    private func show(_ image: Images.ImageSummary) -> Docker.ImageSummary {
        var summary = Docker.ImageSummary()
        summary.id = image.id.description
        summary.parentId = image.parent?.description ?? ""
        summary.repoTags = image.repoTags
        summary.repoDigests = image.repoDigests
        summary.created = Int(image.created?.seconds ?? 0)
        summary.size = Int(image.size)
        summary.sharedSize = -1
        summary.labels = image.labels
        // docker counts them in `system df` alone.
        summary.containers = -1
        return summary
    }

    private static func manifest(_ image: Images.ImageSummary) -> Docker.ImageManifestSummary? {
        guard let manifest = image.manifest else { return nil }
        var shown = Docker.ImageManifestSummary()
        shown.id = manifest.digest.description
        var descriptor = Docker.OCIDescriptor()
        descriptor.mediaType = manifest.mediaType
        descriptor.digest = manifest.digest.description
        descriptor.size = Int(manifest.size)
        shown.descriptor = descriptor
        shown.available = true
        var size = Docker.ImageManifestSummarySize()
        size.content = Int(image.contentSize)
        size.total = Int(image.contentSize + image.size)
        shown.size = size
        shown.kind = "image"
        var data = Docker.ImageManifestSummaryImageData()
        data.platform = show(image.platform)
        data.containers = image.holders.map(\.text)
        var unpacked = Docker.ImageManifestSummaryImageDataSize()
        unpacked.unpacked = Int(image.size)
        data.size = unpacked
        shown.imageData = data
        return shown
    }

    public func inspect(_ name: String) async throws -> Docker.ImageInspect {
        let image = try store.resolve(name)
        var inspect = Docker.ImageInspect()
        inspect.id = image.id.description
        inspect.repoTags = image.repoTags
        inspect.repoDigests = image.repoDigests
        inspect.comment = image.config.comment
        inspect.created = image.config.created?.description
        inspect.author = image.config.author
        inspect.config = Self.config(image.config.settings)
        inspect.architecture = image.config.architecture
        inspect.variant = image.config.variant.isEmpty ? nil : image.config.variant
        inspect.os = image.config.os
        inspect.size = Int(image.size)
        var driver = Docker.DriverData()
        driver.name = store.driver.name
        driver.data = ["LowerDir": image.layers.dropFirst().joined(separator: ":"), "UpperDir": image.layers.first ?? ""]
        inspect.graphDriver = driver
        var root = Docker.ImageInspectRootFS()
        root.type = "layers"
        root.layers = image.config.diffIDs.map(\.description)
        inspect.rootFS = root
        var metadata = Docker.ImageInspectMetadata()
        metadata.lastTagTime = image.lastTagged?.description ?? Timestamp.goZeroText
        inspect.metadata = metadata
        return inspect
    }

    private static func config(_ settings: ImageSettings) -> Docker.ImageConfig {
        var config = Docker.ImageConfig()
        config.user = settings.user
        func set(_ words: [String]) -> [String: Docker.Empty]? {
            words.isEmpty ? nil : Dictionary(words.map { ($0, Docker.Empty()) }) { first, _ in first }
        }
        config.exposedPorts = set(settings.exposedPorts)
        config.env = settings.env
        config.cmd = settings.cmd.map { Docker.StringList($0) }
        config.entrypoint = settings.entrypoint.map { Docker.StringList($0) }
        config.volumes = set(settings.volumes)
        config.workingDir = settings.workingDir
        config.labels = settings.labels
        config.stopSignal = settings.stopSignal.isEmpty ? nil : settings.stopSignal
        config.onBuild = settings.onBuild.isEmpty ? nil : settings.onBuild
        config.shell = settings.shell.isEmpty ? nil : settings.shell
        if let check = settings.healthcheck {
            var health = Docker.HealthConfig()
            health.test = check.test
            health.interval = Int(check.interval)
            health.timeout = Int(check.timeout)
            health.startPeriod = Int(check.startPeriod)
            health.startInterval = Int(check.startInterval)
            health.retries = check.retries
            config.healthcheck = health
        }
        return config
    }

    public func history(_ name: String) async throws -> [Docker.ImageHistoryResponseItem] {
        try store.history(name).map { entry in
            var item = Docker.ImageHistoryResponseItem()
            item.id = entry.id?.description ?? "<missing>"
            item.created = Int(entry.created?.seconds ?? 0)
            item.createdBy = entry.createdBy
            item.comment = entry.comment
            item.size = Int(entry.size)
            item.tags = entry.tags.isEmpty ? nil : entry.tags
            return item
        }
    }

    // MARK: Changing

    public func tag(_ name: String, repository: String, tag: String?, caller: Caller) async throws {
        var reference = try Reference(repository)
        if let tag, !tag.isEmpty { reference = try reference.tagged(tag) }
        let wanted = reference
        let image = try await shielded { [store] in try await store.tag(name, as: wanted.withDefaultTag, caller: caller).id }
        publish("tag", image.description, name: wanted.withDefaultTag.familiar)
    }

    public func remove(_ name: String, force: Bool, noPrune: Bool, caller: Caller) async throws
        -> [Docker.ImageDeleteResponseItem]
    {
        let removals = try await shielded { [core] in
            try await core.images.remove(name, force: force, prune: !noPrune, caller: caller) { id in
                core.registry.container(id)?.snapshot.status.running != nil
            }
        }
        return items(removals)
    }

    private func items(_ removals: [ImageRemoval]) -> [Docker.ImageDeleteResponseItem] {
        removals.map { removal in
            var item = Docker.ImageDeleteResponseItem()
            switch removal {
            case .untagged(let name):
                item.untagged = name
                publish("untag", name, name: name)
            case .deleted(let digest):
                item.deleted = digest.description
                publish("delete", digest.description, name: digest.description)
            }
            return item
        }
    }

    /// Without a wish, images without a tag that nobody holds; with `dangling=false` every image that nobody holds.
    /// What is freed is what du(1) will see, layers that other images have or that work in progress holds left out.
    public func prune(_ filters: Filters, caller: Caller) async throws -> Docker.ImagePruneResponse {
        try filters.validate(["dangling", "label", "label!", "until"])
        let danglingOnly = try filters.bool("dangling") ?? true
        let until = try filters.get("until").first.map { try TimeText.parse($0) }
        var response = Docker.ImagePruneResponse()
        response.imagesDeleted = []
        var freed: Int64 = 0
        for image in try store.list() where image.holders.isEmpty {
            if danglingOnly, !image.repoTags.isEmpty { continue }
            if let until, (image.created ?? Timestamp(nanoseconds: 0)) >= until { continue }
            guard filters.admitsLabels(image.labels) else { continue }
            let names = image.repoTags + image.repoDigests
            for name in names.isEmpty ? [image.id.description] : names {
                // A container, a child or another name may stand against it: then it stays.
                guard let (removed, bytes) = try? await removeMeasured(name) else { continue }
                response.imagesDeleted?.append(contentsOf: items(removed))
                freed += bytes
            }
        }
        response.spaceReclaimed = Int(freed)
        core.events.publish(type: "image", action: "prune", id: "", attributes: ["reclaimed": String(freed)])
        return response
    }

    private func removeMeasured(_ name: String) async throws -> ([ImageRemoval], Int64) {
        try await shielded { [core] in
            try await core.images.remove(name, force: false, prune: true, measures: true) { id in
                core.registry.container(id)?.snapshot.status.running != nil
            }
        }
    }

    func publish(_ action: String, _ id: String, name: String) {
        core.events.publish(type: "image", action: action, id: id, attributes: ["name": name])
    }

    // MARK: Streams

    /// `POST /images/create?fromSrc=-`: a root file system as a tar. Answers the progress as docker's stream of messages; an
    /// error after the first message is a message with `error`.
    /// - Parameters:
    ///   - reference: `repo[:tag]`; nil leaves the image dangling.
    ///   - changes: Dockerfile instructions.
    public func importRootfs(
        _ body: @escaping RequestBody, reference: String?, message: String, changes: [String], platform: String?, caller: Caller
    ) async throws -> PullStream<Docker.CreateImageInfo> {
        let name = try reference.flatMap { $0.isEmpty ? nil : try Reference($0) }
        var request = ImportRequest(reference: name, message: message, changes: changes)
        if let platform, !platform.isEmpty { request.platform = try Self.platform(platform) }
        _ = try ImageChanges.apply(changes, to: ImageSettings())
        let wish = request
        let source = pump(body)
        // Goes on when the client goes: an import that is complete is kept.
        let work = Task { [store, self] in
            do {
                let image = try await store.importRootfs(source, wish, caller: caller)
                publish("import", image.id.description, name: name?.withDefaultTag.familiar ?? "")
                return image.id.description
            } catch {
                source.abandon()
                throw error
            }
        }
        // There is one message, at the end: what fails has a status.
        var info = Docker.CreateImageInfo()
        info.status = try await work.value
        let message = Monitor<Docker.CreateImageInfo?>(info)
        return PullStream {
            message.update { message in
                defer { message = nil }
                return message
            }
        }
    }

    /// `POST /images/load`: a docker archive or an OCI layout. Messages are `{"stream":"Loaded image: x\n"}`.
    /// - Parameter platform: `linux/arm64`: only images for it.
    public func load(
        _ body: @escaping RequestBody, quiet: Bool, platform: String? = nil, caller: Caller
    ) async throws -> PullStream<Docker.BuildInfo> {
        let wanted = try platform.flatMap { $0.isEmpty ? nil : try Self.platform($0) }
        let (messages, output) = AsyncThrowingStream.makeStream(of: Docker.BuildInfo.self)
        let source = pump(body)
        Task { [store, self] in
            do {
                let images = try await store.load(source, platform: wanted, caller: caller) { progress in
                    guard case .loaded(let id, let name) = progress else { return }
                    var info = Docker.BuildInfo()
                    info.stream = name.map { "Loaded image: \($0.familiar)\n" } ?? "Loaded image ID: \(id)\n"
                    output.yield(info)
                }
                for image in images { publish("load", image.id.description, name: image.repoTags.first ?? "") }
                output.finish()
            } catch {
                source.abandon()
                output.finish(throwing: error)
            }
        }
        return Self.stream(messages)
    }

    /// Brings a request's body to the thread that reads it.
    private func pump(_ body: @escaping RequestBody) -> ByteStream {
        let stream = ByteStream()
        Task {
            do {
                while let chunk = try await body() { try await stream.send(chunk) }
                stream.finish()
            } catch { stream.fail(error) }
        }
        return stream
    }

    /// What was begun goes on when the reader goes: an import that is complete is kept.
    private static func stream<T: Sendable>(_ messages: AsyncThrowingStream<T, any Error>) -> PullStream<T> {
        let reader = StreamReader(messages)
        return PullStream { try await reader.next() }
    }

    static func platform(_ text: String) throws -> ImagePlatform {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { String($0) }
        guard parts.count <= 3, parts.allSatisfy({ !$0.isEmpty }) else {
            throw Fault(.invalid, "\"\(text)\": cannot parse platform specifier: invalid argument", subject: text)
        }
        guard parts.count >= 2, parts[0] == "linux" else {
            throw Fault(.invalid, "\"\(text)\" is no platform of this engine: give linux/ARCHITECTURE", subject: text)
        }
        return ImagePlatform(architecture: parts[1], os: parts[0], variant: parts.count > 2 ? parts[2] : "")
    }

    /// `GET /images/get`: docker archive and OCI layout at once.
    /// - Parameter platform: `linux/arm64`: each image must be for it.
    public func save(_ names: [String], platform: String? = nil) async throws -> PullStream<[UInt8]> {
        let choice = try platform.flatMap { $0.isEmpty ? nil : PlatformChoice(try Self.platform($0)) }
        // Unknown names are refused while there is still a status to say so.
        for name in names {
            let image: ImageRecord
            do { image = try store.resolve(name) } catch let fault as Fault where fault.kind == .notFound {
                throw Fault(.notFound, "No such image: \(name)", subject: name)
            }
            guard let choice, !choice.accepts(image.config.platform) else { continue }
            throw Fault(
                .notFound,
                "image with reference \(name) was found but does not provide the specified platform (\(choice.text))",
                subject: name)
        }
        guard !names.isEmpty else { throw Fault(.invalid, "no image to save was named") }
        let outlet = ByteOutlet()
        Task { [store] in
            do {
                try await store.save(names, to: outlet)
                outlet.finish()
            } catch { outlet.fail(error) }
        }
        return outlet.stream
    }
}

/// Hands a stream's elements to one reader at a time.
private actor StreamReader<Element: Sendable> {
    private let stream: AsyncThrowingStream<Element, any Error>

    init(_ stream: AsyncThrowingStream<Element, any Error>) { self.stream = stream }

    func next() async throws -> Element? {
        var iterator = stream.makeAsyncIterator()
        return try await iterator.next(isolation: self)
    }
}

/// The reference filter: `repo`, `repo:tag`, with `*` for any run of letters that is not a slash.
package enum ReferencePattern {
    package static func matches(_ pattern: String, _ name: String) -> Bool {
        let repository = name.lastIndex(of: ":").map { String(name[..<$0]) } ?? ""
        return [name, repository].contains { glob(Array(pattern.utf8)[...], Array($0.utf8)[...]) }
    }

    private static func glob(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        if first == UInt8(ascii: "*") {
            var text = text
            while true {
                if glob(pattern.dropFirst(), text) { return true }
                guard let next = text.popFirst(), next != UInt8(ascii: "/") else { return false }
            }
        }
        guard let next = text.first, first == next || first == UInt8(ascii: "?") else { return false }
        return glob(pattern.dropFirst(), text.dropFirst())
    }
}
