import JSON
import Linux
import Model
import State

/// Docker's rules for a volume's name.
package enum VolumeName {
    /// As `validated`, in the words for a name that a new volume was to have.
    package static func wished(_ name: String) throws -> String {
        do { return try validated(name) } catch let fault as Fault { throw fault.prefixed("create \(name)") }
    }

    package static func validated(_ name: String) throws -> String {
        let bytes = Array(name.utf8)
        func word(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        }
        guard bytes.count != 1 else {
            throw Fault(
                .invalid, "volume name is too short, names should be at least two alphanumeric characters", subject: name)
        }
        guard bytes.count >= 2, bytes.count <= 255, word(bytes[0]),
            bytes.dropFirst().allSatisfy({ word($0) || [0x5F, 0x2E, 0x2D].contains($0) })
        else {
            throw Fault(
                .invalid,
                "\"\(name)\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. "
                    + "If you intended to pass a host directory, use absolute path", subject: name)
        }
        return name
    }
}

/// Named folders that outlive containers.
public final class VolumeService: Sendable {
    private let core: EngineCore

    init(_ core: EngineCore) { self.core = core }

    /// What a volume's record keeps as JSON.
    struct Settings: JSONReadable, JSONWritable {
        var labels: [String: String] = [:]
        var options: [String: String] = [:]

        init(labels: [String: String] = [:], options: [String: String] = [:]) {
            self.labels = labels
            self.options = options
        }

        init(from reader: inout JSONReader) throws {
            try reader.object { key, reader in
                switch key {
                case "labels": labels = try reader.value()
                case "options": options = try reader.value()
                default: try reader.skip()
                }
            }
        }

        func write(to writer: inout JSONWriter) {
            writer.object { writer in
                writer.member("labels", labels)
                writer.member("options", options)
            }
        }
    }

    /// Makes the volume, or answers the one that has the name already.
    public func create(_ request: Docker.VolumeCreateRequest, caller: Caller) async throws -> Docker.Volume {
        if let driver = request.driver, !driver.isEmpty, driver != "local" {
            throw Fault(
                .notFound,
                "create \(request.name ?? ""): error looking up volume plugin \(driver): plugin \"\(driver)\" not found",
                subject: driver)
        }
        if let option = (request.driverOpts ?? [:]).keys.sorted().first {
            let name = request.name ?? ""
            guard ["type", "device", "o", "size"].contains(option) else {
                throw Fault(.invalid, "create \(name): invalid option: \"\(option)\"", subject: option)
            }
            throw Fault(
                .unsupported, "create \(name): volume option \(option) is not supported by this engine", subject: option)
        }
        let wanted = request.name ?? ""
        let name = wanted.isEmpty ? ObjectID.random().text : try VolumeName.wished(wanted)
        var labels = request.labels ?? [:]
        if wanted.isEmpty { labels["com.docker.volume.anonymous"] = "" }
        let settings = Settings(labels: labels)
        let made = wallClock()
        let (record, isNew) = try await core.database.write(.durable) { transaction in
            if let present = try transaction.volume(name) { return (present, false) }
            let record = VolumeRecord(
                name: name, owner: caller.owner, created: made, anonymous: wanted.isEmpty, config: settings.json)
            try transaction.insert(record)
            return (record, true)
        }
        let folder = core.layout.volumes + "/" + name + "/_data"
        try await core.pool.run { try Self.makeFolder(folder) }
        if isNew { core.events.publish(type: "volume", action: "create", id: name, attributes: ["driver": "local"]) }
        return show(record)
    }

    static func makeFolder(_ folder: String) throws {
        try Descriptor.makeDirectories(folder, permissions: 0o755)
        try Descriptor.open(folder, [.read, .directory]).changeMode(0o755)
    }

    private func show(_ record: VolumeRecord) -> Docker.Volume {
        let settings = (try? Settings(json: record.config)) ?? Settings()
        var volume = Docker.Volume()
        volume.name = record.name
        volume.driver = "local"
        volume.mountpoint = core.layout.volumes + "/" + record.name + "/_data"
        volume.createdAt = record.created.description
        volume.labels = settings.labels
        volume.options = settings.options
        volume.scope = "local"
        return volume
    }

