import Linux
import Model

/// What stood against an exchange on the wire. Whoever wanted the exchange makes a `Fault` of it that names what was wanted.
public struct WireFault: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// The host's name has no address.
        case unknownHost
        /// No connection came about.
        case unreachable
        /// Nothing moved for as long as was allowed.
        case timedOut
        /// A request got no answer in the time that it has for that.
        case unanswered
        /// Something small took far too long in all, though it moved.
        case tooSlow
        /// The connection ended or broke in the midst of a message.
        case cut
        /// What came is no HTTP/1.1, or could be read in two ways.
        case malformed
        /// A head, a field or a chunk's line is longer than allowed.
        case tooLarge
        /// TLS: the certificate is not trusted, or no common ground.
        case tls
        /// Somebody asked to stop.
        case cancelled
    }

    public let kind: Kind
    public let message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }
}

/// Asks whoever waits on the wire to stop: they throw `cancelled` within a quarter of a second.
public final class WireCancellation: Sendable {
    private let flag = Monitor(false)

    public init() {}

    public func cancel() { flag.update { $0 = true } }
    public var isCancelled: Bool { flag.update { $0 } }

    public func check() throws { if isCancelled { throw WireFault(.cancelled, "cancelled") } }

    /// Waits so long, or until somebody cancels.
    public func sleep(milliseconds: Int) throws {
        var rest = milliseconds
        while rest > 0 {
            try check()
            NetClock.sleep(milliseconds: min(rest, 100))
            rest -= 100
        }
        try check()
    }
}

/// How much of anything a message may have.
public struct WireLimits: Sendable {
    /// Bytes of the first line and all fields.
    public var head = 64 << 10
    public var fields = 200
    /// Bytes of a chunk's size line with its extension.
    public var chunkLine = 1024
    /// Bytes of all trailers.
    public var trailers = 8 << 10

    public init() {}
}
