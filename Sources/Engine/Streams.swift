import Linux
import Model
import Synchronization

/// Values that a client pulls one by one: nothing is produced ahead of the reader, and dropping the iteration (cancelling its
/// task) ends what stands behind it. One reader only.
public struct PullStream<Element: Sendable>: AsyncSequence, Sendable {
    private let pull: @Sendable () async throws -> Element?

    /// - Parameter pull: the next element, nil at the end; called by one task at a time; returns or throws soon after that
    ///   task was cancelled.
    public init(_ pull: @escaping @Sendable () async throws -> Element?) { self.pull = pull }

    public func makeAsyncIterator() -> Iterator { Iterator(pull: pull) }

    public struct Iterator: AsyncIteratorProtocol {
        let pull: @Sendable () async throws -> Element?
        public mutating func next() async throws -> Element? { try await pull() }
    }
}

/// A request's body, pulled by the engine: the next piece, nil at its end. Throws when the client went away.
public typealias RequestBody = @Sendable () async throws -> [UInt8]?

/// A client's connection that has become a byte stream. The head of the answer (101 or 200) has been written; whoever takes
/// the descriptor closes it at the end of the stream.
public final class HijackedConnection: Sendable {
    private let descriptor: Mutex<CInt?>
    /// Bytes that the client sent behind its request and that were read already.
    public let early: [UInt8]

    /// Takes over `descriptor`, a duplicate of the client's socket; it is set to blocking where its taker needs that.
    public init(owning descriptor: CInt, early: [UInt8]) {
        self.descriptor = Mutex(descriptor)
        self.early = early
    }

    deinit { _ = take() }

    /// Writes before the descriptor is taken. Blocking.
    func write(_ bytes: [UInt8]) throws {
        guard let raw = descriptor.withLock({ $0 }) else { return }
        try writeWaiting(bytes, to: raw)
    }

    /// The descriptor, the first time.
    public func take() -> Descriptor? {
        let raw = descriptor.withLock { raw in
            defer { raw = nil }
            return raw
        }
        return raw.map { Descriptor(owning: $0) }
    }
}

/// A stream that the engine is ready to serve: everything that can be refused with a status has been checked.
public struct HijackOffer: Sendable {
    /// Docker's eight byte headers (`application/vnd.docker.multiplexed-stream`) instead of bytes as they are.
    public let isMultiplexed: Bool
    private let serve: @Sendable (HijackedConnection) async -> Void

    init(isMultiplexed: Bool, _ serve: @escaping @Sendable (HijackedConnection) async -> Void) {
        self.isMultiplexed = isMultiplexed
        self.serve = serve
    }

    /// Serves the connection. Returns when it has been handed on (a shim writes to it then); what fails now is written into
    /// the stream as text, as docker does.
    public func accept(_ connection: HijackedConnection) async { await serve(connection) }
}

public typealias Filters = Docker.Filters

extension Docker.Filters {
    func get(_ key: String) -> [String] { self[key] }
    func contains(_ key: String) -> Bool { !self[key].isEmpty }
    func contains(_ key: String, _ value: String) -> Bool { self[key].contains(value) }
}
