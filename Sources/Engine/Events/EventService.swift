import Linux
import Model
import Synchronization

public struct EventsOptions: Sendable {
    /// Also what happened from this instant on, as far as it is remembered.
    public var since: Timestamp?
    /// Ends the stream at this instant.
    public var until: Timestamp?
    public var filters = Filters()
    public init() {}
}

/// What happened, as docker tells it. The last events are remembered; a client that does not read loses the oldest of its own.
public final class EventService: Sendable {
    /// Events remembered for `since`.
    static let remembered = 1024
    /// Events that wait for one slow client.
    static let backlog = 8192

    private struct Hub {
        var past: [Docker.EventMessage] = []
        var next: UInt64 = 0
        var listeners: [UInt64: AsyncStream<Docker.EventMessage>.Continuation] = [:]
        var last: Int64 = 0
        var closed = false
    }

    private let hub = Mutex(Hub())

    init() {}

    var listenerCount: Int { hub.withLock { $0.listeners.count } }

    /// Tells everybody. Times are strictly increasing, so that a time is a position.
    func publish(type: String, action: String, id: String, attributes: [String: String] = [:]) {
        var actor = Docker.EventActor()
        actor.id = id
        actor.attributes = attributes
        var message = Docker.EventMessage()
        message.type = type
        message.action = action
        message.actor = actor
        message.scope = "local"
        hub.withLock { hub in
            hub.last = max(wallClock().nanoseconds, hub.last + 1)
            message.timeNano = Int(hub.last)
            message.time = Int(hub.last / 1_000_000_000)
            if hub.past.count >= Self.remembered { hub.past.removeFirst(Self.remembered / 4) }
            hub.past.append(message)
            for listener in hub.listeners.values { listener.yield(message) }
        }
    }

    /// Subscribes at once: nothing that happens after this call is missed.
    public func stream(_ options: EventsOptions) throws -> PullStream<Docker.EventMessage> {
        try options.filters.validate([
            "config", "container", "daemon", "event", "id", "image", "label", "network", "node", "plugin", "scope", "secret",
            "service", "type", "volume",
        ])
        let (stream, input) = AsyncStream.makeStream(
            of: Docker.EventMessage.self, bufferingPolicy: .bufferingNewest(Self.backlog))
        let since = options.since
        let past = hub.withLock { hub in
            let key = hub.next
            hub.next += 1
            if hub.closed { input.finish() } else { hub.listeners[key] = input }
            input.onTermination = { [weak self] _ in self?.forget(key) }
            return since.map { since in hub.past.filter { Int64($0.timeNano ?? 0) >= since.nanoseconds } } ?? []
        }
        if let until = options.until {
            let wait = until.nanoseconds - wallClock().nanoseconds
            if wait <= 0 {
                input.finish()
            } else {
                Task {
                    try? await Task.sleep(for: .nanoseconds(wait))
                    input.finish()
                }
            }
        }
        let reader = EventReader(past: past, stream: stream, options: options)
        return PullStream { await reader.next() }
    }

    private func forget(_ key: UInt64) { hub.withLock { hub in _ = hub.listeners.removeValue(forKey: key) } }

    /// Ends every stream.
    func close() {
        let listeners = hub.withLock { hub in
            hub.closed = true
            defer { hub.listeners = [:] }
            return Array(hub.listeners.values)
        }
        for listener in listeners { listener.finish() }
    }
}

/// One client's place in the events.
private actor EventReader {
    private var past: ArraySlice<Docker.EventMessage>
    private let stream: AsyncStream<Docker.EventMessage>
    private let options: EventsOptions

    init(past: [Docker.EventMessage], stream: AsyncStream<Docker.EventMessage>, options: EventsOptions) {
        self.past = past[...]
        self.stream = stream
        self.options = options
    }

    func next() async -> Docker.EventMessage? {
        while let message = past.popFirst() {
            if let until = options.until, Int64(message.timeNano ?? 0) > until.nanoseconds { continue }
            if options.filters.keep(message) { return message }
        }
        var iterator = stream.makeAsyncIterator()
        while let message = await iterator.next() {
            if options.filters.keep(message) { return message }
        }
        return nil
    }
}

extension Docker.Filters {
    /// Docker's rules for events.
    func keep(_ message: Docker.EventMessage) -> Bool {
        let type = message.type ?? ""
        let action = message.action ?? ""
        let attributes = message.actor?.attributes ?? [:]
        let id = message.actor?.id ?? ""
        guard matches("type", exactly: type), matches("scope", exactly: message.scope ?? "local") else { return false }
        if contains("event") {
            // `health_status` stands for `health_status: healthy` as well.
            let bare = String(action.prefix { $0 != ":" })
            guard contains("event", action) || contains("event", bare) else { return false }
        }
        if contains("label"), !matches("label", in: attributes) { return false }
        for key in ["container", "image", "network", "volume", "plugin"] where contains(key) {
            let image = key == "image" ? attributes["image"] : nil
            let subject = type == key ? id : image
            guard let subject else { return false }
            let wanted = get(key)
            let name = attributes["name"] ?? ""
            guard
                wanted.contains(where: {
                    $0 == subject || $0 == name || $0 == "/" + name || (type == key && subject.hasPrefix($0))
                        || (key == "image" && subject.hasPrefix($0 + ":"))
                })
            else { return false }
        }
        return true
    }
}

/// The time now.
func wallClock() -> Timestamp { Timestamp(nanoseconds: Clock.realtime) }
