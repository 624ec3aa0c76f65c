import Model

public struct EventsOptions: Sendable {
    /// Also what happened from this instant on, as far as it is remembered.
    public var since: Timestamp?
    /// Ends the stream at this instant.
    public var until: Timestamp?
    public var filters = Filters()
    public init() {}
}

/// What happened, as docker tells it.
public final class EventService: Sendable {
    /// Subscribes at once: nothing that happens after this call is missed.
    public func stream(_ options: EventsOptions) throws -> PullStream<Docker.EventMessage> {
        throw Fault(.unsupported, "not yet")
    }
}
