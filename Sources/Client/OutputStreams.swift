import Linux
import Model

/// Standard output and error of a command: what belongs together is written with one call.
public final class OutputStreams {
    private let stdout: CInt
    private let stderr: CInt
    private var held: [UInt8] = []
    private var heldFor: CInt = -1
    /// A reader that went away is remembered, so that the stream can still be read to its end.
    public private(set) var isBroken = false

    public init(stdout: CInt = 1, stderr: CInt = 2) {
        self.stdout = stdout
        self.stderr = stderr
    }

    public func write(_ bytes: UnsafeRawBufferPointer, toError: Bool = false) throws {
        let fd = toError ? stderr : stdout
        if fd != heldFor { try flush() }
        heldFor = fd
        if held.isEmpty, bytes.count >= 16 << 10 { return try emit(fd, bytes) }
        held.append(contentsOf: bytes)
        if held.count >= 64 << 10 { try flush() }
    }

    public func write(_ bytes: [UInt8], toError: Bool = false) throws {
        try bytes.withUnsafeBytes { try write($0, toError: toError) }
    }

    public func flush() throws {
        guard !held.isEmpty else { return }
        let fd = heldFor
        try held.withUnsafeBytes { try emit(fd, $0) }
        held.removeAll(keepingCapacity: true)
    }

    private func emit(_ fd: CInt, _ bytes: UnsafeRawBufferPointer) throws {
        do { try StreamCalls.writeAll(fd, bytes) } catch let fault as KernelFault {
            held.removeAll(keepingCapacity: true)
            guard SocketCalls.isBrokenPipe(fault) else { throw fault }
            isBroken = true
            throw Fault(.cancelled, "write: broken pipe")
        }
    }
}
