import JSON

/// Media types of manifests, configurations and layers.
public enum MediaType {
    public static let ociIndex = "application/vnd.oci.image.index.v1+json"
    public static let ociManifest = "application/vnd.oci.image.manifest.v1+json"
    public static let ociConfig = "application/vnd.oci.image.config.v1+json"
    public static let ociLayer = "application/vnd.oci.image.layer.v1.tar"
    public static let ociLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
    public static let ociLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd"
    public static let dockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
    public static let dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
    public static let dockerConfig = "application/vnd.docker.container.image.v1+json"
    public static let dockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
    public static let dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"

    public static func isManifest(_ type: String) -> Bool { type == ociManifest || type == dockerManifest }
    public static func isIndex(_ type: String) -> Bool { type == ociIndex || type == dockerList }
    public static func isConfig(_ type: String) -> Bool { type == ociConfig || type == dockerConfig }
    /// A layer that its maker does not allow registries to keep.
    public static func isForeign(_ type: String) -> Bool {
        type.hasPrefix("application/vnd.oci.image.layer.nondistributable.")
            || type.hasPrefix("application/vnd.docker.image.rootfs.foreign.")
    }
    public static func isLayer(_ type: String) -> Bool {
        type.hasPrefix("application/vnd.oci.image.layer.") || type.hasPrefix("application/vnd.docker.image.rootfs.")
    }
}

/// A content that a manifest points to (image-spec, descriptor.md).
public struct ContentDescriptor: Sendable, Equatable {
    public var mediaType: String
    public var digest: Digest
    public var size: Int64
    public var urls: [String] = []
    public var annotations: [String: String] = [:]
    public var artifactType: String?
    public var platform: ImagePlatform?

    public init(mediaType: String, digest: Digest, size: Int64) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
    }
}

/// The machine that an image is for.
public struct ImagePlatform: Sendable, Hashable {
    public var architecture: String
    public var os: String
    public var variant = ""
    public var osVersion = ""
    public var osFeatures: [String] = []

    public init(architecture: String, os: String, variant: String = "") {
        self.architecture = architecture
        self.os = os
        self.variant = variant
    }

    /// The machine that this is compiled for.
    public static var host: ImagePlatform {
        #if arch(arm64)
            ImagePlatform(architecture: "arm64", os: "linux", variant: "v8")
        #else
            ImagePlatform(architecture: "amd64", os: "linux")
        #endif
    }
}

/// One image (image-spec manifest.md, docker's schema 2).
public struct ImageManifest: Sendable, Equatable {
    public var mediaType: String
    public var config: ContentDescriptor
    public var layers: [ContentDescriptor]
    public var annotations: [String: String] = [:]
    public var artifactType: String?
    public var subject: ContentDescriptor?

    public init(mediaType: String = MediaType.ociManifest, config: ContentDescriptor, layers: [ContentDescriptor]) {
        self.mediaType = mediaType
        self.config = config
        self.layers = layers
    }
}

/// Images for several platforms (image-spec image-index.md, docker's manifest list).
public struct ImageIndex: Sendable, Equatable {
    public var mediaType: String
    public var manifests: [ContentDescriptor]
    public var annotations: [String: String] = [:]
    public var artifactType: String?
    public var subject: ContentDescriptor?

    public init(mediaType: String = MediaType.ociIndex, manifests: [ContentDescriptor]) {
        self.mediaType = mediaType
        self.manifests = manifests
    }
}

/// A manifest document of either kind.
public enum ManifestDocument: Sendable, Equatable {
    case manifest(ImageManifest)
    case index(ImageIndex)

    public static let limits = JSONLimits(size: 4 << 20, depth: 32)

    /// Reads a manifest or an index. `mediaType` is what the transport said it is; a document that says otherwise, that
    /// could be read as both kinds, or that is docker's schema 1, is refused (GHSA-xmmx-7jpf-fx42).
    public init(_ bytes: [UInt8], mediaType: String? = nil) throws {
        var draft = ManifestDraft()
        do {
            var reader = try JSONReader(bytes, limits: Self.limits)
            try draft.read(&reader)
            try reader.end()
            self = try draft.document(mediaType: mediaType)
        } catch let fault as JSONFault { throw Fault(.invalid, "invalid manifest: \(fault)") }
    }
}

/// The members of a manifest document while its kind is not yet known.
private struct ManifestDraft {
    var schemaVersion: Int?
    var mediaType: String?
    var artifactType: String?
    var config: ContentDescriptor?
    var layers: [ContentDescriptor]?
    var manifests: [ContentDescriptor]?
    var subject: ContentDescriptor?
    var annotations: [String: String] = [:]
    var isSchema1 = false

    mutating func read(_ reader: inout JSONReader) throws {
        try reader.object { key, reader in
            switch key {
            case "schemaVersion": schemaVersion = try reader.integer()
            case "mediaType": mediaType = try reader.value()
            case "artifactType": artifactType = try reader.value()
            case "config": config = try reader.value()
            case "layers": layers = try limited(reader.value(), &reader)
            case "manifests": manifests = try limited(reader.value(), &reader)
            case "subject": subject = try reader.value()
            case "annotations": annotations = try reader.value()
            case "fsLayers":
                isSchema1 = true
                try reader.skip()
            default: try reader.skip()
            }
        }
    }

    private func limited(_ list: [ContentDescriptor], _ reader: inout JSONReader) throws -> [ContentDescriptor] {
        guard list.count <= ImageConfig.maximumLayers else {
            throw reader.fault("\(list.count) entries are more than the limit of \(ImageConfig.maximumLayers)")
        }
        return list
    }

