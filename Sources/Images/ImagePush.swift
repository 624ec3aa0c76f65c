import Archive
import Linux
import Model
import State

/// An image as it can be pushed.
public struct PushableImage: Sendable {
    public let id: Digest
    public let configBytes: [UInt8]
    public let manifest: ImageManifest
    public let manifestBytes: [UInt8]
    public let manifestDigest: Digest
    /// The manifest came from a registry: it is pushed as it is, so that its digest stays.
    public let isFromRegistry: Bool
    /// The lowest first.
    public let layers: [PushableLayer]
}

/// A layer as it can be pushed.
public struct PushableLayer: Sendable {
    public let diffID: Digest
    /// As the manifest has it.
    public let descriptor: ContentDescriptor
    /// The bytes that the descriptor names are at hand; they are the uncompressed tar otherwise.
    public let isAsNamed: Bool
    let content: BlobRow

    /// The bytes at hand are the layer's tar.
    public var isPlain: Bool { content.digest == diffID }
    /// Bytes that `ImageStore.write` writes.
    public var size: Int64 { content.size }
}

extension ImageStore {
    /// The image that a name or id stands for, with everything that a push needs to know.
    public func pushable(_ text: String) throws -> PushableImage {
        try database.read { transaction in
            let id = try id(transaction, meant: text)
            guard let row = try transaction.image(id), let digest = row.manifest, let blob = try transaction.blob(digest) else {
                throw Self.missing(text)
            }
            let sink = MemorySink(limit: ManifestDocument.limits.size)
            try writeContent(blob, to: sink)
            guard case .manifest(let manifest) = try ManifestDocument(sink.bytes, mediaType: blob.mediaType) else {
                throw Fault(.system, "the stored manifest \(digest) is no image's", subject: digest.description)
            }
            let config = try ImageConfig.read(row.config)
            guard manifest.layers.count == config.diffIDs.count else {
                throw Fault(.system, "the stored manifest \(digest) does not fit its image", subject: digest.description)
            }
            let layers = try zip(manifest.layers, config.diffIDs).map { descriptor, diffID in
                let named = try transaction.blob(descriptor.digest)
                guard let content = try named ?? transaction.blob(layer: diffID) else {
                    throw Fault(.system, "the content of the layer \(diffID) has no record", subject: diffID.description)
                }
                return PushableLayer(diffID: diffID, descriptor: descriptor, isAsNamed: named != nil, content: content)
            }
            let names = try transaction.digestNames(ofImage: id)
            return PushableImage(
                id: id, configBytes: row.config, manifest: manifest, manifestBytes: sink.bytes, manifestDigest: digest,
                isFromRegistry: names.contains { $0.hasSuffix("@\(digest)") }, layers: layers)
        }
    }

    /// Writes a layer's bytes, verified.
    public func write(_ layer: PushableLayer, to sink: any ByteSink) throws { try writeContent(layer.content, to: sink) }

    /// The layer as it was once compressed; a push need not do it again to know its digest.
    public func compressedForm(of diffID: Digest, _ form: String) throws -> ContentDescriptor? {
        try database.read { try $0.layerForm(diffID, form) }
    }

    public func rememberForm(_ descriptor: ContentDescriptor, of diffID: Digest, _ form: String) throws {
        try database.write { try $0.setLayerForm(descriptor, diffID, form) }
    }

    /// Repositories of a registry that are known to have a content, the last one that was seen first.
    public func repositories(with digest: Digest, in domain: String) throws -> [String] {
        try database.read { try $0.contentPlaces(digest, domain: domain) }
    }

    /// These contents are in that repository. Only a hint: what it says is asked of the registry again.
    public func remember(_ digests: [Digest], in repository: String, of domain: String) throws {
        let now = Timestamp(nanoseconds: Clock.realtime)
        try database.write { transaction in
            for digest in digests { try transaction.setContentPlace(digest, domain: domain, repository: repository, at: now) }
        }
    }

    /// The image has been pushed under a name, and has that digest there.
    public func recordPush(_ id: Digest, as name: Reference) async throws {
        try await database.write(.durable) { transaction in
            if try transaction.image(id) != nil { try transaction.addDigestName(name.description, image: id) }
        }
    }

    /// The tags of a repository.
    public func tags(of repository: Reference) throws -> [Reference] {
        try list().flatMap(\.repoTags).compactMap { try? Reference($0) }.filter { $0.name == repository.name }
    }
}
