import CSQLite
import Dispatch
import Model
import Synchronization

/// How long what a transaction wrote lasts. Both survive the death of the engine at any moment.
public enum Durability: Sendable {
    /// Survives a power cut: the caller waits for the disk. Transactions that wait together share one sync.
    case durable
    /// A power cut may take the last few of these; no wait for the disk.
    case fast
}

/// The SQLite file of one engine: one connection, one writer, write-ahead log, prepared statements kept.
///
/// The connection runs with `synchronous=NORMAL`: a commit is in the page cache when it returns. A durable transaction then
/// syncs the log file itself, outside the connection's lock, so that nobody else waits for the disk, and one sync serves
/// everybody who committed before it began.
public final class Database: Sendable {
    private let connection: Mutex<SQLiteConnection>
    private let commits = Mutex(Commits())
    private let syncQueue = DispatchQueue(label: "skiff.state.sync")

    /// Commits that wait for the next sync of the log.
    private struct Commits {
        var waiting: [CheckedContinuation<Void, any Error>] = []
        var syncing = false
    }

    /// Opens or makes the file and brings its tables up to date.
    ///
    /// Success means that no other process has the file open, and that none can open it until this object goes away.
    /// - Throws: `conflict` when another engine has it; `unsupported` when a newer engine wrote it; `system` otherwise.
    public init(path: String, schema: [SchemaPart] = SchemaPart.all) throws {
        let opened = try SQLiteConnection(path: path)
        try opened.migrate(schema)
        connection = Mutex(opened)
    }

    /// Sets room aside for when the disk is full: what removes things must always be possible. Large writes are refused before it is
    /// used up. Success means that the room is there.
    /// - Parameter giveUp: gives room on the disk free that the state file's own does not suffice for; false when there is none. For
    ///   file systems that never write a block twice.
    public func reserveRoom(giveUp: @escaping @Sendable () -> Bool = { false }) throws {
        try connection.withLock { connection in
            connection.giveUp = giveUp
            try connection.reserveLog()
        }
    }

    /// Reads, in one consistent view. Microseconds: may be called from an actor.
    public func read<T: Sendable>(_ body: (Transaction) throws -> T) throws -> T {
        try connection.withLock { connection in try connection.transaction(begin: "BEGIN", body) }
    }

    /// Writes in one transaction of the fast class. All or nothing: an error thrown by `body` undoes everything.
    @discardableResult
    public func write<T: Sendable>(_ body: (Transaction) throws -> T) throws -> T {
        try connection.withLock { connection in try connection.transaction(begin: "BEGIN IMMEDIATE", body) }
    }

    /// Writes in one transaction of the class that the caller names. An error that comes from the sync leaves the transaction
    /// committed, though not known to be on the disk.
    @discardableResult
    public func write<T: Sendable>(
        _ durability: Durability, _ body: (Transaction) throws -> T
    ) async throws -> T {
        let result = try write(body)
        if durability == .durable { try await sync() }
        return result
    }

    /// Waits until everything committed so far is on the disk.
    public func sync() async throws {
        try await withCheckedThrowingContinuation { continuation in
            let start = commits.withLock { commits in
                commits.waiting.append(continuation)
                defer { commits.syncing = true }
                return !commits.syncing
            }
            if start { syncQueue.async { self.syncWaiting() } }
        }
    }

    /// As `sync()`, for threads that may block.
    public func syncBlocking() throws {
        let code = connection.withLock { $0.log }.sync()
        guard code == SQLITE_OK else {
            throw Fault(.system, "cannot write the state to the disk (sqlite code \(code))")
        }
    }

    private func syncWaiting() {
        while true {
            let batch = commits.withLock { commits in
                defer { commits.waiting = [] }
                if commits.waiting.isEmpty { commits.syncing = false }
                return commits.waiting
            }
            if batch.isEmpty { return }
            let log = connection.withLock { $0.log }
            let code = log.sync()
            for continuation in batch {
                if code == SQLITE_OK {
                    continuation.resume()
                } else {
                    continuation.resume(throwing: Fault(.system, "cannot write the state to the disk (sqlite code \(code))"))
                }
            }
        }
    }
}

/// The handle of the write-ahead log, for syncing it.
///
/// Unchecked: SQLite keeps the handle as long as the connection is open, which `Database` is for its life; the sync of a
/// unix file is fdatasync(2) on its descriptor and touches nothing else that a commit uses.
struct LogFile: @unchecked Sendable {
    let file: UnsafeMutablePointer<sqlite3_file>?

    func sync() -> CInt {
        guard let file, let methods = file.pointee.pMethods, let sync = methods.pointee.xSync else { return SQLITE_OK }
        return sync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY)
    }
}

/// A connection and its prepared statements.
///
/// Unchecked: reached only through the mutex of `Database`.
final class SQLiteConnection: @unchecked Sendable {
    private let handle: OpaquePointer
    private var statements: [String: OpaquePointer] = [:]
    /// Pages that the file has blocks for.
    private var allocated: Int64 = 0
    fileprivate var giveUp: () -> Bool = { false }
    /// The transaction under way records something new.
    private var isGrowing = false

    /// Bytes of the log that are its own from the start: a checkpoint begins it anew after 1000 frames, the rest is for what comes
    /// together with the last of them.
    private static let logSize: Int64 = 1600 * 4120
    /// Pages ahead of those in use that only removals may take, for their own small rows.
    private static let ahead: Int64 = 128
    private static let pageSize: Int64 = 4096

