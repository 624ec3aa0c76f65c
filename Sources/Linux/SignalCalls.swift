import CKernel
import Glibc

/// Signals as a client meets them: taken from a descriptor in its poll loop.
public enum SignalCalls {
    public static let windowChange = SIGWINCH
    public static let interrupt = SIGINT
    public static let terminate = SIGTERM
    public static let childEnded = SIGCHLD
    public static let kill = SIGKILL
    public static let brokenPipe = SIGPIPE

    /// Every signal that a program may forward: not those that end or stop it regardless, not the faults, not job control's own.
    public static var forwardable: [CInt] {
        let own: Set<CInt> = [
            SIGKILL, SIGSTOP, SIGSEGV, SIGILL, SIGABRT, SIGBUS, SIGTRAP, SIGFPE, SIGCHLD, SIGPIPE, SIGWINCH, SIGURG, SIGTSTP,
            SIGTTIN,
            SIGTTOU, SIGCONT, SIGPROF, SIGALRM, SIGVTALRM, SIGSYS,
        ]
        return (1...31).filter { !own.contains($0) }
    }

    private static func set(_ signals: [CInt]) -> sigset_t {
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in signals { sigaddset(&mask, signal) }
        return mask
    }

    /// Blocks the signals and gives a descriptor that is readable when one is pending (signalfd(2)).
    public static func descriptor(for signals: [CInt]) throws -> Descriptor {
        var mask = set(signals)
        _ = sigprocmask(SIG_BLOCK, &mask, nil)
        return Descriptor(owning: try kernel("signalfd") { ckernel_client_signalfd(&mask) })
    }

    /// The next pending signal; nil when there is none.
    public static func next(_ fd: CInt) throws -> CInt? {
        let signal = try kernel("read signalfd") { ckernel_client_next_signal(fd) }
        return signal == 0 ? nil : signal
    }

    public static func unblock(_ signals: [CInt]) {
        var mask = set(signals)
        _ = sigprocmask(SIG_UNBLOCK, &mask, nil)
    }

    /// Ends this process by a signal, as if nothing had caught it.
    public static func die(by number: CInt) -> Never {
        _ = Glibc.signal(number, SIG_DFL)
        unblock([number])
        raise(number)
        exit(128 + number)
    }

    /// `TERM` for 15; nil for numbers without a name.
    public static func name(_ number: CInt) -> String? {
        for (name, value) in names where value == number { return name }
        return nil
    }

    private static let names: [(String, CInt)] = [
        ("HUP", 1), ("INT", 2), ("QUIT", 3), ("ILL", 4), ("TRAP", 5), ("ABRT", 6), ("BUS", 7), ("FPE", 8), ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11), ("USR2", 12), ("PIPE", 13), ("ALRM", 14), ("TERM", 15), ("STKFLT", 16), ("CHLD", 17), ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20), ("TTIN", 21), ("TTOU", 22), ("URG", 23), ("XCPU", 24), ("XFSZ", 25), ("VTALRM", 26), ("PROF", 27),
        ("WINCH", 28),
        ("IO", 29), ("PWR", 30), ("SYS", 31),
    ]
}
