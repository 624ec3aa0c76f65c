import Archive
import HTTP
import Images
import Linux
import Model

/// What happens to a layer of a push.
public enum PushStage: Sendable, Equatable {
    case preparing
    /// So many bytes have been sent. The total is that of the compressed form where it is known, else of the tar.
    case pushing(Int64, total: Int64)
    case exists
    case mounted(from: String)
    case pushed
}

/// One image into one repository.
public struct RegistryPush: Sendable {
    private let store: ImageStore
    private let session: RegistrySession
    private let compression: LayerCompression
    private let cancellation: WireCancellation
    private var uploader: RegistryUploader { RegistryUploader(session: session, cancellation: cancellation) }

    public init(
        store: ImageStore, session: RegistrySession, compression: LayerCompression, cancellation: WireCancellation
    ) {
        self.store = store
        self.session = session
        self.compression = compression
        self.cancellation = cancellation
    }

    /// Puts a layer into the repository and answers how a manifest names it there. Blocks.
    public func layer(_ layer: PushableLayer, asIs: Bool, progress: @escaping @Sendable (PushStage) -> Void) throws
        -> ContentDescriptor
    {
        do {
            progress(.preparing)
            defer { TransferCrashPoint.pushLayer.reach() }
            if layer.isAsNamed, asIs || !layer.isPlain {
                try put(layer.descriptor, progress) { try store.write(layer, to: $0) }
                return layer.descriptor
            }
            guard layer.isPlain else {
                throw Fault(
                    .unavailable,
                    "the compressed form of the layer \(layer.diffID.short) is not here any more: pull the image again",
                    subject: layer.diffID.description)
            }
            return try compressed(layer, progress)
        } catch { throw RegistryFaults.fault(error, "pushing the layer \(layer.diffID.short)") }
    }

    private func put(
        _ descriptor: ContentDescriptor, _ progress: @escaping @Sendable (PushStage) -> Void,
        _ write: @escaping @Sendable (any ByteSink) throws -> Void
    ) throws {
        let source = UploadSource(digest: descriptor.digest, size: descriptor.size, write: write)
        let places = try store.repositories(with: descriptor.digest, in: session.domain)
        let outcome = try uploader.put(
            source, digest: descriptor.digest, size: descriptor.size, candidates: Array(places.prefix(2))
        ) { progress(.pushing($0, total: descriptor.size)) }
        switch outcome {
        case .existed: progress(.exists)
        case .mounted(let repository): progress(.mounted(from: repository))
        case .uploaded: progress(.pushed)
        }
    }

    /// A layer that has no compressed form: it gets one on its way, and its digest is kept for the next time.
    private func compressed(_ layer: PushableLayer, _ progress: @escaping @Sendable (PushStage) -> Void) throws
        -> ContentDescriptor
    {
        // The name tells how: another level or library would make another digest of the same layer.
        let form = compression == .gzip ? "gzip-1" : "zstd-3"
        let write: @Sendable (any ByteSink) throws -> Void = { [store, compression] sink in
            let compressor = try ParallelCompressor(
                sink, compression == .gzip ? .gzip : .zstd, level: compression == .gzip ? 1 : 3)
            try store.write(layer, to: compressor)
            try compressor.finish()
        }
        if let known = try store.compressedForm(of: layer.diffID, form) {
            do {
                try put(known, progress, write)
                return known
            } catch let refusal as RegistryRefusal where refusal.code == "DIGEST_INVALID" {
                // A library that compresses differently now: its result is what counts.
            }
        }
        let source = UploadSource(digest: nil, size: nil, write: write)
        let (digest, size) = try uploader.putStream(source) { progress(.pushing($0, total: layer.size)) }
        let type = compression == .gzip ? MediaType.ociLayerGzip : MediaType.ociLayerZstd
        let descriptor = ContentDescriptor(mediaType: type, digest: digest, size: size)
        try store.rememberForm(descriptor, of: layer.diffID, form)
        progress(.pushed)
        return descriptor
    }

    /// Puts configuration and manifest there, under a tag. Answers what the tag is now. Blocks.
    public func finish(_ image: PushableImage, _ layers: [ContentDescriptor], tag: String) throws -> ContentDescriptor {
        do {
            TransferCrashPoint.pushLayers.reach()
            let configBytes = image.configBytes
            let config = UploadSource(digest: image.id, size: Int64(configBytes.count)) { sink in
                try configBytes.withUnsafeBytes { try sink.write($0) }
            }
            _ = try uploader.put(config, digest: image.id, size: Int64(configBytes.count), candidates: []) { _ in }
            var descriptor: ContentDescriptor
            if layers == image.manifest.layers {
                descriptor = try putManifest(image.manifestBytes, image.manifest.mediaType, tag)
            } else {
                var manifest = image.manifest
                manifest.layers = layers
                do { descriptor = try putManifest(manifest.json, manifest.mediaType, tag) } catch let refusal as RegistryRefusal
                    where [400, 415].contains(refusal.status) && compression == .gzip
                    && manifest.mediaType == MediaType.ociManifest
                {
                    // A registry from before OCI's types.
                    let docker = Self.docker(manifest)
                    descriptor = try putManifest(docker.json, docker.mediaType, tag)
                }
            }
            TransferCrashPoint.pushManifest.reach()
            try store.remember(layers.map(\.digest), in: session.repository, of: session.domain)
            return descriptor
        } catch { throw RegistryFaults.fault(error, "pushing \(session.domain)/\(session.repository):\(tag)") }
    }

    private static func docker(_ manifest: ImageManifest) -> ImageManifest {
        var docker = manifest
        docker.mediaType = MediaType.dockerManifest
        docker.config.mediaType = MediaType.dockerConfig
        for index in docker.layers.indices { docker.layers[index].mediaType = MediaType.dockerLayerGzip }
        return docker
    }

    private func putManifest(_ bytes: [UInt8], _ type: String, _ tag: String) throws -> ContentDescriptor {
        try session.putManifest(bytes, type, as: tag, cancellation)
    }
}

extension RegistrySession {
    /// Puts a document there, under a tag or its digest.
    func putManifest(_ bytes: [UInt8], _ type: String, as reference: String, _ cancellation: WireCancellation?) throws
        -> ContentDescriptor
    {
        let digest = try ContentHash.digest(of: bytes)
        let answer = try request(
            RegistryRequest("PUT", "\(repository)/manifests/\(reference)", fields: ["Content-Type": type], body: .bytes(bytes)),
            cancellation)
        guard answer.status == 201 || answer.status == 200 else { throw RegistryRefusal(answer) }
        if let said = answer["Docker-Content-Digest"].flatMap({ Digest($0) }), said.algorithm == .sha256, said != digest {
            throw Fault(.system, "the registry took the manifest \(digest) and says that it is \(said)")
        }
        answer.discard()
        return ContentDescriptor(mediaType: type, digest: digest, size: Int64(bytes.count))
    }
}
