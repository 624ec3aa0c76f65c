import Model
import Synchronization

/// The containers of one engine by id and name. Lookups take microseconds and never wait for a container.
final class ContainerRegistry: Sendable {
    private struct Table {
        var byID: [ObjectID: Container] = [:]
        var byName: [String: ObjectID] = [:]
    }

    private let table = Mutex(Table())

    /// Holds the name for a container that is being made.
    /// - Throws: `conflict` in docker's words.
    func reserve(_ name: String, for id: ObjectID) throws {
        try table.withLock { table in
            if let holder = table.byName[name], holder != id { throw Self.nameConflict(name, holder) }
            table.byName[name] = id
        }
    }

    static func nameConflict(_ name: String, _ holder: ObjectID) -> Fault {
        Fault(
            .conflict,
            "Conflict. The container name \"/\(name)\" is already in use by container \"\(holder)\". "
                + "You have to remove (or rename) that container to be able to reuse that name.", subject: name)
    }

    func isTaken(_ name: String) -> Bool { table.withLock { $0.byName[name] != nil } }

    /// Gives up a name that the container holds.
    func release(_ name: String, of id: ObjectID) {
        table.withLock { table in if table.byName[name] == id { table.byName[name] = nil } }
    }

    func insert(_ container: Container, name: String) {
        table.withLock { table in
            table.byID[container.id] = container
            table.byName[name] = container.id
        }
    }

    /// Nobody finds it any more.
    func remove(_ id: ObjectID, name: String) {
        table.withLock { table in
            table.byID[id] = nil
            if table.byName[name] == id { table.byName[name] = nil }
        }
    }

    func container(_ id: ObjectID) -> Container? { table.withLock { $0.byID[id] } }

    var all: [Container] { table.withLock { Array($0.byID.values) } }

    /// By name, id, an unambiguous beginning of an id, or the name of a link (`container/alias`): in this order, as docker does.
    /// - Throws: `notFound` or `invalid` in docker's words.
    func resolve(_ reference: String) throws -> Container {
        do { return try find(reference) } catch let fault as Fault where fault.kind == .notFound {
            guard let link = link(reference), let target = try? find(link.target) else { throw fault }
            return target
        }
    }

    /// What `container/alias` names: the container that has the link, and whom it leads to. Nil where there is none.
    func link(_ reference: String) -> NamedLink? {
        let name = reference.hasPrefix("/") ? reference.dropFirst() : reference[...]
        guard let slash = name.lastIndex(of: "/"), let owner = try? find(String(name[..<slash])) else { return nil }
        let description = owner.snapshot.description
        guard description.network == .bridge else { return nil }
        let alias = String(name[name.index(after: slash)...])
        let links = (description.host.links ?? []).map { ContainerLink.parse($0) }
        return links.first { $0.alias == alias }.map { NamedLink(owner: owner, alias: alias, target: $0.target) }
    }

    struct NamedLink {
        let owner: Container
        let alias: String
        /// A container's name or id.
        let target: String
    }

    private func find(_ reference: String) throws -> Container {
        guard !reference.isEmpty else {
            throw Fault(.invalid, "invalid container name or ID: value is empty")
        }
        let name = reference.hasPrefix("/") ? String(reference.dropFirst()) : reference
        return try table.withLock { table in
            if let id = ObjectID(reference), let container = table.byID[id] { return container }
            if let id = table.byName[name], let container = table.byID[id] { return container }
            let matches = table.byID.values.filter { $0.id.text.hasPrefix(reference) }
            if matches.count > 1 {
                throw Fault(.invalid, "multiple IDs found with provided prefix: \(reference)", subject: reference)
            }
            guard let found = matches.first else {
                throw Fault(.notFound, "No such container: \(reference)", subject: reference)
            }
            return found
        }
    }
}
