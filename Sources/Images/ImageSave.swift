import Archive
import JSON
import Linux
import Model
import State

extension ImageStore {
    /// Writes a tar that is a docker archive and an OCI layout at once, as `docker save` does: contents are the same as they came.
    /// A name is saved with that name only, an id with none.
    public func save(_ names: [String], to sink: sending any ByteSink) async throws {
        guard !names.isEmpty else { throw Fault(.invalid, "no image to save was named") }
        let handed = Handed(value: sink)
        // Removed meanwhile, the images are still saved whole.
        try await leased("save") { lease in
            let images = try database.write { transaction in
                try names.map { name in
                    let image = try saved(name, transaction)
                    for blob in image.blobs { try lease.hold(blob, in: transaction) }
                    return image
                }
            }
            try await onThread { [self] in
                do { try ImageArchiveWriter(store: self, sink: handed.value).write(images) } catch { throw imageFault(error) }
            }
        }
    }

    struct SavedImage: Sendable {
        var id: Digest
        var config: [UInt8]
        var created: Timestamp?
        var manifest: ContentDescriptor
        var blobs: [BlobRow]
        var tag: Reference?
    }

    private func saved(_ text: String, _ transaction: borrowing Transaction) throws -> SavedImage {
        let id = try id(transaction, meant: text)
        guard let row = try transaction.image(id), let manifest = row.manifest, let blob = try transaction.blob(manifest) else {
            throw Self.missing(text)
        }
        var tag: Reference?
        if case .name(let reference, _) = try ImageQuery(text),
            try transaction.imageID(tag: reference.withDefaultTag.description) == id
        {
            tag = reference.withDefaultTag
        }
        let descriptor = ContentDescriptor(mediaType: blob.mediaType, digest: manifest, size: blob.size)
        return SavedImage(
            id: id, config: row.config, created: row.created, manifest: descriptor,
            blobs: try transaction.blobs(ofImage: id), tag: tag)
    }
}

/// Writes images as an archive.
private struct ImageArchiveWriter {
    let store: ImageStore
    let sink: any ByteSink

    func write(_ images: [ImageStore.SavedImage]) throws {
        let tar = TarWriter(sink)
        let content = TarContentSink(tar)
        var written: Set<Digest> = []
        for blob in images.flatMap(\.blobs) where written.insert(blob.digest).inserted {
            var entry = TarEntry(path: Array(Self.path(blob.digest).utf8), kind: .file, mode: 0o644)
            entry.size = blob.size
            try tar.begin(entry)
            try store.writeContent(blob, to: content)
        }
        var index = ImageIndex(manifests: [])
        var entries: [DockerArchiveImage] = []
        for image in images {
            var descriptor = image.manifest
            if let tag = image.tag {
                descriptor.annotations = [
                    "io.containerd.image.name": tag.description, "org.opencontainers.image.ref.name": tag.tag ?? "latest",
                ]
            }
            index.manifests.append(descriptor)
            guard let manifest = image.blobs.first(where: { $0.digest == image.manifest.digest }),
                case .manifest(let document) = try ManifestDocument(bytes(manifest))
            else { continue }
            let layers = document.layers.map { Self.path($0.digest) }
            if let known = entries.firstIndex(where: { $0.config == Self.path(image.id) }) {
                entries[known].repoTags += image.tag.map { [$0.familiar] } ?? []
            } else {
                entries.append(
                    DockerArchiveImage(
                        config: Self.path(image.id), repoTags: image.tag.map { [$0.familiar] } ?? [], layers: layers))
            }
        }
        try tar.file("index.json", index.json)
        try tar.file("manifest.json", entries.json)
        try tar.file("oci-layout", Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))
        try tar.finish()
    }

    private func bytes(_ blob: BlobRow) throws -> [UInt8] {
        let memory = MemorySink(limit: 8 << 20)
        try store.writeContent(blob, to: memory)
        return memory.bytes
    }

    private static func path(_ digest: Digest) -> String { "blobs/\(digest.algorithm.rawValue)/\(digest.hex)" }
}

/// The content of a tar's present entry as a sink.
private final class TarContentSink: ByteSink {
    private let tar: TarWriter
    init(_ tar: TarWriter) { self.tar = tar }
    func write(_ bytes: UnsafeRawBufferPointer) throws { try tar.content(bytes) }
}
