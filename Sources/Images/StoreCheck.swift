import Archive
import Linux
import Model
import State

/// Something at rest that is not as its record says.
public struct StoreDamage: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case database, blob, layer, image, container, volume, unaccounted
    }

    public var kind: Kind
    /// Digest, id, name or path.
    public var subject: String
    /// Relative to the data root; empty where there is no such thing.
    public var path = ""
    public var problem: String
    /// Ids of the images that need it.
    public var images: [Digest] = []
    /// Names of the containers that need it.
    public var containers: [String] = []
    /// What it takes to mend it.
    public var remedy: String
    /// What was done; nil: nothing.
    public var repair: String?

    public init(_ kind: Kind, _ subject: String, path: String = "", problem: String, remedy: String) {
        self.kind = kind
        self.subject = subject
        self.path = path
        self.problem = problem
        self.remedy = remedy
    }
}

/// How far a check is.
public struct CheckProgress: Sendable {
    public var what: String
    public var done: Int64
    public var total: Int64
    public init(what: String, done: Int64, total: Int64) {
        self.what = what
        self.done = done
        self.total = total
    }
}

/// What a check looked at.
public struct CheckedStore: Sendable {
    public var blobs = 0
    public var layers = 0
    public var images = 0
    /// Bytes that were read and hashed.
    public var bytes: Int64 = 0
    public var damages: [StoreDamage] = []
    /// How each damage can be mended here, by its subject.
    var plans: [String: RepairPlan] = [:]
    public init() {}
}

extension ImageStore {
    /// Reads every content and makes every layer's tar again, and compares with the digests. Changes nothing. What is removed
    /// while it is looked at is no damage. Blocks for as long as the disk takes.
    public func check(progress: @escaping @Sendable (CheckProgress) -> Void = { _ in }) async throws -> CheckedStore {
        try await leased("check") { _ in
            try await onThread { [self] in
                var check = try StoreInspection(self, progress)
                try check.run()
                return check.result
            }
        }
    }
}

/// One check of the whole store.
private struct StoreInspection {
    let store: ImageStore
    let layout: Layout
    let progress: @Sendable (CheckProgress) -> Void
    var result = CheckedStore()

    private let blobs: [BlobRow]
    private let layers: [LayerRow]
    private let merged: [(chainID: Digest, tree: String)]
    private let images: [ImageRow]
    private let usage: [String: (bytes: Int64, files: Int)]
    private let total: Int64
    /// Contents whose file is sound, and folders whose tar is right.
    private var soundBlobs: Set<Digest> = []
    private var soundTrees: Set<String> = []

    init(_ store: ImageStore, _ progress: @escaping @Sendable (CheckProgress) -> Void) throws {
        self.store = store
        self.progress = progress
        layout = store.layout
        let all = try store.database.read { transaction in
            (
                blobs: try transaction.blobs(), layers: try transaction.layers(), merged: try transaction.mergedTrees(),
                images: try transaction.images(), usage: try transaction.treeUsage()
            )
        }
        blobs = all.blobs
        layers = all.layers
        merged = all.merged
        images = all.images
        usage = all.usage
        let trees = Dictionary(layers.map { ($0.tree, $0.size) }) { first, _ in first }
        total = blobs.reduce(0) { $0 + ($1.hasFile || $1.hasRecord ? $1.size : 0) } + trees.values.reduce(0, +)
    }

    mutating func run() throws {
        for blob in blobs where blob.hasFile { try checkFile(blob) }
        var seen: Set<String> = []
        for layer in layers where seen.insert(layer.tree).inserted { try checkTree(layer) }
        for blob in blobs {
            if let tree = blob.tree, seen.insert(tree).inserted, let diffID = blob.diffID {
                try checkTree(LayerRow(chainID: diffID, diffID: diffID, tree: tree, size: 0))
            }
        }
        for blob in blobs where blob.hasRecord && blob.tree.map(soundTrees.contains) == true { try checkRecord(blob) }
        for (chainID, tree) in merged { try checkMerge(chainID, tree) }
        for image in images { try checkImage(image) }
        plan()
    }

    private mutating func step(_ what: String, _ bytes: Int64) {
        result.bytes += bytes
        progress(CheckProgress(what: what, done: min(result.bytes, total), total: total))
    }

    // MARK: Contents

