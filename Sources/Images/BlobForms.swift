import Archive
import Linux
import Model
import State

/// Which compressed contents of layers keep a file of their own beside the unpacked layer.
public enum KeepBlobs: String, Sendable, CaseIterable {
    /// All, as they came.
    case all
    /// Those that cannot be made again bit by bit from the unpacked layer.
    case needed
    /// Of those only the ones that no registry hands out to anybody.
    case minimal
}

/// What became of contents that have no file any more, and how they are read.
extension ImageStore {
    /// Writes a content, from its file, made again from its layer or fetched again; verified against its digest.
    func writeContent(_ blob: BlobRow, to sink: any ByteSink) throws {
        let hashing = HashingSink(sink, blob.digest.algorithm)
        if blob.hasFile {
            guard let file = try openFile(blob) else {
                // Its file was dropped since the row was read.
                if blob.diffID != nil, let now = try database.read({ try $0.blob(blob.digest) }), !now.hasFile {
                    return try writeContent(now, to: sink)
                }
                throw Fault(
                    .system, "the file of the stored content \(blob.digest) is missing", subject: blob.digest.description)
            }
            try DescriptorSource(file).copy(to: hashing)
        } else if blob.tree != nil {
            try remake(blob, to: hashing)
        } else {
            return try writeFetched(blob, to: sink)
        }
        let digest = try hashing.hash.finish()
        guard digest == blob.digest else {
            throw Fault(
                .system, "the stored content \(blob.digest) is damaged (it is \(digest) now)", subject: blob.digest.description)
        }
    }

    private func openFile(_ blob: BlobRow) throws -> Descriptor? {
        do { return try Descriptor.open(layout.blob(blob.digest), [.read]) } catch let fault as KernelFault where fault.isAbsent
        {
            return nil
        }
    }

    /// Makes a content from its layer. The caller compares the digest.
    func remake(_ blob: BlobRow, record: String? = nil, threads: Int = Processors.online, to sink: any ByteSink) throws {
        guard let tree = blob.tree else { throw Fault(.system, "\(blob.digest) is not made of a layer") }
        let tar = LayerRebuilder(folder: layout.layerFolder(tree), recipe: layout.layerRecipe(tree))
        guard blob.hasRecord else { return try tar.write(to: sink) }
        let remaker = try GzipRemaker(sink, record: record ?? layout.blobRecord(blob.digest), threads: threads)
        try tar.write(to: remaker)
        try remaker.finish()
    }

    /// Fetches a content that has no file into one for as long as it takes to pass it on, so that nobody sees a byte that was not
    /// verified.
    private func writeFetched(_ blob: BlobRow, to sink: any ByteSink) throws {
        let workshop = try openWorkshop("fetch")
        defer { clearLater(workshop) }
        try fetch(blob, to: workshop)
        try DescriptorSource(try Descriptor.open(workshop.file("content"), [.read])).copy(to: sink)
    }

    /// Brings a content from where it can be had into a file `content`, verified.
    /// - Parameter wanted: how to fetch it; nil is the engine's own way.
    func fetch(_ blob: BlobRow, to workshop: Workshop, by wanted: Refetch? = nil) throws {
        guard let refetch = wanted ?? refetch.withLock({ $0 }) else {
            throw Fault(.unsupported, "this engine has no registry client that could fetch it")
        }
        let places = try places(of: blob)
        guard !places.isEmpty else {
            throw Fault(
                .notFound, "no name of an image says where content \(blob.digest.short) came from",
                subject: blob.digest.description)
        }
        let descriptor = ContentDescriptor(mediaType: blob.mediaType, digest: blob.digest, size: blob.size)
        var last: (any Error)?
        // One repository after the other: names go and registries rest, the digest decides.
        for place in places {
            do {
                try fetch(descriptor, from: try refetch(place), to: workshop.file("content"))
                return
            } catch { last = error }
        }
        throw Fault(
            .unavailable,
            "content \(blob.digest.short) could not be fetched from \(places.map(\.familiarName).joined(separator: ", "))",
            subject: blob.digest.description, cause: last)
    }

    /// Where a content is known to have been, by what is most sure.
    private func places(of blob: BlobRow) throws -> [Reference] {
        let names = try database.read { transaction in
            try [blob.origin].compactMap { $0 } + transaction.contentPlaces(blob.digest)
                + transaction.images(withBlob: blob.digest).flatMap { id in
                    try transaction.digestNames(ofImage: id) + transaction.tags(ofImage: id)
                }
        }
        var found: [Reference] = []
        for name in names {
            guard let reference = try? Reference(name), !found.contains(where: { $0.name == reference.name }) else { continue }
            found.append(reference)
        }
        return found
    }

    private func fetch(_ descriptor: ContentDescriptor, from fetcher: any ContentFetcher, to path: String) throws {
        while true {
            do { return try fetchOnce(descriptor, from: fetcher, to: path) } catch let fault as Fault
                where fault.kind == .invalid && fetcher.distrust()
            {}
        }
    }

    private func fetchOnce(_ descriptor: ContentDescriptor, from fetcher: any ContentFetcher, to path: String) throws {
        let source = try fetcher.open(descriptor, from: 0)
        let file = try Descriptor.open(path, [.write, .create, .truncate], permissions: 0o600)
        // A content that goes on and on is cut where its size ends.
        let hashing = HashingSink(LimitedSink(DescriptorSink(file), limit: descriptor.size), descriptor.digest.algorithm)
        try source.copy(to: hashing)
        let found = try hashing.hash.finish()
        guard found == descriptor.digest else {
            throw Fault(
                .invalid, "what came for \(descriptor.digest) has the digest \(found)", subject: descriptor.digest.description)
        }
    }

    /// Whether a registry hands the content out to anybody: its last byte is asked for.
    func place(handingOut blob: BlobRow) throws -> Reference? {
        guard let refetch = refetch.withLock({ $0 }), blob.size > 0 else { return nil }
        let descriptor = ContentDescriptor(mediaType: blob.mediaType, digest: blob.digest, size: blob.size)
        let byte = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 1)
        defer { byte.deallocate() }
        for place in try places(of: blob) {
            if let fetcher = try? refetch(place), let source = try? fetcher.open(descriptor, from: blob.size - 1),
                (try? source.read(into: byte)) == 1
            {
                source.abandon()
                return place
            }
        }
        return nil
    }
}
