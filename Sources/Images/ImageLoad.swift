import Archive
import JSON
import Linux
import Model
import State

extension ImageStore {
    /// Images from a docker archive (`docker save`) or an OCI layout in a tar, compressed or not. All of them or none.
    /// Progress ends with one `.loaded` per name or nameless image.
    /// - Parameter platform: only images for it; nil takes what is for this machine where there is a choice.
    public func load(
        _ source: sending any ByteSource, platform: ImagePlatform? = nil, caller: Caller,
        progress: @escaping @Sendable (ImageProgress) -> Void = { _ in }
    ) async throws -> [ImageRecord] {
        let handed = Handed(value: source)
        let images = try await inWorkshop("load") { workshop in
            let images = try await onThread { [self] in
                let counted = CountingSource(handed.value) { progress(.received(bytes: $0)) }
                let archive = ImageArchive(store: self, workshop: workshop, platform: platform, progress: progress)
                do {
                    try archive.read(counted)
                    return try archive.images()
                } catch {
                    counted.abandon()
                    throw imageFault(error)
                }
            }
            try await store(images, workshop: workshop, caller: caller)
            return images
        }
        for image in images {
            if image.tags.isEmpty { progress(.loaded(id: image.id, name: nil)) }
            for tag in image.tags { progress(.loaded(id: image.id, name: tag)) }
        }
        var seen: Set<Digest> = []
        return try images.filter { seen.insert($0.id).inserted }.map { try image($0.id) }
    }
}

/// The content of an archive of images, read in one pass: what looks like a layer is unpacked as it streams by, whatever it
/// turns out to belong to; what looks like JSON is kept in memory; the documents then say what is what.
final class ImageArchive {
    private let store: ImageStore
    private let workshop: Workshop
    private let progress: (ImageProgress) -> Void
    /// Nil: nobody named one.
    private let platform: ImagePlatform?
    private var documents: [String: [UInt8]] = [:]
    private var documentBytes = 0
    private var layers: [String: FoundLayer] = [:]
    private var links: [String: String] = [:]
    private var count = 0

    /// All JSON documents of an archive together.
    private static let documentLimit = 64 << 20

    struct FoundLayer {
        var place: NewLayer.Place
        /// Digest and size of the entry itself.
        var digest: Digest
        var size: Int64
        var compression: Compression
        /// The compressed bytes in the workshop.
        var file: String?
    }

    init(
        store: ImageStore, workshop: Workshop, platform: ImagePlatform?, progress: @escaping (ImageProgress) -> Void
    ) {
        self.store = store
        self.platform = platform
        self.workshop = workshop
        self.progress = progress
    }

    // MARK: Reading

    func read(_ source: any ByteSource) throws {
        let reader = TarReader(Decompressor(source))
        while let entry = try reader.next() {
            guard let parts = PathCleaning.components(entry.path) else {
                throw Fault(.invalid, "archive entry \"\(entry.shownPath)\": it leads out of the archive")
            }
            let path = String(decoding: Array(parts.joined(separator: [0x2F])), as: UTF8.self)
            switch entry.kind {
            case .file: try file(path, entry, reader)
            // Older `docker save` writes a layer that several images share once, and links to it.
            case .symlink:
                let folder = parts.dropLast()
                let target = Array((folder + [entry.linkTarget]).joined(separator: [0x2F]))
                if let clean = PathCleaning.components(target) { links[path] = Self.text(clean) }
            case .hardLink:
                if let clean = PathCleaning.components(entry.linkTarget) { links[path] = Self.text(clean) }
            default: continue
            }
        }
    }

    private static func text(_ parts: [PathBytes]) -> String {
        String(decoding: Array(parts.joined(separator: [0x2F])), as: UTF8.self)
    }

    private func file(_ path: String, _ entry: TarEntry, _ reader: TarReader) throws {
        let content = PeekingSource(reader.content())
        let start = try content.peek(512)
        let expected = Self.digest(ofBlob: path)
        switch Self.kind(start, size: entry.size) {
        case .document:
            documentBytes += Int(entry.size)
            guard entry.size <= 8 << 20, documentBytes <= Self.documentLimit else {
                throw Fault(
                    .invalid, "archive entry \"\(path)\": a JSON document of \(entry.size) bytes is too large", subject: path)
            }
            let bytes = try Self.all(content)
            if let expected { try Self.verify(path, expected, try ContentHash.digest(of: bytes, expected.algorithm)) }
            documents[path] = bytes
        case .layer(let compression):
            layers[path] = try layer(path, content, compression, expected, entry.size)
        case .other:
            guard let expected else { return }
            let hash = HashingSource(content, expected.algorithm)
            try Self.drain(hash)
            try Self.verify(path, expected, try hash.hash.finish())
        }
    }

