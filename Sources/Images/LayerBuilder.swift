import Archive
import Linux
import Model

/// A layer that was unpacked into a workshop and has no record yet.
struct BuiltLayer: Sendable {
    let diffID: Digest
    /// Bytes of the uncompressed tar.
    let tarSize: Int64
    /// Folder in the workshop with `diff/` and `recipe`.
    let folder: String
    /// Bytes of its files.
    let size: Int64
    let foreignLinks: [(path: PathBytes, target: PathBytes)]
    let warnings: [String]
}

/// Unpacks one layer: stream → uncompress → digest on one thread, tar → files on the calling one.
struct LayerBuilder {
    var privilege = LayerPrivilege.root
    var limits = TarLimits()

    /// - Parameters:
    ///   - source: the layer's tar, compressed or not. Read to its end, or abandoned on a fault.
    ///   - folder: a new folder to make.
    func build(_ source: any ByteSource, folder: String) throws -> BuiltLayer {
        let hashing = HashingSource(Decompressor(source))
        let ahead = try ReadAhead(hashing)
        let unpacked: UnpackedLayer
        do {
            unpacked = try unpack(ahead, folder)
            ahead.close()
        } catch {
            hashing.abandon()
            ahead.close()
            throw imageFault(error)
        }
        StoreCrashPoint.layerBuilt.reach()
        return BuiltLayer(
            diffID: try hashing.hash.finish(), tarSize: hashing.hash.count, folder: folder, size: unpacked.bytes,
            foreignLinks: unpacked.foreignLinks, warnings: unpacked.warnings)
    }

    private func unpack(_ source: any ByteSource, _ folder: String) throws -> UnpackedLayer {
        try Descriptor.makeDirectories(folder + "/diff", permissions: 0o755)
        let root = try Descriptor.open(folder + "/diff", [.read, .directory])
        try root.changeMode(0o755)
        let attic = Attic(try Descriptor.open(folder, [.read, .directory]))
        let file = try Descriptor.open(folder + "/recipe", [.write, .create, .exclusive], permissions: 0o600)
        let recipe = try LayerRecipeWriter(DescriptorSink(file))
        let reader = TarReader(source, limits: limits, observer: recipe)
        let unpacker = try LayerUnpacker(root: root, privilege: privilege, recipe: recipe, attic: attic)
        let result = try unpacker.unpack(reader)
        try recipe.finish()
        return result
    }
}
