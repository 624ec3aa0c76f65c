import Archive
import Model
import State

/// Images of one engine: contents by digest, unpacked layers, names, and who holds what.
///
/// Reading methods are answered from the state file in microseconds and may be called from an actor. What touches contents runs
/// on threads of its own. Success of a method that changes something means that it survives a power cut.
public final class ImageStore: Sendable {
    public let layout: Layout
    let database: Database

    /// Makes the folders. Call `recover` before anything else is started.
    public init(layout: Layout, database: Database) throws {
        self.layout = layout
        self.database = database
    }

    /// Removes what a crash left behind: unfinished imports, layers and contents that no record names.
    public func recover() async throws {}

    // MARK: Looking up

    /// The image that a person means by `text`: a name (tag `latest` where there is none), a name with digest, an id or its first
    /// digits. Throws `notFound` with docker's `No such image: x:latest`, `invalid` for a malformed name.
    public func resolve(_ text: String) throws -> ImageRecord { throw Fault(.unsupported, "not yet") }

    /// The image with this id.
    public func image(_ id: Digest) throws -> ImageRecord { throw Fault(.unsupported, "not yet") }

    /// All images, the newest first.
    public func list() throws -> [ImageSummary] { throw Fault(.unsupported, "not yet") }

    /// The steps that made the image, the newest first.
    public func history(_ text: String) throws -> [ImageHistoryEntry] { throw Fault(.unsupported, "not yet") }

    // MARK: Names

    /// Gives the image another name. Nothing happens when it has it already.
    /// Answers the image's id and, where the name was another image's before, that one.
    @discardableResult
    public func tag(_ text: String, as reference: Reference, caller: Caller) async throws -> (id: Digest, before: Digest?) {
        throw Fault(.unsupported, "not yet")
    }

    /// Takes a name away, or the image where `text` is an id or its last name, by docker's rules and in its words.
    /// - Parameter isRunning: whether a container that holds an image runs; asked inside the transaction.
    public func remove(
        _ text: String, force: Bool, prune: Bool, caller: Caller, isRunning: @Sendable (ObjectID) -> Bool
    ) async throws -> [ImageRemoval] {
        throw Fault(.unsupported, "not yet")
    }

    // MARK: Making images

    /// A root file system as a tar (plain, gzip, zstd, xz, bzip2, lz4) becomes an image of one layer, in one pass.
    /// On failure nothing is left.
    public func importRootfs(
        _ source: sending any ByteSource, _ request: ImportRequest, caller: Caller,
        progress: @escaping @Sendable (ImageProgress) -> Void = { _ in }
    ) async throws -> ImageRecord {
        throw Fault(.unsupported, "not yet")
    }

    /// Images from a docker archive (`docker save`) or an OCI layout in a tar, compressed or not. All of them or none.
    /// Progress ends with one `.loaded` per name or nameless image.
    public func load(
        _ source: sending any ByteSource, caller: Caller, progress: @escaping @Sendable (ImageProgress) -> Void = { _ in }
    ) async throws -> [ImageRecord] {
        throw Fault(.unsupported, "not yet")
    }

    /// Writes a tar that is a docker archive and an OCI layout at once, as `docker save` does.
    public func save(_ names: [String], to sink: sending any ByteSink) async throws { throw Fault(.unsupported, "not yet") }

    /// A container's changes become a layer on top of its image. The engine has paused the container, if it wants to.
    public func commit(_ request: CommitRequest, caller: Caller) async throws -> ImageRecord {
        throw Fault(.unsupported, "not yet")
    }
}
