import CKernel
import Glibc

/// A set of descriptors that one thread waits on, for as many as an engine has. epoll(7)
///
/// Tokens travel with the descriptors; the caller removes a descriptor before closing it.
public final class Epoll: Sendable {
    public struct Events: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let input = Events(rawValue: 0x1)
        public static let output = Events(rawValue: 0x4)
        public static let error = Events(rawValue: 0x8)
        public static let hangUp = Events(rawValue: 0x10)
        /// Reported once, then silent until `modify`.
        public static let once = Events(rawValue: 1 << 30)
    }

    private let descriptor: Descriptor

    public init() throws { descriptor = Descriptor(owning: try kernel("epoll_create1") { skiff_epoll_create() }) }

    public func add(_ watched: CInt, _ events: Events, token: UInt64) throws {
        try kernel("epoll_ctl") { skiff_epoll_control(descriptor.raw, 1, watched, events.rawValue, token) }
    }

    public func modify(_ watched: CInt, _ events: Events, token: UInt64) throws {
        try kernel("epoll_ctl") { skiff_epoll_control(descriptor.raw, 3, watched, events.rawValue, token) }
    }

    /// A descriptor that is not in the set is fine.
    public func remove(_ watched: CInt) { _ = skiff_epoll_control(descriptor.raw, 2, watched, 0, 0) }

    /// Waits until something is ready or the time is over; nil waits for ever.
    public func wait(milliseconds: Int? = nil) throws -> [(token: UInt64, events: Events)] {
        var tokens = [UInt64](repeating: 0, count: 64)
        var events = [UInt32](repeating: 0, count: 64)
        let timeout = CInt(clamping: milliseconds ?? -1)
        let count = try kernel("epoll_wait") { skiff_epoll_wait(descriptor.raw, &tokens, &events, 64, timeout) }
        return (0..<Int(count)).map { (tokens[$0], Events(rawValue: events[$0])) }
    }

    func wait(milliseconds: Int?, tokens: inout [UInt64], events: inout [UInt32]) throws -> Int {
        let timeout = CInt(clamping: milliseconds ?? -1)
        let limit = CInt(min(tokens.count, events.count))
        return Int(
            try kernel("epoll_wait") { skiff_epoll_wait(descriptor.raw, &tokens, &events, limit, timeout) })
    }
}

/// A descriptor that becomes readable when the process has ended. pidfd_open(2)
public func openProcess(_ pid: CInt) throws -> Descriptor {
    Descriptor(owning: try kernel("pidfd_open") { skiff_pidfd(pid) })
}
