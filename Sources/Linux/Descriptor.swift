import Glibc

/// An owned file descriptor: closed once, when it goes out of scope.
public struct Descriptor: ~Copyable, Sendable {
    public let raw: CInt

    /// Takes over a descriptor that nobody else closes.
    public init(owning raw: CInt) { self.raw = raw }

    deinit { _ = Glibc.close(raw) }

    /// Gives the number away; the caller closes it.
    public consuming func release() -> CInt {
        let raw = raw
        discard self
        return raw
    }

    /// A second descriptor for one that somebody else owns and keeps, close-on-exec (fcntl(2) F_DUPFD_CLOEXEC).
    public static func duplicate(ofBorrowed raw: CInt) throws -> Descriptor {
        Descriptor(owning: try kernel("fcntl F_DUPFD_CLOEXEC") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }

    /// A second descriptor for the same open file description, close-on-exec (fcntl(2) F_DUPFD_CLOEXEC).
    public borrowing func duplicate() throws -> Descriptor {
        Descriptor(owning: try kernel("fcntl F_DUPFD_CLOEXEC") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }
}
