import JSON
import Linux
import Model

/// The folders below the state root (`--root`), one per container: `state.json`, and `exec.fifo` until it is started.
public struct StateFolder: Sendable {
    public let root: String

    public init(root: String) { self.root = root }

    static let stateName = "state.json"
    static let fifoName = "exec.fifo"

    public func path(_ id: String) -> String { root + "/" + id }
    func fifo(_ id: String) -> String { path(id) + "/" + Self.fifoName }

    /// The id's rule: letters, digits, `_`, `+`, `-` and `.`, but neither `.` nor `..`.
    public static func check(_ id: String) throws {
        guard !id.isEmpty, id.utf8.count <= 1024, id != ".", id != "..",
            id.utf8.allSatisfy({ byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F, 0x2B, 0x2D, 0x2E: true
                default: false
                }
            })
        else { throw Fault(.invalid, "invalid container ID format: \"\(id)\"", subject: id) }
    }

    /// Makes the container's folder: success means that the id is the caller's.
    func claim(_ id: String) throws {
        do {
            if try Files.makeFolder(path(id), mode: 0o711) { return }
        } catch let fault as KernelFault where fault.isMissingFile {
            do {
                try Files.makeFolders(root, mode: 0o711)
                if try Files.makeFolder(path(id), mode: 0o711) { return }
            } catch { throw Fault(.system, "cannot make the state folder \(root)", subject: root, cause: error) }
        } catch { throw Fault(.system, "cannot make the state folder \(path(id))", subject: id, cause: error) }
        throw Fault(.conflict, "container with given ID already exists: \(id)", subject: id)
    }

    public func load(_ id: String) throws -> ContainerState {
        try Self.check(id)
        let bytes: [UInt8]
        do { bytes = try Files.read(path(id) + "/" + Self.stateName, limit: 64 << 20) } catch let fault as KernelFault {
            guard fault.isMissingFile || fault.isNoFolder else {
                throw Fault(.system, "cannot read the state of container \(id)", subject: id, cause: fault)
            }
            throw Fault(.notFound, "container does not exist: \(id)", subject: id)
        }
        do { return try ContainerState(json: bytes, limits: JSONLimits(size: 64 << 20)) } catch {
            throw Fault(.system, "the state of container \(id) cannot be understood", subject: id, cause: error)
        }
    }

    public func save(_ state: ContainerState) throws {
        do {
            let folder = try Files.open(path(state.id), [.path, .directory])
            try Files.replace(Self.stateName, with: state.json, at: folder.raw)
        } catch { throw Fault(.system, "cannot write the state of container \(state.id)", subject: state.id, cause: error) }
    }

    /// Writes the state of a new container where nobody looks yet.
    func prepare(_ state: ContainerState) throws {
        do {
            let file = try Files.open(
                path(state.id) + "/." + Self.stateName + ".new", [.writeOnly, .create, .truncate, .noFollow], mode: 0o600)
            try Files.write(file.raw, state.json)
        } catch { throw Fault(.system, "cannot write the state of container \(state.id)", subject: state.id, cause: error) }
    }

    func commit(_ state: ContainerState) throws {
        let name = path(state.id) + "/"
        do {
            try Files.rename(name + "." + Self.stateName + ".new", to: name + Self.stateName, at: Files.workingDirectory)
        } catch {
            throw Fault(.system, "cannot write the state of container \(state.id)", subject: state.id, cause: error)
        }
    }

    /// Ids in the order of their letters; folders without a state are left out.
    public func list() throws -> [String] {
        do {
            return try Files.names(root).filter { Files.exists(path($0) + "/" + Self.stateName) }.sorted()
        } catch let fault as KernelFault {
            if fault.isMissingFile { return [] }
            throw Fault(.system, "cannot read the state folder \(root)", subject: root, cause: fault)
        }
    }

    func remove(_ id: String) {
        let folder = path(id)
        try? Files.remove(folder + "/" + Self.stateName)
        if (try? Files.remove(folder, isFolder: true)) != nil { return }
        try? Files.remove(folder + "/" + Self.fifoName)
        try? Files.remove(folder + "/." + Self.stateName + ".new")
        try? Files.remove(folder, isFolder: true)
    }

    /// Removes what is left under the id without asking what it was.
    public func discard(_ id: String) { remove(id) }

    /// Whether anything is left under the id, a readable state or not.
    public func exists(_ id: String) -> Bool { Files.exists(path(id)) }
    func isWaiting(_ id: String) -> Bool { Files.exists(fifo(id)) }
}
