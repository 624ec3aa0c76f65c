import Archive
import Linux
import Model
import State
import Synchronization

/// Images of one engine: contents by digest, unpacked layers, names, and who holds what.
///
/// Reading methods are answered from the state file in microseconds and may be called from an actor. What touches contents runs
/// on threads of its own. Success of a method that changes something means that it survives a power cut.
///
/// On the disk: `layers/<id>/diff` is a layer as overlayfs wants it, `layers/<id>/recipe` what it takes to make its tar again
/// bit by bit, `blobs/<algorithm>/<hex>` every other content. A folder or file there belongs to exactly one record, or to work
/// in progress under `tmp/image-*`; what a crash leaves is removed by `recover`.
public final class ImageStore: Sendable {
    /// Layers that one overlay may have (kernel, OVL_MAX_STACK).
    static let maximumStack = 500

    public let layout: Layout
    let database: Database
    let privilege: LayerPrivilege
    /// How containers' roots are made of the layers.
    public let driver: any LayerDriver
    /// Folders that are being deleted.
    let trash = Monitor(0)
    /// Held while folders and files move into or out of their places together with their records.
    let gate = Gate()
    /// Contents that are being fetched.
    let fetches = LayerFetches()
    /// This run of the engine: leases of others are void.
    let incarnation = ObjectID.random()
    /// Names of folders below `Layout.temporary` that work of this engine owns, and what it is.
    let workshops = Mutex<[String: String]>([:])

    /// From where contents are fetched again: a fetcher for a name's repository.
    let refetch = Mutex<Refetch?>(nil)
    public typealias Refetch = @Sendable (Reference) throws -> any ContentFetcher
    /// Contents that registries were asked about in vain by this engine.
    let unfetchable = Mutex(Set<Digest>())

    /// Makes the folders. Call `recover` before anything else is started.
    /// - Parameters:
    ///   - privilege: `.user` for an engine that is not root.
    ///   - storageDriver: `overlay2`, `btrfs`, `copy`; nil chooses by what the data root's file system can.
    public init(
        layout: Layout, database: Database, privilege: LayerPrivilege = .root, storageDriver: String? = nil
    ) throws {
        self.layout = layout
        self.database = database
        self.privilege = privilege
        let folders = [
            layout.blobFolder(.sha256), layout.blobFolder(.sha512), layout.partialBlobs, layout.blobRecords, layout.layers,
            layout.temporary,
        ]
        for folder in folders {
            do {
                try Descriptor.makeDirectories(folder, permissions: 0o700)
                try Descriptor.open(folder, [.read, .directory]).spreadFolders()
            } catch {
                throw Fault(.system, "cannot make the folder \(folder)", subject: folder, cause: error)
            }
        }
        driver = try LayerDrivers.choose(storageDriver, dataRoot: layout.dataRoot)
    }

    /// Takes away what a crash left behind: unfinished work, layers and contents that no record names. Nothing else may use the
    /// store meanwhile. The files themselves are deleted in the background.
    public func recover() async throws {
        try recoverArrived()
        let (trees, blobs, chains, records) = try database.write { [incarnation] transaction in
            try transaction.deleteLeases(butOf: incarnation)
            _ = try collectUnused(transaction)
            return (
                try transaction.layerTrees(), try transaction.blobFiles(), Set(try transaction.layers().map(\.chainID)),
                try transaction.recordedBlobs()
            )
        }
        try recoverPartials()
        try await onThread { [self] in
            var found = try Self.names(layout.temporary).filter { $0.hasPrefix(Workshop.prefix) }
                .map { layout.temporary + "/" + $0 }
            // Only what has the names that this store gives: anything else somebody put there.
            found += try Self.names(layout.layers).filter { Layout.isLayerTree($0) && !trees.contains($0) }
                .map(layout.layerFolder)
            if exists(layout.chains) {
                found += try Self.names(layout.chains).filter { Digest(.sha256, hex: $0).map(chains.contains) == false }
                    .map { layout.chains + "/" + $0 }
            }
            for algorithm in Digest.Algorithm.allCases {
                let folder = layout.blobFolder(algorithm)
                found += try Self.names(folder).filter { Digest(algorithm, hex: $0).map(blobs.contains) == false }
                    .map { folder + "/" + $0 }
            }
            found += try Self.names(layout.blobRecords).filter { Digest(fileName: $0).map(records.contains) == false }
                .map { layout.blobRecords + "/" + $0 }
            if !found.isEmpty { try waitForDisk() }
            try discard(found)
        }
    }