    private enum Kind {
        case document
        case layer(Compression)
        case other
    }

    private static func kind(_ start: [UInt8], size: Int64) -> Kind {
        let compression = Compression.detect(start)
        if compression != .none { return .layer(compression) }
        if start.count == 512, TarProbe.isHeader(start) { return .layer(.none) }
        // The empty layer: nothing but end markers
        if size >= 1024, size % 512 == 0, size <= 10240, start.allSatisfy({ $0 == 0 }) { return .layer(.none) }
        let first = start.first { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 }
        return first == UInt8(ascii: "{") || first == UInt8(ascii: "[") ? .document : .other
    }

    /// `blobs/sha256/<hex>` says what its content must be.
    private static func digest(ofBlob path: String) -> Digest? {
        let parts = path.split(separator: "/")
        guard parts.count == 3, parts[0] == "blobs" else { return nil }
        return Digest(parts[1] + ":" + parts[2])
    }

    private static func verify(_ path: String, _ expected: Digest, _ found: Digest) throws {
        guard expected == found else {
            throw Fault(
                .invalid, "archive entry \"\(path)\": its content does not match its digest (it is \(found))", subject: path)
        }
    }

    private func layer(
        _ path: String, _ content: any ByteSource, _ compression: Compression, _ expected: Digest?, _ size: Int64
    ) throws -> FoundLayer {
        let hashing = HashingSource(content, expected?.algorithm ?? .sha256)
        // A layer that is here already needs no unpacking, only the proof that it is the same.
        if let expected, let known = try stored(expected) {
            try Self.drain(hashing)
            try Self.verify(path, expected, try hashing.hash.finish())
            return FoundLayer(place: .stored(known), digest: expected, size: size, compression: compression, file: nil)
        }
        count += 1
        let builder = LayerBuilder(privilege: store.privilege)
        var source: any ByteSource = hashing
        var file: String?
        if compression != .none {
            let name = workshop.file("blob-\(count)")
            file = name
            source = TeeSource(
                hashing, DescriptorSink(try Descriptor.open(name, [.write, .create, .exclusive], permissions: 0o600)))
        }
        let built: BuiltLayer
        do { built = try builder.build(source, folder: workshop.file("layer-\(count)")) } catch {
            throw imageFault(error, "layer \(path)")
        }
        try Self.drain(source)
        let digest = try hashing.hash.finish()
        if let expected { try Self.verify(path, expected, digest) }
        progress(.layer(diffID: built.diffID, size: built.size))
        return FoundLayer(place: .built(built), digest: digest, size: size, compression: compression, file: file)
    }

    private func stored(_ digest: Digest) throws -> LayerRow? {
        try store.database.write { transaction in
            guard let blob = try transaction.blob(digest), let diffID = blob.diffID,
                let layer = try transaction.layer(diff: diffID)
            else { return nil }
            // Until the image has it: the last other one may be removed meanwhile.
            try workshop.lease?.hold(layer, in: transaction)
            try workshop.lease?.hold(blob, in: transaction)
            return layer
        }
    }

    private static func all(_ source: any ByteSource) throws -> [UInt8] {
        let sink = MemorySink(limit: 8 << 20)
        try source.copy(to: sink)
        return sink.bytes
    }

    private static func drain(_ source: any ByteSource) throws { try source.copy(to: NullSink()) }

    // MARK: Making sense of it

    /// The images that the documents describe, complete and checked.
    func images() throws -> [NewImage] {
        let images = try described()
        guard let platform else { return images }
        let choice = PlatformChoice(platform)
        let wanted = images.filter { choice.accepts($0.config.platform) }
        guard !wanted.isEmpty else {
            let others = Set(images.map { PlatformChoice($0.config.platform).text }).sorted().joined(separator: ", ")
            throw Fault(
                .notFound,
                "the archive has no image for \(choice.text)" + (others.isEmpty ? "" : ", it has one for \(others)"),
                subject: choice.text)
        }
        return wanted
    }

