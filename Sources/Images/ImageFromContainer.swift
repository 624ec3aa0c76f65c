import Archive
import Linux
import Model

extension ImageStore {
    /// A container's changes become a layer on top of its image. The engine has paused the container, if it wants to.
    ///
    /// The container's overlay must have been mounted with `redirect_dir=off,metacopy=off`: its upper folder is then complete.
    public func commit(_ request: CommitRequest, caller: Caller) async throws -> ImageRecord {
        let settings = try ImageChanges.apply(request.changes, to: request.settings)
        return try await inWorkshop("commit") { workshop in
            // Held until the new image has them: container and image may be removed meanwhile.
            let base = try request.base.map { id in
                try database.write { transaction in
                    try workshop.lease?.hold(image: id, in: transaction)
                    return (record: try record(transaction, id), layers: try transaction.layers(ofImage: id))
                }
            }
            let image = try await onThread { [privilege] in
                let upper = try Descriptor.duplicate(of: request.upper)
                let builder = LayerBuilder(privilege: privilege)
                let layer = try Self.layer(of: upper, builder, folder: workshop.file("layer"))
                let config = Self.config(request, settings, base?.record, layer)
                var layers = (base?.layers ?? []).map { NewLayer(place: .stored($0)) }
                layers.append(NewLayer(place: .built(layer)))
                var image = try NewImage(configBytes: config.json, layers: layers)
                image.parent = request.base
                image.tags = request.reference.map { [$0.withDefaultTag] } ?? []
                return image
            }
            try await store([image], workshop: workshop, caller: caller)
            return try self.image(image.id)
        }
    }

    /// Writes the folder as a layer's tar on another thread and unpacks it again here: one way of making layers, one digest.
    private static func layer(
        of upper: consuming Descriptor, _ builder: LayerBuilder, folder: String
    ) throws -> BuiltLayer {
        let pipe = BytePipe()
        let raw = upper.release()
        do {
            try startThread(stackSize: 4 << 20) {
                let upper = Descriptor(owning: raw)
                do {
                    try TreeArchiver(pipe, .overlayUpper).archive(upper)
                    pipe.finish()
                } catch { pipe.fail(error) }
            }
        } catch {
            _ = Descriptor(owning: raw)
            throw error
        }
        return try builder.build(pipe, folder: folder)
    }

    private static func config(
        _ request: CommitRequest, _ settings: ImageSettings, _ base: ImageRecord?, _ layer: BuiltLayer
    ) -> ImageConfig {
        var config = ImageConfig()
        config.architecture = base?.config.architecture ?? ImagePlatform.host.architecture
        config.os = base?.config.os ?? ImagePlatform.host.os
        config.variant = base?.config.variant ?? ""
        config.created = Timestamp(nanoseconds: Clock.realtime)
        config.author = request.author
        config.comment = request.message
        config.settings = settings
        config.diffIDs = (base?.config.diffIDs ?? []) + [layer.diffID]
        config.history = base?.config.history ?? []
        config.history.append(
            ImageHistory(
                created: config.created, createdBy: request.createdBy, author: request.author, comment: request.message))
        return config
    }
}
