import Archive
import Linux
import Model
import State

/// Contents that come from elsewhere, one at a time. Made for one content and used by one thread, but for `cancel`.
public protocol ContentFetcher: Sendable {
    /// The content's bytes from an offset on; it goes on by itself after a cut. Ends with as many bytes as the descriptor says, or throws.
    func open(_ descriptor: ContentDescriptor, from offset: Int64) throws -> any ByteSource
    /// What is open ends soon; another `open` begins anew. From any thread.
    func interrupt()
    /// What came was not the content that was asked for: whoever sent it in another's place is not asked again. False when there is
    /// nobody else to ask.
    func distrust() -> Bool
    /// Nobody wants it any more: what waits ends soon. From any thread.
    func cancel()
}

extension ContentFetcher {
    public func interrupt() {}
    public func distrust() -> Bool { false }
}

/// An image as a registry describes it, checked by nobody yet but for the documents' digests.
public struct RemoteImage: Sendable {
    public var manifest: ImageManifest
    public var manifestDigest: Digest
    public var manifestBytes: [UInt8]
    public var configBytes: [UInt8]
    /// Names that it gets.
    public var tags: [Reference] = []
    /// Names with a digest.
    public var digests: [Reference] = []

    public init(manifest: ImageManifest, manifestDigest: Digest, manifestBytes: [UInt8], configBytes: [UInt8]) {
        self.manifest = manifest
        self.manifestDigest = manifestDigest
        self.manifestBytes = manifestBytes
        self.configBytes = configBytes
    }
}

/// What happens to a layer of a pull.
public enum LayerStage: Sendable, Equatable {
    /// It is here already.
    case exists
    /// It waits for its turn.
    case waiting
    /// So many bytes of the compressed content are here.
    case downloading(Int64)
    /// All bytes are here and have the digest; files are still being unpacked.
    case extracting
    case complete
}

extension ImageStore {
    /// Fetches what is missing of an image and stores it. Success means that the image and its names survive a power cut. What was
    /// received before a fault or a cancellation stays for the next attempt (`blobs/partial`).
    /// - Parameters:
    ///   - fetcher: makes one for each content.
    ///   - progress: told by the layer's position in the manifest, from any thread.
    public func pull(
        _ image: RemoteImage, caller: Caller, fetcher: @escaping @Sendable () -> any ContentFetcher,
        progress: @escaping @Sendable (Int, LayerStage) -> Void
    ) async throws -> ImageRecord {
        let config = try ImageConfig.read(image.configBytes)
        let layers = image.manifest.layers
        guard config.diffIDs.count == layers.count else {
            throw Fault(
                .invalid,
                "invalid manifest: it has \(layers.count) layers, and its configuration describes \(config.diffIDs.count)")
        }
        // A layer that goes away between our look and the commit is fetched in a second round.
        do { return try await pullOnce(image, config, caller, fetcher, progress) } catch let fault as Fault
            where fault.kind == .unavailable && fault.message == Self.removedMeanwhile
        { return try await pullOnce(image, config, caller, fetcher, progress) }
    }

    private func pullOnce(
        _ image: RemoteImage, _ config: ImageConfig, _ caller: Caller, _ fetcher: @escaping @Sendable () -> any ContentFetcher,
        _ progress: @escaping @Sendable (Int, LayerStage) -> Void
    ) async throws -> ImageRecord {
        // What is found here stays until the image has it.
        try await leased("pull") { hold in try await pullHolding(hold, image, config, caller, fetcher, progress) }
    }

