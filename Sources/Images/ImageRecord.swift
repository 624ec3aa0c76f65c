import Model

/// An image as the store has it: what a container needs, and what inspect shows.
public struct ImageRecord: Sendable {
    /// Digest of the configuration, as docker's image ids are.
    public let id: Digest
    public let config: ImageConfig
    /// Names with tags, sorted by their familiar form.
    public let tags: [Reference]
    /// Names with the manifest's digest, from archives and registries that had one.
    public let digests: [Reference]
    /// The image that this one was committed on.
    public let parent: Digest?
    /// Bytes of the files in all layers.
    public let size: Int64
    public let owner: Owner
    /// When a name last changed to this image.
    public let lastTagged: Timestamp?
    /// Layer folders for an overlay's lower folders, the topmost first; absolute paths. At most 500: more are merged.
    public let layers: [String]
    /// Of the topmost layer.
    public let chainID: Digest?

    /// As a storage driver wants it.
    public var layered: LayeredImage { LayeredImage(chainID: chainID, layers: layers) }

    /// `debian:bookworm`, as docker's RepoTags.
    public var repoTags: [String] { tags.map(\.familiar) }
    /// `debian@sha256:…`, as docker's RepoDigests.
    public var repoDigests: [String] { digests.map(\.familiar) }
}

/// A line of the list of images.
public struct ImageSummary: Sendable {
    public let id: Digest
    public let parent: Digest?
    /// Empty for a dangling image.
    public let repoTags: [String]
    public let repoDigests: [String]
    public let created: Timestamp?
    public let size: Int64
    public let labels: [String: String]
    public let owner: Owner
    /// Containers that hold it.
    public let holders: [ObjectID]
    public let platform: ImagePlatform
    /// Nil for an image without one, which only a damaged record is.
    public let manifest: ContentDescriptor?
    /// Bytes of its contents as a registry has them.
    public let contentSize: Int64
}

/// A line of `history`, the newest first.
public struct ImageHistoryEntry: Sendable {
    /// Nil shows as `<missing>`: the step's own image is not in the store.
    public let id: Digest?
    public let created: Timestamp?
    public let createdBy: String
    public let comment: String
    /// Bytes of the step's layer.
    public let size: Int64
    public let tags: [String]
}

/// What `remove` did, in order; docker's ImageDeleteResponseItem.
public enum ImageRemoval: Sendable, Equatable {
    case untagged(String)
    /// An image's or a layer's digest.
    case deleted(Digest)
}

/// How far an import or a load is.
public enum ImageProgress: Sendable {
    /// Bytes read from the stream so far, as they came (compressed).
    case received(bytes: Int64)
    /// A layer is unpacked.
    case layer(diffID: Digest, size: Int64)
    /// A loaded image has this name (`Loaded image: x`), or none (`Loaded image ID: sha256:…`).
    case loaded(id: Digest, name: Reference?)
}

public struct ImportRequest: Sendable {
    /// Nil leaves the image dangling; without a tag it gets `latest`.
    public var reference: Reference?
    public var message: String
    /// Dockerfile instructions of `-c`: CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR.
    public var changes: [String]
    /// Nil is this machine's.
    public var platform: ImagePlatform?

    public init(reference: Reference?, message: String = "", changes: [String] = [], platform: ImagePlatform? = nil) {
        self.reference = reference
        self.message = message
        self.changes = changes
        self.platform = platform
    }
}

public struct CommitRequest: Sendable {
    /// The container's image; nil for none.
    public var base: Digest?
    /// The container's upper folder (borrowed until `commit` returns); its trusted.overlay.* attributes and 0/0 devices are read.
    public var upper: CInt
    /// What a container of the new image starts with: the container's own settings, to which `changes` are applied.
    public var settings: ImageSettings
    public var changes: [String] = []
    public var reference: Reference?
    public var author = ""
    public var message = ""
    /// The container's command line, for the history.
    public var createdBy = ""

    public init(base: Digest?, upper: CInt, settings: ImageSettings) {
        self.base = base
        self.upper = upper
        self.settings = settings
    }
}
