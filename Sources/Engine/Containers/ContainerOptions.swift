import Model

public struct ContainerListOptions: Sendable {
    /// Stopped ones as well.
    public var all = false
    /// The newest so many, stopped ones included; nil or less than one is no limit.
    public var limit: Int?
    /// Compute SizeRw and SizeRootFs.
    public var size = false
    public var filters = Filters()
    public init() {}
}

public struct ContainerRemoveOptions: Sendable {
    /// Kill it first where it runs.
    public var force = false
    /// Remove its anonymous volumes too.
    public var volumes = false
    /// `--link`: not supported, named in the refusal.
    public var link = false
    public init() {}
}

/// What `wait` waits for.
public enum WaitCondition: String, Sendable {
    /// Returns at once where it does not run.
    case notRunning = "not-running"
    /// The next exit after this call.
    case nextExit = "next-exit"
    case removed
}

/// A wait that is registered: no exit is missed from here on, whenever `result` is asked for.
public struct PendingWait: Sendable {
    let outcome: @Sendable () async throws -> Docker.ContainerWaitResponse

    /// Waits. Cancel the task to give up.
    public func result() async throws -> Docker.ContainerWaitResponse { try await outcome() }
}

public struct LogsOptions: Sendable {
    public var follow = false
    public var stdout = true
    public var stderr = true
    public var timestamps = false
    /// Records of this instant and later.
    public var since: Timestamp?
    /// Records before this instant; nil is no limit (the API's `until=0`).
    public var until: Timestamp?
    /// The last so many records; nil is all.
    public var tail: Int?
    public init() {}
}

/// A container's log on its way to a client.
public struct LogStream: Sendable {
    /// The bytes carry docker's eight byte headers; without them the container has a terminal.
    public let isMultiplexed: Bool
    public let chunks: PullStream<[UInt8]>
}

public struct AttachOptions: Sendable {
    public var stdin = false
    public var stdout = false
    public var stderr = false
    /// Follow the streams from now on.
    public var stream = false
    /// What the log holds first.
    public var logs = false
    /// As docker writes them (`ctrl-p,ctrl-q`); nil is that default, empty is none.
    public var detachKeys: String?
    public init() {}
}

public struct ArchiveStat: Sendable {
    public var name: String
    public var size: Int64
    /// Go's os.FileMode bits.
    public var mode: UInt32
    public var modified: Timestamp
    public var linkTarget: String
}
