import JSON
import Model
import Synchronization

/// One further process of a container.
struct ExecRecord: Sendable {
    enum Phase: Sendable, Equatable {
        case created
        case running(pid: Int32)
        case ended(exitCode: Int32)
    }

    let id: ObjectID
    let container: ObjectID
    let config: Docker.ExecConfig
    var phase = Phase.created
    var started = false
    let done = Promise<Int32>()

    /// What `inspect` shows of it, for the shim to keep: an engine that comes later has it from there. The environment, which may be long
    /// and secret, is not shown.
    var note: String? {
        var shown = config
        shown.env = nil
        let text = shown.jsonText
        return text.utf8.count <= 16 << 10 ? text : nil
    }
}

/// The execs of one engine. Ended ones are kept for inspection: as many as `kept` for each container.
final class ExecTable: Sendable {
    static let kept = 64

    private struct Table {
        var byID: [ObjectID: ExecRecord] = [:]
        var byContainer: [ObjectID: [ObjectID]] = [:]
    }

    private let table = Mutex(Table())

    func insert(_ record: ExecRecord) {
        table.withLock { table in
            table.byID[record.id] = record
            var list = table.byContainer[record.container] ?? []
            list.append(record.id)
            while list.count > Self.kept, let old = list.firstIndex(where: { Self.isOver(table.byID[$0]) }) {
                table.byID[list[old]] = nil
                list.remove(at: old)
            }
            table.byContainer[record.container] = list
        }
    }

    private static func isOver(_ record: ExecRecord?) -> Bool {
        guard let record else { return true }
        if case .ended = record.phase { return true }
        return false
    }

    /// - Throws: `notFound` in docker's words.
    func exec(_ id: String) throws -> ExecRecord {
        guard let key = ObjectID(id), let record = table.withLock({ $0.byID[key] }) else {
            throw Fault(.notFound, "No such exec instance: \(id)", subject: id)
        }
        return record
    }

    /// Claims an exec for its one start.
    func claim(_ id: ObjectID) throws {
        try table.withLock { table in
            guard var record = table.byID[id] else { throw Fault(.notFound, "No such exec instance: \(id)", subject: id.text) }
            if record.started {
                if case .ended = record.phase {
                    throw Fault(.conflict, "Error: Exec command \(id) has already run", subject: id.text)
                }
                throw Fault(.conflict, "Error: Exec command \(id) is already running", subject: id.text)
            }
            record.started = true
            table.byID[id] = record
        }
    }

    func running(_ id: ObjectID, pid: Int32) {
        table.withLock { table in
            guard case .created = table.byID[id]?.phase else { return }
            table.byID[id]?.phase = .running(pid: pid)
        }
    }

    /// Answers the record the first time it ends.
    @discardableResult
    func end(_ id: ObjectID, exitCode: Int32) -> ExecRecord? {
        let record: ExecRecord? = table.withLock { table in
            guard let record = table.byID[id] else { return nil }
            if case .ended = record.phase { return nil }
            table.byID[id]?.phase = .ended(exitCode: exitCode)
            return record
        }
        record?.done.fulfil(exitCode)
        return record
    }

    func ended(_ exit: ExecExit, in container: Container) {
        guard let id = ObjectID(exit.exec), let record = end(id, exitCode: exit.exitCode) else { return }
        Task {
            await container.emit(
                "exec_die", ["execID": record.id.text, "exitCode": String(exit.exitCode)])
        }
    }

    /// The container's run is over, and with it its execs.
    func containerEnded(_ container: Container) {
        let open = table.withLock { table in
            (table.byContainer[container.id] ?? []).filter { id in
                if case .running = table.byID[id]?.phase { return true }
                return false
            }
        }
        for id in open { end(id, exitCode: 137) }
    }

    func forget(container: ObjectID) {
        table.withLock { table in
            for id in table.byContainer.removeValue(forKey: container) ?? [] { table.byID[id] = nil }
        }
    }

    /// Those of the container that run or may be started; nil shows as null.
    func ids(of container: ObjectID) -> [String]? {
        let ids = table.withLock { table in
            (table.byContainer[container] ?? []).filter { !Self.isOver(table.byID[$0]) }.map(\.text)
        }
        return ids.isEmpty ? nil : ids
    }
}
