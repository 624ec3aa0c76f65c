import Images
import Linux
import Model
import State

extension EngineCore {
    /// What a container's root is mounted from, made where it is not there yet. Blocking: the first container of an image may copy
    /// all of its files, where the storage driver is not overlay.
    func rootfs(_ id: ObjectID, _ image: ImageRecord) throws -> ShimRootfs {
        switch try images.driver.prepare(container: layout.container(id), image.layered) {
        case .overlay(let lower, let upper, let work): .overlay(lower: lower, upper: upper, work: work)
        case .folder(let path): .directory(path)
        }
    }

    /// Where the container's own files are.
    func writableFolder(_ id: ObjectID) -> String { images.driver.writable(container: layout.container(id)) }

    /// A container's root as a detached mount, where the storage driver keeps it as a folder of its own; nil for overlay.
    func ownRoot(_ id: ObjectID, _ image: ImageRecord, _ attributes: MountAttributes = []) throws -> Descriptor? {
        guard case .directory(let path) = try rootfs(id, image) else { return nil }
        let clone = try Mounts.clone(path, recursive: false)
        if !attributes.isEmpty { try Mounts.change(clone.raw, set: attributes) }
        return try clone.open(child: [0x2E], [.read, .directory])
    }

    /// A container's changes as an overlay's upper folder.
    func changes(_ id: ObjectID, imageID: String) async throws -> ContainerChanges {
        guard let digest = Digest(imageID) else { throw Fault(.system, "container \(id.short) has no image") }
        return try await images.changes(container: layout.container(id), try images.image(digest).layered)
    }

    /// Bytes that a container has written.
    func writableSize(_ id: ObjectID) async -> Int64 {
        guard let imageID = registry.container(id)?.snapshot.imageID, let digest = Digest(imageID),
            let image = try? images.image(digest)
        else { return 0 }
        let folder = layout.container(id)
        return
            (try? await background.run { [images] in
                try images.driver.written(container: folder, image.layered)
            }) ?? 0
    }

    /// A container was made by one driver and cannot be used by another.
    /// - Throws: `conflict` where there are containers of another driver's.
    func noteStorageDriver() throws {
        let name = images.driver.name
        try database.write { transaction in
            let before = try transaction.meta("storage.driver") ?? "overlay2"
            if before != name, let container = try transaction.containers().first {
                throw Fault(
                    .conflict,
                    "container \(container.name) was made with the storage driver \(before): remove the containers before changing to "
                        + "\(name), or start with --storage-driver \(before)")
            }
            try transaction.setMeta("storage.driver", name)
        }
    }
}
