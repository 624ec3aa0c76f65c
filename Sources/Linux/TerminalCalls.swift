import CKernel
import Glibc

/// Terminals: raw mode and size (termios(3), ioctl_tty(2)).
public enum TerminalCalls {
    public struct Size: Sendable, Equatable {
        public var columns: Int
        public var rows: Int
        public init(columns: Int, rows: Int) {
            self.columns = columns
            self.rows = rows
        }
    }

    /// What `makeRaw` replaced.
    public struct Saved: Sendable {
        let fd: CInt
        let mode: termios
    }

    /// Raw mode as docker's clients set it: output processing goes on, everything else is the other side's.
    /// A crash of this process restores the mode as well; `restore` must still be called on every ordinary way out.
    public static func makeRaw(_ fd: CInt) throws -> Saved {
        var mode = termios()
        try kernel("tcgetattr") { tcgetattr(fd, &mode) }
        var saved = mode
        cfmakeraw(&mode)
        mode.c_oflag |= tcflag_t(OPOST)
        ckernel_client_restore_on_crash(fd, &saved)
        try kernel("tcsetattr") { tcsetattr(fd, TCSANOW, &mode) }
        return Saved(fd: fd, mode: saved)
    }

    public static func restore(_ saved: Saved) {
        var mode = saved.mode
        _ = tcsetattr(saved.fd, TCSANOW, &mode)
        ckernel_client_forget_restore()
    }

    /// No echo while a password is typed.
    public static func hideInput(_ fd: CInt) throws -> Saved {
        var mode = termios()
        try kernel("tcgetattr") { tcgetattr(fd, &mode) }
        var saved = mode
        mode.c_lflag &= ~tcflag_t(ECHO)
        ckernel_client_restore_on_crash(fd, &saved)
        try kernel("tcsetattr") { tcsetattr(fd, TCSANOW, &mode) }
        return Saved(fd: fd, mode: saved)
    }

    /// Nil where the descriptor is no terminal or has no size.
    public static func size(_ fd: CInt) -> Size? {
        var size = winsize()
        guard ioctl(fd, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else { return nil }
        return Size(columns: Int(size.ws_col), rows: Int(size.ws_row))
    }
}
