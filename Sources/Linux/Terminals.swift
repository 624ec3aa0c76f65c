import CKernel
import Glibc

/// Pseudo terminals (pty(7), ioctl_tty(2)).
public enum Terminals {
    /// The slave of a master, opened without any path (TIOCGPTPEER).
    public static func slave(of master: CInt) throws -> Descriptor {
        Descriptor(owning: try kernel("ioctl TIOCGPTPEER") { skiff_tty_peer(master) })
    }
    /// TIOCSPTLCK
    public static func unlock(_ master: CInt) throws { try kernel("ioctl TIOCSPTLCK") { skiff_tty_unlock(master) } }
    /// TIOCSCTTY: the calling session's terminal
    public static func makeControlling(_ slave: CInt) throws {
        try kernel("ioctl TIOCSCTTY") { skiff_tty_make_controlling(slave) }
    }
    public static func setSize(_ terminal: CInt, rows: UInt16, columns: UInt16) throws {
        try kernel("ioctl TIOCSWINSZ") { skiff_tty_set_size(terminal, rows, columns) }
    }
    /// Nil where the descriptor is no terminal.
    public static func size(_ terminal: CInt) -> (rows: UInt16, columns: UInt16)? {
        var rows: UInt16 = 0
        var columns: UInt16 = 0
        return skiff_tty_get_size(terminal, &rows, &columns) == 0 ? (rows, columns) : nil
    }
    public static func isTerminal(_ descriptor: CInt) -> Bool { isatty(descriptor) == 1 }
}

/// Raw mode of a terminal until `restore` (termios(3)).
public struct RawTerminal: Sendable {
    private let descriptor: CInt
    private let saved: termios

    /// Turns the terminal raw; nil where the descriptor is none.
    public init?(_ descriptor: CInt) {
        var settings = termios()
        guard tcgetattr(descriptor, &settings) == 0 else { return nil }
        self.descriptor = descriptor
        saved = settings
        cfmakeraw(&settings)
        guard tcsetattr(descriptor, TCSADRAIN, &settings) == 0 else { return nil }
    }

    public func restore() {
        var settings = saved
        _ = tcsetattr(descriptor, TCSADRAIN, &settings)
    }
}