    private mutating func checkFile(_ blob: BlobRow) throws {
        result.blobs += 1
        let path = "blobs/\(blob.digest.algorithm.rawValue)/\(blob.digest.hex)"
        var problem: String?
        do {
            let source = HashingSource(
                DescriptorSource(try Descriptor.open(layout.blob(blob.digest), [.read, .noFollow])), blob.digest.algorithm)
            try source.copy(to: NullSink())
            let digest = try source.hash.finish()
            if source.hash.count != blob.size {
                problem = "it has \(source.hash.count) bytes instead of \(blob.size)"
            } else if digest != blob.digest {
                problem = "its content has the digest \(digest)"
            }
        } catch let fault as KernelFault {
            problem = fault.isAbsent ? "its file is missing" : "it cannot be read: \(fault)"
        }
        step("content \(blob.digest.short)", blob.size)
        guard let problem else {
            soundBlobs.insert(blob.digest)
            return
        }
        // Removed while it was read
        guard let now = try store.database.read({ try $0.blob(blob.digest) }), now.hasFile else { return }
        var damage = StoreDamage(.blob, blob.digest.description, path: path, problem: problem, remedy: "")
        damage.images = try store.database.read { try $0.images(withBlob: blob.digest) }
        result.damages.append(damage)
    }

    /// Makes a content from its layer and the record of how that was compressed.
    private mutating func checkRecord(_ blob: BlobRow) throws {
        result.blobs += 1
        var problem: String?
        let hashing = HashingSink(NullSink(), blob.digest.algorithm)
        do {
            try store.remake(blob, to: hashing)
            let digest = try hashing.hash.finish()
            if digest != blob.digest { problem = "what is made of its layer and its record has the digest \(digest)" }
        } catch let fault as KernelFault {
            problem = fault.isAbsent ? "the record of how it is made is missing" : "its record cannot be read: \(fault)"
        } catch { problem = "it cannot be made from its layer: \(Fault(error).message)" }
        step("content \(blob.digest.short)", blob.size)
        guard let problem, let now = try store.database.read({ try $0.blob(blob.digest) }), now.hasRecord else { return }
        let path = "blobs/records/\(blob.digest.algorithm.rawValue)-\(blob.digest.hex)"
        var damage = StoreDamage(.blob, blob.digest.description, path: path, problem: problem, remedy: "")
        damage.images = try store.database.read { try $0.images(withBlob: blob.digest) }
        result.damages.append(damage)
    }

    // MARK: Layers

    private mutating func checkTree(_ layer: LayerRow) throws {
        result.layers += 1
        let problem = treeProblem(layer)
        step("layer \(layer.diffID.short)", layer.size)
        guard let problem else {
            soundTrees.insert(layer.tree)
            return
        }
        guard try store.database.read({ try $0.isUsed(layerTree: layer.tree) }) else { return }
        var damage = StoreDamage(
            .layer, layer.diffID.description, path: "layers/" + layer.tree, problem: problem, remedy: "")
        damage.images = try store.database.read { transaction in
            var found: Set<Digest> = []
            for row in layers where row.tree == layer.tree { found.formUnion(try transaction.images(withLayer: row.chainID)) }
            for blob in blobs where blob.tree == layer.tree { found.formUnion(try transaction.images(withBlob: blob.digest)) }
            return found.sorted()
        }
        result.damages.append(damage)
    }

    private func treeProblem(_ layer: LayerRow) -> String? {
        let folder = layout.layerFolder(layer.tree)
        guard exists(layout.layerDiff(layer.tree)) else { return "its folder is missing" }
        let hash = HashingSink(NullSink(), layer.diffID.algorithm)
        do {
            try LayerRebuilder(folder: folder, recipe: layout.layerRecipe(layer.tree)).write(to: hash)
            let digest = try hash.hash.finish()
            if digest != layer.diffID { return "the tar made of it has the digest \(digest)" }
        } catch let fault as KernelFault {
            return fault.isAbsent ? "a file of it or its recipe is missing" : "it cannot be read: \(fault)"
        } catch { return Fault(error).message }
        // What the recipe does not name: links, folders, devices
        guard let known = usage[layer.tree] else { return nil }
        var found = TreeUsage()
        do { try found.add(path: folder) } catch { return "it cannot be read: \(error)" }
        if found.files != known.files { return "it has \(found.files) files and folders instead of \(known.files)" }
        return found.bytes == known.bytes ? nil : "its files have \(found.bytes) bytes instead of \(known.bytes)"
    }

    private mutating func checkMerge(_ chainID: Digest, _ tree: String) throws {
        result.layers += 1
        guard let problem = try mergeProblem(chainID, tree) else { return }
        guard try store.database.read({ try $0.mergedTree(chain: chainID) }) == tree else { return }
        var damage = StoreDamage(
            .layer, chainID.description, path: "layers/" + tree,
            problem: problem, remedy: "")
        damage.images = try store.database.read { try $0.images(withLayer: chainID) }
        result.damages.append(damage)
    }