    /// A power cut must not bring records back whose files are gone.
    private func waitForDisk() throws { try Descriptor.open(layout.dataRoot, [.read, .directory]).syncFileSystem() }

    static func names(_ folder: String) throws -> [String] {
        try Descriptor.open(folder, [.read, .directory]).names().map { String(decoding: $0, as: UTF8.self) }
    }

    /// Moves files and folders out of sight and deletes them on a thread in the background: ten thousand files may take many
    /// seconds. What a crash leaves is found by `recover`.
    func discard(_ paths: [String]) throws {
        if paths.isEmpty { return }
        for path in paths where path.hasPrefix(layout.chains) && exists(path) { driver.release(chain: path) }
        let workshop: Workshop
        do { workshop = try openWorkshop("removal") } catch let fault as Fault where fault.kind == .unavailable {
            // Not even a folder can be made: then where they are, at once. What a crash leaves of them has no record.
            for path in paths { removeFolder(path) }
            return
        }
        for (index, path) in paths.enumerated() where exists(path) {
            do { try moveFolder(path, to: workshop.file(String(index))) } catch let fault as KernelFault where fault.isDiskFull
            {
                removeFolder(path)
            }
            StoreCrashPoint.discarding.reach()
        }
        StoreCrashPoint.discarded.reach()
        try clear(workshop)
    }

    /// A folder for unfinished work, known to be this engine's.
    func openWorkshop(_ purpose: String, lease: StoreLease? = nil) throws -> Workshop {
        let name = Workshop.prefix + (lease?.id ?? .random()).short
        workshops.withLock { $0[name] = purpose }
        do { return try Workshop(layout, name: name, lease: lease) } catch {
            workshops.withLock { $0[name] = nil }
            throw imageFault(error)
        }
    }

    private func remove(_ workshop: Workshop) {
        workshop.remove()
        workshops.withLock { $0[workshop.name] = nil }
    }

    /// Deletes a workshop in the background.
    private func clear(_ workshop: Workshop) throws {
        trash.update { $0 += 1 }
        do {
            try startThread { [self] in
                remove(workshop)
                trash.update { $0 -= 1 }
            }
        } catch {
            trash.update { $0 -= 1 }
            throw error
        }
    }

    /// The same from a thread that cannot do anything about a fault: what stays is found by `recover`.
    func clearLater(_ workshop: Workshop) { try? clear(workshop) }

    /// Work that needs a folder for what is unfinished, and a lease on what it finds in the store. After a fault nothing is left in
    /// the folder when this returns; after success the rest goes in the background (a layer that was there already).
    func inWorkshop<T: Sendable>(_ purpose: String = "work", _ body: (Workshop) async throws -> T) async throws -> T {
        try await leased(purpose) { lease in
            let workshop = try openWorkshop(purpose, lease: lease)
            StoreCrashPoint.workshopOpened.reach()
            let result: T
            do { result = try await body(workshop) } catch {
                _ = try? await onThread { [self] in remove(workshop) }
                throw error
            }
            try clear(workshop)
            return result
        }
    }

    /// Waits until nothing is being deleted in the background.
    public func settle() async throws { try await onThread { [self] in trash.wait { $0 == 0 ? () : nil } } }

    // MARK: Looking up

    /// The image that a person means by `text`: a name (tag `latest` where there is none), a name with digest, an id or its first
    /// digits. Throws `notFound` with docker's `No such image: x:latest`, `invalid` for a malformed name.
    public func resolve(_ text: String) throws -> ImageRecord {
        try database.read { transaction in try record(transaction, id(transaction, meant: text)) }
    }

    /// The image with this id.
    public func image(_ id: Digest) throws -> ImageRecord { try database.read { try record($0, id) } }

    /// All images, the newest first.
    public func list() throws -> [ImageSummary] {
        try database.read { transaction in
            try transaction.images().map { row in
                let config = try ImageConfig.read(row.config)
                let manifest = try row.manifest.flatMap { try transaction.blob($0) }
                return ImageSummary(
                    id: row.id, parent: row.parent,
                    repoTags: try transaction.tags(ofImage: row.id).map(Self.familiar).sorted(),
                    repoDigests: try transaction.digestNames(ofImage: row.id).map(Self.familiar).sorted(),
                    created: row.created, size: row.size, labels: config.settings.labels, owner: row.owner,
                    holders: try transaction.holders(ofImage: row.id), platform: config.platform,
                    manifest: manifest.map { ContentDescriptor(mediaType: $0.mediaType, digest: $0.digest, size: $0.size) },
                    contentSize: try transaction.contentSize(ofImage: row.id))
            }
        }
    }

