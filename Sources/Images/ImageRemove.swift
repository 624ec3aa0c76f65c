import Linux
import Model
import State

extension ImageStore {
    /// Gives the image another name. Nothing happens when it has it already.
    /// Answers the image's id and, where the name was another image's before, that one.
    @discardableResult
    public func tag(_ text: String, as reference: Reference, caller: Caller) async throws -> (id: Digest, before: Digest?) {
        guard reference.digest == nil else {
            throw Fault(.invalid, "refusing to create a tag with a digest reference", subject: reference.familiar)
        }
        let name = reference.withDefaultTag
        let now = Timestamp(nanoseconds: Clock.realtime)
        return try await database.write(.durable) { transaction in
            let id = try id(transaction, meant: text)
            let before = try transaction.imageID(tag: name.description)
            if before != id { try transaction.setTag(name.description, image: id, at: now) }
            return (id, before == id ? nil : before)
        }
    }

    /// Takes a name away, or the image where `text` is an id or its last name, by docker's rules and in its words.
    /// - Parameters:
    ///   - prune: also removes parents that have no name and no other child.
    ///   - isRunning: whether a container that holds an image runs; asked inside the transaction.
    public func remove(
        _ text: String, force: Bool, prune: Bool, caller: Caller, isRunning: @escaping @Sendable (ObjectID) -> Bool
    ) async throws -> [ImageRemoval] {
        try await remove(text, force: force, prune: prune, measures: false, isRunning: isRunning).removals
    }

    /// The same, and where it is wanted the bytes on the disk that come free, as du(1) will see.
    public func remove(
        _ text: String, force: Bool, prune: Bool, measures: Bool, isRunning: @escaping @Sendable (ObjectID) -> Bool
    ) async throws -> (removals: [ImageRemoval], freed: Int64) {
        let result = try await gate.alone { [self] () async throws -> ([ImageRemoval], Int64) in
            let (removals, garbage) = try await database.write(.durable) { transaction in
                var removal = ImageRemover(transaction, store: self, force: force, isRunning: isRunning)
                try removal.remove(text, transaction, prune: prune)
                return (removal.removals, removal.garbage)
            }
            StoreCrashPoint.removeRecorded.reach()
            if garbage.isEmpty { return (removals, 0) }
            let bytes = try await onThread { [self] () throws -> Int64 in
                let bytes = measures ? freed(by: garbage) : 0
                try discard(garbage)
                return bytes
            }
            return (removals, bytes)
        }
        return (removals: result.0, freed: result.1)
    }
}

/// One removal within a transaction.
private struct ImageRemover {
    var removals: [ImageRemoval] = []
    /// Folders and files to delete after the transaction.
    var garbage: [String] = []
    private let store: ImageStore
    private let force: Bool
    private let isRunning: (ObjectID) -> Bool

    init(_ transaction: borrowing Transaction, store: ImageStore, force: Bool, isRunning: @escaping (ObjectID) -> Bool) {
        self.store = store
        self.force = force
        self.isRunning = isRunning
    }

    mutating func remove(_ text: String, _ transaction: borrowing Transaction, prune: Bool) throws {
        let id = try store.id(transaction, meant: text)
        let named = try reference(text, id, transaction)
        if let named {
            if !force, try isSingleReference(id, transaction), let holder = try transaction.holders(ofImage: id).first {
                throw Fault(
                    .conflict,
                    "conflict: unable to remove repository reference \"\(text)\" (must force) - container \(holder.short) "
                        + "is using its referenced image \(id.short)", subject: text)
            }
            try untag(named, id, transaction)
            // Names by digest of a repository whose last tag is gone go with it.
            let rest = try transaction.tags(ofImage: id)
            if !rest.contains(where: { Self.repository($0) == named.name }) {
                for name in try transaction.digestNames(ofImage: id) where Self.repository(name) == named.name {
                    try untag(try Reference(name), id, transaction)
                }
            }
            if try !transaction.tags(ofImage: id).isEmpty || !transaction.digestNames(ofImage: id).isEmpty { return }
        } else {
            let single = try isSingleReference(id, transaction)
            try check(id, transaction, force: force, references: !single)
            for name in try transaction.tags(ofImage: id) { try untag(try Reference(name), id, transaction) }
            for name in try transaction.digestNames(ofImage: id) { try untag(try Reference(name), id, transaction) }
        }
        // The last name may go while a container still holds the image; force leaves it dangling then.
        if named != nil, try !transaction.holders(ofImage: id).isEmpty {
            try check(id, transaction, force: force, references: false, dangling: true)
        }
        try delete(id, transaction, prune: prune)
    }

    /// The name that `text` is, or nil when it is an id or its first digits.
    private func reference(_ text: String, _ id: Digest, _ transaction: borrowing Transaction) throws -> Reference? {
        guard case .name(let reference, _) = try ImageQuery(text) else { return nil }
        let full = reference.digest.map { reference.digested($0) } ?? reference.withDefaultTag
        let known =
            try full.digest == nil
            ? transaction.imageID(tag: full.description) == id
            : transaction.imageIDs(digestName: full.description).contains(id)
        return known ? full : nil
    }

    private static func repository(_ name: String) -> String { (try? Reference(name).name) ?? name }

    /// At most one tag, and all names within one repository (docker's rule).
    private func isSingleReference(_ id: Digest, _ transaction: borrowing Transaction) throws -> Bool {
        let tags = try transaction.tags(ofImage: id)
        let names = try tags + transaction.digestNames(ofImage: id)
        return tags.count <= 1 && Set(names.map(Self.repository)).count <= 1
    }

    private mutating func untag(_ name: Reference, _ id: Digest, _ transaction: borrowing Transaction) throws {
        if name.digest == nil {
            try transaction.removeTag(name.description)
        } else {
            try transaction.removeDigestName(name.description, image: id)
        }
        removals.append(.untagged(name.familiar))
    }

    /// Throws docker's conflict when something stands against the removal.
    private func check(
        _ id: Digest, _ transaction: borrowing Transaction, force: Bool, references: Bool, dangling: Bool = false
    ) throws {
        func conflict(_ why: String, hard: Bool) -> Fault {
            Fault(
                .conflict, "conflict: unable to delete \(id.short) (\(hard ? "cannot be forced" : "must be forced")) - \(why)",
                subject: id.description)
        }
        if try transaction.hasChildren(image: id) { throw conflict("image has dependent child images", hard: true) }
        let holders = try transaction.holders(ofImage: id)
        if let running = holders.first(where: isRunning) {
            throw conflict("image is being used by running container \(running.short)", hard: true)
        }
        if force { return }
        if references { throw conflict("image is referenced in multiple repositories", hard: false) }
        if let stopped = holders.first {
            throw conflict("image is being used by stopped container \(stopped.short)", hard: false)
        }
    }

    private mutating func delete(_ id: Digest, _ transaction: borrowing Transaction, prune: Bool) throws {
        // Forced away from stopped containers: the record and the layers stay until the last of them is gone.
        if try !transaction.holders(ofImage: id).isEmpty { return }
        if try transaction.hasChildren(image: id) { return }
        let parent = try transaction.image(id)?.parent
        try transaction.delete(image: id)
        removals.append(.deleted(id))
        let unused = try store.collectUnused(transaction)
        for layer in unused.layers.reversed() { removals.append(.deleted(layer.chainID)) }
        garbage += unused.garbage
        guard prune, let parent, try transaction.image(parent) != nil, try transaction.tags(ofImage: parent).isEmpty,
            try transaction.digestNames(ofImage: parent).isEmpty
        else { return }
        try delete(parent, transaction, prune: prune)
    }
}
