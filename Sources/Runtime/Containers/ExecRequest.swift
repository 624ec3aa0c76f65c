import Linux
import Model

/// What to run in a running container, and how.
public struct ExecRequest: Sendable {
    public var process: OCI.Process
    public var io: ProcessIO
    /// Descriptors that the process gets as 3, 4, 5 …, borrowed.
    public var extraDescriptors: [CInt] = []
    public var noNewKeyring = false
    /// Go on though the container is paused (the process runs when it is resumed).
    public var ignorePaused = false
    /// A cgroup below the container's, relative; nil is the container's own.
    public var subCgroup: String?
    public var report = Reporter.silent

    public init(process: OCI.Process, io: ProcessIO) {
        self.process = process
        self.io = io
    }
}