    public func list(_ filters: Filters = Filters()) async throws -> Docker.VolumeListResponse {
        try filters.validate(["dangling", "driver", "label", "name"])
        let dangling = try filters.bool("dangling")
        let found = try core.database.read { transaction in
            try transaction.volumes().filter { volume in
                guard let dangling else { return true }
                return try transaction.users(ofVolume: volume.name).isEmpty == dangling
            }
        }
        var response = Docker.VolumeListResponse()
        response.warnings = []
        response.volumes = found.map(show).filter { volume in
            filters.matches("label", in: volume.labels ?? [:]) && filters.matches("driver", exactly: "local")
                && (!filters.contains("name") || filters.get("name").contains { (volume.name ?? "").contains($0) })
        }
        return response
    }

    /// - Throws: `notFound` (`get x: no such volume`).
    public func inspect(_ name: String) async throws -> Docker.Volume {
        guard let record = try core.database.read({ try $0.volume(name) }) else {
            throw Fault(.notFound, "get \(name): no such volume", subject: name)
        }
        return show(record)
    }

    /// - Parameter force: an unknown volume is fine.
    /// - Throws: `conflict` (`remove x: volume is in use - [id]`).
    public func remove(_ name: String, force: Bool, caller: Caller) async throws {
        let folder = core.layout.volumes + "/" + name
        let found = try await core.database.write(.durable) { transaction in
            guard try transaction.volume(name) != nil else { return false }
            let users = try transaction.users(ofVolume: name)
            guard users.isEmpty else {
                let ids = users.map(\.text).joined(separator: ", ")
                throw Fault(.conflict, "remove \(name): volume is in use - [\(ids)]", subject: name)
            }
            try transaction.delete(volume: name)
            try transaction.addGarbage(folder)
            return true
        }
        guard found else {
            if force { return }
            throw Fault(.notFound, "get \(name): no such volume", subject: name)
        }
        await core.collect([folder])
        core.events.publish(type: "volume", action: "destroy", id: name, attributes: ["driver": "local"])
    }

    /// Removes anonymous volumes that nobody uses; with `all=1` named ones as well.
    public func prune(_ filters: Filters, caller: Caller) async throws -> Docker.VolumePruneResponse {
        try filters.validate(["all", "label", "label!"])
        let all = try filters.bool("all") ?? false
        var response = Docker.VolumePruneResponse()
        response.volumesDeleted = []
        response.spaceReclaimed = 0
        let unused = try core.database.read { transaction in
            try transaction.volumes().filter { try (all || $0.anonymous) && transaction.users(ofVolume: $0.name).isEmpty }
        }
        for record in unused {
            let volume = show(record)
            guard filters.admitsLabels(volume.labels ?? [:]) else { continue }
            let size = try await core.background.run { [core] in
                freedBytes([core.layout.volumes + "/" + record.name])
            }
            // Somebody may have begun to use it.
            guard (try? await remove(record.name, force: true, caller: caller)) != nil else { continue }
            response.volumesDeleted?.append(record.name)
            response.spaceReclaimed = (response.spaceReclaimed ?? 0) + Int(size)
        }
        core.events.publish(
            type: "volume", action: "prune", id: "", attributes: ["reclaimed": String(response.spaceReclaimed ?? 0)])
        return response
    }
}

/// Bytes of the files below a folder, as docker shows sizes; a file with several names once.
func diskUsage(of folder: String) throws -> Int64 {
    var usage = TreeUsage()
    try usage.add(path: folder)
    return usage.content
}

/// Bytes that come free on the disk when these are removed, as du(1) `--apparent-size` will see.
func freedBytes(_ paths: [String]) -> Int64 {
    var usage = TreeUsage()
    for path in paths { try? usage.add(path: path) }
    return usage.freed
}

extension Filters {
    /// `label` and `label!` of the prune requests.
    func admitsLabels(_ labels: [String: String]) -> Bool {
        guard matches("label", in: labels) else { return false }
        let unwanted = get("label!")
        return unwanted.isEmpty || !Filters(["label": unwanted]).matches("label", in: labels)
    }
}
