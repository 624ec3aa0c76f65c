import Archive
import Images
import Linux
import Model
import State

/// `POST /commit`.
public struct CommitOptions: Sendable {
    /// `repo` and `tag`; nil leaves the image dangling.
    public var repository: String?
    public var tag: String?
    public var comment = ""
    public var author = ""
    /// Freeze the container meanwhile.
    public var pause = true
    /// Dockerfile instructions.
    public var changes: [String] = []
    /// The request's body: replaces the container's own settings where it is given.
    public var config: Docker.ContainerConfig?
    public init() {}
}

extension ContainerService {
    /// Paths that differ from the image.
    public func changes(_ reference: String) async throws -> [Docker.FilesystemChange] {
        let container = try core.registry.resolve(reference)
        let snapshot = container.snapshot
        let layers = try snapshot.layers(core)
        let changed = try await core.changes(container.id, imageID: snapshot.imageID)
        defer { changed.close() }
        return try await core.pool.run {
            let tree: Descriptor
            do { tree = try Descriptor.open(changed.path, [.read, .directory]) } catch let fault as KernelFault
                where fault.isAbsent
            {
                return []
            }
            return try UpperChanges(layers: layers).list(tree)
        }
    }

    /// The root file system as a tar, without what is mounted into it.
    public func export(_ reference: String) async throws -> PullStream<[UInt8]> {
        let container = try core.registry.resolve(reference)
        let lease = try await container.rootForExport()
        let outlet = try lease.stream { try TreeArchiver($1, .tree).archive($0) }
        container.tell("export")
        return outlet.stream
    }

    /// A container's changes become an image; answers its id (`sha256:…`).
    public func commit(_ reference: String, _ options: CommitOptions, caller: Caller) async throws -> Docker.IDResponse {
        let container = try core.registry.resolve(reference)
        var reference: Reference?
        if let repository = options.repository, !repository.isEmpty {
            let named = try Reference(repository)
            reference = try named.tagged(options.tag.flatMap { $0.isEmpty ? nil : $0 } ?? "latest")
        }
        let name = reference
        return try await shielded { [core] in
            let image = try await container.commit(options, name, caller: caller, core: core)
            core.events.publish(
                type: "image", action: "create", id: image.id.description, attributes: ["name": name?.familiar ?? ""])
            var response = Docker.IDResponse()
            response.id = image.id.description
            return response
        }
    }
}

extension ContainerSnapshot {
    /// The image's layers, topmost first.
    fileprivate func layers(_ core: EngineCore) throws -> [String] {
        guard let digest = Digest(imageID) else { return [] }
        return try core.images.image(digest).layers
    }
}

extension Container {
    /// The root without what is mounted into it: of a running container as its processes see it; of another one a read-only overlay
    /// of its own, with the container's upper folder as the topmost layer. It goes with the lease.
    fileprivate func rootForExport() async throws -> RootLease {
        if status.running != nil { return try await openRoot(mounts: false) }
        let folder = core.layout.container(id)
        let layers = try board.snapshot.layers(core)
        let image = try Digest(board.snapshot.imageID).map { try core.images.image($0) }
        return try await core.pool.run { [core, id] in
            try Self.makeFolders(folder)
            let attributes: MountAttributes = [.noDevices, .noExecute, .noSUID]
            if let image, let root = try core.ownRoot(id, image, attributes) { return RootLease(HeldDescriptor(root)) }
            let context = try FileSystemContext("overlay")
            for layer in [folder + "/upper"] + layers { try context.set("lowerdir+", layer) }
            for option in ["index", "redirect_dir", "metacopy", "xino"] { try context.set(option, "off") }
            return RootLease(HeldDescriptor(try context.create(attributes)))
        }
    }

    fileprivate func commit(_ options: CommitOptions, _ name: Reference?, caller: Caller, core: EngineCore) async throws
        -> ImageRecord
    {
        try await queue.run { try await self.commitNow(options, name, caller: caller) }
    }

    private func commitNow(_ options: CommitOptions, _ name: Reference?, caller: Caller) async throws -> ImageRecord {
        let snapshot = board.snapshot
        let folder = core.layout.container(id)
        let pauses = options.pause && status.running != nil && !status.isPaused
        if pauses { try await connection?.request(.pause) }
        let changed: ContainerChanges
        do { changed = try await core.changes(id, imageID: snapshot.imageID) } catch {
            if pauses { _ = try? await connection?.request(.resume) }
            throw error
        }
        defer { changed.close() }
        let upper = try await core.pool.run {
            try Self.makeFolders(folder)
            // By way of a mount of its own, in which no device can be opened: a process that is not paused may put one in the
            // place of a file at any moment.
            let clone = try Mounts.clone(changed.path, recursive: false)
            try Mounts.change(clone.raw, set: [.noDevices, .noExecute, .noSUID])
            return HeldDescriptor(try clone.open(child: [0x2E], [.read, .directory]))
        }
        defer { withExtendedLifetime(upper) {} }
        var settings = ContainerCommit.settings(options.config, own: snapshot.description.config)
        settings.labels.merge(ContainerCommit.origin(snapshot, caller)) { $1 }
        var request = CommitRequest(base: Digest(snapshot.imageID), upper: upper.raw, settings: settings)
        request.changes = options.changes
        request.reference = name
        request.author = options.author
        request.message = options.comment
        request.createdBy = snapshot.description.command.joined(separator: " ")
        let result: Result<ImageRecord, any Error>
        do { result = .success(try await core.images.commit(request, caller: caller)) } catch { result = .failure(error) }
        if pauses { _ = try? await connection?.request(.resume) }
        emit("commit", ["comment": options.comment])
        return try result.get()
    }
}
