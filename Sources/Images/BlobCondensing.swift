import Archive
import Linux
import Model
import State

/// What dropping second forms came to.
public struct CondensedBlobs: Sendable, Equatable {
    /// Contents that are made from their layers now.
    public var remade = 0
    /// Contents that are fetched again when they are needed.
    public var fetchable = 0
    /// Contents that were looked at and stay.
    public var kept = 0
    /// Bytes of the files that were dropped, less those of the records.
    public var freed: Int64 = 0

    public init(remade: Int = 0, fetchable: Int = 0, kept: Int = 0, freed: Int64 = 0) {
        self.remade = remade
        self.fetchable = fetchable
        self.kept = kept
        self.freed = freed
    }
}

extension ImageStore {
    /// Of the judge who says what can be made again; what an older one refused is looked at again.
    private static let judge = 1
    /// Whoever names an image for a registry will push it there so soon, or not at all.
    private static let pushPatience: Int64 = 7 * 86_400 * 1_000_000_000

    /// Drops files of compressed layers that were not needed for a while and can be had again: proven by making each once more from
    /// the unpacked layer and comparing the digest. What it takes is computed on a thread of the lowest priority.
    ///
    /// Killed anywhere, it leaves each content with its file, or with its record, and nothing unaccounted.
    /// - Parameters:
    ///   - age: nanoseconds since the file was written.
    ///   - isWanted: asked between pieces of work; false ends it.
    public func condense(
        _ keep: KeepBlobs, age: Int64, isWanted: @escaping @Sendable () -> Bool = { true }
    ) async throws -> CondensedBlobs {
        var result = CondensedBlobs()
        guard keep != .all else { return result }
        let (blobs, verdicts) = try database.read { (try $0.compressedFiles(), try $0.verdicts(version: Self.judge)) }
        for blob in blobs where isWanted() && isAged(blob, age) {
            if keep == .needed, try awaitsPush(blob) {
                result.kept += 1
            } else if verdicts[blob.digest] == nil, let freed = try await replaceByRecord(blob, isWanted) {
                result.remade += 1
                result.freed += freed
            } else if isWanted(), keep == .minimal, !unfetchable.withLock({ $0.contains(blob.digest) }),
                try await replaceByOrigin(blob)
            {
                result.fetchable += 1
                result.freed += blob.size
            } else {
                result.kept += 1
            }
        }
        return result
    }

    private func isAged(_ blob: BlobRow, _ age: Int64) -> Bool {
        guard let written = try? Descriptor.open(layout.blob(blob.digest), [.path]).status().modified else { return false }
        return Clock.realtime - (written.seconds * 1_000_000_000 + Int64(written.nanoseconds)) >= age
    }

    /// Whether an image with this content lately got a name in a registry that is not known to have it: making it again for the push
    /// costs seconds of processor time. The Hub's own images are nobody's to push.
    private func awaitsPush(_ blob: BlobRow) throws -> Bool {
        let since = Timestamp(nanoseconds: Clock.realtime - Self.pushPatience)
        return try database.read { transaction in
            try transaction.images(withBlob: blob.digest).contains { id in
                guard let tagged = try transaction.image(id)?.tagged, tagged >= since else { return false }
                return try transaction.tags(ofImage: id).contains { tag in
                    guard let name = try? Reference(tag), !(name.domain == "docker.io" && name.path.hasPrefix("library/"))
                    else { return false }
                    return try transaction.contentPlaces(blob.digest, domain: name.domain).isEmpty
                }
            }
        }
    }

    /// Nil: it stays. Otherwise the bytes that came free.
    private func replaceByRecord(_ blob: BlobRow, _ isWanted: @escaping @Sendable () -> Bool) async throws -> Int64? {
        try await inWorkshop("condense") { workshop in
            guard let lease = workshop.lease, let made = try hold(blob, lease) else { return nil }
            let size: Int64
            do { size = try await prove(made, workshop, isWanted) } catch {
                let fault = imageFault(error)
                // A damaged layer or a full disk is no property of the content.
                guard fault.kind == .invalid else {
                    if fault.kind == .cancelled { return nil }
                    throw fault
                }
                try database.write { try $0.setVerdict(fault.message, version: Self.judge, ofBlob: blob.digest) }
                return nil
            }
            StoreCrashPoint.condenseProven.reach()
            let isDropped = try await drop(made, lease) { [self] in
                try moveFolder(workshop.file("record"), to: layout.blobRecord(blob.digest))
            } record: {
                try $0.setTree(made.tree, ofBlob: blob.digest)
            }
            return isDropped ? blob.size - size : nil
        }
    }

