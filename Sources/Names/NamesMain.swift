import Linux
import Model

/// The command line of the process that holds the names.
struct NamesArguments: Equatable {
    /// The listening control socket, a descriptor that was inherited.
    var control: CInt = 3
    /// Whose processes may ask over it.
    var owner: UInt32 = 0
    /// What the process becomes; nil stays what it is.
    var user: UInt32?
    var resolvConf = "/etc/resolv.conf"
    /// The control socket's path; when it is gone, nobody will ask any more.
    var path: String?

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Fault(.invalid, "names: \(name) needs a value") }
            func number<T: FixedWidthInteger>() throws -> T {
                guard let number = T(value) else { throw Fault(.invalid, "names: \(name) \(value) is no number") }
                return number
            }
            switch name {
            case "--control": control = try number()
            case "--owner": owner = try number()
            case "--user": user = try number()
            case "--resolv-conf": resolvConf = value
            case "--path": path = value
            default: throw Fault(.invalid, "names: unknown option \(name)")
            }
        }
    }
}

/// `skiff-runtime names`: answers the names of all sandboxes of one engine until that engine ends it. It reads packets that
/// containers made, so it gives up everything that it does not need before the first one: user, groups, capabilities, and, by
/// `seal`, all system calls but a few. The exit code.
public func namesMain(_ arguments: [String], seal: () throws -> Void) -> Int32 {
    do {
        let arguments = try NamesArguments(arguments)
        guard Processes.isOpen(arguments.control) else {
            throw Fault(.invalid, "names needs a listening control socket as descriptor \(arguments.control)")
        }
        if arguments.control > 3 { try Processes.close(from: 3, to: arguments.control - 1) }
        try Processes.close(from: arguments.control + 1)
        try Processes.closeOnExec(from: 3)
        Signals.reset()
        Signals.ignore(Signals.pipe)
        Signals.ignore(Signals.hangup)
        try Files.changeFolder("/")
        let limit = try Scheduling.limit(NamesProcess.descriptorLimit)
        try Scheduling.setLimit(0, NamesProcess.descriptorLimit, soft: limit.hard, hard: limit.hard)
        let loop = try NamesLoop(
            control: Descriptor(owning: arguments.control), owner: arguments.owner, resolvConf: arguments.resolvConf,
            path: arguments.path)
        try NamesProcess.confine(user: arguments.user)
        try seal()
        try loop.run()
        return 0
    } catch {
        try? PollIO.writeAll(Array("skiff-runtime names: \(Fault(error))\n".utf8), to: 2)
        return 1
    }
}

enum NamesProcess {
    /// RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_DATA
    static let descriptorLimit: CInt = 7
    private static let coreLimit: CInt = 4
    private static let dataLimit: CInt = 2
    /// The quotas keep it far below; should they ever fail, this process dies and not the host.
    private static let memory: UInt64 = 512 << 20

    /// Gives up privileges for good. Without root there are none, and `user` must be nil.
    static func confine(user: UInt32?) throws {
        try Scheduling.setLimit(0, coreLimit, soft: 0, hard: 0)
        try Scheduling.setLimit(0, dataLimit, soft: memory, hard: memory)
        if let user {
            var capability = 0
            while let isThere = Identity.boundingSetHas(capability) {
                if isThere { try Identity.dropFromBoundingSet(capability) }
                capability += 1
            }
            try Identity.clearAmbient()
            try Identity.setGroups([])
            try Identity.setGroup(user)
            try Identity.setUser(user)
        }
        try CapabilitySets(effective: 0, permitted: 0, inheritable: 0).apply()
        try Identity.setNoNewPrivileges()
        // Nobody of the same user may look into it
        try Identity.setDumpable(false)
    }
}
