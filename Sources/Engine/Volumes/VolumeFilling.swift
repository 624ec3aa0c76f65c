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
        guard try target.names().isEmpty, !layers.isEmpty else { return }
        let root = try DetachedOverlay.readOnly(layers)
        let source: Descriptor
        do { source = try root.open(inRoot: Array(destination.utf8), [.read, .directory]) } catch let fault as KernelFault
            where fault.isAbsent
        { return }
        let status = try source.status()
        let pipe = BytePipe()
        let held = HeldDescriptor(source)
        try startThread {
            do {
                try held.borrow { try TreeArchiver(pipe, .tree).archive($0) }
                pipe.finish()
            } catch { pipe.fail(error) }
        }
        defer { pipe.abandon() }
        _ = try LayerUnpacker(root: try target.duplicate()).unpack(TarReader(pipe))
        try target.changeOwner(uid: status.uid, gid: status.gid)
        try target.changeMode(status.mode & 0o7777)
    }
}

/// Layers seen as one tree, without a writable layer: a mount that is attached nowhere and goes with its descriptor.
enum DetachedOverlay {
    /// - Parameter layers: topmost first. One alone needs no overlay.
    static func readOnly(_ layers: [String]) throws -> Descriptor {
        if layers.count == 1 { return try Descriptor.open(layers[0], [.read, .directory]) }
        let context = try FileSystemContext("overlay")
        for layer in layers { try context.set("lowerdir+", layer) }
        return try context.create(.readOnly)
    }
}
