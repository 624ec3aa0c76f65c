import Images
import Model

/// Images as clients see them, over the image store.
public final class ImageService: Sendable {
    public func list(all: Bool = false, filters: Filters = Filters()) async throws -> [Docker.ImageSummary] {
        throw Fault(.unsupported, "not yet")
    }

    public func inspect(_ name: String) async throws -> Docker.ImageInspect { throw Fault(.unsupported, "not yet") }

    public func history(_ name: String) async throws -> [Docker.ImageHistoryResponseItem] {
        throw Fault(.unsupported, "not yet")
    }

    public func tag(_ name: String, repository: String, tag: String?, caller: Caller) async throws {
        throw Fault(.unsupported, "not yet")
    }

    public func remove(_ name: String, force: Bool, noPrune: Bool, caller: Caller) async throws
        -> [Docker.ImageDeleteResponseItem]
    { throw Fault(.unsupported, "not yet") }

    public func prune(_ filters: Filters, caller: Caller) async throws -> Docker.ImagePruneResponse {
        throw Fault(.unsupported, "not yet")
    }

    /// `POST /images/create?fromSrc=-`: a root file system as a tar. Answers the progress as docker's stream of messages; an
    /// error after the first message is a message with `error`.
    /// - Parameters:
    ///   - reference: `repo[:tag]`; nil leaves the image dangling.
    ///   - changes: Dockerfile instructions.
    public func importRootfs(
        _ body: @escaping RequestBody, reference: String?, message: String, changes: [String], platform: String?, caller: Caller
    ) async throws -> PullStream<Docker.CreateImageInfo> { throw Fault(.unsupported, "not yet") }

    /// `POST /images/load`: a docker archive or an OCI layout. Messages are `{"stream":"Loaded image: x\n"}`.
    public func load(_ body: @escaping RequestBody, quiet: Bool, caller: Caller) async throws -> PullStream<Docker.BuildInfo> {
        throw Fault(.unsupported, "not yet")
    }

    /// `GET /images/get`: docker archive and OCI layout at once.
    public func save(_ names: [String]) async throws -> PullStream<[UInt8]> { throw Fault(.unsupported, "not yet") }

    /// `POST /images/create?fromImage=…`: there is no registry client yet. Throws docker's text for an unknown image.
    public func pull(_ reference: String, tag: String?, caller: Caller) async throws -> PullStream<Docker.CreateImageInfo> {
        throw Fault(.notFound, "pull access denied for \(reference), repository does not exist or may require authorization")
    }
}
