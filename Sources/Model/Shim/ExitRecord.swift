import JSON

/// How a container ended: `exit.json` in the shim's folder, written aside and renamed, and the `exit` event.
public struct ExitRecord: Sendable, Equatable {
    public static let currentVersion = 1

    public var version = ExitRecord.currentVersion
    public var id: ObjectID
    /// The process's own, 128+n by signal n; 126 or 127 where it could not be executed.
    public var exitCode: Int32
    public var signal: Int32?
    /// The kernel killed a process of the container for want of memory.
    public var oomKilled: Bool
    /// Nil where the process never ran.
    public var startedAt: Timestamp?
    public var finishedAt: Timestamp
    /// Why the process never ran.
    public var fault: Fault?

    public init(
        id: ObjectID, exitCode: Int32, signal: Int32? = nil, oomKilled: Bool = false, startedAt: Timestamp?,
        finishedAt: Timestamp, fault: Fault? = nil
    ) {
        self.id = id
        self.exitCode = exitCode
        self.signal = signal
        self.oomKilled = oomKilled
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.fault = fault
    }
}

extension ExitRecord: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var version = 0
        var id: ObjectID?
        var exitCode: Int32?
        var signal: Int32?
        var oomKilled = false
        var startedAt: Timestamp?
        var finishedAt: Timestamp?
        var fault: Fault?
        try reader.object { key, reader in
            switch key {
            case "version": version = try reader.value()
            case "id": id = try reader.value()
            case "exitCode": exitCode = try reader.value()
            case "signal": signal = try reader.value()
            case "oomKilled": oomKilled = try reader.value()
            case "startedAt": startedAt = try reader.value()
            case "finishedAt": finishedAt = try reader.value()
            case "fault": fault = try reader.value()
            default: try reader.skip()
            }
        }
        guard (1...Self.currentVersion).contains(version) else { throw reader.fault("exit record has version \(version)") }
        guard let id else { throw reader.fault("id is missing") }
        guard let exitCode else { throw reader.fault("exitCode is missing") }
        guard let finishedAt else { throw reader.fault("finishedAt is missing") }
        self.init(
            id: id, exitCode: exitCode, signal: signal, oomKilled: oomKilled, startedAt: startedAt, finishedAt: finishedAt,
            fault: fault)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("version", version)
            writer.member("id", id)
            writer.member("exitCode", exitCode)
            writer.member("signal", ifPresent: signal)
            writer.member("oomKilled", oomKilled)
            writer.member("startedAt", ifPresent: startedAt)
            writer.member("finishedAt", finishedAt)
            writer.member("fault", ifPresent: fault)
        }
    }
}
