import Archive
import Linux
import Model

extension ImageStore {
    /// A root file system as a tar (plain, gzip, zstd, xz, bzip2, lz4) becomes an image of one layer, in one pass.
    /// On failure nothing is left.
    public func importRootfs(
        _ source: sending any ByteSource, _ request: ImportRequest, caller: Caller,
        progress: @escaping @Sendable (ImageProgress) -> Void = { _ in }
    ) async throws -> ImageRecord {
        let settings = try ImageChanges.apply(request.changes, to: ImageSettings())
        let handed = Handed(value: source)
        return try await inWorkshop("import") { workshop in
            let image = try await onThread { [privilege] in
                try Self.image(handed.value, request, settings, LayerBuilder(privilege: privilege), workshop, progress)
            }
            try await store([image], workshop: workshop, caller: caller)
            return try self.image(image.id)
        }
    }

    private static func image(
        _ source: any ByteSource, _ request: ImportRequest, _ settings: ImageSettings, _ builder: LayerBuilder,
        _ workshop: Workshop, _ progress: @escaping (ImageProgress) -> Void
    ) throws -> NewImage {
        let counted = CountingSource(source) { progress(.received(bytes: $0)) }
        let layer = try builder.build(counted, folder: workshop.file("layer"))
        guard layer.tarSize > 0 else { throw Fault(.invalid, "the archive is empty") }
        progress(.layer(diffID: layer.diffID, size: layer.size))
        var config = ImageConfig()
        let platform = request.platform ?? .host
        config.architecture = platform.architecture
        config.os = platform.os
        config.variant = request.platform?.variant ?? ""
        config.created = Timestamp(nanoseconds: Clock.realtime)
        config.comment = request.message.isEmpty ? "Imported from -" : request.message
        config.settings = settings
        config.diffIDs = [layer.diffID]
        config.history = [ImageHistory(created: config.created, comment: config.comment)]
        var image = try NewImage(configBytes: config.json, layers: [NewLayer(place: .built(layer))])
        image.tags = request.reference.map { [$0.withDefaultTag] } ?? []
        return image
    }
}

/// Tells how many bytes have passed.
final class CountingSource: ByteSource {
    private let source: any ByteSource
    private let observe: (Int64) -> Void
    private var count: Int64 = 0
    private var told: Int64 = 0

    /// `observe` is told about once in a megabyte.
    init(_ source: any ByteSource, _ observe: @escaping (Int64) -> Void) {
        self.source = source
        self.observe = observe
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let got = try source.read(into: buffer)
        count += Int64(got)
        if count - told >= 1 << 20 || got == 0 {
            told = count
            observe(count)
        }
        return got
    }

    func abandon() { source.abandon() }
}