    private func mergeProblem(_ chainID: Digest, _ tree: String) throws -> String? {
        guard exists(layout.layerDiff(tree)) else { return "the folder that stands for its lowest layers is missing" }
        let stack = try store.database.read { transaction in
            try transaction.images(withLayer: chainID).first.map { try transaction.layers(ofImage: $0) } ?? []
        }
        guard let top = stack.firstIndex(where: { $0.chainID == chainID }) else { return nil }
        let layers = stack[...top]
        // What is wrong in a layer itself is said there.
        guard layers.allSatisfy({ soundTrees.contains($0.tree) }) else { return nil }
        do {
            let difference = try MergedTree(layers: layers.map { layout.layerDiff($0.tree) }).difference(layout.layerDiff(tree))
            return difference.map { "the folder that stands for its lowest layers is not what they make: \($0)" }
        } catch { return "it cannot be read: \(error)" }
    }

    // MARK: Images

    private mutating func checkImage(_ image: ImageRow) throws {
        result.images += 1
        guard let problem = try imageProblem(image) else { return }
        // A transaction changes all of an image at once: what stands now is what counts.
        guard let now = try store.database.read({ try $0.image(image.id) }), try imageProblem(now) != nil else { return }
        var damage = StoreDamage(.image, image.id.description, problem: problem, remedy: "")
        damage.images = [image.id]
        result.damages.append(damage)
    }

    private func imageProblem(_ image: ImageRow) throws -> String? {
        guard try ContentHash.digest(of: image.config, image.id.algorithm) == image.id else {
            return "its configuration in the state file does not have its digest"
        }
        let (layers, blobs) = try store.database.read { transaction in
            (try transaction.layers(ofImage: image.id), try transaction.blobs(ofImage: image.id))
        }
        let config = try ImageConfig.read(image.config)
        guard layers.map(\.diffID) == config.diffIDs else {
            return "it has \(layers.count) layers where its configuration names \(config.diffIDs.count) or others"
        }
        var below: Digest?
        for layer in layers {
            let chain = try Digest.chain(below, layer.diffID)
            guard chain == layer.chainID else { return "its layer \(layer.diffID.short) does not stand on the one below" }
            below = chain
        }
        let digests = Set(blobs.map(\.digest))
        guard digests.contains(image.id) else { return "the record of its configuration is missing" }
        guard let manifest = image.manifest, digests.contains(manifest) else { return "the record of its manifest is missing" }
        return nil
    }

    // MARK: What to do

    private mutating func plan() {
        for index in result.damages.indices {
            let damage = result.damages[index]
            let (plan, remedy) = remedy(damage)
            if let plan { result.plans[damage.subject + damage.path] = plan }
            result.damages[index].remedy = remedy
        }
    }

    private func remedy(_ damage: StoreDamage) -> (RepairPlan?, String) {
        let again = "pull, load or import the image again"
        switch damage.kind {
        case .blob:
            guard let blob = blobs.first(where: { $0.digest.description == damage.subject }) else { return (nil, again) }
            if let image = images.first(where: { $0.id == blob.digest }) {
                return (.writeConfig(image.id), "--repair writes it again from the state file")
            }
            if let diffID = blob.diffID, let tree = layers.first(where: { $0.diffID == diffID && soundTrees.contains($0.tree) })
            {
                if blob.digest == diffID {
                    return (.makeFromTree(blob, tree.tree), "--repair drops the file: it can be made from the unpacked layer")
                }
                return (.fetch(blob), "--repair fetches this one content again; containers do not need it")
            }
            return (.fetch(blob), "--repair fetches this one content again where a registry has it; otherwise " + again)
        case .layer:
            if let merge = merged.first(where: { "layers/" + $0.tree == damage.path }) {
                return (.merge(merge.chainID), "--repair merges the layers again")
            }
            let digest = damage.subject
            if let blob = blobs.first(where: {
                $0.hasFile && $0.diffID?.description == digest && soundBlobs.contains($0.digest)
            }) {
                return (.unpack(blob), "--repair unpacks it again from content \(blob.digest.short)")
            }
            if let blob = blobs.first(where: { $0.diffID?.description == digest && $0.digest != $0.diffID }) {
                return (.fetch(blob), "--repair fetches the content again where a registry has it; otherwise " + again)
            }
            return (nil, "no other copy of it is here: " + again)
        default: return (nil, again)
        }
    }
}

/// What mends a damage.
enum RepairPlan: Sendable {
    /// The configuration's file, from the image's record.
    case writeConfig(Digest)
    /// Drop the damaged file; the content is made from this folder.
    case makeFromTree(BlobRow, String)
    /// Unpack the layer again from this content.
    case unpack(BlobRow)
    /// Get the content from a registry, and unpack its layer where that is damaged too.
    case fetch(BlobRow)
    /// Merge the lowest layers again.
    case merge(Digest)
}
