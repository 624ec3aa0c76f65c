import CKernel
import Glibc

/// What to wait for on one descriptor, and what came (poll(2)).
public struct PollEntry: Sendable {
    public var descriptor: CInt
    public var wantsInput: Bool
    public var wantsOutput: Bool
    public internal(set) var hasInput = false
    public internal(set) var hasOutput = false
    /// The other end is gone, or the descriptor is in error.
    public internal(set) var isHungUp = false

    public init(_ descriptor: CInt, input: Bool = true, output: Bool = false) {
        self.descriptor = descriptor
        wantsInput = input
        wantsOutput = output
    }
}

public enum Polling {
    /// Waits until something comes; -1 waits without limit. Answers how many entries have something, 0 after the time.
    @discardableResult
    public static func wait(_ entries: inout [PollEntry], milliseconds: CInt = -1) throws -> Int {
        var raw = entries.map { entry in
            pollfd(
                fd: entry.descriptor, events: (entry.wantsInput ? Int16(POLLIN) : 0) | (entry.wantsOutput ? Int16(POLLOUT) : 0),
                revents: 0)
        }
        let count = poll(&raw, nfds_t(raw.count), milliseconds)
        if count < 0 {
            guard errno == EINTR else { throw KernelFault("poll", errno: errno) }
        }
        for index in entries.indices {
            let events = count < 0 ? 0 : raw[index].revents
            entries[index].hasInput = events & Int16(POLLIN) != 0
            entries[index].hasOutput = events & Int16(POLLOUT) != 0
            entries[index].isHungUp = events & Int16(POLLHUP | POLLERR | POLLNVAL) != 0
        }
        return Int(max(0, count))
    }
}

/// Signals as a descriptor (signalfd(2)); the signals stay blocked for the process.
public struct SignalDescriptor: ~Copyable {
    public let descriptor: Descriptor

    /// Bit n - 1 stands for signal n. The signals are blocked first.
    public init(mask: UInt64) throws {
        descriptor = Descriptor(owning: try kernel("signalfd") { skiff_signal_descriptor(mask) })
    }

    /// The next signal's number; nil when there is none.
    public borrowing func next() -> CInt? {
        var sender: Int32 = 0
        let number = skiff_signal_next(descriptor.raw, &sender)
        return number > 0 ? number : nil
    }
}

public enum Signals {
    public static let hangup = SIGHUP
    public static let interrupt = SIGINT
    public static let quit = SIGQUIT
    public static let kill = SIGKILL
    public static let user1 = SIGUSR1
    public static let user2 = SIGUSR2
    public static let pipe = SIGPIPE
    public static let alarm = SIGALRM
    public static let terminate = SIGTERM
    public static let child = SIGCHLD
    public static let windowChange = SIGWINCH

    /// Default handlers for what is ignored and an empty mask: what execve(2) should find.
    public static func reset() { _ = skiff_signals_reset() }
    public static func unblockAll() { _ = skiff_signals_unblock() }
    public static func ignore(_ number: CInt) { _ = skiff_signal_ignore(number) }

    /// Names as signal(7) has them, without SIG.
    static let names: [(String, CInt)] = [
        ("HUP", 1), ("INT", 2), ("QUIT", 3), ("ILL", 4), ("TRAP", 5), ("ABRT", 6), ("IOT", 6), ("BUS", 7), ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10), ("SEGV", 11), ("USR2", 12), ("PIPE", 13), ("ALRM", 14), ("TERM", 15), ("STKFLT", 16), ("CHLD", 17),
        ("CLD", 17), ("CONT", 18), ("STOP", 19), ("TSTP", 20), ("TTIN", 21), ("TTOU", 22), ("URG", 23), ("XCPU", 24),
        ("XFSZ", 25), ("VTALRM", 26), ("PROF", 27), ("WINCH", 28), ("IO", 29), ("POLL", 29), ("PWR", 30), ("SYS", 31),
    ]

    /// `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3`; nil for anything else.
    public static func number(_ text: String) -> CInt? {
        if let number = CInt(text) { return (0...64).contains(number) ? number : nil }
        var name = text.uppercased()
        if name.hasPrefix("SIG") { name.removeFirst(3) }
        if let known = names.first(where: { $0.0 == name }) { return known.1 }
        guard name.hasPrefix("RTM") else { return nil }
        if name == "RTMIN" { return 34 }
        if name == "RTMAX" { return 64 }
        if name.hasPrefix("RTMIN+"), let offset = CInt(name.dropFirst(6)), (0...30).contains(offset) { return 34 + offset }
        if name.hasPrefix("RTMAX-"), let offset = CInt(name.dropFirst(6)), (0...30).contains(offset) { return 64 - offset }
        return nil
    }
}

/// Time, in nanoseconds.
public enum KernelClock {
    public static var monotonic: Int64 { skiff_clock_monotonic() }
    /// Since 1970.
    public static var realtime: Int64 { skiff_clock_realtime() }
}
