import Linux
import Model

/// Where a container's root file system comes from.
public enum RootSource: Sendable, Equatable {
    /// A folder of this mount namespace; it is bound with everything below it.
    case path(String)
    /// A mount that is attached nowhere (fsmount, open_tree with OPEN_TREE_CLONE). The descriptor is borrowed: the caller
    /// closes it after the container was created. The mount itself is moved into the container, so one mount serves one.
    case detachedMount(CInt)
}

/// The streams of a process. Descriptors are borrowed; the process gets duplicates.
public struct ProcessIO: Sendable, Equatable {
    public var stdin: CInt
    public var stdout: CInt
    public var stderr: CInt
    /// The runtime makes a pseudo terminal in the container and hands back the master; the three above are not used then.
    public var terminal: Bool

    public init(stdin: CInt = 0, stdout: CInt = 1, stderr: CInt = 2, terminal: Bool = false) {
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.terminal = terminal
    }
}

/// Where lines for a person go while something is done: what was ignored, what could not be granted.
public struct Reporter: Sendable {
    public enum Level: Int, Sendable, Comparable {
        case debug, info, warning, error
        public static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    private let body: @Sendable (Level, String) -> Void

    public init(_ body: @escaping @Sendable (Level, String) -> Void) { self.body = body }

    /// Says nothing to nobody.
    public static let silent = Reporter { _, _ in }

    public func callAsFunction(_ level: Level, _ text: String) { body(level, text) }
}

/// What `createContainer` makes a container from.
public struct ContainerRequest: Sendable {
    /// `[A-Za-z0-9_+.-]+`, neither `.` nor `..`.
    public var id: String
    /// The bundle's folder, absolute: relative paths of the configuration start there, hooks are told of it.
    public var bundle: String
    public var spec: OCI.Spec
    /// The folder below which `<id>/state.json` is kept; nil keeps no file (the caller has the state in its memory).
    public var stateRoot: String?
    public var root: RootSource
    public var io: ProcessIO
    /// Descriptors that the process gets as 3, 4, 5 …, borrowed.
    public var extraDescriptors: [CInt] = []
    public var cgroupDriver = CgroupDriver.files
    /// chroot in place of pivot_root, for a root on a ramdisk.
    public var noPivot = false
    public var noNewKeyring = false
    /// Hand back a detached clone of the root mount with all that is mounted below it (`CreatedContainer.rootMount`).
    public var wantsRootMount = false
    /// The container waits for another process to start it (`create` and `start` of the command line): its init opens a
    /// FIFO in the state folder. Without it only `CreatedContainer.start` can.
    public var startsByFIFO = false
    /// Nobody waits for the moment between creation and start: the process may begin as soon as it is ready. `start` is called
    /// nevertheless, and says whether it could be executed.
    public var startsAtOnce = false
    /// A helper that was begun before; the caller of `createContainer` has one thread then.
    public var forerunner: Forerunner?
    public var report = Reporter.silent

    public init(id: String, bundle: String, spec: OCI.Spec, stateRoot: String?, root: RootSource, io: ProcessIO) {
        self.id = id
        self.bundle = bundle
        self.spec = spec
        self.stateRoot = stateRoot
        self.root = root
        self.io = io
    }
}