    init(path: String) throws {
        var opened: OpaquePointer?
        // NOMUTEX: the mutex above serialises.
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let opened else {
            sqlite3_close(opened)
            throw Fault(.system, "cannot open the state file \(path) (sqlite code \(code))", subject: path)
        }
        handle = opened
        do {
            // Exclusive before the first read: the index of the log then lives in memory and no other process gets in.
            try execute("PRAGMA locking_mode=EXCLUSIVE")
            try execute("PRAGMA journal_mode=WAL")
            try execute("PRAGMA synchronous=NORMAL")
            try execute("PRAGMA foreign_keys=ON")
            // The file grows by steps, so that a checkpoint finds room in it when the disk has none.
            var step: CInt = 1 << 20
            sqlite3_file_control(handle, "main", SQLITE_FCNTL_CHUNK_SIZE, &step)
            // The log's blocks stay its own when the engine ends: the next one may find a full disk.
            var stays: CInt = 1
            sqlite3_file_control(handle, "main", SQLITE_FCNTL_PERSIST_WAL, &stays)
            try execute("BEGIN EXCLUSIVE; COMMIT")
        } catch let fault as Fault where fault.kind == .unavailable {
            throw Fault(
                .conflict, "another engine uses \(path); stop it first, or give this one another data root", subject: path)
        }
    }

    deinit {
        for statement in statements.values { sqlite3_finalize(statement) }
        sqlite3_close_v2(handle)
    }

    /// Makes the log as long as it will ever need to be while checkpoints succeed, and somewhat longer, with blocks of its own.
    fileprivate func reserveLog() throws {
        guard let file = log.file, let control = file.pointee.pMethods?.pointee.xFileControl else { return }
        var step: CInt = 1 << 16
        _ = control(file, SQLITE_FCNTL_CHUNK_SIZE, &step)
        var size = Self.logSize
        let code = control(file, SQLITE_FCNTL_SIZE_HINT, &size)
        guard code == SQLITE_OK else {
            throw Fault(.unavailable, "no space left on the disk to reserve some for removals (sqlite code \(code))")
        }
    }

    /// Before something new is recorded: the file must have blocks for it and for what removals add. Then every checkpoint succeeds,
    /// the log is begun anew again and again, and removing works for ever on a disk without a free block.
    /// - Throws: `unavailable` when there is only room for removals.
    func expectRoom() throws {
        isGrowing = true
        var pages: Int64 = 0
        try run("PRAGMA page_count", []) { pages = $0.integer(0) }
        if pages + Self.ahead <= allocated { return }
        var size = (pages + 2 * Self.ahead) * Self.pageSize
        // NOTFOUND: a database in memory has no file.
        guard [SQLITE_OK, SQLITE_NOTFOUND].contains(sqlite3_file_control(handle, "main", SQLITE_FCNTL_SIZE_HINT, &size)) else {
            throw Fault(.unavailable, Self.fullDisk + ": only removals are recorded")
        }
        allocated = pages + 2 * Self.ahead
    }

    var log: LogFile {
        var file: UnsafeMutablePointer<sqlite3_file>?
        sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file)
        return LogFile(file: file)
    }

    func execute(_ sql: String) throws {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw fault(code, sql) }
    }

    func transaction<T>(begin: String, _ body: (Transaction) throws -> T) throws -> T {
        do { return try transactionOnce(begin: begin, body) } catch let fault as Fault
            where fault.kind == .unavailable && fault.message == Self.fullDisk && !isGrowing && giveUp()
        { return try transactionOnce(begin: begin, body) }
    }

    private static let fullDisk = "no space left on the disk that holds the state file"

    private func transactionOnce<T>(begin: String, _ body: (Transaction) throws -> T) throws -> T {
        isGrowing = false
        try execute(begin)
        do {
            let result = try body(Transaction(connection: self))
            try execute("COMMIT")
            return result
        } catch {
            // A failed COMMIT or a full disk may have rolled back by itself.
            if sqlite3_get_autocommit(handle) == 0 { sqlite3_exec(handle, "ROLLBACK", nil, nil, nil) }
            throw error
        }
    }

    /// Runs a statement to its end; `row` sees each row.
    func run(_ sql: String, _ values: [SQLValue], _ row: (Row) throws -> Void) throws {
        let statement = try prepared(sql)
        defer {
            sqlite3_reset(statement)
            sqlite3_clear_bindings(statement)
        }
        for (index, value) in values.enumerated() {
            let code = value.bind(to: statement, at: CInt(index + 1))
            guard code == SQLITE_OK else { throw fault(code, sql) }
        }
        while true {
            let code = sqlite3_step(statement)
            switch code {
            case SQLITE_ROW: try row(Row(statement: statement))
            case SQLITE_DONE: return
            default: throw fault(code, sql)
            }
        }
    }

    var changes: Int { Int(sqlite3_changes64(handle)) }
    var lastRowID: Int64 { sqlite3_last_insert_rowid(handle) }

    private func prepared(_ sql: String) throws -> OpaquePointer {
        if let statement = statements[sql] { return statement }
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw fault(code, sql) }
        statements[sql] = statement
        return statement
    }

    private func fault(_ code: CInt, _ sql: String) -> Fault {
        let text = sqlite3_errmsg(handle).map { String(cString: $0) } ?? "sqlite code \(code)"
        switch code & 0xFF {
        case SQLITE_BUSY, SQLITE_LOCKED: return Fault(.unavailable, "the state file is in use: \(text)")
        case SQLITE_CONSTRAINT: return Fault(.conflict, "the state file refuses: \(text)", subject: sql)
        case SQLITE_FULL: return Fault(.unavailable, Self.fullDisk)
        case SQLITE_CORRUPT, SQLITE_NOTADB: return Fault(.system, "the state file is damaged: \(text)")
        default: return Fault(.system, "state file: \(text)", subject: sql)
        }
    }
}
