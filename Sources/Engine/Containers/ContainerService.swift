import Model

/// Containers by name: what clients ask for.
///
/// A reference is a name (with or without a leading slash), an id, or an unambiguous beginning of an id. Unknown ones throw
/// `notFound` with docker's `No such container: x`. Looking (`list`, `inspect`, `logs` …) reads snapshots and never waits for
/// a container that is stuck; changing goes through the container's own queue.
public final class ContainerService: Sendable {
    /// Makes a container. Success means that its record survives: a power cut too, unless HostConfig.AutoRemove is set.
    /// - Parameter name: nil or empty gives it two random words.
    /// - Throws: `conflict` when the name is taken, `notFound` (`No such image: x`), `invalid` for a wish that makes no sense.
    public func create(
        _ request: Docker.ContainerCreateRequest, name: String?, platform: String? = nil, caller: Caller
    ) async throws -> Docker.ContainerCreateResponse { throw Fault(.unsupported, "not yet") }

    /// Newest first.
    public func list(_ options: ContainerListOptions) async throws -> [Docker.ContainerSummary] {
        throw Fault(.unsupported, "not yet")
    }

    public func inspect(_ reference: String, size: Bool = false) async throws -> Docker.ContainerInspectResponse {
        throw Fault(.unsupported, "not yet")
    }

    /// Success means that the container's process has been executed. `notModified` where it runs already.
    /// A command that is not there throws `commandNotFound`, one that cannot be executed `commandNotExecutable`.
    public func start(_ reference: String, caller: Caller) async throws { throw Fault(.unsupported, "not yet") }

    /// Signal, wait, kill. Success means that it does not run. `notModified` where it did not.
    /// - Parameters:
    ///   - signal: nil is the container's own stop signal.
    ///   - timeout: seconds; nil is the container's own (10 by default), negative waits for ever.
    public func stop(_ reference: String, signal: String? = nil, timeout: Int? = nil, caller: Caller) async throws {
        throw Fault(.unsupported, "not yet")
    }

    public func restart(_ reference: String, signal: String? = nil, timeout: Int? = nil, caller: Caller) async throws {
        throw Fault(.unsupported, "not yet")
    }

    /// - Parameter signal: a name with or without SIG, or a number; nil is KILL.
    /// - Throws: `conflict` where it does not run.
    public func kill(_ reference: String, signal: String? = nil, caller: Caller) async throws {
        throw Fault(.unsupported, "not yet")
    }

    public func pause(_ reference: String, caller: Caller) async throws { throw Fault(.unsupported, "not yet") }
    public func unpause(_ reference: String, caller: Caller) async throws { throw Fault(.unsupported, "not yet") }
    public func rename(_ reference: String, to name: String, caller: Caller) async throws {
        throw Fault(.unsupported, "not yet")
    }

    /// Registers at once (an unknown container throws here), then lets the caller wait for the result.
    public func wait(_ reference: String, for condition: WaitCondition = .notRunning) async throws -> PendingWait {
        throw Fault(.unsupported, "not yet")
    }

    /// Success means that the container is gone for every client and that its name is free. Its files follow in the background.
    public func remove(_ reference: String, _ options: ContainerRemoveOptions, caller: Caller) async throws {
        throw Fault(.unsupported, "not yet")
    }

    /// Removes every container that does not run.
    public func prune(_ filters: Filters, caller: Caller) async throws -> Docker.ContainerPruneResponse {
        throw Fault(.unsupported, "not yet")
    }

    /// - Parameter arguments: of ps(1); nil is `-ef`. Only columns are understood; no program runs for this.
    public func top(_ reference: String, arguments: String? = nil) async throws -> Docker.ContainerTopResponse {
        throw Fault(.unsupported, "not yet")
    }

    public func logs(_ reference: String, _ options: LogsOptions) async throws -> LogStream {
        throw Fault(.unsupported, "not yet")
    }

    /// Checks what can be refused; the offer then takes the connection over. A container that was only created can be
    /// attached to: the stream begins with its start, and nothing is missed.
    public func attach(_ reference: String, _ options: AttachOptions, caller: Caller) async throws -> HijackOffer {
        throw Fault(.unsupported, "not yet")
    }

    /// Size of the container's terminal in characters.
    public func resize(_ reference: String, width: Int, height: Int, caller: Caller) async throws {
        throw Fault(.unsupported, "not yet")
    }

    /// - Parameters:
    ///   - stream: one value a second until the container is gone, else one.
    ///   - oneShot: do not wait a second for a previous value to compare with.
    public func stats(_ reference: String, stream: Bool, oneShot: Bool) async throws -> PullStream<
        Docker.ContainerStatsResponse
    > { throw Fault(.unsupported, "not yet") }

    /// New limits and restart policy; what the request leaves out stays.
    public func update(_ reference: String, _ request: Docker.ContainerUpdateRequest, caller: Caller) async throws
        -> Docker.ContainerUpdateResponse
    { throw Fault(.unsupported, "not yet") }

    /// Paths that differ from the image.
    public func changes(_ reference: String) async throws -> [Docker.FilesystemChange] { throw Fault(.unsupported, "not yet") }

    /// The root file system as a tar.
    public func export(_ reference: String) async throws -> PullStream<[UInt8]> { throw Fault(.unsupported, "not yet") }

    /// A container's changes become an image; answers its id (`sha256:…`).
    public func commit(_ reference: String, _ options: CommitOptions, caller: Caller) async throws -> Docker.IDResponse {
        throw Fault(.unsupported, "not yet")
    }
}

/// `POST /commit`.
public struct CommitOptions: Sendable {
    /// `repo` and `tag`; nil leaves the image dangling.
    public var repository: String?
    public var tag: String?
    public var comment = ""
    public var author = ""
    /// Freeze the container meanwhile.
    public var pause = true
    /// Dockerfile instructions.
    public var changes: [String] = []
    /// The request's body: replaces the container's own settings where it is given.
    public var config: Docker.ContainerConfig?
    public init() {}
}
