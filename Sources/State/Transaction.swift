import CSQLite
import Model

/// A transaction in progress. Lives only inside the closure that `Database` hands it to.
/// Copyable, with plain parameters: the 6.3 optimizer crashes on closures that borrow a noncopyable value (GenericSpecializer).
public struct Transaction {
    let connection: SQLiteConnection

    /// Runs a statement that yields nothing; answers how many rows it changed.
    /// - Parameter sql: one statement, kept prepared under its text: bind values, never build the text from them.
    @discardableResult
    public func run(_ sql: String, _ values: (any SQLBindable)?...) throws -> Int {
        try connection.run(sql, values.map(\.sqlValue)) { _ in }
        return connection.changes
    }

    /// All rows, read by `map`. `map` must not run the same statement again.
    public func rows<T>(_ sql: String, _ values: (any SQLBindable)?..., map: (Row) throws -> T) throws -> [T] {
        var result: [T] = []
        try connection.run(sql, values.map(\.sqlValue)) { row in result.append(try map(row)) }
        return result
    }

    /// The first row, or nil where there is none.
    public func first<T>(_ sql: String, _ values: (any SQLBindable)?..., map: (Row) throws -> T) throws -> T? {
        var found: [T] = []
        try connection.run(sql, values.map(\.sqlValue)) { row in if found.isEmpty { found.append(try map(row)) } }
        return found.first
    }

    /// Belongs before what records something new: on a full disk the last room is for removals.
    func expectRoom() throws { try connection.expectRoom() }

    /// The rowid that the last INSERT made.
    public var lastRowID: Int64 { connection.lastRowID }
}

/// The row that a statement stands at. Columns count from zero.
public struct Row {
    let statement: OpaquePointer

    /// 0 where the column is NULL.
    public func integer(_ column: Int) -> Int64 { sqlite3_column_int64(statement, CInt(column)) }
    public func int(_ column: Int) -> Int { Int(integer(column)) }
    public func bool(_ column: Int) -> Bool { integer(column) != 0 }
    public func double(_ column: Int) -> Double { sqlite3_column_double(statement, CInt(column)) }
    public func isNull(_ column: Int) -> Bool { sqlite3_column_type(statement, CInt(column)) == SQLITE_NULL }

    /// Empty where the column is NULL.
    public func text(_ column: Int) -> String { String(decoding: blob(column), as: UTF8.self) }
    public func optionalText(_ column: Int) -> String? { isNull(column) ? nil : text(column) }
    public func optionalInteger(_ column: Int) -> Int64? { isNull(column) ? nil : integer(column) }
    public func timestamp(_ column: Int) -> Timestamp { Timestamp(nanoseconds: integer(column)) }
    public func optionalTimestamp(_ column: Int) -> Timestamp? { isNull(column) ? nil : timestamp(column) }

    /// The bytes of a text or blob; empty where the column is NULL.
    public func blob(_ column: Int) -> [UInt8] {
        guard let start = sqlite3_column_blob(statement, CInt(column)) else { return [] }
        let count = Int(sqlite3_column_bytes(statement, CInt(column)))
        return Array(UnsafeRawBufferPointer(start: start, count: count))
    }

    /// - Throws: `system` when the column holds no id: the record was damaged.
    public func objectID(_ column: Int) throws -> ObjectID {
        let text = text(column)
        guard let id = ObjectID(text) else { throw Fault(.system, "the state file holds \"\(text)\" where an id belongs") }
        return id
    }
}

/// What a column can hold.
public enum SQLValue: Sendable, Hashable {
    case null
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob([UInt8])

    func bind(to statement: OpaquePointer, at index: CInt) -> CInt {
        // SQLITE_TRANSIENT, a macro with a cast: SQLite copies the bytes before the call returns.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        switch self {
        case .null: return sqlite3_bind_null(statement, index)
        case .integer(let value): return sqlite3_bind_int64(statement, index, value)
        case .real(let value): return sqlite3_bind_double(statement, index, value)
        case .text(var value):
            return value.withUTF8 { utf8 in
                // A null pointer would bind NULL where the text is empty.
                if utf8.isEmpty { return sqlite3_bind_text(statement, index, "", 0, transient) }
                return utf8.withMemoryRebound(to: CChar.self) { chars in
                    sqlite3_bind_text(statement, index, chars.baseAddress, CInt(chars.count), transient)
                }
            }
        case .blob(let value):
            if value.isEmpty { return sqlite3_bind_zeroblob(statement, index, 0) }
            return value.withUnsafeBytes { bytes in
                sqlite3_bind_blob(statement, index, bytes.baseAddress, CInt(bytes.count), transient)
            }
        }
    }
}

/// A Swift value that can be bound to a statement.
public protocol SQLBindable {
    var sqlValue: SQLValue { get }
}

extension Optional where Wrapped == any SQLBindable {
    var sqlValue: SQLValue { self?.sqlValue ?? .null }
}

extension SQLValue: SQLBindable { public var sqlValue: SQLValue { self } }
extension String: SQLBindable { public var sqlValue: SQLValue { .text(self) } }
extension Int: SQLBindable { public var sqlValue: SQLValue { .integer(Int64(self)) } }
extension Int64: SQLBindable { public var sqlValue: SQLValue { .integer(self) } }
extension UInt32: SQLBindable { public var sqlValue: SQLValue { .integer(Int64(self)) } }
extension UInt16: SQLBindable { public var sqlValue: SQLValue { .integer(Int64(self)) } }
extension Int32: SQLBindable { public var sqlValue: SQLValue { .integer(Int64(self)) } }
extension Bool: SQLBindable { public var sqlValue: SQLValue { .integer(self ? 1 : 0) } }
extension Double: SQLBindable { public var sqlValue: SQLValue { .real(self) } }
extension [UInt8]: SQLBindable { public var sqlValue: SQLValue { .blob(self) } }
extension Timestamp: SQLBindable { public var sqlValue: SQLValue { .integer(nanoseconds) } }
extension ObjectID: SQLBindable { public var sqlValue: SQLValue { .text(text) } }
extension Owner: SQLBindable { public var sqlValue: SQLValue { .integer(Int64(uid)) } }