    private func replaceByOrigin(_ blob: BlobRow) async throws -> Bool {
        try await leased("condense") { lease in
            guard let held = try hold(blob, lease) else { return false }
            guard let place = try await onThread({ [self] in try place(handingOut: held) }) else {
                unfetchable.withLock { _ = $0.insert(blob.digest) }
                return false
            }
            return try await drop(held, lease) {
            } record: {
                try $0.setOrigin(place.name, ofBlob: blob.digest)
            }
        }
    }

    /// Holds the content and its layer; nil when one of them is gone. Answers the row as it will be.
    private func hold(_ blob: BlobRow, _ lease: StoreLease) throws -> BlobRow? {
        try database.write { transaction in
            guard let now = try transaction.blob(blob.digest), now.hasFile, let diffID = now.diffID,
                let tree = try transaction.tree(diff: diffID), try !transaction.isHeld(blob: now.digest, butBy: lease.id)
            else { return nil }
            try lease.hold(now, in: transaction)
            for image in try transaction.images(withBlob: now.digest) { try lease.hold(image: image, in: transaction) }
            return BlobRow(digest: now.digest, size: now.size, mediaType: now.mediaType, diffID: diffID, tree: tree)
        }
    }

    /// Writes the record and makes the content of it; answers the record's size.
    /// - Throws: `invalid` when this content cannot be made again, or not for less.
    private func prove(_ blob: BlobRow, _ workshop: Workshop, _ isWanted: @escaping @Sendable () -> Bool) async throws -> Int64
    {
        try await onThread { [self] in
            Scheduling.yieldToOthers()
            let path = layout.blob(blob.digest)
            let record = workshop.file("record")
            let file = try Descriptor.open(record, [.write, .create, .exclusive], permissions: 0o600)
            try GzipRecord.make(to: DescriptorSink(file), isWanted: isWanted) {
                DescriptorSource(try Descriptor.open(path, [.read]))
            }
            let size = try Descriptor.open(record, [.path]).status().size
            // Compressors that are predicted need a hundredth; with much more it is another one, and saves little for its time.
            guard size * 16 <= blob.size else {
                throw Fault(.invalid, "what it would take to make it again has \(size) of its \(blob.size) bytes")
            }
            let hashing = HashingSink(NullSink(), blob.digest.algorithm)
            try remake(blob, record: record, threads: 1, to: CancellableSink(hashing, isWanted))
            let digest = try hashing.hash.finish()
            guard digest == blob.digest else { throw Fault(.invalid, "made again it has the digest \(digest)") }
            return size
        }
    }

    /// Takes the file away once the record says how the content is had without it. False when somebody uses the file just now.
    private func drop(
        _ blob: BlobRow, _ lease: StoreLease, place: @escaping @Sendable () throws -> Void,
        record: @escaping @Sendable (Transaction) throws -> Void
    ) async throws -> Bool {
        try await gate.alone { [self] in
            guard try !database.read({ try $0.isHeld(blob: blob.digest, butBy: lease.id) }) else { return false }
            try await onThread { [self] in
                try place()
                try Descriptor.open(layout.dataRoot, [.read, .directory]).syncFileSystem()
            }
            StoreCrashPoint.condensePlaced.reach()
            try await database.write(.durable, record)
            StoreCrashPoint.condenseRecorded.reach()
            try await onThread { [self] in try discard([layout.blob(blob.digest)]) }
            return true
        }
    }
}

extension Scheduling {
    /// The calling thread works when nobody else wants to. SCHED_BATCH at nice 19, not SCHED_IDLE: it may hold a lock for a moment.
    static func yieldToOthers() {
        var attributes = SchedulingAttributes()
        attributes.policy = 3
        attributes.nice = 19
        try? setAttributes(0, attributes)
        try? setIOPriority(0, class: 3, level: 0)
    }
}

/// Passes bytes on for as long as they are wanted.
private final class CancellableSink: ByteSink {
    private let sink: any ByteSink
    private let isWanted: () -> Bool

    init(_ sink: any ByteSink, _ isWanted: @escaping () -> Bool) {
        self.sink = sink
        self.isWanted = isWanted
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard isWanted() else { throw Fault(.cancelled, "the content is not looked at any more") }
        try sink.write(bytes)
    }
}
