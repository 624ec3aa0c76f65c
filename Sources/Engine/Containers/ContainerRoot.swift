import Images
import Linux
import Model

extension Container {
    /// The container's root: of a running one what its processes see, of another one a mount made for this, one for all who ask.
    /// - Parameter mounts: with volumes, binds and what else is mounted below it.
    func openRoot(mounts: Bool) async throws -> RootLease {
        for _ in 0..<3 {
            if status.running != nil, let connection {
                if let lease = try await cloneRoot(connection, mounts: mounts) { return lease }
            }
            // News of an end come through the queue as well: behind them it is known that the container does not run.
            let lease = try await queue.run { try await self.openStoppedRoot(mounts: mounts) }
            if let lease { return lease }
        }
        throw Fault(.conflict, "container \(id.short) is started and ended again and again", subject: id.text)
    }

    /// Nil where the container ended meanwhile.
    private func cloneRoot(_ connection: ShimConnection, mounts: Bool) async throws -> RootLease? {
        let answer: ShimAnswer
        do { answer = try await connection.request(.cloneRoot(mounts: mounts)) } catch let fault as Fault
            where fault.kind == .conflict || fault.kind == .unavailable
        {
            return nil
        } catch let fault as Fault where fault.kind == .unsupported {
            // A shim of an older engine
            answer = try await connection.request(.root)
        }
        guard let root = answer.descriptor else {
            throw Fault(.system, "the container's shim did not hand out its root")
        }
        guard self.connection === connection, !connection.gone.isResolved else { return nil }
        return roots.lease(root)
    }

    /// In the queue. Nil where the container runs by now.
    private func openStoppedRoot(mounts: Bool) async throws -> RootLease? {
        guard !removed else { throw Fault(.notFound, "No such container: \(id)", subject: id.text) }
        guard status.running == nil else { return nil }
        if let shared = roots.shareStopped() { return shared }
        // One superblock per upper folder: the last run's shim, and who copied from it, must have let go.
        if let last = connection, try await last.gone.value(within: .seconds(20)) == nil {
            throw Fault(
                .unavailable, "the last run of container \(id.short) is still being cleaned up, try again", subject: id.text)
        }
        try await roots.vacate(patience: .seconds(5))
        let snapshot = board.snapshot
        let description = snapshot.description
        guard let digest = Digest(snapshot.imageID) else { throw Fault(.system, "container \(id.short) has no image") }
        let image = try core.images.image(digest)
        let folder = core.layout.container(id)
        try await prepareVolumes(description, image)
        let root = try await core.pool.run { [core, id] in
            try Self.makeFolders(folder)
            for mount in description.mounts where mount.kind == .bind && mount.createsSource {
                try? Self.checkSource(mount)
            }
            var request = RootRequest(rootfs: try core.rootfs(id, image))
            request.isVolatile = description.autoRemove
            request.isReadOnly = description.host.readonlyRootfs == true
            request.mounts = SpecBuilder.storage(description, filesFolder: folder) { path in
                (try? Descriptor.open(path, .path)) != nil
            }
            return try core.launcher.openRoot(request)
        }
        return roots.lease(root, isStopped: true)
    }
}
