/// A file descriptor that several values hold: closed when the last of them goes.
public final class SharedDescriptor: Sendable {
    public let raw: CInt

    public init(_ descriptor: consuming Descriptor) { raw = descriptor.release() }

    deinit { _ = Descriptor(owning: raw) }
}
