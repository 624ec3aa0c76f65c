import Archive
import Images
import JSON
import Linux
import Model
import State
import TestSupport

/// A store of a test's own in a scratch folder, as a user who is not root has it.
final class ImageStoreFixture {
    let scratch: Scratch
    let store: ImageStore
    let database: Database
    let caller = Caller(uid: 1000, gid: 1000, pid: 1)

    init(_ name: String = #function, privilege: LayerPrivilege = .user) throws {
        scratch = try Scratch(name)
        let layout = Layout(dataRoot: scratch.path + "/data", runRoot: scratch.path + "/run")
        _ = scratch.folder("data")
        database = try Database(path: layout.database)
        store = try ImageStore(layout: layout, database: database, privilege: privilege)
    }

    /// A tar of small files.
    static func tar(_ files: [(String, String)]) throws -> [UInt8] {
        let sink = MemorySink(limit: 1 << 24)
        let writer = TarWriter(sink)
        for (path, text) in files { try writer.file(path, Array(text.utf8)) }
        try writer.finish()
        return sink.bytes
    }

    @discardableResult
    func importImage(_ name: String?, _ files: [(String, String)] = [("etc/hello", "world")], changes: [String] = [])
        async throws
        -> ImageRecord
    {
        let reference = try name.map { try Reference($0) }
        let source = MemorySource(try Self.tar(files))
        return try await store.importRootfs(source, ImportRequest(reference: reference, changes: changes), caller: caller)
    }

    /// Names of all files and folders that the store keeps, without what is below a layer.
    func files() async throws -> [String] {
        try await store.settle()
        let script =
            "cd '\(scratch.path)/data' && find blobs layers tmp -mindepth 1 -maxdepth 2 | grep -v '^layers/.*/' | LC_ALL=C sort"
        return run(["/bin/sh", "-c", script]).output.split(separator: "\n").map(String.init)
            .filter { !["blobs/sha256", "blobs/sha512", "blobs/partial", "blobs/records"].contains($0) }
    }

    func save(_ names: String...) async throws -> [UInt8] {
        let path = scratch.path + "/saved.tar"
        try await store.save(names, to: DescriptorSink(try Descriptor.open(path, [.write, .create, .truncate])))
        let sink = MemorySink(limit: 1 << 28)
        try DescriptorSource(try Descriptor.open(path, [.read])).copy(to: sink)
        return sink.bytes
    }
}

/// A docker archive or OCI layout, put together by hand.
struct ArchiveMaker {
    var files: [(path: String, bytes: [UInt8])] = []
    var layers: [(path: String, digest: Digest, size: Int)] = []

    mutating func add(_ path: String, _ bytes: [UInt8]) { files.append((path, bytes)) }

    /// A layer under its digest, as `docker save` has it since 25.
    mutating func layer(_ contents: [(String, String)]) throws -> Digest {
        let tar = try ImageStoreFixture.tar(contents)
        let digest = try ContentHash.digest(of: tar)
        add("blobs/sha256/" + digest.hex, tar)
        layers.append(("blobs/sha256/" + digest.hex, digest, tar.count))
        return digest
    }

    /// The configuration for the layers so far, with its digest.
    mutating func config(diffIDs: [Digest]? = nil, os: String = "linux") throws -> Digest {
        var config = ImageConfig()
        config.os = os
        config.architecture = ImagePlatform.host.architecture
        config.diffIDs = diffIDs ?? layers.map(\.digest)
        let digest = try ContentHash.digest(of: config.json)
        add("blobs/sha256/" + digest.hex, config.json)
        return digest
    }

    mutating func dockerManifest(_ config: Digest, tags: [String]) {
        let image = DockerArchiveImage(config: "blobs/sha256/" + config.hex, repoTags: tags, layers: layers.map(\.path))
        add("manifest.json", [image].json)
    }

    mutating func ociManifest(_ config: Digest, name: String?) throws {
        let size = files.first { $0.path.hasSuffix(config.hex) }?.bytes.count ?? 0
        let manifest = ImageManifest(
            config: ContentDescriptor(mediaType: MediaType.ociConfig, digest: config, size: Int64(size)),
            layers: layers.map { ContentDescriptor(mediaType: MediaType.ociLayer, digest: $0.digest, size: Int64($0.size)) })
        let digest = try ContentHash.digest(of: manifest.json)
        add("blobs/sha256/" + digest.hex, manifest.json)
        var descriptor = ContentDescriptor(mediaType: MediaType.ociManifest, digest: digest, size: Int64(manifest.json.count))
        if let name { descriptor.annotations["org.opencontainers.image.ref.name"] = name }
        add("oci-layout", Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))
        add("index.json", ImageIndex(manifests: [descriptor]).json)
    }

    func tar() throws -> [UInt8] {
        let sink = MemorySink(limit: 1 << 24)
        let writer = TarWriter(sink)
        for file in files { try writer.file(file.path, file.bytes) }
        try writer.finish()
        return sink.bytes
    }
}