    /// The steps that made the image, the newest first.
    public func history(_ text: String) throws -> [ImageHistoryEntry] {
        try database.read { transaction in
            let id = try id(transaction, meant: text)
            let image = try record(transaction, id)
            var sizes = try transaction.layers(ofImage: id).map(\.size)
            var steps: [(ImageHistory, Int64)] = []
            for step in image.config.history {
                steps.append((step, step.emptyLayer || sizes.isEmpty ? 0 : sizes.removeFirst()))
            }
            // Layers that no step accounts for
            for size in sizes { steps.append((ImageHistory(created: image.config.created), size)) }
            // As docker: the image, then its parents as far as they are known, one for each step.
            var known: Digest? = id
            return try steps.reversed().map { step in
                let own = try known.flatMap { try transaction.image($0) }
                known = own?.parent
                return ImageHistoryEntry(
                    id: own?.id, created: step.0.created, createdBy: step.0.createdBy, comment: step.0.comment,
                    size: step.1, tags: try own.map { try transaction.tags(ofImage: $0.id).map(Self.familiar).sorted() } ?? [])
            }
        }
    }

    static func missing(_ text: String) -> Fault { Fault(.notFound, "No such image: \(text)", subject: text) }

    static func familiar(_ name: String) throws -> String { try Reference(name).familiar }

    /// The image that `text` means, by docker's order: a whole id, a name, the first digits of an id.
    func id(_ transaction: borrowing Transaction, meant text: String) throws -> Digest {
        switch try ImageQuery(text) {
        case .id(let digest):
            guard try transaction.image(digest) != nil else { throw Self.missing(digest.description) }
            return digest
        case .digits(let digits):
            return try self.id(transaction, digits: digits) ?? Self.none(text)
        case .name(let reference, let digits):
            if let found = try self.id(transaction, named: reference) { return found }
            if let digits, let found = try self.id(transaction, digits: digits) { return found }
            throw Self.missing(reference.withDefaultTag.familiar)
        }
    }

    private static func none(_ text: String) throws -> Digest { throw missing(text) }

    private func id(_ transaction: borrowing Transaction, digits: String) throws -> Digest? {
        let found = try transaction.imageIDs(digits: digits)
        guard found.count < 2 else {
            throw Fault(.invalid, "ambiguous digest string: \(digits) begins more than one image id", subject: digits)
        }
        return found.first
    }

    func id(_ transaction: borrowing Transaction, named reference: Reference) throws -> Digest? {
        guard let digest = reference.digest else {
            return try transaction.imageID(tag: reference.withDefaultTag.description)
        }
        if let found = try transaction.imageIDs(digestName: reference.digested(digest).description).first { return found }
        // An image without a registry's digest is found by its id.
        return try transaction.image(digest)?.id
    }

    func record(_ transaction: borrowing Transaction, _ id: Digest) throws -> ImageRecord {
        guard let row = try transaction.image(id) else { throw Self.missing(id.description) }
        let layers = try transaction.layers(ofImage: id)
        return ImageRecord(
            id: id, config: try ImageConfig.read(row.config),
            tags: try transaction.tags(ofImage: id).map { try Reference($0) }.sorted { $0.familiar < $1.familiar },
            digests: try transaction.digestNames(ofImage: id).map { try Reference($0) }, parent: row.parent, size: row.size,
            owner: row.owner, lastTagged: row.tagged, layers: try stack(transaction, layers), chainID: layers.last?.chainID)
    }

    /// The folders of an overlay, the topmost first.
    private func stack(_ transaction: borrowing Transaction, _ layers: [LayerRow]) throws -> [String] {
        guard layers.count > Self.maximumStack else { return layers.reversed().map { layout.layerDiff($0.tree) } }
        // The lowest ones were merged into one folder when the image was stored.
        let merged = layers[layers.count - Self.maximumStack]
        guard let tree = try transaction.mergedTree(chain: merged.chainID) else {
            throw Fault(
                .unsupported, "the image has \(layers.count) layers, more than the \(Self.maximumStack) that the kernel stacks")
        }
        return layers.suffix(Self.maximumStack - 1).reversed().map { layout.layerDiff($0.tree) } + [layout.layerDiff(tree)]
    }
}