    private func described() throws -> [NewImage] {
        let manifests = try indexed()
        if let bytes = documents["manifest.json"] {
            let entries: [DockerArchiveImage]
            do {
                entries = try [DockerArchiveImage](json: bytes, limits: ManifestDocument.limits)
            } catch let fault as JSONFault { throw Fault(.invalid, "manifest.json: \(fault)") }
            guard !entries.isEmpty else { throw Fault(.invalid, "manifest.json names no image") }
            return try entries.map { try dockerImage($0, manifests) }
        }
        guard documents["index.json"] != nil else {
            throw Fault(
                .invalid,
                "the archive is no image: it has neither manifest.json (docker save) nor index.json (OCI layout); "
                    + "for a root file system use import")
        }
        guard !manifests.isEmpty || platform != nil else {
            throw Fault(.invalid, "index.json names no image for this machine")
        }
        var images: [NewImage] = []
        for found in manifests {
            // The same image under several names is one image with several names.
            var image = try ociImage(found)
            if let index = images.firstIndex(where: { $0.id == image.id }) {
                images[index].tags += image.tags.filter { !images[index].tags.contains($0) }
            } else {
                image.tags = found.name.map { [$0] } ?? []
                images.append(image)
            }
        }
        return images
    }

    private func dockerImage(_ entry: DockerArchiveImage, _ manifests: [FoundManifest]) throws -> NewImage {
        guard let configBytes = document(entry.config) else {
            throw Fault(.invalid, "manifest.json names the configuration \"\(entry.config)\", which the archive does not have")
        }
        let digest = try ContentHash.digest(of: configBytes)
        let manifest = manifests.first { $0.manifest.config.digest == digest }
        var layers: [NewLayer] = []
        for (index, path) in entry.layers.enumerated() {
            guard let found = layer(path) else {
                throw Fault(.invalid, "manifest.json names the layer \"\(path)\", which the archive does not have")
            }
            var layer = NewLayer(place: found.place)
            if let manifest, manifest.manifest.layers.indices.contains(index) {
                layer.blob = blob(found, manifest.manifest.layers[index])
            }
            layers.append(layer)
        }
        var image = try NewImage(configBytes: configBytes, layers: layers)
        if let manifest, Self.fits(manifest, layers) { image.manifest = manifest.document }
        if image.manifest == nil { for index in image.layers.indices { image.layers[index].blob = nil } }
        try check(image)
        image.tags = try entry.repoTags.map { text in
            do { return try Reference(text).withDefaultTag } catch {
                throw Fault(.invalid, "manifest.json: invalid tag \"\(text.prefix(300))\"")
            }
        }
        return image
    }

    private func ociImage(_ found: FoundManifest) throws -> NewImage {
        guard let configBytes = blob(found.manifest.config.digest) else {
            throw Fault(.invalid, "the archive does not have the configuration \(found.manifest.config.digest)")
        }
        var layers: [NewLayer] = []
        for descriptor in found.manifest.layers {
            guard let layer = self.layer(Self.path(descriptor.digest)) else {
                throw Fault(.invalid, "the archive does not have the layer \(descriptor.digest)")
            }
            layers.append(NewLayer(place: layer.place, blob: blob(layer, descriptor)))
        }
        var image = try NewImage(configBytes: configBytes, layers: layers)
        image.manifest = found.document
        try check(image)
        return image
    }

    /// The layer's content as the manifest names it.
    private func blob(_ found: FoundLayer, _ descriptor: ContentDescriptor) -> NewBlob? {
        guard found.digest == descriptor.digest else { return nil }
        let diffID: Digest =
            switch found.place {
            case .built(let layer): layer.diffID
            case .stored(let row): row.diffID
            }
        return NewBlob(
            digest: found.digest, size: found.size, mediaType: descriptor.mediaType, file: found.file, diffID: diffID)
    }

    /// Whether each of the manifest's contents is the layer of the same position.
    private static func fits(_ found: FoundManifest, _ layers: [NewLayer]) -> Bool {
        found.manifest.layers.count == layers.count
            && zip(found.manifest.layers, layers).allSatisfy { $0.digest == ($1.blob?.digest ?? $1.diffID) }
    }