    private func pullHolding(
        _ hold: StoreLease, _ image: RemoteImage, _ config: ImageConfig, _ caller: Caller,
        _ fetcher: @escaping @Sendable () -> any ContentFetcher, _ progress: @escaping @Sendable (Int, LayerStage) -> Void
    ) async throws -> ImageRecord {
        let leases = LayerLeases()
        defer { leases.release() }
        var places: [Int: NewLayer] = [:]
        var missing: [Int] = []
        for (index, descriptor) in image.manifest.layers.enumerated() {
            if let known = try known(descriptor, config.diffIDs[index], hold) {
                places[index] = known
                progress(index, .exists)
            } else {
                missing.append(index)
                progress(index, .waiting)
            }
        }
        let wanted = missing
        let fetched = try await withThrowingTaskGroup(of: (Int, NewLayer).self) { group in
            var next = wanted.makeIterator()
            func add() {
                guard let index = next.next() else { return }
                group.addTask { [self] in
                    let layer = try await layer(image.manifest.layers[index], config.diffIDs[index], leases, fetcher) {
                        progress(index, $0)
                    }
                    return (index, layer)
                }
            }
            for _ in 0..<fetches.width { add() }
            var found: [Int: NewLayer] = [:]
            while let (index, layer) = try await group.next() {
                found[index] = layer
                add()
            }
            return found
        }
        places.merge(fetched) { $1 }
        var new = try NewImage(
            configBytes: image.configBytes, layers: image.manifest.layers.indices.compactMap { places[$0] })
        new.manifest = NewManifest(
            digest: image.manifestDigest, bytes: image.manifestBytes, mediaType: image.manifest.mediaType)
        new.tags = image.tags
        new.digests = image.digests
        new.partials = image.manifest.layers.map(\.digest)
        TransferCrashPoint.pullFetched.reach()
        try await inWorkshop("pull") { workshop in try await store([new], workshop: workshop, caller: caller) }
        TransferCrashPoint.pullStored.reach()
        for index in image.manifest.layers.indices { progress(index, .complete) }
        return try self.image(new.id)
    }

    /// A layer that is here with just these bytes.
    private func known(_ descriptor: ContentDescriptor, _ diffID: Digest, _ hold: StoreLease) throws -> NewLayer? {
        let known = try database.write { transaction in
            let known = (try transaction.layer(diff: diffID), try transaction.blob(descriptor.digest))
            if let layer = known.0 { try hold.hold(layer, in: transaction) }
            if let blob = known.1 { try hold.hold(blob, in: transaction) }
            return known
        }
        if let blob = known.1, blob.size != descriptor.size {
            throw Fault(
                .invalid, "layer \(descriptor.digest) has \(blob.size) bytes, and its manifest says \(descriptor.size)",
                subject: descriptor.digest.description)
        }
        guard let row = known.0, known.1?.diffID == diffID, exists(layout.layerDiff(row.tree)) else { return nil }
        let blob = NewBlob(
            digest: descriptor.digest, size: descriptor.size, mediaType: descriptor.mediaType, file: nil, diffID: diffID)
        return NewLayer(place: .stored(row), blob: blob)
    }

    private func layer(
        _ descriptor: ContentDescriptor, _ diffID: Digest, _ leases: LayerLeases,
        _ fetcher: @escaping @Sendable () -> any ContentFetcher, _ progress: @escaping @Sendable (LayerStage) -> Void
    ) async throws -> NewLayer {
        let fetched = try await fetch(descriptor, leases, fetcher, progress)
        guard fetched.place.diffID == diffID else {
            throw Fault(
                .invalid,
                "layers from manifest don't match image configuration: layer \(descriptor.digest) is \(fetched.place.diffID) "
                    + "when uncompressed, and the configuration says \(diffID)", subject: descriptor.digest.description)
        }
        return NewLayer(place: fetched.place, blob: fetched.blob)
    }

    private func fetch(
        _ descriptor: ContentDescriptor, _ leases: LayerLeases, _ fetcher: @escaping @Sendable () -> any ContentFetcher,
        _ progress: @escaping @Sendable (LayerStage) -> Void
    ) async throws -> FetchedLayer {
        let lease = fetches.join(descriptor, self, fetcher)
        leases.add(lease)
        do { return try await lease.wait(progress) } catch {
            if lease.isOwner || error is CancellationError || Task.isCancelled { throw error }
        }
        // Somebody else's attempt failed: perhaps by their registry or their credentials. Now by ours.
        let own = fetches.join(descriptor, self, fetcher)
        leases.add(own)
        return try await own.wait(progress)
    }
}