    func document(mediaType expected: String?) throws -> ManifestDocument {
        if isSchema1 || schemaVersion == 1 {
            throw Fault(
                .unsupported,
                "docker image manifest version 2, schema 1 is not supported: push the image again with a newer tool")
        }
        guard schemaVersion == 2 else { throw Fault(.invalid, "invalid manifest: schemaVersion is not 2") }
        if let expected, let mediaType, expected != mediaType {
            throw Fault(.invalid, "invalid manifest: it says it is \(mediaType) but came as \(expected)")
        }
        let type = mediaType ?? expected
        if let manifests {
            guard config == nil, layers == nil, type.map(MediaType.isIndex) ?? true else {
                throw Fault(.invalid, "invalid manifest: it has members of an index and of an image manifest")
            }
            var index = ImageIndex(mediaType: type ?? MediaType.ociIndex, manifests: manifests)
            index.annotations = annotations
            index.artifactType = artifactType
            index.subject = subject
            return .index(index)
        }
        guard let config, let layers else {
            throw Fault(.invalid, "invalid manifest: config and layers, or manifests, are missing")
        }
        guard type.map(MediaType.isManifest) ?? true else {
            throw Fault(.invalid, "invalid manifest: \(type ?? "") is no image manifest")
        }
        var manifest = ImageManifest(mediaType: type ?? MediaType.ociManifest, config: config, layers: layers)
        manifest.annotations = annotations
        manifest.artifactType = artifactType
        manifest.subject = subject
        return .manifest(manifest)
    }
}

extension ContentDescriptor: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var mediaType = ""
        var digest: Digest?
        var size: Int64 = -1
        var rest = ContentDescriptorRest()
        try reader.object { key, reader in
            switch key {
            case "mediaType": mediaType = try reader.value() ?? ""
            case "digest": digest = try reader.value()
            case "size": size = try reader.integer()
            case "urls": rest.urls = try reader.value()
            case "annotations": rest.annotations = try reader.value()
            case "artifactType": rest.artifactType = try reader.value()
            case "platform": rest.platform = try reader.value()
            default: try reader.skip()
            }
        }
        guard let digest else { throw reader.fault("a descriptor without a digest") }
        guard size >= 0 else { throw reader.fault("a descriptor without a size, or with a negative one") }
        self.init(mediaType: mediaType, digest: digest, size: size)
        urls = rest.urls
        annotations = rest.annotations
        artifactType = rest.artifactType
        platform = rest.platform
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("mediaType", mediaType)
            writer.member("digest", digest)
            writer.member("size", size)
            if !urls.isEmpty { writer.member("urls", urls) }
            if !annotations.isEmpty { writer.member("annotations", annotations) }
            writer.member("platform", ifPresent: platform)
            writer.member("artifactType", ifPresent: artifactType)
        }
    }
}

private struct ContentDescriptorRest {
    var urls: [String] = []
    var annotations: [String: String] = [:]
    var artifactType: String?
    var platform: ImagePlatform?
}

extension ImagePlatform: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(architecture: "", os: "")
        try reader.object { key, reader in
            switch key {
            case "architecture": architecture = try reader.value() ?? ""
            case "os": os = try reader.value() ?? ""
            case "variant": variant = try reader.value() ?? ""
            case "os.version": osVersion = try reader.value() ?? ""
            case "os.features": osFeatures = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("architecture", architecture)
            writer.member("os", os)
            if !osVersion.isEmpty { writer.member("os.version", osVersion) }
            if !osFeatures.isEmpty { writer.member("os.features", osFeatures) }
            if !variant.isEmpty { writer.member("variant", variant) }
        }
    }
}

extension ImageManifest: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("schemaVersion", 2)
            writer.member("mediaType", mediaType)
            writer.member("artifactType", ifPresent: artifactType)
            writer.member("config", config)
            writer.member("layers", layers)
            writer.member("subject", ifPresent: subject)
            if !annotations.isEmpty { writer.member("annotations", annotations) }
        }
    }
}

extension ImageIndex: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("schemaVersion", 2)
            writer.member("mediaType", mediaType)
            writer.member("artifactType", ifPresent: artifactType)
            writer.member("manifests", manifests)
            writer.member("subject", ifPresent: subject)
            if !annotations.isEmpty { writer.member("annotations", annotations) }
        }
    }
}

/// One image in `manifest.json` of a docker archive (`docker save`).
public struct DockerArchiveImage: Sendable, Equatable {
    /// Path of the configuration within the archive.
    public var config: String
    public var repoTags: [String]
    /// Paths of the layer tars, the lowest first.
    public var layers: [String]

    public init(config: String, repoTags: [String], layers: [String]) {
        self.config = config
        self.repoTags = repoTags
        self.layers = layers
    }
}

extension DockerArchiveImage: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init(config: "", repoTags: [], layers: [])
        try reader.object { key, reader in
            switch key {
            case "Config": config = try reader.string()
            case "RepoTags": repoTags = try reader.value()
            case "Layers": layers = try reader.value()
            default: try reader.skip()
            }
        }
        guard layers.count <= ImageConfig.maximumLayers else {
            throw reader.fault("\(layers.count) layers are more than the limit of \(ImageConfig.maximumLayers)")
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("Config", config)
            writer.member("RepoTags", repoTags)
            writer.member("Layers", layers)
        }
    }
}