    /// The configuration must describe just these layers.
    private func check(_ image: NewImage) throws {
        guard image.config.os.isEmpty || image.config.os == "linux" else {
            throw Fault(.unsupported, "cannot load \(image.config.os) image on linux")
        }
        guard image.config.diffIDs.count == image.layers.count else {
            throw Fault(
                .invalid,
                "invalid manifest, layers length mismatch: expected \(image.config.diffIDs.count), got "
                    + "\(image.layers.count)")
        }
        for (index, layer) in image.layers.enumerated() where layer.diffID != image.config.diffIDs[index] {
            throw Fault(
                .invalid,
                "invalid diffID for layer \(index): expected \"\(image.config.diffIDs[index])\", got \"\(layer.diffID)\"")
        }
    }

    // MARK: Documents

    private struct FoundManifest {
        var manifest: ImageManifest
        var document: NewManifest
        var name: Reference?
    }

    /// The image manifests that index.json leads to, for this machine where there is a choice.
    private func indexed() throws -> [FoundManifest] {
        guard let bytes = documents["index.json"] else { return [] }
        guard case .index(let index) = try ManifestDocument(bytes, mediaType: nil) else {
            throw Fault(.invalid, "index.json is no image index")
        }
        var found: [FoundManifest] = []
        for descriptor in index.manifests { try collect(descriptor, name: name(descriptor), depth: 0, &found) }
        return found
    }

    private func collect(_ descriptor: ContentDescriptor, name: Reference?, depth: Int, _ found: inout [FoundManifest]) throws {
        guard depth < 4, let bytes = blob(descriptor.digest) else { return }
        // Artifacts and attestations lie beside the images.
        if descriptor.artifactType != nil || descriptor.annotations["vnd.docker.reference.type"] != nil { return }
        switch try ManifestDocument(bytes, mediaType: descriptor.mediaType.isEmpty ? nil : descriptor.mediaType) {
        case .index(let index):
            // An archive need not have every image that its index names.
            let images = index.manifests.filter {
                $0.annotations["vnd.docker.reference.type"] == nil && blob($0.digest) != nil
            }
            let matching =
                platform.map { PlatformChoice($0).best(images).map { [$0] } ?? [] }
                ?? images.filter { $0.platform.map(Self.isHost) ?? true }
            for child in matching.isEmpty && platform == nil ? images : matching {
                try collect(child, name: name, depth: depth + 1, &found)
            }
        case .manifest(let manifest):
            guard manifest.config.mediaType.isEmpty || MediaType.isConfig(manifest.config.mediaType) else { return }
            let document = NewManifest(digest: descriptor.digest, bytes: bytes, mediaType: manifest.mediaType)
            found.append(FoundManifest(manifest: manifest, document: document, name: name))
        }
    }

    private static func isHost(_ platform: ImagePlatform) -> Bool {
        platform.os == ImagePlatform.host.os && platform.architecture == ImagePlatform.host.architecture
    }

    /// containerd writes the full name; the OCI annotation may be a full name or only a tag (skopeo, umoci).
    private func name(_ descriptor: ContentDescriptor) throws -> Reference? {
        if let full = descriptor.annotations["io.containerd.image.name"] {
            return try Reference(full).withDefaultTag
        }
        guard let text = descriptor.annotations["org.opencontainers.image.ref.name"] else { return nil }
        guard text.contains("/") || text.contains(":") else { return nil }
        return try? Reference(text).withDefaultTag
    }

    private static func path(_ digest: Digest) -> String { "blobs/\(digest.algorithm.rawValue)/\(digest.hex)" }

    private func document(_ path: String) -> [UInt8]? {
        guard let clean = PathCleaning.components(Array(path.utf8)).map(Self.text) else { return nil }
        return documents[clean] ?? links[clean].flatMap { documents[$0] }
    }

    private func blob(_ digest: Digest) -> [UInt8]? { documents[Self.path(digest)] }

    private func layer(_ path: String) -> FoundLayer? {
        guard let clean = PathCleaning.components(Array(path.utf8)).map(Self.text) else { return nil }
        return layers[clean] ?? links[clean].flatMap { layers[$0] }
    }
}

final class NullSink: ByteSink {
    func write(_ bytes: UnsafeRawBufferPointer) {}
}
