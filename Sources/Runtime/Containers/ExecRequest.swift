import Linux
import Model

/// An existing cgroup below a container's.
public struct SubCgroup: Sendable, Equatable {
    /// In these controllers' hierarchies; empty stands for all.
    public var controllers: [String]
    /// Relative, wherever it begins.
    public var path: String

    /// `[controller,…:]path`, as runc has it.
    public init(_ text: String) throws {
        let colon = text.firstIndex(of: ":")
        path = MountPlan.normal(String(text[(colon.map { text.index(after: $0) } ?? text.startIndex)...]))
        controllers = colon.map { text[..<$0].split(separator: ",").map(String.init) } ?? []
        guard colon == nil || !controllers.isEmpty else {
            throw Fault(.invalid, "--cgroup \(text): no controller before the colon", subject: text)
        }
    }
}

/// What to run in a running container, and how.
public struct ExecRequest: Sendable {
    public var process: OCI.Process
    public var io: ProcessIO
    /// Descriptors that the process gets as 3, 4, 5 …, borrowed.
    public var extraDescriptors: [CInt] = []
    public var noNewKeyring = false
    /// Go on though the container is paused (the process runs when it is resumed).
    public var ignorePaused = false
    /// Cgroups below the container's; where none is named it is the container's own.
    public var subCgroups: [SubCgroup] = []
    public var report = Reporter.silent

    public init(process: OCI.Process, io: ProcessIO) {
        self.process = process
        self.io = io
    }
}
