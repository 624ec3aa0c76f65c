import Linux
import Model
import Names
import Synchronization

/// The engine's side of the process that holds the names: finds it or starts it, tells it of sandboxes, starts it anew when it
/// dies and gives it new sockets of every sandbox then. The process goes on when the engine ends.
///
/// One thread of its own does all of it, because it visits network namespaces.
public final class NamesLink: Sendable {
    public struct Settings: Sendable {
        /// Where the process listens for engines.
        public var socket: String
        /// `skiff-runtime`.
        public var program: String
        /// What the process says of itself, mostly nothing.
        public var log: String
        /// What the process becomes; nil for an engine without root.
        public var user: UInt32?
        public var resolvConf = "/etc/resolv.conf"

        /// A user and group that nobody has: systemd's table of UIDs leaves 65520 to 65533 alone.
        public static let unprivileged: UInt32 = 65527

        public init(socket: String, program: String, log: String, user: UInt32? = Settings.unprivileged) {
            self.socket = socket
            self.program = program
            self.log = log
            self.user = user
        }
    }

    /// Opens a sandbox's network namespace, for when its sockets have to be made anew.
    public typealias Door = @Sendable () throws -> Descriptor

    struct Entry: Sendable {
        var record: NamesSandbox
        var door: Door
        /// Kept, so that a process that follows a dead one answers on the same sockets: what was asked meanwhile waits in them.
        /// Nil of a sandbox that an earlier engine has entered.
        var sockets: NamesSockets?
        /// An earlier engine has made sockets and rules.
        var isRestored = false
    }

    enum Job: Sendable {
        case put(ObjectID, CheckedContinuation<Void, any Error>)
        case remove(ObjectID, CheckedContinuation<Void, any Error>?)
        /// Makes the process know what is wanted, and nothing else.
        case reconcile(CheckedContinuation<Void, any Error>)
        case end(process: Bool, CheckedContinuation<Void, any Error>)
    }

    struct Content: Sendable {
        var wanted: [ObjectID: Entry] = [:]
        var jobs: [Job] = []
        var isClosed = false
    }

    let content = Mutex(Content())
    let settings: Settings
    let warn: @Sendable (String) -> Void
    let reap: @Sendable (CInt) -> Void
    let bell: WakeBell

    /// Starts the thread; the process only when the first sandbox needs it. `reap` gets the pid of a child to wait for.
    public init(
        _ settings: Settings, reap: @escaping @Sendable (CInt) -> Void, warn: @escaping @Sendable (String) -> Void
    ) throws {
        self.settings = settings
        self.reap = reap
        self.warn = warn
        bell = try WakeBell()
        try startThread { [self] in NamesConversation(self).run() }
    }

    /// Success means that names are answered in the sandbox as the record says. `sockets` made beforehand save a visit to the
    /// namespace.
    public func put(_ record: NamesSandbox, sockets: NamesSockets? = nil, door: @escaping Door) async throws {
        try await post { content, continuation in
            content.wanted[record.id] = Entry(record: record, door: door, sockets: sockets)
            return .put(record.id, continuation)
        }
    }

    /// As `put`, for a sandbox that is known; an unknown one is left alone.
    public func update(_ record: NamesSandbox) async throws {
        let isKnown = content.withLock { content in
            content.wanted[record.id]?.record = record
            return content.wanted[record.id] != nil
        }
        if isKnown { try await post { _, continuation in .put(record.id, continuation) } }
    }

    /// Its sockets are closed soon. Unknown ids are fine.
    public func remove(_ id: ObjectID) {
        let isKnown = content.withLock { content in
            guard content.wanted.removeValue(forKey: id) != nil, !content.isClosed else { return false }
            content.jobs.append(.remove(id, nil))
            return true
        }
        if isKnown { bell.ring() }
    }

    /// As `remove`; success means that the sockets are closed, and no longer hold the namespace.
    public func close(_ id: ObjectID) async {
        guard content.withLock({ $0.wanted.removeValue(forKey: id) }) != nil else { return }
        try? await post { _, continuation in .remove(id, continuation) }
    }

    /// For an engine that comes after another: the sandboxes that live. Everything else that the process holds goes. While this
    /// happens, the process goes on answering.
    public func restore(_ living: [(record: NamesSandbox, door: Door)]) async throws {
        try await post { content, continuation in
            for (record, door) in living where content.wanted[record.id] == nil {
                content.wanted[record.id] = Entry(record: record, door: door, isRestored: true)
            }
            return .reconcile(continuation)
        }
    }

    /// The record that is wanted of a sandbox.
    public func record(of id: ObjectID) -> NamesSandbox? { content.withLock { $0.wanted[id]?.record } }

    /// Ends the thread. The process goes on, unless it has nothing to do, or `process` says that it is to end.
    public func close(process: Bool = false) async {
        try? await post { _, continuation in .end(process: process, continuation) }
    }

    private static let closed = Fault(.unavailable, "the engine is shutting down")

    private func post(_ job: (inout Content, CheckedContinuation<Void, any Error>) -> Job) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            let isTaken = content.withLock { content in
                if content.isClosed { return false }
                let job = job(&content, continuation)
                if case .end = job { content.isClosed = true }
                content.jobs.append(job)
                return true
            }
            if isTaken { bell.ring() } else { continuation.resume(throwing: Self.closed) }
        }
    }
}

/// Wakes a thread that waits in poll(2).
final class WakeBell: Sendable {
    private let reading: SharedDescriptor
    private let writing: SharedDescriptor

    init() throws {
        let (one, other) = try Sockets.pipe().release()
        reading = SharedDescriptor(Descriptor(owning: one))
        writing = SharedDescriptor(Descriptor(owning: other))
        try PollIO.setNonblocking(one)
        try PollIO.setNonblocking(other)
    }

    var raw: CInt { reading.raw }

    /// A bell that is full has been rung already.
    func ring() { _ = [1].withUnsafeBytes { try? PollIO.write(writing.raw, $0) } }

    func silence() {
        var bytes: (UInt64, UInt64) = (0, 0)
        withUnsafeMutableBytes(of: &bytes) { while case .moved? = try? PollIO.read(reading.raw, into: $0) {} }
    }
}
