import CKernel
import Glibc

/// A set of descriptors to wait on, built anew for each wait: right for the dozens that a shim has. poll(2)
public struct PollSet {
    public struct Events: OptionSet, Sendable {
        public let rawValue: Int16
        public init(rawValue: Int16) { self.rawValue = rawValue }

        public static let input = Events(rawValue: Int16(POLLIN))
        public static let output = Events(rawValue: Int16(POLLOUT))
        /// An event file of the kernel (cgroup's memory.events) has changed.
        public static let priority = Events(rawValue: Int16(POLLPRI))
        /// Reported always: error, both directions closed, not open.
        public static let error = Events(rawValue: Int16(POLLERR))
        public static let hangUp = Events(rawValue: Int16(POLLHUP))
        public static let invalid = Events(rawValue: Int16(POLLNVAL))
    }

    private var entries: [pollfd] = []
    private var tokens: [UInt64] = []

    public init() {}

    public mutating func removeAll() {
        entries.removeAll(keepingCapacity: true)
        tokens.removeAll(keepingCapacity: true)
    }

    /// With no events asked, only errors and hang-ups are reported.
    public mutating func add(_ descriptor: CInt, _ events: Events, token: UInt64) {
        entries.append(pollfd(fd: descriptor, events: events.rawValue, revents: 0))
        tokens.append(token)
    }

    /// Waits until something is ready, a signal came (then nothing is ready) or the time is over; nil waits for ever.
    public mutating func wait(milliseconds: Int?) throws {
        let timeout = CInt(clamping: milliseconds.map { max($0, 0) } ?? -1)
        let count = entries.count
        let result = entries.withUnsafeMutableBufferPointer { poll($0.baseAddress, nfds_t(count), timeout) }
        if result >= 0 { return }
        guard errno == EINTR else { throw KernelFault("poll", errno: errno) }
        for index in entries.indices { entries[index].revents = 0 }
    }

    /// What the last wait has found.
    public var ready: [(token: UInt64, events: Events)] {
        var ready: [(token: UInt64, events: Events)] = []
        for (index, entry) in entries.enumerated() where entry.revents != 0 {
            ready.append((tokens[index], Events(rawValue: entry.revents)))
        }
        return ready
    }
}
