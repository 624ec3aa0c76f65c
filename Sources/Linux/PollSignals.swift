import CKernel
import Glibc

/// Signals as something to poll on. SIGCHLD, SIGTERM, SIGINT, SIGHUP and SIGQUIT only wake the loop, SIGPIPE does nothing.
/// By handlers, which exec resets, so that no mask and no ignored signal leaks into processes started from here.
public final class SignalWake {
    public let descriptor: Descriptor

    /// For the whole process; once. sigaction(2), eventfd(2)
    public init() throws {
        let raw = try kernel("eventfd") { ck_eventfd() }
        descriptor = Descriptor(owning: raw)
        // Cannot fail for these signals (sigaction(2))
        _ = ck_signals_to(raw)
    }

    /// Forgets the signals noted so far.
    public func clear() {
        var count: UInt64 = 0
        _ = read(descriptor.raw, &count, 8)
    }
}

/// A child that has ended.
public struct EndedChild: Equatable, Sendable {
    public let pid: CInt
    /// Its own exit code, or 128 and the signal's number.
    public let code: CInt
    /// 0 where it exited by itself.
    public let signal: CInt

    public init(pid: CInt, code: CInt, signal: CInt) {
        self.pid = pid
        self.code = code
        self.signal = signal
    }
}

public enum Children {
    /// Orphans of this process's descendants become its children. prctl(2) PR_SET_CHILD_SUBREAPER
    public static func adoptOrphans() throws { try kernel("prctl PR_SET_CHILD_SUBREAPER") { ck_set_subreaper() } }

    /// One child that has ended, reaped; nil when there is none now. waitpid(2)
    public static func reap() -> EndedChild? {
        var code: CInt = 0
        var signal: CInt = 0
        let pid = ck_reap(&code, &signal)
        return pid > 0 ? EndedChild(pid: pid, code: code, signal: signal) : nil
    }

    /// That child, reaped, if it has ended.
    public static func reap(_ pid: CInt) -> EndedChild? {
        var code: CInt = 0
        var signal: CInt = 0
        let result = ck_reap_pid(pid, &code, &signal)
        return result > 0 ? EndedChild(pid: pid, code: code, signal: signal) : nil
    }
}

public enum IdleMemory {
    /// Gives back what a process that only waits does not need: free heap, text pages (they come back from the page cache),
    /// data pages as far as the kernel can. madvise(2)
    public static func release() { ck_release_memory() }
}

/// Sets a terminal's size; the foreground process gets SIGWINCH. ioctl_tty(2) TIOCSWINSZ
public func setWindowSize(_ terminal: CInt, width: UInt16, height: UInt16) throws {
    try kernel("ioctl TIOCSWINSZ") { ck_set_window_size(terminal, width, height) }
}
