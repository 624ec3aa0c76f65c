import Images
import Model
import State

/// One create request on its way.
struct ContainerCreation: Sendable {
    let core: EngineCore
    var request: Docker.ContainerCreateRequest
    let caller: Caller

    mutating func run(name: String?, platform: String?) async throws -> Docker.ContainerCreateResponse {
        let wanted = name.map { $0.hasPrefix("/") ? String($0.dropFirst()) : $0 } ?? ""
        if !wanted.isEmpty { try Self.validate(wanted) }
        guard let imageName = request.image, !imageName.isEmpty else { throw Fault(.invalid, "no image specified") }
        let image = try core.images.resolve(imageName)
        if let platform, !platform.isEmpty { try check(platform, image, imageName) }
        let id = ObjectID.random()
        try checkLinks(request.hostConfig)
        try resolveJoined(&request.hostConfig)
        let inherited = try (request.hostConfig?.volumesFrom ?? []).map {
            try InheritedMounts($0) { try core.registry.resolve($0) }
        }
        let networks = core.sandboxes.networks
        let fresh = ContainerWishes(request, image: image, imageName: imageName, id: id, inherited: inherited) {
            try? networks.resolve($0)
        }
        // Looks at files of the host: off the cooperative pool.
        let (description, volumes, warnings) = try await core.pool.run { [core] in
            var wishes = fresh
            let description = try wishes.description(volumes: core.layout.volumes)
            return (description, wishes.newVolumes, wishes.warnings)
        }
        let reserved = try reserve(wanted, id)
        do {
            try await store(id, reserved, image, description, volumes)
        } catch {
            core.registry.release(reserved, of: id)
            throw error
        }
        var response = Docker.ContainerCreateResponse()
        response.id = id.text
        response.warnings = warnings
        return response
    }

    /// Whom a container is linked to must be there; it need not run before the start.
    private func checkLinks(_ host: Docker.HostConfig?) throws {
        for link in host?.links ?? [] {
            let target = ContainerLink.parse(link).target
            do { _ = try core.registry.resolve(target) } catch {
                // Not found would be said of the image.
                throw Fault(.invalid, "could not get container for \(target): \(Fault(error).message)", subject: target)
            }
        }
    }

    /// Whose namespaces are to be joined is kept by its id, which no renaming changes. It must be there, except for the network's:
    /// the start will want that.
    private func resolveJoined(_ host: inout Docker.HostConfig?) throws {
        func resolved(_ mode: String?) throws -> String? {
            guard let mode, mode.hasPrefix("container:"), mode.utf8.count > 10 else { return mode }
            do { return "container:" + (try core.registry.resolve(String(mode.dropFirst(10)))).id.text } catch {
                throw Fault(.invalid, Fault(error).message, subject: mode)
            }
        }
        guard var wished = host else { return }
        wished.pidMode = try resolved(wished.pidMode)
        wished.ipcMode = try resolved(wished.ipcMode)
        if let found = try? resolved(wished.networkMode) { wished.networkMode = found }
        host = wished
    }

    /// The wished name, or two words that nobody has.
    private func reserve(_ wanted: String, _ id: ObjectID) throws -> String {
        if !wanted.isEmpty {
            try core.registry.reserve(wanted, for: id)
            return wanted
        }
        var attempt = 0
        while true {
            let name = RandomName.make(attempt: attempt)
            attempt += 1
            if (try? core.registry.reserve(name, for: id)) != nil { return name }
        }
    }

    private func store(
        _ id: ObjectID, _ name: String, _ image: ImageRecord, _ description: ContainerDescription,
        _ volumes: [ContainerWishes.NewVolume]
    ) async throws {
        let snapshot = ContainerSnapshot(
            id: id, name: name, owner: caller.owner, created: wallClock(), imageID: image.id.description,
            description: description, status: ContainerStatus(), health: HealthState(description))
        let record = ContainerRecord(
            id: id, name: name, owner: snapshot.owner, created: snapshot.created, imageID: snapshot.imageID,
            config: description.json, state: snapshot.status.json)
        let durability: Durability = description.autoRemove ? .fast : .durable
        let made = try await core.database.write(durability) { transaction in
            try transaction.insert(record)
            try transaction.holdImage(image.id, holder: id)
            var made: [String] = []
            for volume in volumes {
                if try transaction.volume(volume.name) == nil {
                    let settings = VolumeService.Settings(
                        labels: volume.anonymous ? ["com.docker.volume.anonymous": ""] : volume.labels)
                    try transaction.insert(
                        VolumeRecord(
                            name: volume.name, owner: caller.owner, created: snapshot.created, anonymous: volume.anonymous,
                            config: settings.json))
                    made.append(volume.name)
                }
                try transaction.use(volume: volume.name, by: id)
            }
            return made
        }
        CrashPoint.createRecorded.reach()
        let container = Container(snapshot, core: core)
        core.registry.insert(container, name: name)
        for volume in made {
            core.events.publish(type: "volume", action: "create", id: volume, attributes: ["driver": "local"])
        }
        await container.emit("create")
    }

    private func check(_ platform: String, _ image: ImageRecord, _ name: String) throws {
        let parts = platform.split(separator: "/").map { String($0) }
        let os = parts.first ?? ""
        let architecture = parts.count > 1 ? parts[1] : image.config.architecture
        guard os == image.config.os || image.config.os.isEmpty, architecture == image.config.architecture else {
            throw Fault(
                .notFound,
                "image with reference \(name) was found but does not match the specified platform: wanted \(platform), actual: "
                    + "\(image.config.os)/\(image.config.architecture)", subject: name)
        }
    }

    /// Docker's rule for names.
    static func validate(_ name: String) throws {
        let bytes = Array(name.utf8)
        func word(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        }
        guard bytes.count >= 2, bytes.count <= 255, word(bytes[0]),
            bytes.dropFirst().allSatisfy({ word($0) || [0x5F, 0x2E, 0x2D].contains($0) })
        else {
            throw Fault(
                .invalid, "Invalid container name (\(name)), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", subject: name)
        }
    }
}
